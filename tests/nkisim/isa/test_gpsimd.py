"""GpSimdE: iota, affine_select, reductions and broadcasts over partitions, against NumPy."""

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
    on_tiles,
    refused_on_tiles,
    rounded,
    run_kernel,
    values,
)

ONE = np.zeros((1, 1), np.float32)


@given(
    p=st.integers(1, 128),
    n=st.integers(1, 60),
    a=st.integers(-3, 3),
    b=st.integers(-3, 3),
    c=st.integers(-9, 9),
    dtype=st.sampled_from([np.int32, np.float32, BF16, np.int16]),
)
def test_iota_writes_the_values_of_an_affine_expression(p, n, a, b, c, dtype):
    got = on_tiles(
        lambda t: nisa.iota(a * nl.arange(p)[:, None] + b * nl.arange(n)[None, :] + c, dtype=dtype),
        ONE,
    )
    expected = a * np.arange(p)[:, None] + b * np.arange(n)[None, :] + c
    assert (got.shape, got.space) == ((p, n), "sbuf")
    assert_same_bits(
        got.values, expected.astype(np.int64).astype(np.float64).astype(np.float32).astype(dtype)
    )
    assert got.run.count("iota", engine="gpsimd") == 1


def test_iota_takes_three_axes_a_row_a_column_and_saturates():
    i, j, k = nl.arange(4)[:, None, None], nl.arange(3)[None, :, None], nl.arange(5)[None, None, :]
    got = on_tiles(lambda t: nisa.iota(100 * i + 10 * j + k, dtype=nl.int32), ONE)
    np.testing.assert_array_equal(
        got.values, np.add.outer(np.add.outer(100 * np.arange(4), 10 * np.arange(3)), np.arange(5))
    )
    assert on_tiles(lambda t: nisa.iota(nl.arange(5)[:, None], dtype=nl.int32), ONE).shape == (5, 1)
    assert on_tiles(
        lambda t: nisa.iota(nl.arange(5)[None, :] * 100, dtype=nl.uint8), ONE
    ).values.tolist() == [[0, 100, 200, 255, 255]]


@given(
    p=st.integers(1, 128),
    n=st.integers(1, 60),
    dtype=st.sampled_from(FLOATS),
    shift=st.integers(-40, 40),
    out=st.sampled_from([None, *FLOATS]),
)
def test_affine_select_keeps_the_tile_where_the_predicate_holds(p, n, dtype, shift, out):
    x = values((p, n), dtype)
    i_p, i_f = nl.arange(p)[:, None], nl.arange(n)[None, :]
    got = on_tiles(
        lambda t: nisa.affine_select(
            pred=(i_p + shift >= i_f), on_true_tile=t, on_false_value=-1e4, dtype=out
        ),
        x,
    )
    keep = np.arange(p)[:, None] + shift >= np.arange(n)[None, :]
    assert (got.shape, got.space) == ((p, n), "sbuf")
    assert_same_bits(got.values, rounded(np.where(keep, x.astype(np.float64), -1e4), out or dtype))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_affine_select_takes_small_integers(dtype):
    x = values((8, 16), dtype, low=0, high=50)
    got = on_tiles(lambda t: nisa.affine_select(nl.arange(16)[None, :] < 5, t, 7), x)
    assert_same_bits(got.values, np.where(np.arange(16)[None, :] < 5, x, dtype(7)))


def test_affine_select_writes_a_causal_mask_in_place_tile_by_tile():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        i_q, i_k = nl.arange(32)[:, None], nl.arange(32)[None, :]
        for j in nl.affine_range(4):
            tile[:, nl.ds(j * 32, 32)] = nisa.affine_select(
                64 + i_q >= j * 32 + i_k, tile[:, nl.ds(j * 32, 32)], -1.0
            )
        nl.store(out, tile)
        return out

    x = values((32, 128))
    got, run = run_kernel(kernel, x)
    assert_same_bits(
        got, np.where(64 + np.arange(32)[:, None] >= np.arange(128), x, np.float32(-1))
    )
    assert run.counts() == {"affine_select": 4, "dma_copy": 2}


def test_affine_select_from_psum_pays_for_a_copy_as_gpsimd_does_not_reach_psum():
    a, b = np.eye(8, dtype=np.float32), values((8, 16))
    got = on_tiles(
        lambda s, t: nisa.affine_select(
            nl.arange(8)[:, None] >= nl.arange(16)[None, :], nisa.nc_matmul(s, t), 0.0
        ),
        a,
        b,
    )
    assert_same_bits(got.values, np.tril(b))
    assert got.run.count("tensor_copy") == got.run.count("affine_select") == 1


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda i_p, i_f, t: (i_p >= i_f) & (i_f < 4), "mask"),
        (lambda i_p, i_f, t: (i_f % 2) < 1, "mask"),
        (lambda i_p, i_f, t: t, "mask"),
        (lambda i_p, i_f, t: nl.arange(9)[None, :] < 4, "shape-mismatch"),
    ],
)
def test_a_predicate_must_be_one_affine_comparison_over_the_tile(make, rule):
    def body(t):
        return nisa.affine_select(make(nl.arange(8)[:, None], nl.arange(16)[None, :], t), t, 0.0)

    refused_on_tiles(body, values((8, 16)), rule=rule)


