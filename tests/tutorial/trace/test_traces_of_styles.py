"""The trace of a right kernel in its own style is what float64 gives for the keys that it
shows, in the order in which it shows them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tutorial.kernels import changed, load, solution, style
from tutorial import get, trace

BACKWARDS = ("nl.sequential_range(n // step)", "reversed(range(n // step))")
ALONE = ("c in (1, 2, 3, 4)", "c in (1,)")
STYLES = {
    "two tiles at a time": (3, "stage3_blocks_of_two", ()),
    "one tile at a time": (
        3,
        "stage3_blocks_of_two",
        (("256 if begin + 256 <= count else 128", "128"),),
    ),
    "heads on the partitions": (7, "stage7_rows_of_heads", ()),
    "heads on the partitions, from the last tile": (7, "stage7_rows_of_heads", (BACKWARDS, ALONE)),
    "a last tile that is narrower": (3, "stage3_long_steps", ()),
}
FAMILIES = {"a last tile that is narrower": "ascending, 4224 keys"}


@pytest.mark.parametrize("name", STYLES)
def test_keys_m_and_l_of_every_update_are_true(name, tmp_path):
    number, base, changes = STYLES[name]
    lesson = get(number)
    case = lesson.case(FAMILIES.get(name, lesson.cases()[0].family))
    kernel = load(number, changed(style(base), *changes), tmp_path)
    shown = trace(number, kernel, case.family).to_dict()
    problem = lesson.attention(case)
    seen = {}
    for head, first, last, m, l in zip(
        *(shown[column] for column in ("head", "first_key", "last_key", "m_new", "l")), strict=True
    ):
        keys = np.asarray(problem.k[head // problem.group], np.float64)[:, first : last + 1]
        scores = problem.scale * (np.asarray(problem.q[head], np.float64) @ keys)
        before, total, read = seen.get(head, (-np.inf, 0.0, []))
        top = max(before, scores.max())
        total = total * np.exp(before - top) + np.exp(scores - top).sum()
        assert (m, l) == pytest.approx((top, total), rel=1e-3)
        seen[head] = (top, total, [*read, *range(first, last + 1)])
    assert seen
    for _, _, read in seen.values():
        assert sorted(read) == list(range(problem.n))
    if "from the last tile" in name:
        assert shown["first_key"][0] > 0


@pytest.mark.parametrize("family", ["random", "random, Hq = 6, one tile"])
def test_a_division_in_the_place_of_l_and_acc_is_no_update(family, tmp_path):
    text = changed(
        solution(9),
        ("nisa.reciprocal(dst=r, data=l)", "nisa.reciprocal(dst=l, data=l)"),
        (
            "(dst=o_tile, data=acc, op0=nl.multiply, operand0=r)",
            "(dst=acc, data=acc, op0=nl.multiply, operand0=l)",
        ),
        ("src=o_tile", "src=acc"),
    )
    own, usual = (load(9, kernel, tmp_path) for kernel in (text, solution(9)))
    assert str(trace(9, own, family)) == str(trace(9, usual, family))


def _with_names(text, *states):
    """A kernel whose state has names now."""
    named = [
        (f"{name} = {made})", f'{name} = {made}, name="{meant}")') for name, made, meant in states
    ]
    return changed(text, *named)


def test_a_max_for_powers_of_two_says_so_and_gives_the_alpha_that_the_kernel_forms(tmp_path):
    text = _with_names(
        style("stage3_powers_of_two"),
        ("run_max", "nl.full((1, 1), -1.0e38, dtype=nl.float32", "m"),
        ("run_sum", "nl.zeros((1, 1), dtype=nl.float32", "l"),
    )
    made = trace(3, load(3, text, tmp_path), "ascending")
    assert "(m is the max of the scores times log2(e))" in str(made)
    first, second = made.rows[:2]
    assert second.m_new == pytest.approx(second.tile_max, rel=1e-6)
    assert second.alpha == pytest.approx(2 ** (first.m_new - second.m_new), rel=1e-3)


def test_no_state_is_shown_where_the_sums_take_the_keys_in_another_order_than_the_max(tmp_path):
    """The second pass works on kept scores: no load of K says in which order."""
    text = changed(
        style("stage2_kept_scores"),
        ("for i in range(n // 128):  # sums", "for i in reversed(range(n // 128)):  # sums"),
    )
    made = trace(2, load(2, text, tmp_path), "random")
    assert not made.rows
    assert "in a way that does not tell which keys each update saw" in str(made)


def test_no_state_is_shown_where_the_max_is_kept_in_a_form_that_is_not_known(tmp_path):
    """The weights are powers of 10 here, and so m is the max of the scores times log10(e)."""
    text = changed(
        _with_names(
            style("stage3_powers_of_two"),
            ("run_max", "nl.full((1, 1), -1.0e38, dtype=nl.float32", "m"),
        ),
        ("LOG2E = 1.4426950408889634", "LOG2E = 0.4342944819032518"),
        ("LN2 = 0.6931471805599453", "LN2 = 2.302585092994046"),
    )
    made = trace(3, load(3, text, tmp_path), "ascending")
    assert not made.rows
    assert "in another order, or keeps m, l and acc in another form" in str(made)


def test_a_negated_max_is_one_where_all_scores_are_0(tmp_path):
    text = changed(
        solution(3),
        ("nl.full((1, 1), nl.fp32.min", "nl.full((1, 1), 3e38"),
        ("(nl.maximum, qk, axis=1", "(nl.maximum, qk, axis=1, negate=True"),
        ("tensor_tensor(m, m_tile, op=nl.maximum)", "tensor_tensor(m, m_tile, op=nl.minimum)"),
        ("tensor_tensor(m, m_new, op=nl.subtract)", "tensor_tensor(m_new, m, op=nl.subtract)"),
        ("op0=nl.subtract, operand0=m_new", "op0=nl.add, operand0=m_new"),
    )
    made = trace(3, load(3, text, tmp_path), "softmax_scale = 0")
    assert made.rows[0].alpha == 0


def test_the_place_of_a_wrong_sum_is_not_told_where_its_order_is_not_known(tmp_path):
    text = changed(
        style("stage2_kept_scores"),
        ("for i in range(n // 128):  # sums", "for i in reversed(range(n // 128)):  # sums"),
        ("nl.load(v[:, keys])", "nl.load(v[:, 0:128])"),
    )
    made = trace(2, load(2, text, tmp_path), "random")
    assert not made.rows
    assert made.wrong is None
