"""Kernels with no known mistake that answer like the method with one small change: the verdict
quotes the change."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution
from tutorial import check
from tutorial.diagnosis import matching

ALPHA = "nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))"
RESCALED = "nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha)"
CHANGES = {
    "half of alpha's exponent": (
        (ALPHA, ALPHA[:-1] + ", scale=0.5)"),
        "`alpha = exp(0.5 * (m - m_new))` instead of `alpha = exp(m - m_new)`",
    ),
    "acc multiplied by l": (
        (RESCALED, RESCALED.replace("alpha", "l")),
        "`acc = acc * l + p @ v_tile.T` instead of `acc = acc * alpha + p @ v_tile.T`",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_line_that_answers_like_the_kernel_is_quoted(name, tmp_path):
    change, told = CHANGES[name]
    verdict = check(3, load(3, changed(solution(3), change), tmp_path))
    assert verdict.cause == f"with {told}", verdict.sentence
    assert verdict.sentence.endswith(
        f"No known mistake gives these values; the method does, in NumPy, with {told}."
    )


def test_a_known_mistake_is_named_and_no_change_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(matching, "slipped", None)
    text = changed(solution(3), (ALPHA, ALPHA.replace("m, m_new", "m_new, m")))
    assert check(3, load(3, text, tmp_path)).cause == "alpha inverted"


def test_where_no_single_change_answers_alike_none_is_told(tmp_path):
    text = changed(
        solution(3),
        (ALPHA, ALPHA[:-1] + ", scale=0.5)"),
        (RESCALED, RESCALED.replace("alpha", "l")),
    )
    verdict = check(3, load(3, text, tmp_path))
    assert verdict.cause is None and "in NumPy" not in verdict.sentence
