"""A state that another head, another lane or another merge step should have had: each mistake is
given a sentence that is true of it, whatever else answers alike."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution, style
from tutorial import check

MERGED = "nl.add(nl.multiply(a0, f0), nl.multiply(a1, f1))"
ONES = "        top[...] = new\n"
LOOP = "    for i in nl.sequential_range(n // 128):\n"
WRONG = {
    "the max of head 0 is read, and each head writes its own": (
        4,
        style("stage4_heads_inside"),
        ("nl.maximum(ms[g], ", "nl.maximum(ms[0], "),
        "One head's m is read, or written, where another's belongs",
    ),
    "the acc of one KV head is stored for all": (
        4,
        style("stage4_lists_of_states"),
        ("nl.divide(outs[g], sums[g])", "nl.divide(outs[0], sums[g])"),
        "A head's output is made from another head's acc",
    ),
    "an unnamed max is not kept beside a column of ones": (
        3,
        style("stage3_ones_column").replace(', name="m"', ""),
        (ONES, ""),
        "m is not updated by every tile",
    ),
    "an unnamed max starts again in every tile": (
        3,
        style("stage3_ones_column").replace(', name="m"', ""),
        (LOOP, LOOP + "        top[...], both[...] = nl.fp32.min, 0.0\n"),
        "carry m, l and acc from each to the next",
    ),
    "acc of two lanes is added as it is": (
        3,
        style("stage3_two_lanes"),
        (MERGED, "nl.add(a0, a1)"),
        "their l, their acc or both are added as they are",
    ),
    "the factors of a merge are exchanged for acc": (
        6,
        solution(6),
        ("acc, alpha), nl.multiply(acc_s, beta)", "acc, beta), nl.multiply(acc_s, alpha)"),
        "The factors of the merge are exchanged",
    ),
    "alpha is inverted inside the splits": (
        6,
        solution(6),
        (
            "nisa.tensor_tensor(m, m_new, op=nl.subtract))  # (G, 1)",
            "nisa.tensor_tensor(m_new, m, op=nl.subtract))",
        ),
        "alpha is inverted: it is exp(m_old - m_new)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_sentence_is_true_of_the_state_that_is_wrong(name, tmp_path):
    number, text, change, words = WRONG[name]
    verdict = check(number, load(number, changed(text, change), tmp_path))
    assert verdict.outcome == "wrong"
    assert words in verdict.sentence, verdict.sentence
