"""Scores that a reader chooses: a kernel's own state on them, and the view in which they are
edited.
"""

from __future__ import annotations

import math
import re

import pytest

from tests.tutorial.kernels import load, solution
from tutorial import get, trace
from tutorial.stage import InputError
from tutorial.trace.scores import SIXTEEN, EditableScores, case_of, rows_of


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_kernel_meets_exactly_the_scores_that_were_chosen(number, tmp_path):
    lesson = get(number)
    attention = lesson.attention(case_of(lesson, SIXTEEN))
    scores = attention.scores()[0]
    assert list(scores[:: len(scores) // 16]) == list(SIXTEEN)
    kernel = load(number, solution(number), tmp_path)
    made = trace(number, kernel, scores=SIXTEEN)
    assert made.rows[-1].m_new == max(SIXTEEN) and made.wrong is None
    assert made.family == "your scores"


def test_each_score_is_that_of_so_many_keys(tmp_path):
    made = trace(3, load(3, solution(3), tmp_path), scores=SIXTEEN)
    formulas = rows_of(SIXTEEN)
    for row, by_formula in zip(made.rows, formulas, strict=True):
        assert row.l == pytest.approx(32 * by_formula.l, rel=1e-5)
        assert row.alpha == pytest.approx(by_formula.alpha, rel=1e-5)
        assert row.scores == by_formula.scores


def test_the_formulas_give_the_softmax_of_all_sixteen():
    last = rows_of(SIXTEEN)[-1]
    assert last.l == pytest.approx(sum(math.exp(s - max(SIXTEEN)) for s in SIXTEEN))


@pytest.mark.parametrize(
    ("number", "scores"), [(5, SIXTEEN), (7, SIXTEEN), (3, [1] * 15), (3, [math.nan] * 16), (3, [])]
)
def test_scores_that_cannot_be_an_input_are_refused_with_a_sentence(number, scores):
    with pytest.raises(InputError, match="hoose"):
        case_of(get(number), scores)


def test_the_view_has_a_picture_and_a_table_where_no_script_runs():
    html = EditableScores()._repr_html_()
    still = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert still.count("<img") == 1 and "tile  keys" in still and "display:none" not in still
    assert repr(EditableScores()) in html.replace("-&gt;", "->")


def test_the_view_is_the_same_bytes_for_the_same_scores():
    assert EditableScores()._repr_html_() == EditableScores(SIXTEEN)._repr_html_()
    other = EditableScores([0.0] * 16)._repr_html_()
    assert (
        re.search(r'id="(\S+)"', other)[1]
        != re.search(r'id="(\S+)"', EditableScores()._repr_html_())[1]
    )


def test_anything_but_sixteen_finite_scores_is_refused():
    for scores in ([0.0] * 15, [math.inf] + [0.0] * 15):
        with pytest.raises(ValueError, match="sixteen"):
            EditableScores(scores)
