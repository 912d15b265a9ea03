"""Each picture shows the sizes that it was given: its data are measured, not its pixels."""

from __future__ import annotations

import math

import pytest

from nkisim import TARGETS
from tutorial import pictures
from tutorial.pictures.canvas import Arrow
from tutorial.reference.splitting import State, merged, tiles
from tutorial.stages import stage7_fast


def arrows(picture):
    return {s.name for s in picture.shapes if isinstance(s, Arrow) and s.name}


def area(box):
    return box.width * box.height


# -- the machine -----------------------------------------------------------------------------------
@pytest.mark.parametrize("target", ["trn1", "trn2", "trn3"])
def test_memories_have_the_sizes_of_the_target(target):
    core, picture = TARGETS[target], pictures.memories(target)
    assert f"128 partitions of {core.sbuf_partition_bytes // 1024} KiB" in picture.words
    assert sum(name.startswith("bank") for name in picture.boxes) == core.psum_banks
    assert target in picture.alt


def test_engines_reach_the_memories_that_the_rules_let_them_reach():
    found = arrows(pictures.memories())
    assert {"SBUF to TensorE", "TensorE to PSUM"} <= found
    assert {"TensorE to SBUF", "PSUM to TensorE"}.isdisjoint(found)
    for engine in ("VectorE", "ScalarE"):
        assert {f"{m} to {engine}" for m in ("SBUF", "PSUM")} <= found
        assert {f"{engine} to {m}" for m in ("SBUF", "PSUM")} <= found
    assert {"SBUF to GpSimdE", "GpSimdE to SBUF"} <= found
    assert {"PSUM to GpSimdE", "GpSimdE to PSUM"}.isdisjoint(found)


def test_stored_operands_are_to_scale():
    boxes = pictures.stored(64, 128, 8).boxes
    assert boxes["K"].width / boxes["K"].height == pytest.approx(128 / 64)
    assert boxes["q"].height == boxes["K"].height
    assert boxes["q"].width / boxes["K"].width == pytest.approx(8 / 128)
    assert (boxes["V"].width, boxes["V"].height) == (boxes["K"].width, boxes["K"].height)


def test_v_in_rows_has_its_keys_on_the_partitions():
    boxes = pictures.stored(64, 128, v_rows=True).boxes
    assert boxes["V"].width / boxes["V"].height == pytest.approx(64 / 128)


def test_a_tile_of_more_than_128_partitions_is_not_drawn():
    with pytest.raises(ValueError, match="128"):
        pictures.stored(129, 128)
    with pytest.raises(ValueError, match="128"):
        pictures.stored(64, 256, v_rows=True)
    with pytest.raises(ValueError, match="128"):
        pictures.transpose(1, 129)
    with pytest.raises(ValueError, match="512"):
        pictures.matmul(128, 1, 513)


def test_a_matmul_sums_the_shared_height_of_its_operands():
    boxes = pictures.matmul(64, 96, 128, ("a", "b", "c")).boxes
    assert boxes["a"].height == boxes["b"].height
    assert boxes["c"].height == boxes["a"].width and boxes["c"].width == boxes["b"].width


def test_a_matmul_says_its_shapes():
    words = pictures.matmul(64, 1, 128).words
    assert {"q (64, 1)", "K (64, 128)", "qk (1, 128)", "qk = q.T @ K"} <= set(words)


def test_products_add_up_where_accumulate_is_left_out():
    picture = pictures.accumulated([[1, 2], [3, 0], [1, 1]])
    assert picture.boxes["sum 0[0]"].tone != "wrong" and picture.boxes["sum 1[0]"].tone == "wrong"
    assert picture.boxes["product 2[0]"].tone != "wrong"
    assert "ends as 5, 3" in picture.alt and "ends as 1, 1" in picture.alt


def test_a_transpose_turns_the_sides_round_in_psum():
    boxes = pictures.transpose(64, 128, "v").boxes
    before, in_psum, after = boxes["SBUF v"], boxes["PSUM v_t"], boxes["SBUF v_t"]
    assert (before.width, before.height) == (in_psum.height, in_psum.width)
    assert (in_psum.width, in_psum.height) == (after.width, after.height)


# -- attention -------------------------------------------------------------------------------------
def test_three_passes_load_k_three_times_and_v_once():
    boxes = pictures.passes(5).boxes
    count = {
        part: sum(name.startswith(part) and name.split()[2][0] == tensor for name in boxes)
        for part, tensor in (("three", "K"), ("once", "K"))
    }
    assert count == {"three": 15, "once": 5}
    assert sum(name.startswith("three") and " V[" in name for name in boxes) == 5
    assert "20 loads" in pictures.passes(5).alt and "10 loads" in pictures.passes(5).alt


def test_more_tiles_than_can_be_drawn_are_told():
    picture = pictures.passes(64)
    assert "8 of 64 tiles are drawn" in picture.alt and "256 loads" in picture.alt


def test_every_earlier_area_shrinks_by_alpha():
    picture = pictures.rescale([0, 1, 2], [2, 3, 4])
    for i in range(3):
        ratio = area(picture.boxes[f"kept {i}"]) / area(picture.boxes[f"old {i}"])
        assert ratio == pytest.approx(math.exp(2 - 4))
        assert area(picture.boxes[f"was {i}"]) == pytest.approx(area(picture.boxes[f"old {i}"]))


def test_the_areas_after_the_rescale_add_up_to_l():
    earlier, tile = [0.5, 2, -1], [3, 0, 1]
    boxes = pictures.rescale(earlier, tile).boxes
    unit = area(boxes["old 1"])  # the weight of the max is 1
    after = sum(area(box) for name, box in boxes.items() if name.startswith(("kept", "added")))
    assert after / unit == pytest.approx(sum(math.exp(s - 3) for s in earlier + tile))


