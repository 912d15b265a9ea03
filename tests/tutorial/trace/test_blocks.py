"""The trace of a kernel of a paged cache shows the keys that its loads picked, in its order."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tutorial.kernels import changed, load, style
from tests.tutorial.kernels import solution as text_of
from tutorial import get, solution, trace

LESSON = get(8)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("stage8_from_the_last_block", "random"),
        ("stage8_from_the_last_block", "shared prefix"),
        ("stage8_several_blocks", "two chunks of blocks, one short"),
        ("stage8_entries_in_turn", "blocks of one key"),
    ],
)
def test_every_update_holds_the_state_of_the_keys_that_it_shows(name, family, tmp_path):
    problem = LESSON.attention(LESSON.case(family))
    made = trace(8, load(8, style(name), tmp_path), family)
    shown = made.only(range(problem.n_q_heads)).to_dict()
    scores = problem.scores()
    seen = {}
    columns = (shown[column] for column in ("head", "first_key", "last_key", "m_new", "l"))
    for head, first, last, m, l in zip(*columns, strict=True):
        own = scores[head, first : min(last + 1, problem.row_lengths[head])]
        before, total = seen.get(head, (-np.inf, 0.0))
        top = max(before, own.max(initial=-np.inf))
        if np.isfinite(top):  # until there is a key that counts, the state is the kernel's affair
            total = total * np.exp(before - top) + np.exp(own - top).sum()
            assert (m, l) == pytest.approx((top, total), rel=1e-3)
        seen[head] = (top, total)
    assert len(seen) == problem.n_q_heads
    backwards = name.endswith("last_block")
    assert (shown["first_key"][0] > 0) == backwards


def test_no_key_is_shown_for_which_the_table_has_no_entry():
    """The last chunk has as many partitions as the others, and fewer blocks."""
    case = LESSON.case("ascending, 4700 keys")
    assert case.args["block_table"].shape[1] * case.args["k_blocks"].shape[2] == 4704
    made = trace(8, solution(8), case.family).only([0])
    assert [row.keys for row in made.rows] == ["0..2047", "2048..4095", "4096..4703"]
    assert str(made).endswith("\n(1 more head: .only([...]) shows it)")


def test_a_kernel_that_skips_the_last_chunk_of_blocks_shows_the_chunks_that_it_took(tmp_path):
    text = changed(
        text_of(8),
        ("in range(0, most, 128)", "in range(0, max(most - 127, 1), 128)"),
    )
    rows = trace(8, load(8, text, tmp_path), "ascending, 4700 keys").only([0]).rows
    assert [row.keys for row in rows] == ["0..2047", "2048..4095", "4096..4703"]
    assert (rows[1].m_new, rows[2].m_new) == (pytest.approx(rows[1].tile_max, rel=1e-6), None)


@pytest.mark.parametrize("back", [False, True], ids=["forwards", "backwards"])
def test_positions_of_a_load_that_are_taken_one_after_another_are_shown_so(back, tmp_path):
    text = style("stage8_positions_in_turn")
    if back:
        text = changed(text, ("in range(block)", "in reversed(range(block))"))
    rows = trace(8, load(8, text, tmp_path), "ascending").only([0]).rows
    keys = ["0,4..92", "1,5..93", "2,6..94", "3,7..95"]
    assert [row.keys for row in rows] == (keys[::-1] if back else keys)
    tops = [row.tile_max for row in rows]
    assert [row.m_new for row in rows] == [max(tops[: i + 1]) for i in range(4)]


def test_fewer_blocks_at_a_time_than_partitions_show_their_own_keys(tmp_path):
    text = changed(
        style("stage8_positions_in_turn"), ("most, 128)", "most, 64)"), ("min(128", "min(64")
    )
    rows = trace(8, load(8, text, tmp_path), "the second chunk dominates").only([0]).rows
    assert [rows[i].keys for i in (0, 1, 4, 8)] == [
        "0,4..252",
        "1,5..253",
        "256,260..508",
        "512,516..528",
    ]


def test_a_mistake_is_placed_by_the_keys_that_an_update_took(tmp_path):
    text = changed(style("stage8_positions_in_turn"), ("nl.multiply(l, alpha)", "l"))
    wrong = trace(8, load(8, text, tmp_path), "ascending").wrong
    assert (wrong.head, wrong.tile, wrong.quantity) == (0, 1, "l")
