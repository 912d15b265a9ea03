"""Draws: the course's own inputs, and those of a word."""

from __future__ import annotations

import numpy as np
import pytest

from tests.asking import one_in
from tests.tutorial.kernels import load, solution
from tutorial import check, get, stages
from tutorial.inputs.draw import OWN, Draw


def arrays(cases):
    return [
        value for case in cases for value in case.args.values() if isinstance(value, np.ndarray)
    ]


@pytest.mark.parametrize("stage", [s for s in stages() if s.judge is None], ids=lambda s: s.name)
def test_the_course_has_its_own_inputs_unless_a_word_is_given_and_makes_them_once(stage):
    assert all(a is b for a, b in zip(stage.cases(), stage.cases(OWN), strict=True))
    assert all(a is b for a, b in zip(stage.beyond(), stage.beyond(OWN), strict=True))


@pytest.mark.parametrize("stage", [s for s in stages() if s.judge is None], ids=lambda s: s.name)
def test_a_word_gives_every_family_other_numbers(stage):
    own, other = stage.cases(), stage.cases(Draw("summer"))
    assert [case.family for case in own] == [case.family for case in other]
    for a, b in zip(own, other, strict=True):
        if a.nbytes and any(np.asarray(x).any() for x in a.args.values()):
            pairs = zip(arrays([a]), arrays([b]), strict=True)
            assert any(not np.array_equal(x, y, equal_nan=True) for x, y in pairs), a.family


def test_the_same_word_gives_the_same_numbers():
    a, b = (Draw("summer").rng("pool", 3).standard_normal(4) for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, Draw("winter").rng("pool", 3).standard_normal(4))
    assert round(float(a[0]), 6) == 0.068643  # on every machine


def test_sizes_are_other_ones_only_where_they_are_asked_for():
    shapes = [case.args["k"].shape for case in get(4).cases(Draw("x", sizes=True))]
    assert shapes != [case.args["k"].shape for case in get(4).cases(Draw("x"))]
    for n_kv, d, n in shapes:
        assert n_kv >= 1 and d <= 128 and n % 128 == 0


WORD, SIZES = Draw("exam 7"), Draw("x", sizes=True)


@pytest.mark.parametrize(
    ("number", "draw"),
    [*((stage.number, SIZES) for stage in stages()), *((n, WORD) for n in one_in(3, range(11)))],
)
def test_a_solution_stays_correct_whatever_the_word_and_the_sizes(number, draw, tmp_path):
    kernel = load(number, solution(number), tmp_path)
    verdict = check(number, kernel, seed=draw.word, sizes=draw.sizes)
    assert verdict.ok, verdict.sentence
