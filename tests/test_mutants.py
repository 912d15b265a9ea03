"""Mutants of the solutions: made from every node that can be changed, and caught."""

from __future__ import annotations

import ast

from tests.tutorial.kernels import load, solution
from tools.mutants import equivalents, mutants
from tutorial import check


def test_a_mutant_differs_from_its_solution_and_is_python():
    made = list(mutants(1, solution(1)))
    assert len(made) > 40
    assert len({mutant.text for mutant in made}) == len(made)
    for mutant in made:
        ast.parse(mutant.text)


def test_a_sample_of_mutants_is_not_accepted(tmp_path):
    known = equivalents()
    for number in (0, 1, 3):
        for mutant in list(mutants(number, solution(number)))[::17]:
            verdict = check(number, load(number, mutant.text, tmp_path))
            assert mutant.key in known or not verdict.ok, mutant.key
