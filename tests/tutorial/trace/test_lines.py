"""Which line of a kernel keeps m, l or acc; and what the trace says of rows without keys."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import load, solution
from tutorial import get, trace
from tutorial.running import runner
from tutorial.trace.lines import line_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    lesson = get(3)
    kernel = load(3, solution(3), tmp_path_factory.mktemp("lines"))
    return runner.run(kernel, lesson.case("random"), lesson).run


@pytest.mark.parametrize(
    ("quantity", "text"), [("m", "m[...] = m_new"), ("l", "l[...] = "), ("|acc|", "acc[...] = ")]
)
def test_the_line_that_updates_a_quantity_is_found(run, quantity, text):
    number, source = line_of(run, quantity)
    assert source.startswith(text)
    assert solution(3).splitlines()[number - 1].strip().startswith(text)


def test_a_quantity_without_a_name_has_no_line(run):
    assert line_of(run, "o") is None


def test_from_no_keys_to_no_keys_there_is_no_alpha(tmp_path):
    made = trace(5, load(5, solution(5), tmp_path))
    empty = [row for row in made.all_rows if row.m_new == -float("inf")]
    assert empty and all(row.alpha is None for row in empty)
    assert all(row.alpha is not None for row in made.all_rows if row not in empty)
