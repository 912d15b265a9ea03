"""VectorE: the eight largest values, where values lie, their replacement; means and variances in
parts."""

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

NONE = np.uint32(0xFFFFFFFF)


def distinct(p, n, dtype=FP32, seed=0):
    """(p, n) with no value twice in a row."""
    rng = np.random.default_rng([seed, p, n])
    return np.stack([rng.permutation(n) - n // 3 for _ in range(p)]).astype(dtype)


@covers("max8")
@given(
    p=st.integers(1, 128),
    n=st.integers(8, 300),
    dtype=st.sampled_from([*FLOATS, np.int32]),
    out=st.sampled_from([None, *FLOATS]),
)
def test_max8_gives_the_eight_largest_in_descending_order(p, n, dtype, out):
    x = values((p, n), dtype, low=-50, high=50)
    got = on_tiles(lambda t: nisa.max8(src=t, dtype=out), x)
    best = np.sort(x.astype(np.float64), axis=1)[:, ::-1][:, :8]
    assert_same_bits(got.values, rounded(best, out or dtype))
    assert got.run.count("max8", engine="vector") == 1


def test_max8_searches_all_free_axes_and_only_what_its_mask_keeps():
    x = values((8, 4, 5, 6))
    got = on_tiles(lambda t: nisa.max8(src=t), x)
    assert_same_bits(got.values, np.sort(x.reshape(8, -1), axis=1)[:, :-9:-1])
    y = values((8, 40))
    got = on_tiles(lambda t: nisa.max8(src=t, mask=nl.arange(40)[None, :] < 11), y)
    assert_same_bits(got.values, np.sort(y[:, :11], axis=1)[:, :-9:-1])


def test_rows_that_a_mask_leaves_out_of_max8_are_not_known():
    def body(t):
        i_p, i_f = nl.mgrid[0:8, 0:16]
        return nisa.max8(src=t[i_p, i_f], mask=i_p < 4)

    refused_on_tiles(body, values((8, 16)), rule="uninitialized-read")


@covers("nc_find_index8")
@given(
    p=st.integers(1, 128),
    n=st.integers(8, 200),
    dtype=st.sampled_from(FLOATS),
    out=st.sampled_from([None, np.uint16]),
)
def test_find_index8_gives_the_first_place_of_each_value(p, n, dtype, out):
    x = distinct(p, n, dtype)
    where = np.argsort(np.random.default_rng(n).random((p, n)), axis=1)[:, :8]
    got = on_tiles(
        lambda t, v: nisa.nc_find_index8(data=t, vals=v, dtype=out),
        x,
        np.take_along_axis(x, where, axis=1),
    )
    assert_same_bits(got.values, where.astype(out or np.uint32))


def test_a_value_that_find_index8_does_not_find_gets_all_ones_as_2_32_corrects():
    x = np.arange(16, dtype=np.float32)[None, :]
    v = np.array([[3, 99, 0, 15, -1, 7, 8, 100]], np.float32)
    assert on_tiles(lambda t, v: nisa.nc_find_index8(data=t, vals=v), x, v).values.tolist() == [
        [3, NONE, 0, 15, NONE, 7, 8, NONE]
    ]
    short = on_tiles(lambda t, v: nisa.nc_find_index8(data=t, vals=v, dtype=nl.uint16), x, v).values
    assert short.tolist() == [[3, 0xFFFF, 0, 15, 0xFFFF, 7, 8, 0xFFFF]]


def test_equal_values_of_find_index8_advance_through_their_places_as_2_32_corrects():
    x = np.array([[5, 8, 5, 8, 5, 1, 8, 8, 2]], np.float32)
    v = np.array([[8, 5, 8, 8, 5, 5, 5, 2]], np.float32)
    got = on_tiles(lambda t, v: nisa.nc_find_index8(data=t, vals=v), x, v).values
    assert got.tolist() == [[1, 0, 3, 6, 2, 4, NONE, 8]]


def test_a_mask_of_find_index8_limits_only_the_data():
    x = np.tile(np.arange(8, dtype=np.float32), (2, 2))
    v = np.tile(np.arange(8, dtype=np.float32), (2, 1))
    got = on_tiles(
        lambda t, v: nisa.nc_find_index8(data=t, vals=v, mask=nl.arange(16)[None, :] >= 5), x, v
    ).values
    assert got.tolist() == [[8, 9, 10, 11, 12, 5, 6, 7]] * 2


@covers("nc_match_replace8")
@given(
    p=st.integers(1, 128),
    n=st.integers(8, 120),
    dtype=st.sampled_from(FLOATS),
    imm=st.sampled_from([0.0, -1e9, float("-inf")]),
)
def test_match_replace8_replaces_the_values_and_tells_where_they_were(p, n, dtype, imm):
    x = distinct(p, n, dtype)
    where = np.argsort(np.random.default_rng(n).random((p, n)), axis=1)[:, :8]

    @nki.jit
    def kernel(x, v):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        found = nl.ndarray((p, 8), dtype=nl.uint32, buffer=nl.shared_hbm)
        places = nl.ndarray((p, 8), dtype=nl.uint32)
        nl.store(
            out, nisa.nc_match_replace8(data=nl.load(x), vals=nl.load(v), imm=imm, dst_idx=places)
        )
        nl.store(found, places)
        return out, found

    got, found = nki.simulate_kernel(kernel, x, np.take_along_axis(x, where, axis=1))
    expected = x.copy()
    with np.errstate(over="ignore"):
        np.put_along_axis(expected, where, np.float32(imm).astype(dtype), axis=1)
    assert_same_bits(got, expected)
    assert_same_bits(found, where.astype(np.uint32))


def test_equal_values_of_match_replace8_fill_their_places_from_the_last_slot_as_2_32_documents():
    x = np.array([[1, 2, 3, 4, 8, 8, 8, 8, 8, 8, 8]], np.float32)
    v = np.array([[3, 8, 8, 8, 8, 8, 8, 8]], np.float32)

    def body(t, v):
        places = nl.ndarray((1, 8), dtype=nl.uint32)
        nisa.nc_match_replace8(data=t, vals=v, imm=0.0, dst_idx=places)
        return places

    assert on_tiles(body, x, v).values.tolist() == [[2, 10, 9, 8, 7, 6, 5, 4]]


def test_match_replace8_works_in_place_and_leaves_what_its_mask_does_not_search():
    x = values((4, 3, 16), seed=3)

    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        i, j, k = nl.mgrid[0:4, 0:3, 0:16]
        best = nisa.max8(src=t)
        t[i, j, k] = nisa.nc_match_replace8(data=t[i, j, k], vals=best, imm=-9.0, mask=j < 2)
        nl.store(out, t)
        return out

    got, run = run_kernel(kernel, x)
    expected = x.copy()
    eighth = np.sort(x.reshape(4, -1), axis=1)[:, -8].reshape(4, 1, 1)
    expected[:, :2][x[:, :2] >= eighth] = -9
    assert_same_bits(got, expected)
    assert run.counts() == {"dma_copy": 2, "max8": 1, "nc_match_replace8": 1}


def test_searches_refuse_what_the_reference_does_not_allow():
    x, v = values((4, 16)), values((4, 8))
    for body in (
        lambda t, v: nisa.max8(src=t[:, 0:7]),
        lambda t, v: nisa.nc_find_index8(data=t[:, 0:7], vals=v),
        lambda t, v: nisa.nc_find_index8(data=t, vals=t),
        lambda t, v: nisa.nc_match_replace8(data=t, vals=t, imm=0.0),
        lambda t, v: nisa.max8(src=nl.zeros((1, 16385), dtype=nl.float32)),
        lambda t, v: nisa.nc_match_replace8(
            data=nl.zeros((4, 16385), dtype=nl.uint8), vals=v, imm=0.0
        ),
    ):
        assert (
            "elements per partition" in refused_on_tiles(body, x, v, rule="element-count").headline
        )
    refused_on_tiles(
        lambda t, v: nisa.nc_find_index8(data=t, vals=v, dtype=nl.int32), x, v, rule="dtype"
    )
    refused_on_tiles(
        lambda t, v: nisa.nc_find_index8(data=t, vals=v[0:2, :]), x, v, rule="partition-mismatch"
    )
    deep = np.zeros((2, 2, 2, 2, 2, 2), np.float32)
    refused_on_tiles(lambda t: nisa.max8(src=t), deep, rule="rank-limit")


@covers("bn_stats", "bn_aggr")
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 300),
    dtype=st.sampled_from(FLOATS),
    offset=st.sampled_from([0.0, 40.0]),
)
def test_bn_stats_and_bn_aggr_give_mean_and_variance(p, n, dtype, offset):
    x = (values((p, n)) + np.float32(offset)).astype(dtype)
    wide = x.astype(np.float64)
    got = on_tiles(lambda t: nisa.bn_stats(t, dtype=nl.float32), x).values
    for parity, part in enumerate((wide[:, 0::2], wide[:, 1::2])):
        count = part.shape[1]
        assert (got[:, 3 * parity] == count).all()
        if count:
            np.testing.assert_allclose(
                got[:, 3 * parity + 1], part.mean(axis=1), rtol=1e-5, atol=1e-5
            )
            np.testing.assert_allclose(
                got[:, 3 * parity + 2], part.var(axis=1) * count, rtol=1e-4, atol=1e-3
            )
    both = on_tiles(lambda t: nisa.bn_aggr(nisa.bn_stats(t, dtype=nl.float32)), x)
    assert both.shape == (p, 2)
    np.testing.assert_allclose(both.values[:, 0], wide.mean(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(both.values[:, 1], wide.var(axis=1), rtol=1e-4, atol=1e-4)


def test_bn_aggr_puts_several_bn_stats_of_unequal_sizes_together():
    x = values((16, 3, 400), low=-1, high=9)

    def body(t):
        stats = nl.ndarray((16, 18), dtype=nl.float32)
        stats[:, 0:6] = nisa.bn_stats(t[:, 0, :])
        stats[:, 6:12] = nisa.bn_stats(t[:, 1, 0:7])
        stats[:, 12:18] = nisa.bn_stats(t[:, 2, 0:300])
        return nisa.bn_aggr(stats)

    seen = np.concatenate([x[:, 0], x[:, 1, :7], x[:, 2, :300]], axis=1).astype(np.float64)
    got = on_tiles(body, x).values
    np.testing.assert_allclose(
        got, np.stack([seen.mean(axis=1), seen.var(axis=1)], axis=1), rtol=2e-5
    )


def test_a_mask_of_bn_stats_counts_only_what_it_keeps():
    x = values((8, 32), BF16)
    got = on_tiles(
        lambda t: nisa.bn_stats(t, mask=nl.arange(32)[None, :] < 13, dtype=nl.float32), x
    ).values
    assert (got[:, [0, 3]] == [7, 6]).all()
    np.testing.assert_allclose(
        got[:, 4], x[:, 1:13:2].astype(np.float64).mean(axis=1), rtol=1e-5, atol=1e-6
    )


def test_bn_stats_and_bn_aggr_refuse_other_sizes():
    error = refused_on_tiles(
        lambda t: nisa.bn_stats(t), np.zeros((2, 513), np.float32), rule="element-count"
    )
    assert "513" in error.headline and "512" in error.limit and "bn_stats_fmax" in error.limit
    error = refused_on_tiles(
        lambda t: nisa.bn_aggr(t), np.zeros((2, 8), np.float32), rule="element-count"
    )
    assert "multiple of 3" in error.limit


def test_an_index_tile_that_is_no_integer_is_refused():
    @nki.jit
    def kernel(x):
        t = nl.load(x)
        places = nl.ndarray((4, 8), dtype=nl.float32)
        nisa.nc_match_replace8(data=t, vals=t[:, 0:8], imm=0.0, dst_idx=places)

    refused(kernel, values((4, 16)), rule="dtype")


@pytest.mark.parametrize("width", [8, 65, 4096])
def test_ties_of_max8_are_repeated(width):
    x = np.zeros((2, width), np.float32)
    x[:, -1] = 3
    assert on_tiles(lambda t: nisa.max8(src=t), x).values.tolist() == [[3, 0, 0, 0, 0, 0, 0, 0]] * 2
