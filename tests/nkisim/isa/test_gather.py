"""Gathers, shuffles within quadrants, run-time offsets and segment bounds."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim

from ..helpers import (
    BF16,
    FLOATS,
    FP32,
    assert_same_bits,
    covers,
    on_tiles,
    refused_on_tiles,
    run_kernel,
    values,
)


# -- nisa.local_gather, nl.gather_flattened --------------------------------------------------------
@covers("local_gather")
@given(
    groups=st.integers(1, 8),
    n=st.integers(32, 90),
    m=st.integers(1, 6),
    each=st.sampled_from([1, 2, 4, 8, 16, 32]),
    dtype=st.sampled_from([*FLOATS, np.int32]),
    data=st.data(),
)
def test_local_gather_reads_the_places_that_each_group_of_16_partitions_lists(
    groups, n, m, each, dtype, data
):
    p = 16 * groups
    valid = data.draw(st.one_of(st.none(), st.integers(1, 16 * m)))
    x = values((p, n), dtype, low=-9, high=9)
    index = np.random.default_rng(n).integers(0, n - each + 1, (p, m)).astype(np.uint16)
    got = on_tiles(lambda t, i: nisa.local_gather(t, i, each, valid), x, index)
    count = valid or 16 * m
    expected = np.empty((p, count, each), dtype=dtype)
    for core in range(groups):
        places = index[16 * core : 16 * core + 16].T.reshape(-1)[:count]
        for row in range(16 * core, 16 * core + 16):
            for j, place in enumerate(places):
                expected[row, j] = x[row, place : place + each]
    assert got.shape == ((p, m, 16, each) if count == 16 * m else (p, count, each))
    assert_same_bits(got.values.reshape(p, count, each), expected)


@pytest.mark.parametrize("gather", [nisa.local_gather, nl.gather_flattened])
def test_gathers_from_partly_written_tiles_run_on_shapes_alone(gather):
    @nki.jit
    def kernel(x, i):
        t = nl.ndarray((16, 64), dtype=x.dtype, buffer=nl.sbuf)
        t[:, 0:32] = nl.load(x)
        found = gather(t, nl.load(i))
        out = nl.ndarray(found.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, found)
        return out

    index = np.zeros((16, 4), np.uint16 if gather is nisa.local_gather else np.uint32)
    with nkisim.record(values=False) as run:
        kernel(values((16, 32)), index)
    assert run.counts()["dma_copy"] == 3


def test_local_gather_refuses_what_the_reference_does_not_allow():
    x, i = values((32, 64)), np.zeros((32, 2), np.uint16)
    for body, rule in (
        (lambda t, i: nisa.local_gather(t[0:24, :], i[0:24, :]), "dimension-limit"),
        (lambda t, i: nisa.local_gather(t, i[0:16, :]), "partition-mismatch"),
        (lambda t, i: nisa.local_gather(t, i, 3), "argument"),
        (lambda t, i: nisa.local_gather(t, i, 1, 33), "argument"),
        (lambda t, i: nisa.local_gather(t, nl.copy(i, dtype=nl.int32)), "dtype"),
        (lambda t, i: nisa.local_gather(t, nl.zeros((32, 257), dtype=nl.uint16)), "argument"),
    ):
        refused_on_tiles(body, x, i, rule=rule)
    error = refused_on_tiles(
        lambda t, i: nisa.local_gather(t, i, 2), x, i + np.uint16(63), rule="out-of-bounds"
    )
    assert "63" in error.headline


@covers("nc_n_gather")
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 80),
    m=st.integers(1, 40),
    dtype=st.sampled_from([*FLOATS, np.int16]),
    out=st.sampled_from([None, FP32]),
)
def test_gather_flattened_takes_the_listed_elements_of_each_partition(p, n, m, dtype, out):
    x = values((p, n), dtype, low=-9, high=9)
    index = np.random.default_rng(n).integers(0, n, (p, m)).astype(np.uint32)
    got = on_tiles(lambda t, i: nl.gather_flattened(t, i, dtype=out), x, index)
    assert_same_bits(
        got.values, np.take_along_axis(x, index.astype(int), axis=1).astype(out or dtype)
    )


def test_gather_flattened_counts_places_over_all_free_axes_and_refuses_places_beyond():
    x = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2)
    index = np.array([[[0, 1], [1, 3]], [[3, 3], [1, 0]]], np.uint32)
    assert on_tiles(lambda t, i: nl.gather_flattened(t, i), x, index).values.tolist() == [
        [[1, 2], [2, 4]],
        [[8, 8], [6, 5]],
    ]
    error = refused_on_tiles(
        lambda t, i: nl.gather_flattened(t, i), x, index + np.uint32(1), rule="out-of-bounds"
    )
    assert "index 4" in error.headline and "0..3" in error.limit
    refused_on_tiles(
        lambda t, i: nl.gather_flattened(t, i), x, index.astype(np.int32), rule="dtype"
    )


# -- nisa.nc_stream_shuffle ------------------------------------------------------------------------
def shuffle(x, pattern, p=None, fill=None, dst_start=0, src_rows=None, mask=None):
    @nki.jit
    def kernel(x):
        t = nl.load(x)
        src = t if src_rows is None else t[src_rows[0] : src_rows[1], :]
        d = (
            nl.full((128, x.shape[1]), fill, dtype=x.dtype)
            if fill is not None
            else nl.ndarray((128, x.shape[1]), dtype=x.dtype)
        )
        rows = p or x.shape[0]
        view = d[dst_start : dst_start + rows, :]
        nisa.nc_stream_shuffle(src=src, dst=view, shuffle_mask=pattern, mask=mask)
        out = nl.ndarray((rows, x.shape[1]), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, view)
        return out

    return nki.simulate_kernel(kernel, x)


@covers("nc_stream_shuffle")
@given(
    p=st.sampled_from([1, 20, 32, 64, 100, 128]),
    dtype=st.sampled_from([*FLOATS, np.int32]),
    seed=st.integers(0, 99),
)
def test_stream_shuffle_moves_partitions_within_each_quadrant(p, dtype, seed):
    rows = p if p < 32 else 32
    pattern = [
        int(v) % (rows if p % 32 == 0 or p < 32 else p % 32)
        for v in np.random.default_rng(seed).integers(0, 32, 32)
    ]
    x = values((p, 7), dtype, low=-9, high=9)
    expected = np.stack([x[i // 32 * 32 + pattern[i % 32]] for i in range(p)])
    assert_same_bits(shuffle(x, pattern), expected)


def test_stream_shuffle_leaves_partitions_of_mask_255_as_they_are_as_2_30_corrects():
    x = values((64, 5))
    pattern = [255 if i % 3 else (i + 1) % 32 for i in range(32)]
    expected = np.stack(
        [
            x[i // 32 * 32 + pattern[i % 32]] if pattern[i % 32] != 255 else np.full(5, 7, FP32)
            for i in range(64)
        ]
    )
    assert_same_bits(shuffle(x, pattern, fill=7.0), expected)


def test_stream_shuffle_writes_where_its_mask_keeps_and_works_in_place():
    x = values((32, 8))
    turned = x[[(i - 1) % 32 for i in range(32)]]
    keep = np.arange(8)[None, :] < 3
    got = shuffle(x, [(i - 1) % 32 for i in range(32)], fill=0.0, mask=nl.arange(8)[None, :] < 3)
    assert_same_bits(got, np.where(keep, turned, np.float32(0)))

    def in_place(t):
        nisa.nc_stream_shuffle(src=t, dst=t, shuffle_mask=[(i - 1) % 32 for i in range(32)])
        return t

    assert_same_bits(on_tiles(in_place, x).values, turned)


def test_stream_shuffle_broadcasts_one_partition_to_a_quadrant_that_starts_elsewhere():
    x = values((1, 9))
    assert_same_bits(shuffle(x, [0] * 32, p=32, dst_start=96), np.repeat(x, 32, axis=0))


def test_stream_shuffle_refuses_what_the_reference_does_not_allow():
    x = values((64, 4))
    refused_pattern = [[0] * 31, [32] * 32, [-1] * 32, [0.5] * 32, "abc"]
    for pattern in refused_pattern:
        with pytest.raises(Exception, match="shuffle_mask") as caught:
            shuffle(x, pattern)
        assert caught.value.rule == "argument"
    with pytest.raises(Exception, match="starts at partition 32") as caught:
        shuffle(x, list(range(32)), p=33, dst_start=32)
    assert caught.value.rule == "start-partition"
    with pytest.raises(IndexError, match="reads partition 40") as caught:
        shuffle(x, [8] * 32, p=64, src_rows=(0, 33))

    def cast(t):
        nisa.nc_stream_shuffle(
            src=t, dst=nl.ndarray((64, 4), dtype=nl.bfloat16), shuffle_mask=[0] * 32
        )

    refused_on_tiles(cast, x, rule="dtype")


# -- nisa.tensor_copy_dynamic_src and _dst ---------------------------------------------------------
@covers("tensor_copy_dynamic")
@given(n=st.integers(8, 60), width=st.integers(1, 8), dtype=st.sampled_from([FP32, BF16, np.int32]))
def test_copies_from_and_to_run_time_offsets(n, width, dtype):
    x = values((16, n), dtype, low=-9, high=9)
    starts = np.random.default_rng(n).integers(0, n - width + 1, (1, 5)).astype(np.int32)

    @nki.jit
    def kernel(x, starts):
        out = nl.ndarray((16, 5 * width), dtype=x.dtype, buffer=nl.shared_hbm)
        moved = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t, s, c = nl.load(x), nl.load(starts), nl.ndarray((16, 5 * width), dtype=x.dtype)
        i_p, i_f = nl.mgrid[0:16, 0:width]
        for j in nl.affine_range(5):
            c[i_p, j * width + i_f] = nisa.tensor_copy_dynamic_src(t[i_p, s[0, j] + i_f])
        z = nl.full(x.shape, 5, dtype=x.dtype)
        nisa.tensor_copy_dynamic_dst(dst=z[i_p, s[0, 2] + i_f], src=t[:, 0:width])
        nl.store(out, c)
        nl.store(moved, z)
        return out, moved

    (got, moved), run = run_kernel(kernel, x, starts)
    assert_same_bits(got, np.concatenate([x[:, s : s + width] for s in starts[0]], axis=1))
    expected = np.full(x.shape, 5).astype(dtype)
    expected[:, starts[0, 2] : starts[0, 2] + width] = x[:, :width]
    assert_same_bits(moved, expected)
    assert run.count("tensor_copy_dynamic", engine="vector") == 6


def test_a_run_time_offset_may_be_an_axis_by_itself():
    x = values((8, 10, 3))
    starts = np.array([[4, 0, 9]], np.int32)

    def body(t, s):
        out = nl.ndarray((8, 3, 3), dtype=nl.float32)
        i, _, k = nl.mgrid[0:8, 0:1, 0:3]
        for j in nl.affine_range(3):
            out[i, j, k] = nisa.tensor_copy_dynamic_src(t[i, s[0, j], k])
        return out

    assert_same_bits(on_tiles(body, x, starts).values, x[:, [4, 0, 9]])


def test_run_time_offsets_are_scalars_on_free_axes_within_the_tile():
    x, starts = values((8, 10)), np.array([[9, 1]], np.int32)
    i_p, i_f = nl.mgrid[0:8, 0:2]
    error = refused_on_tiles(
        lambda t, s: nisa.tensor_copy_dynamic_src(t[i_p, s[0, 0] + i_f]),
        x,
        starts,
        rule="out-of-bounds",
    )
    assert "index 10" in error.headline
    refused_on_tiles(
        lambda t, s: nisa.tensor_copy_dynamic_src(t[i_p, s[0:1, 0:2]]),
        x,
        starts,
        rule="indirect-index",
    )
    refused_on_tiles(
        lambda t, s: nisa.tensor_copy_dynamic_src(t[s[0, 1] - 1 * i_p, i_f]),
        x,
        starts,
        rule="indirect-index",
    )


# -- nisa.sequence_bounds --------------------------------------------------------------------------
@covers("sequence_bounds")
@given(
    ids=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    dtype=st.sampled_from([FP32, np.int32]),
    out=st.sampled_from([None, FP32, np.int32]),
)
def test_sequence_bounds_gives_where_each_segment_begins_and_ends(ids, dtype, out):
    got = on_tiles(
        lambda t: nisa.sequence_bounds(segment_ids=t, dtype=out), np.array([ids], dtype=dtype)
    )
    n = len(ids)
    expected = np.zeros((1, 2, n), dtype=out or dtype)
    for i, own in enumerate(ids):
        first = last = i
        while first and ids[first - 1] == own:
            first -= 1
        while last + 1 < n and ids[last + 1] == own:
            last += 1
        expected[0, :, i] = (n, -1) if own == 0 else (first, last + 1)
    assert_same_bits(got.values, expected)


def test_sequence_bounds_takes_one_partition_of_whole_numbers_from_zero_on():
    refused_on_tiles(
        lambda t: nisa.sequence_bounds(segment_ids=t),
        np.zeros((2, 8), np.float32),
        rule="dimension-limit",
    )
    refused_on_tiles(
        lambda t: nisa.sequence_bounds(segment_ids=t), np.zeros((1, 8), BF16), rule="dtype"
    )
    refused_on_tiles(
        lambda t: nisa.sequence_bounds(segment_ids=t, dtype=nl.bfloat16),
        np.zeros((1, 8), FP32),
        rule="dtype",
    )
    for bad in (-1.0, 0.5):
        error = refused_on_tiles(
            lambda t: nisa.sequence_bounds(segment_ids=t),
            np.full((1, 8), bad, FP32),
            rule="argument",
        )
        assert str(bad) in error.got
