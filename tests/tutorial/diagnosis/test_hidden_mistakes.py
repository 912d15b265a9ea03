"""Mistakes that hide from most inputs: what the families show of them, and what the check may not
say of them."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution, style
from tutorial import check, get

_BF16_BEGINS = (
    "begins = nisa.iota((first + i_p) * block + nl.arange(1)[None, :], dtype=nl.float32)",
    "begins = nisa.iota((first + i_p) * block + nl.arange(1)[None, :], dtype=nl.bfloat16)",
)
L_FROM_MINUS_1 = 'nl.full((G, 1), -1.0, dtype=nl.float32, name="l")'
HIDDEN = {
    "a max in bf16": (
        2,
        ('nl.fp32.min, dtype=nl.float32, name="m"', 'nl.fp32.min, dtype=nl.bfloat16, name="m"'),
        "m in 16 bits",
    ),
    "a sum that begins at -1, where one key is all there is": (
        5,
        ('nl.full((G, 1), 0.0, dtype=nl.float32, name="l")', L_FROM_MINUS_1),
        None,
    ),
    "sums of several matmuls in a bank of bf16": (
        7,
        (
            "pv = nl.zeros((d, G), dtype=nl.float32, buffer=nl.psum)",
            "pv = nl.zeros((d, G), dtype=nl.bfloat16, buffer=nl.psum)",
        ),
        "low precision",
    ),
    "positions of blocks in bf16": (8, _BF16_BEGINS, None),
    "a block that begins where the sequence ends is read": (
        8,
        ("tensor_scalar(begins, op0=nl.less,", "tensor_scalar(begins, op0=nl.less_equal,"),
        "read too often",
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_mistake_that_most_inputs_hide_is_refused(name, tmp_path):
    number, change, cause = HIDDEN[name]
    text = changed(solution(number), change)
    verdict = check(number, load(number, text, tmp_path), explain=cause is not None)
    assert verdict.outcome == "wrong"
    assert verdict.cause == cause, verdict.sentence


@pytest.mark.parametrize("step", [1024, 4096])
def test_however_many_keys_a_step_takes_its_sums_must_be_carried_on(step, tmp_path):
    text = changed(
        style("stage3_long_steps"),
        ("STEP = 1024", f"STEP = {step}"),
        ("l * alpha +", "l +"),
        ("acc * alpha", "acc"),
    )
    verdict = check(3, load(3, text, tmp_path))
    assert verdict.outcome == "wrong" and verdict.cause == "nothing rescaled"
    assert verdict.sentence.startswith("tile 1: l is"), verdict.sentence


def test_blocks_of_one_key_are_blocks(tmp_path):
    text = changed(solution(8), ("range(1, STEP + 1)", "range(2, STEP + 1)"))
    assert check(8, load(8, text, tmp_path), explain=False).outcome == "wrong"


def test_a_max_of_one_position_of_a_step_is_refused_however_many_positions_a_step_takes(tmp_path):
    text = changed(
        solution(8),
        ("max(s for s in range(1, STEP + 1) if block % s == 0)", "8 if block % 8 == 0 else 1"),
        ("nl.max(qk, axis=2)", "nl.copy(qk[:, :, 0])"),
    )
    verdict = check(8, load(8, text, tmp_path))
    assert verdict.cause == "max of one position of every step", verdict.sentence


def test_a_loop_that_visits_no_tile_is_told_that_nothing_is_read(tmp_path):
    text = style("stage3_blocks_of_two")
    text = changed(text, ("while begin < count:", "while begin + 128 < count:"))
    one_tile = get(3).case("random, one tile").args
    verdict = check(3, load(3, text, tmp_path), inputs=one_tile)
    assert verdict.cause == "keys never read"
    assert "Only 0 of the 32,768 bytes of k are read" in verdict.sentence
