"""Several states beside one another, slips of one operand, and matches that another text of the
method gives: each is given its own name, or none."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution, style
from tutorial import check

# in stage 9, by a kernel in the old way
pytestmark = pytest.mark.filterwarnings("ignore:nl.*_range is deprecated:DeprecationWarning")

MAXIMA = "[nl.full((per, 1), nl.fp32.min, dtype=nl.float32) for _ in range(KV)]"
SUMS = "[nl.zeros((per, 1), dtype=nl.float32) for _ in range(KV)]"
WEIGHTS = "nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m))"
LANES = [
    ("nl.subtract(m0, top)", "nl.subtract(m0, m0)"),
    ("nl.subtract(m1, top)", "nl.subtract(m1, m1)"),
]
WRONG = {
    "a list of one max": (
        4,
        style("stage4_lists_of_states"),
        [(MAXIMA, "[nl.full((per, 1), nl.fp32.min, dtype=nl.float32)] * KV")],
        "m of several KV heads in one place",
    ),
    "a list of one sum": (
        4,
        style("stage4_lists_of_states"),
        [(SUMS, "[nl.zeros((per, 1), dtype=nl.float32)] * KV")],
        "l of several KV heads in one place",
    ),
    "the max of one KV head beside all others": (
        4,
        style("stage4_tiles_outside").replace("reversed(range(H))", "range(H)"),
        [("nl.maximum(m[h], ", "nl.maximum(m[0], ")],
        "m of another head",
    ),
    "a max that is scaled again": (
        2,
        solution(2),
        [
            (
                WEIGHTS,
                WEIGHTS[:-3] + "nisa.tensor_scalar(m, op0=nl.multiply, operand0=scale)))",
            )
        ],
        "max scaled twice",
    ),
    "tiles that no turn of the loop visits": (
        3,
        solution(3),
        [("range(n // TILE)", "range(0, n // TILE, 3)")],
        "keys never read",
    ),
    "states of two lanes added as they are": (
        3,
        style("stage3_two_lanes"),
        LANES,
        "states merged without their factors",
    ),
    "maxima added up": (
        2,
        style("stage2_tops_of_tiles"),
        [("nl.max(tops, axis", "nl.sum(tops, axis")],
        "maxima added up",
    ),
    "divided by the max": (
        3,
        solution(3),
        [("nisa.reciprocal(l)", "nisa.reciprocal(m)")],
        "divided by m",
    ),
    "the weights squared": (
        3,
        solution(3),
        [("        # l = l alpha", "        p = nl.multiply(p, p)\n        # l = l alpha")],
        "p squared",
    ),
    "the scores minus themselves": (
        3,
        solution(3),
        [
            (
                "nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new)",
                "nisa.tensor_tensor(qk, qk, op=nl.subtract)",
            )
        ],
        "all weights are 1",
    ),
    "alpha inverted in a kernel whose max is on all partitions": (
        7,
        solution(7),
        [
            (
                "nisa.tensor_tensor(m, m_new, op=nl.subtract)",
                "nisa.tensor_tensor(m_new, m, op=nl.subtract)",
            )
        ],
        "alpha inverted",
    ),
    "V from the first tile on, K from the last": (
        3,
        style("stage3_from_the_end"),
        [("nl.load(v[:, nl.ds(i * TILE", "nl.load(v[:, nl.ds(n - TILE - i * TILE")],
        "V of another tile",
    ),
    "the max of the first 128 of all scores": (
        9,
        style("stage9_scores_on_chip"),
        [("nl.maximum, sc, 1)", "nl.maximum, sc[:, 0:128], 1)")],
        "max of a part of the tile",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_slip_has_its_own_name(name, tmp_path):
    number, base, changes, cause = WRONG[name]
    verdict = check(number, load(number, changed(base, *changes), tmp_path))
    assert verdict.cause == cause, verdict.sentence
