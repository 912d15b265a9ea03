"""Gathers, shuffles within quadrants, run-time offsets, segment bounds, selection by range."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..helpers import (
    BF16,
    FLOATS,
    FP32,
    assert_same_bits,
    covers,
    on_tiles,
    refused,
    refused_on_tiles,
    rounded,
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


# -- nisa.range_select, nisa.select_reduce ---------------------------------------------------------
COMPARISONS = {
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
}


@covers("range_select")
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 60),
    dtype=st.sampled_from(FLOATS),
    out=st.sampled_from([None, *FLOATS]),
    op0=st.sampled_from(sorted(COMPARISONS)),
    op1=st.sampled_from(sorted(COMPARISONS)),
    start=st.integers(0, 50),
)
def test_range_select_keeps_what_lies_between_the_bounds(p, n, dtype, out, op0, op1, start):
    x = values((p, n), dtype)
    low, high = (np.rint(values((p, 1), seed=s, low=0, high=80)).astype(np.float32) for s in (1, 2))

    @nki.jit
    def kernel(x, low, high):
        a = nl.load(x)
        best = nl.ndarray((p, 1), dtype=nl.float32)
        chosen = nisa.range_select(
            on_true_tile=a,
            comp_op0=getattr(nl, op0),
            comp_op1=getattr(np, op1),
            bound0=nl.load(low),
            bound1=nl.load(high),
            range_start=start,
            reduce_res=best,
            dtype=out,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
            reduce_op=np.max,
            on_false_value=nl.fp32.min,
        )
        o = nl.ndarray(chosen.shape, dtype=chosen.dtype, buffer=nl.shared_hbm)
        b = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(o, chosen)
        nl.store(b, best)
        return o, b

    got, best = nki.simulate_kernel(kernel, x, low, high)
    place = start + np.arange(n)
    keep = COMPARISONS[op0](place, low) & COMPARISONS[op1](place, high)
    chosen = np.where(keep, x.astype(np.float64), float(np.finfo(np.float32).min))
    with np.errstate(over="ignore"):
        assert_same_bits(got, rounded(chosen, out or dtype))
    assert_same_bits(best, chosen.max(axis=1, keepdims=True).astype(np.float32))


def chain(x, first, second):
    """Row maxima over both halves of x, read out by the second select_reduce or range_select
    only."""

    @nki.jit
    def kernel(x):
        t = nl.load(x)
        best = nl.ndarray((8, 1), dtype=nl.float32)
        first(t[:, 0:8], None, nisa.reduce_cmd.reset_reduce)
        second(t[:, 8:16], best, nisa.reduce_cmd.reduce)
        out = nl.ndarray((8, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, best)
        return out

    return nki.simulate_kernel(kernel, x)


def ranged(t, best, cmd):
    zero, many = nl.zeros((8, 1), dtype=nl.float32), nl.full((8, 1), 99, dtype=nl.float32)
    nisa.range_select(
        on_true_tile=t,
        comp_op0=nl.greater_equal,
        comp_op1=nl.less,
        bound0=zero,
        bound1=many,
        reduce_cmd=cmd,
        reduce_res=best,
    )


def selected(t, best, cmd):
    nisa.select_reduce(
        dst=nl.ndarray((8, 8), dtype=nl.float32),
        predicate=nl.full((8, 8), 1, dtype=nl.uint8),
        on_true=t,
        on_false=0.0,
        reduce_cmd=cmd,
        reduce_res=best,
    )


@pytest.mark.parametrize("second", [ranged, selected])
@pytest.mark.parametrize("first", [ranged, selected])
def test_selections_share_the_registers_of_the_running_maximum(first, second):
    x = values((8, 16))
    x[:4, :8] += 9
    assert_same_bits(chain(x, first, second), x.max(axis=1, keepdims=True))


def test_after_an_idle_selection_the_registers_are_not_known():
    with pytest.raises(Exception, match="before they are reset") as caught:
        chain(
            values((8, 16)), lambda t, best, cmd: selected(t, best, nisa.reduce_cmd.idle), selected
        )
    assert caught.value.rule == "uninitialized-read"


def test_range_select_refuses_what_the_reference_does_not_allow():
    x, b = values((4, 8)), np.zeros((4, 1), np.float32)

    def with_(**changed):
        def body(t, b):
            return nisa.range_select(
                **{
                    "on_true_tile": t,
                    "comp_op0": nl.less,
                    "comp_op1": nl.less,
                    "bound0": b,
                    "bound1": b,
                    **{k: v(t, b) for k, v in changed.items()},
                }
            )

        return body

    for changed, rule in (
        ({"comp_op0": lambda t, b: nl.not_equal}, "operator"),
        ({"bound0": lambda t, b: 3.0}, "argument"),
        ({"bound1": lambda t, b: t}, "shape-mismatch"),
        ({"on_false_value": lambda t, b: 0.0}, "argument"),
        ({"bound1": lambda t, b: nl.copy(b, dtype=nl.bfloat16)}, "dtype"),
        ({"range_start": lambda t, b: 2**24}, "argument"),
        ({"reduce_op": lambda t, b: nl.add}, "operator"),
        ({"on_true_tile": lambda t, b: nl.copy(t, dtype=nl.int32)}, "dtype"),
    ):
        refused_on_tiles(with_(**changed), x, b, rule=rule)


def test_instructions_of_later_generations_are_refused_on_earlier_ones():
    x, b = values((4, 8)), np.zeros((4, 1), np.float32)
    error = refused_on_tiles(
        lambda t, b: nisa.range_select(
            on_true_tile=t, comp_op0=nl.less, comp_op1=nl.less, bound0=b, bound1=b
        ),
        x,
        b,
        rule="target",
        target="trn1",
    )
    assert "NeuronCore-v3" in error.headline and "trn2" in error.limit


def test_select_reduce_takes_the_data_types_of_the_reference():
    x, p = values((4, 8)), np.ones((4, 8), np.uint8)

    def of(predicate=nl.uint8, on_true=nl.float32):
        def body(t, p):
            d = nl.ndarray((4, 8), dtype=nl.float32)
            nisa.select_reduce(
                dst=d,
                predicate=nl.copy(p, dtype=predicate),
                on_true=nl.copy(t, dtype=on_true),
                on_false=0.0,
            )
            return d

        return body

    for dtype in (nl.int8, nl.uint8, nl.int16, nl.uint16):
        assert_same_bits(on_tiles(of(predicate=dtype), x, p).values, x)
    for dtype in (nl.int32, nl.uint32, nl.float32):
        refused_on_tiles(of(predicate=dtype), x, p, rule="dtype")
    for dtype in (nl.int32, nl.uint32):
        refused_on_tiles(of(on_true=dtype), x, p, rule="dtype")


def test_predicated_copies_take_operands_of_other_ranks_with_as_many_elements_as_2_32_corrects():
    x, p = values((4, 2, 3, 4)), (values((4, 24), seed=5) > 0).astype(np.uint8)

    @nki.jit
    def kernel(x, p):
        out = nl.ndarray((4, 24), dtype=nl.float32, buffer=nl.shared_hbm)
        dst = nl.full((4, 24), 9, dtype=nl.float32)
        nisa.tensor_copy_predicated(
            src=nl.load(x), dst=dst, predicate=nl.load(p).reshape((4, 6, 4))
        )
        nl.store(out, dst)
        return out

    assert_same_bits(
        nki.simulate_kernel(kernel, x, p), np.where(p, x.reshape(4, 24), np.float32(9))
    )
    refused(
        nki.jit(
            lambda x, p: nisa.tensor_copy_predicated(
                src=nl.load(x), dst=nl.zeros((4, 12), dtype=nl.float32), predicate=nl.load(p)
            )
        ),
        x,
        p,
        rule="shape-mismatch",
    )


def test_local_gather_writes_into_a_part_of_a_tile_as_2_30_corrects():
    x = values((16, 32))
    index = np.random.default_rng(3).integers(0, 32, (16, 1)).astype(np.uint16)

    def body(t, i):
        d = nl.full((16, 40), 5, dtype=nl.float32)
        nisa.local_gather(t, i, dst=d[:, 8:24])
        return d

    want = np.full((16, 40), 5, FP32)
    want[:, 8:24] = x[:, index[:, 0].astype(int)]
    assert_same_bits(on_tiles(body, x, index).values, want)


@pytest.mark.parametrize(
    "number", [float(np.finfo(np.float32).min), np.finfo(np.float32).min, -3.4028234663852886e38]
)
def test_selections_take_a_python_float_as_the_other_value_as_2_32_corrects(number):
    x, low, high = values((4, 8)), np.zeros((4, 1), FP32), np.full((4, 1), 3, FP32)
    want = np.where(np.arange(8) < 3, x, np.finfo(np.float32).min)
    got = on_tiles(
        lambda t, a, b: nisa.range_select(
            on_true_tile=t,
            comp_op0=nl.greater_equal,
            comp_op1=nl.less,
            bound0=a,
            bound1=b,
            on_false_value=number,
        ),
        x,
        low,
        high,
    )
    assert_same_bits(got.values, want)
    i_f = nl.arange(8)[None, :]
    assert_same_bits(on_tiles(lambda t: nisa.affine_select(i_f < 3, t, number), x).values, want)


def test_a_plain_copy_of_elements_that_run_time_indices_pick_is_refused():
    x, starts = values((8, 10)), np.array([[4]], np.int32)
    i_p, i_f = nl.mgrid[0:8, 0:2]

    def assigned(t, s):
        d = nl.ndarray((8, 2), dtype=nl.float32)
        d[...] = t[i_p, s[0, 0] + i_f]
        return d

    for body in (
        assigned,
        lambda t, s: nl.copy(t[i_p, s[0, 0] + i_f]),
        lambda t, s: nisa.tensor_copy(t[i_p, s[0, 0] + i_f]),
    ):
        assert (
            "tensor_copy_dynamic_src"
            in refused_on_tiles(body, x, starts, rule="indirect-index").remedy
        )


def test_records_name_the_attributes_of_searches_and_selections():
    x = values((32, 16))

    def body(t):
        nisa.nc_stream_shuffle(src=t, dst=t, shuffle_mask=[0] * 32)
        zero = nl.zeros((32, 1), dtype=nl.float32)
        return nisa.range_select(
            on_true_tile=t,
            comp_op0=nl.greater_equal,
            comp_op1=nl.less,
            bound0=zero,
            bound1=zero,
            range_start=3,
        )

    seen = {i.op: i.attrs for i in on_tiles(body, x).run.instructions}
    assert seen["nc_stream_shuffle"] == {"shuffle_mask": (0,) * 32}
    assert seen["range_select"] == {
        "comp_op0": "greater_equal",
        "comp_op1": "less",
        "range_start": 3,
        "reduce_cmd": 0,
    }
