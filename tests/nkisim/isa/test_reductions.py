"""VectorE's reductions, scans and reciprocals against NumPy in float64."""

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
    FP16,
    FP32,
    assert_same_bits,
    few_examples,
    on_tiles,
    rounded,
    run_kernel,
    values,
)

SHAPES = st.tuples(st.integers(1, 128), st.integers(1, 40))


def wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


REDUCTIONS = {"add": np.sum, "multiply": np.prod, "maximum": np.max, "minimum": np.min}


@pytest.mark.parametrize("op", REDUCTIONS)
@few_examples
@given(
    shape=SHAPES,
    dtype=st.sampled_from(FLOATS),
    keepdims=st.booleans(),
    negate=st.booleans(),
    seed=st.integers(0, 5),
)
def test_tensor_reduce_reduces_the_free_axis_in_float32(op, shape, dtype, keepdims, negate, seed):
    x = values(shape, dtype, seed, low=0.5, high=1.5)
    got = on_tiles(
        lambda t: nisa.tensor_reduce(getattr(nl, op), t, axis=1, keepdims=keepdims, negate=negate),
        x,
    )
    expected = REDUCTIONS[op](wide(x), axis=1, keepdims=True) * (-1 if negate else 1)
    assert (got.shape, got.dtype, got.space) == ((shape[0], 1), np.dtype(dtype), "sbuf")
    eps = {FP32: 2.0**-23 * shape[1], BF16: 2.0**-8, FP16: 2.0**-11}[
        np.dtype(dtype)
    ] + 2.0**-23 * shape[1]
    np.testing.assert_allclose(wide(got.values), expected, rtol=eps)


@pytest.mark.parametrize(
    ("axis", "shape", "expected"),
    [
        ([3], (4, 2, 3, 5), (4, 2, 3)),
        ((2, 3), (4, 2, 3, 5), (4, 2)),
        ([1, 2, 3], (4, 2, 3, 5), (4, 1)),
        (-1, (4, 2, 3), (4, 2)),
        ((3, 2), (4, 2, 3, 5), (4, 2)),
        ([1, 2, 3, 4], (4, 2, 1, 3, 5), (4, 1)),
    ],
)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_over_several_axes_remove_them_or_keep_them_as_ones(
    axis, shape, expected, keepdims
):
    x = values(shape)
    axes = axis if isinstance(axis, int) else tuple(axis)
    for function in (
        lambda t: nisa.tensor_reduce(nl.max, t, axis=axis, keepdims=keepdims),
        lambda t: nl.max(t, axis=axis, keepdims=keepdims),
    ):
        got = on_tiles(function, x)
        reference = np.max(x, axis=axes, keepdims=True)
        assert got.shape == (reference.shape if keepdims else expected)
        assert_same_bits(got.values, reference.reshape(got.shape))


def test_subtract_as_a_reduction_takes_the_rest_from_the_first():
    x = values((4, 5))
    got = on_tiles(lambda t: nisa.tensor_reduce(nl.subtract, t, axis=1), x)
    np.testing.assert_allclose(got.values[:, 0], 2 * x[:, 0] - x.sum(axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "reference"),
    [
        ("bitwise_and", np.bitwise_and),
        ("bitwise_or", np.bitwise_or),
        ("bitwise_xor", np.bitwise_xor),
    ],
)
def test_bitwise_reductions_take_integers_as_they_are(op, reference):
    x = np.random.default_rng(0).integers(0, 2**31, (8, 6), np.int32)
    got = on_tiles(lambda t: nisa.tensor_reduce(getattr(nl, op), t, axis=[1]), x)
    assert_same_bits(got.values, reference.reduce(x, axis=1, keepdims=True))


@pytest.mark.parametrize(("op", "reference"), [("logical_and", np.all), ("logical_or", np.any)])
def test_logical_reductions_give_one_or_zero(op, reference):
    x = np.array([[0, 1, 2], [3, 4, 5], [0, 0, 0]], np.float32)
    got = on_tiles(lambda t: nisa.tensor_reduce(getattr(nl, op), t, axis=1), x)
    assert_same_bits(got.values, reference(x, axis=1, keepdims=True).astype(np.float32))


def test_a_reduction_of_bfloat16_is_summed_in_float32_and_rounded_once():
    x = np.ones((1, 300), BF16)
    assert on_tiles(lambda t: nl.sum(t, axis=1, dtype=nl.float32), x).values.item() == 300.0
    # 256 + 44: exact in bfloat16
    assert on_tiles(lambda t: nl.sum(t, axis=1), x).values.item() == 300.0
    # rounded to even at the end
    assert on_tiles(lambda t: nl.sum(t, axis=1), np.ones((1, 301), BF16)).values.item() == 300.0


@given(shape=SHAPES, dtype=st.sampled_from(FLOATS))
def test_tensor_scalar_reduce_gives_the_result_and_its_row_reductions(shape, dtype):
    @nki.jit
    def kernel(x, v):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        sums = nl.ndarray((x.shape[0], 1), dtype=nl.float32, buffer=nl.shared_hbm)
        res = nl.ndarray((x.shape[0], 1), dtype=nl.float32)
        tile = nl.ndarray(x.shape, dtype=x.dtype)
        tile[...] = nisa.tensor_scalar_reduce(
            data=nl.load(x), op0=nl.multiply, operand0=nl.load(v), reduce_op=nl.max, reduce_res=res
        )
        nl.store(out, tile)
        nl.store(sums, res)
        return out, sums

    x, v = values(shape, dtype), values((shape[0], 1), seed=3)
    (got, sums), run = run_kernel(kernel, x, v)
    product = rounded(wide(x) * wide(v), FP32)
    assert_same_bits(got, product.astype(dtype))
    assert_same_bits(sums, product.max(axis=1, keepdims=True))
    instruction = next(i for i in run.instructions if i.op == "tensor_scalar_reduce")
    assert [o.name for o in instruction.dst] == ["tile", "res"]
    assert len(run) == 5


# -- scan, reciprocal ------------------------------------------------------------------------------
@pytest.mark.parametrize("initial", ["number", "vector"])
@pytest.mark.parametrize(("reverse0", "reverse1"), [(False, False), (True, True)])
def test_tensor_tensor_scan_runs_along_the_free_axis_from_the_initial_state(
    initial, reverse0, reverse1
):
    x, y, start = values((16, 12)), values((16, 12), seed=1), values((16, 1), seed=2)

    def body(s, t, u):
        first = u if initial == "vector" else 0.5
        return nisa.tensor_tensor_scan(
            s, t, first, op0=nl.multiply, op1=nl.subtract, reverse0=reverse0, reverse1=reverse1
        )

    got = on_tiles(body, x, y, start).values
    state = start[:, 0].astype(np.float64) if initial == "vector" else np.full(16, 0.5)
    for i in range(12):
        inner = x[:, i] * state
        state = y[:, i] - inner if reverse1 else inner - y[:, i]
        np.testing.assert_allclose(got[:, i], state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_reciprocal_is_exact_to_the_last_bit(dtype):
    x = values((32, 64), dtype, low=0.25, high=4)
    for function in (nisa.reciprocal, nl.reciprocal):
        got = on_tiles(function, x)
        assert_same_bits(got.values, rounded(1 / wide(x), dtype))
        assert got.run.count("reciprocal", engine="vector") == 1