def test_affine_select_refuses_wide_integers_and_tiles_as_the_other_value():
    refused_on_tiles(
        lambda t: nisa.affine_select(nl.arange(16)[None, :] < 5, t, 0),
        values((8, 16), np.int32),
        rule="dtype",
    )
    refused_on_tiles(
        lambda t: nisa.affine_select(nl.arange(16)[None, :] < 5, t, t),
        values((8, 16)),
        rule="argument",
    )


@given(p=st.integers(1, 128), n=st.integers(1, 40), dtype=st.sampled_from(FLOATS))
def test_tensor_partition_reduce_adds_over_the_partitions(p, n, dtype):
    x = values((p, n), dtype)
    got = on_tiles(lambda t: nisa.tensor_partition_reduce(np.add, t, dtype=nl.float32), x)
    assert (got.shape, got.dtype, got.space) == ((1, n), FP32, "sbuf")
    np.testing.assert_allclose(
        got.values, x.astype(np.float64).sum(axis=0, keepdims=True), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("op", "reference"),
    [("maximum", np.maximum), ("bitwise_or", np.bitwise_or), ("bitwise_and", np.bitwise_and)],
)
def test_tensor_partition_reduce_has_four_operators(op, reference):
    x = np.random.default_rng(0).integers(0, 2**20, (16, 6), np.int32)
    got = on_tiles(lambda t: nisa.tensor_partition_reduce(getattr(nl, op), t), x)
    assert_same_bits(got.values, reference.reduce(x, axis=0, keepdims=True))
    refused_on_tiles(lambda t: nisa.tensor_partition_reduce(nl.multiply, t), x, rule="operator")


def test_a_mask_leaves_partitions_out_of_a_partition_reduction():
    x = values((16, 6))
    got = on_tiles(
        lambda t: nisa.tensor_partition_reduce(nl.max, t, mask=(nl.arange(16)[:, None] < 5)), x
    )
    assert_same_bits(got.values, x[:5].max(axis=0, keepdims=True))


@pytest.mark.parametrize(
    ("dtype", "ops"),
    [
        (FP32, {"memset": 1, "nc_matmul": 1, "tensor_copy": 1}),
        (BF16, {"memset": 1, "nc_matmul": 1, "tensor_copy": 1}),
        (np.dtype(np.int32), {"partition_broadcast": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(1, 32), (1, 700), (1, 3, 20)])
def test_broadcast_to_repeats_one_partition_exactly_and_is_paid_for(dtype, ops, shape):
    x = values(shape, dtype, high=100)
    got = on_tiles(lambda t: t.broadcast_to((64, *shape[1:])), x)
    assert_same_bits(got.values, np.broadcast_to(x, (64, *shape[1:])).copy())
    chunks = -(-int(np.prod(shape)) // 512)
    assert {op: got.run.count(op) for op in ops} == {
        op: n if op in ("memset", "partition_broadcast") else n * chunks for op, n in ops.items()
    }


def test_broadcasting_free_axes_costs_nothing():
    x = values((16, 1))
    got = on_tiles(lambda t: nl.add(nl.broadcast_to(t, shape=(16, 8)), 1.0), x)
    assert_same_bits(got.values, np.broadcast_to(x + 1, (16, 8)).copy())
    assert got.run.counts() == {"dma_copy": 2, "tensor_scalar": 1}


@pytest.mark.parametrize(
    "engine_use",
    [
        lambda t: nisa.tensor_copy(t, engine=nisa.gpsimd_engine),
        lambda t: nisa.tensor_tensor(t, nl.copy(t), op=nl.power),
        lambda t: nisa.tensor_scalar(t, op0=nl.rsqrt, operand0=0.0),
        lambda t: nisa.tensor_partition_reduce(nl.add, t),
    ],
)
def test_gpsimd_does_not_read_psum(engine_use):
    error = refused_on_tiles(
        lambda s, t: engine_use(nisa.nc_matmul(s, t)), values((8, 8)), values((8, 8))
    )
    assert error.rule in ("gpsimd-psum", "memory") and "psum" in str(error).lower()


def test_gpsimd_does_not_write_psum():
    def body(t):
        tile = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.psum)
        tile[...] = nisa.iota(nl.arange(8)[:, None] + nl.arange(16)[None, :], dtype=nl.float32)
        return tile

    error = refused_on_tiles(body, ONE, rule="gpsimd-psum")
    assert error.remedy == "Write to SBUF."  # no other engine has this instruction
