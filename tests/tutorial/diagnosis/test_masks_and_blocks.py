"""Mistakes with lengths and with a paged cache in styles of their own: a mistake that answers with
zeros or NaN alone is not taken for another one, and the place is one that the kernel was at."""

from __future__ import annotations

import pytest

from tests.tutorial.diagnosis.edits import table
from tests.tutorial.kernels import load
from tutorial import check

LEARNED = {kernel.name: kernel for number in (5, 8) for kernel in table(number, "wrong")}


@pytest.mark.parametrize(
    "name",
    [
        "5 stage5_negated: V's mask before the length",
        "5 stage5_negated: the bias is the old max",
        "5 stage5_negated: the tile's number in place of its start",
        "5 stage5_wide_steps: acc as it was",
        "5 stage5_wide_steps: positions start again in every step",
        "5 stage5_wide_steps: the first 128 values for all weights",
        "5 stage5_wide_steps: V cleaned by the length of the first sequence",
        "8 stage8_several_blocks: pool with heads outside",
        "8 solution: the mask clears what counts",
        "8 solution: only the first position of a step is in acc",
        "8 solution: each lane its own max",
    ],
)
def test_the_mistake_of_another_style_is_named(name, tmp_path):
    kernel = LEARNED[name]
    verdict = check(kernel.stage, load(kernel.stage, kernel.text, tmp_path))
    assert verdict.cause in kernel.causes, verdict.sentence


def test_where_other_blocks_are_read_no_tile_is_said_to_be_wrong(tmp_path):
    kernel = LEARNED["8 stage8_several_blocks: the entry is taken as a row"]
    verdict = check(8, load(8, kernel.text, tmp_path))
    assert verdict.details["quantity"] == "o", verdict.sentence
