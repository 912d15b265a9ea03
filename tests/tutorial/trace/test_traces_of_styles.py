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