def test_a_lower_tile_shrinks_nothing():
    picture = pictures.rescale([3, 1], [2])
    assert "alpha = exp(3 - 3) = 1.0000" in picture.alt
    assert picture.boxes["kept 0"].height == picture.boxes["old 0"].height


def test_scores_that_are_not_finite_have_no_area():
    with pytest.raises(ValueError, match="finite"):
        pictures.rescale([1], [math.inf])


def test_every_query_head_points_to_its_kv_head():
    found = arrows(pictures.groups(8, 2))
    assert found == {f"{h}-{h // 4}" for h in range(8)}
    with pytest.raises(ValueError, match="multiple"):
        pictures.groups(8, 3)


def test_keys_and_padding_of_a_ragged_batch_are_to_scale():
    boxes = pictures.ragged([1, 128, 0, 256], 256).boxes
    assert boxes["keys 1"].width == pytest.approx(boxes["padding 1"].width)
    assert boxes["keys 0"].width / boxes["keys 3"].width == pytest.approx(1 / 256)
    assert "keys 2" not in boxes and "padding 3" not in boxes


def test_tiles_of_a_ragged_batch_have_their_edges():
    assert arrows(pictures.ragged([5], 300)) == {"edge 128", "edge 256"}


@pytest.mark.parametrize(("n_tiles", "n_splits"), [(5, 4), (8, 3), (16, 8), (4, 1), (2, 5)])
def test_splits_deal_out_tiles_as_the_course_does(n_tiles, n_splits):
    boxes = pictures.splits(n_tiles, n_splits).boxes
    for s, owned in enumerate(tiles(n_tiles, n_splits)):
        drawn = [name for name in boxes if name.startswith(f"split {s} tile")]
        assert len(drawn) == len(owned)
        assert (f"split {s} empty" in boxes) == (len(owned) == 0)


@pytest.mark.parametrize("n_splits", range(1, 9))
def test_a_tree_of_all_splits_has_one_merge_fewer_than_splits(n_splits):
    boxes = pictures.splits(8, n_splits).boxes
    assert sum(name.startswith("merge") for name in boxes) == n_splits - 1


def test_the_state_of_an_empty_split_is_the_identity_that_the_text_says():
    import numpy as np

    some = State(*(np.full(s, 2.0, np.float32) for s in ((1, 1), (1, 1), (1, 4))))
    none = State(
        np.full((1, 1), -np.inf, np.float32),
        np.zeros((1, 1), np.float32),
        np.zeros((1, 4), np.float32),
    )
    assert merged(some, none).l == some.l
    assert "Split 3 has no tile: its state is (-inf, 0, 0)" in pictures.splits(5, 4).alt


# -- the ladder ------------------------------------------------------------------------------------
def test_all_packings_have_the_area_of_the_scores():
    boxes = pictures.packings(32, 8, 8192).boxes
    areas = [area(boxes[f"rung {r}"]) for r in (5, 6, 7)]
    assert areas == pytest.approx([areas[0]] * 3)
    assert [boxes[f"rung {r}"].height for r in (5, 6, 7)] == [4, 32, 128]


def test_the_rungs_that_are_drawn_are_those_of_the_ladder():
    names = {rung.number: rung.name for rung in stage7_fast.RUNGS}
    assert names[6] == "heads packed" and names[7] == "keys on partitions"
    words = pictures.packings(32, 8, 8192).words
    assert "rung 6: all heads on the partitions" in words
    assert "rung 7: keys on the partitions" in words


def test_each_groups_queries_stand_in_columns_of_their_own():
    boxes = pictures.padded(8, 2).boxes
    for kv in range(2):
        whole, own = boxes[f"zeros {kv}"], boxes[f"own {kv}"]
        assert own.width / whole.width == pytest.approx(1 / 2)
        assert (own.x - whole.x) / whole.width == pytest.approx(kv / 2)


def test_keys_lie_where_the_kernels_put_them():
    picture = pictures.key_places(3, 4)
    assert "key 3 p + t" in picture.words and "key 4 t + p" in picture.words
    numbers = [w for w in picture.words if w.isdigit()]
    assert numbers[:12] == [str(t * 4 + p) for p in range(4) for t in range(3)]
    assert numbers[12:] == [str(p * 3 + t) for p in range(4) for t in range(3)]


# -- the cache -------------------------------------------------------------------------------------
def test_entries_point_to_the_blocks_that_the_lengths_need():
    picture = pictures.block_table([[5, 2, 0], [5, 3, 99]], [10, 6], 4, 6)
    assert arrows(picture) == {"0,0 to 5", "0,1 to 2", "0,2 to 0", "1,0 to 5", "1,1 to 3"}
    assert picture.boxes["entry 1,2"].dashed and not picture.boxes["entry 1,1"].dashed
    assert picture.boxes["block 1"].dashed and picture.boxes["block 5"].tone == "p"
    assert "Shared: block 5." in picture.alt


def test_a_used_entry_that_is_no_block_is_refused():
    with pytest.raises(ValueError, match="name a block"):
        pictures.block_table([[7]], [1], 4, 6)


def test_columns_without_a_key_have_the_padding_rows_number():
    boxes = pictures.cache(200).boxes
    assert boxes["keys"].width / (boxes["keys"].width + boxes["no keys"].width) == pytest.approx(
        200 / 256
    )
    assert boxes["row of no keys"].width == boxes["no keys"].width
    assert "no keys" not in pictures.cache(128).boxes
