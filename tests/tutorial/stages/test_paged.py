"""Stage 8: its solution and other right kernels, its inputs, and its wrong kernels."""

from __future__ import annotations

import numpy as np
import pytest

import nkisim
from tests.tutorial.diagnosis.sample import judged
from tests.tutorial.diagnosis.wrong_paged import WRONG
from tests.tutorial.kernels import changed, load, refused, solution, style
from tutorial import InputError, check, get
from tutorial.cost.paging import IN_A_ROW, compare, one_sequence, shared_prefix
from tutorial.inputs import realdata
from tutorial.running import worked
from tutorial.trace import trace

STAGE = get(8)


@pytest.mark.parametrize("name", judged(WRONG))
def test_a_wrong_kernel_is_caught_with_its_own_sentence(name, tmp_path):
    refused(WRONG[name], tmp_path)


def test_a_right_kernel_in_another_style_is_right(tmp_path):
    verdict = check(8, load(8, style("stage8_a_block_at_a_time"), tmp_path))
    assert verdict.ok, verdict.sentence


def test_a_sequence_without_keys_gives_zeros(tmp_path):
    case = STAGE.case("lengths 0, 1, 15, 16, 17")
    output = load(8, solution(8), tmp_path)(*case.args.values())
    assert not output[0].any() and np.isfinite(output).all()


def test_only_the_blocks_in_use_are_read(tmp_path):
    case = STAGE.case("random")
    with nkisim.record() as run:
        load(8, solution(8), tmp_path)(*case.args.values())
    _, heads, block, d = case.args["k_blocks"].shape
    used = sum(-(-int(n) // block) for n in case.args["lengths"][:, 0])
    assert run.hbm_reads["k_blocks"] == run.hbm_reads["v_blocks"] == used * heads * block * d * 4


def test_a_key_of_the_second_chunk_outweighs_the_first_by_more_than_exp_can_hold():
    attention = STAGE.attention(STAGE.case("the second chunk dominates"))
    first, rest = np.split(attention.scores(), [128 * attention.block], axis=1)
    assert (rest.max(axis=1) - first.max(axis=1) > np.log(np.finfo(np.float32).max)).all()


def test_the_solution_agrees_with_the_models_own_attention(tmp_path):
    case, real = STAGE.case("real data"), realdata.load(n=512)
    output = load(8, solution(8), tmp_path)(*case.args.values())
    np.testing.assert_allclose(output[0], real.o, atol=2e-6 * np.abs(real.o).max())


def test_sequences_that_share_a_prefix_share_its_blocks():
    case = STAGE.case("shared prefix")
    table = case.args["block_table"]
    assert (table[:, :4] == table[0, :4]).all() and len(set(table[:, 4])) == len(table)
    assert shared_prefix(sequences=32, prefix=1024, own=100, block=16) == (64 + 32 * 7, 32 * 71)


@pytest.mark.parametrize(
    "family", ["poisoned padding, NaN", "poisoned padding, 1e4", "old entries"]
)
def test_what_is_past_a_length_does_not_matter(family, tmp_path):
    case = STAGE.case(family)
    output = load(8, solution(8), tmp_path)(*case.args.values())
    assert np.abs(output - STAGE.expected(case)).max() < 1e-5


def test_the_trace_of_a_batch_has_the_twins_rows(tmp_path):
    made = trace(8, load(8, solution(8), tmp_path), "ascending, 4700 keys").to_dict()
    twin = trace(8, STAGE.twin, "ascending, 4700 keys").to_dict()
    for name in ("first_key", "m_new", "alpha", "l", "acc"):
        np.testing.assert_allclose(made[name], twin[name], rtol=1e-5, err_msg=name)


def test_the_kernel_in_a_row_answers_alike_where_the_table_is_in_order():
    case = one_sequence(256, 16)
    args = {**case.args, "block_table": np.arange(16, dtype=np.int32)[None]}
    outputs = [
        kernel(*args.values()) for kernel in (worked.variant(8, IN_A_ROW), worked.solution(8))
    ]
    np.testing.assert_array_equal(*outputs)


def test_the_comparison_says_that_its_times_are_modelled(capsys):
    compare(256, (16,))
    lines = capsys.readouterr().out.splitlines()
    assert ("model trn2 us") in lines[0] and [
        line.split(",")[1].split("  ")[0] for line in lines[1:]
    ] == [" in a row", " paged"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("lengths", np.array([[1], [2]], np.int32), "lengths (B, 1) with B = 3"),
        ("lengths", np.array([[1], [2], [4000]], np.int32), "lengths[2] must be 0 to"),
        ("block_table", np.full((3, 16), 99, np.int32), "uses block 99"),
        ("q", np.zeros((3, 32, 4), np.float32), "q must be (B, d, Hq)"),
        ("k_blocks", np.zeros((2, 2, 16, 64), np.float64), "k_blocks must be an array of float32"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_one_sentence(name, value, text):
    inputs = {**STAGE.case("random").args, name: value}
    with pytest.raises(InputError) as caught:
        STAGE.validate(inputs)
    assert text in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("                m[...] = nl.copy(up)\n", "", "m never updated"),
        (
            "nl.maximum(m, nl.max(s, axis=1, keepdims=True))",
            "nl.max(s, axis=1, keepdims=True)",
            "m replaced",
        ),
    ],
    ids=["m is not carried on", "m is the tile's max"],
)
def test_where_all_rows_are_0_or_nan_the_mistake_is_named_that_the_state_speaks_for(
    old, new, cause, tmp_path
):
    text = changed(style("stage8_entries_in_turn"), (old, new))
    verdict = check(8, load(8, text, tmp_path))
    assert verdict.outcome == "wrong"
    assert verdict.cause == cause, verdict.sentence
