"""VectorE (and what may run elsewhere): operators, reductions, copies, selection, against NumPy in
float64."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkisim.machine import dtypes

from ..helpers import (
    BF16,
    FLOATS,
    FP16,
    FP32,
    assert_same_bits,
    few_examples,
    on_tiles,
    refused_on_tiles,
    rounded,
    run_kernel,
    values,
)

SHAPES = st.tuples(st.integers(1, 128), st.integers(1, 40))
INTEGERS = [np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32)]

# float64 reference of each arithmetic operator; their float32 results are exact roundings of these
BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
BITWISE = {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
}


def wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


# -- tensor_tensor ---------------------------------------------------------------------------------
@pytest.mark.parametrize("op", BINARY)
@few_examples
@given(shape=SHAPES, a=st.sampled_from(FLOATS), b=st.sampled_from(FLOATS), seed=st.integers(0, 5))
def test_tensor_tensor_computes_in_float32_and_rounds_once_to_the_promoted_type(
    op, shape, a, b, seed
):
    x, y = values(shape, a, seed), values(shape, b, seed + 7)
    y.reshape(-1)[::3] = x.reshape(-1)[::3].astype(b)
    got = on_tiles(lambda s, t: nisa.tensor_tensor(s, t, op=getattr(nl, op)), x, y)
    out = dtypes.promote(np.dtype(a), np.dtype(b))
    assert (got.shape, got.dtype, got.space) == (shape, out, "sbuf")
    assert_same_bits(got.values, rounded(BINARY[op](wide(x), wide(y)), out))


@pytest.mark.parametrize("op", BITWISE)
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_bitwise_tensor_tensor_works_on_the_bits_of_integers(op, dtype):
    info = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(info.min, info.max, (8, 16), dtype, endpoint=True)
    y = np.random.default_rng(2).integers(info.min, info.max, (8, 16), dtype, endpoint=True)
    got = on_tiles(lambda s, t: nisa.tensor_tensor(s, t, op=getattr(nl, op)), x, y)
    assert_same_bits(got.values, BITWISE[op](x, y))


@pytest.mark.parametrize("op", ["add", "subtract", "multiply"])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_32_bit_integer_arithmetic_is_exact_and_runs_on_gpsimd(op, dtype):
    x, y = np.array([[2**24 + 1, 7, 2**30]], dtype), np.array([[1, 3, 3]], dtype)
    got = on_tiles(lambda s, t: nisa.tensor_tensor(s, t, op=getattr(nl, op)), x, y)
    assert_same_bits(got.values, getattr(np, op)(x, y))
    assert got.run.count("tensor_tensor", engine="gpsimd") == 1


def test_power_runs_on_gpsimd():
    x, y = values((8, 16), low=0.5), values((8, 16), seed=1)
    got = on_tiles(lambda s, t: nisa.tensor_tensor(s, t, op=nl.power), x, y)
    np.testing.assert_allclose(got.values, wide(x) ** wide(y), rtol=1e-6)
    assert got.run.count("tensor_tensor", engine="gpsimd") == 1


def test_tensor_tensor_reads_one_operand_from_psum_and_writes_to_psum_if_asked():
    @nki.jit
    def kernel(a, b, c):
        out = nl.ndarray((2, 8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        product = nisa.nc_matmul(nl.load(a), nl.load(b))
        other = nl.load(c)
        in_psum = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.psum)
        in_psum[...] = nisa.tensor_tensor(product, other, op=nl.add)
        nl.store(out[0], nl.copy(in_psum))
        nl.store(out[1], nisa.tensor_tensor(other, product, op=nl.subtract))
        return out

    a, b, c = np.eye(8, dtype=np.float32), values((8, 16)), values((8, 16), seed=1)
    got, run = run_kernel(kernel, a, b, c)
    assert_same_bits(got, np.stack([b + c, c - b]))
    assert [i.dst[0].space for i in run.instructions if i.op == "tensor_tensor"] == ["psum", "sbuf"]


def test_tiles_with_the_same_elements_a_partition_need_not_have_the_same_axes():
    x, y = values((8, 4, 6)), values((8, 24), seed=1)
    got = on_tiles(lambda s, t: nisa.tensor_tensor(s, t, op=nl.add), x, y)
    assert got.shape == (8, 4, 6)
    assert_same_bits(got.values, x + y.reshape(8, 4, 6))


def test_operands_may_be_strided_reversed_in_axes_and_broadcast_views():
    x, y = values((16, 6, 8)), values((16, 48), seed=1)

    def body(s, t):
        i_p, i_a, i_b = (
            nl.arange(16)[:, None, None],
            nl.arange(6)[None, :, None],
            nl.arange(4)[None, None, :],
        )
        swapped = s[i_p, i_a, 2 * i_b + 1]  # every second of the last axis
        repeated = t[i_p, 2 * i_a + 0 * i_b]  # one element repeated along the last axis
        return nisa.tensor_tensor(swapped, repeated, op=nl.multiply)

    got = on_tiles(body, x, y)
    assert_same_bits(got.values, x[:, :, 1::2] * y[:, 0:12:2, None])


def test_operands_at_different_start_partitions_are_combined_row_by_row():
    x = values((128, 8))
    got = on_tiles(lambda t: nisa.tensor_tensor(t[32:64, :], t[96:128, :], op=nl.add), x)
    assert_same_bits(got.values, x[32:64] + x[96:128])


# -- tensor_scalar ---------------------------------------------------------------------------------
@pytest.mark.parametrize("op", [*BINARY])
@pytest.mark.parametrize("reverse", [False, True])
@few_examples
@given(shape=SHAPES, dtype=st.sampled_from(FLOATS), vector=st.booleans(), seed=st.integers(0, 5))
def test_tensor_scalar_takes_a_number_or_one_value_a_partition_and_keeps_the_type_of_the_tile(
    op, reverse, shape, dtype, vector, seed
):
    x, v = values(shape, dtype, seed), values((shape[0], 1), FP32, seed + 1)
    if vector:
        got = on_tiles(
            lambda t, u: nisa.tensor_scalar(t, op0=getattr(nl, op), operand0=u, reverse0=reverse),
            x,
            v,
        )
    else:
        v = np.float32(0.75)
        got = on_tiles(
            lambda t: nisa.tensor_scalar(t, op0=getattr(nl, op), operand0=0.75, reverse0=reverse), x
        )
    a, b = (v, x) if reverse else (x, v)
    assert (got.shape, got.dtype, got.space) == (shape, np.dtype(dtype), "sbuf")
    assert_same_bits(got.values, rounded(BINARY[op](wide(a), wide(b)), dtype))


@given(
    shape=SHAPES,
    dtype=st.sampled_from(FLOATS),
    out=st.sampled_from([None, *FLOATS]),
    r0=st.booleans(),
    r1=st.booleans(),
)
def test_tensor_scalar_chains_two_operators_in_float32_before_the_one_rounding(
    shape, dtype, out, r0, r1
):
    x, v = values(shape, dtype), values((shape[0], 1), BF16, 1)
    got = on_tiles(
        lambda t, u: nisa.tensor_scalar(t, nl.subtract, 1.5, r0, nl.multiply, u, r1, dtype=out),
        x,
        v,
    )
    first = (1.5 - wide(x) if r0 else wide(x) - 1.5).astype(np.float32)
    assert_same_bits(got.values, rounded(wide(first) * wide(v), out or dtype))
    assert got.run.count("tensor_scalar") == 1


@pytest.mark.parametrize("op", [*BITWISE, "left_shift", "right_shift"])
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_bitwise_tensor_scalar_works_on_the_bits_and_shifts_in_zeros(op, dtype):
    info = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(info.min, info.max, (8, 16), dtype, endpoint=True)
    got = on_tiles(lambda t: nisa.tensor_scalar(t, op0=getattr(nl, op), operand0=3), x)
    unsigned = x.view(f"u{dtype.itemsize}")
    expected = {**BITWISE, "left_shift": np.left_shift, "right_shift": np.right_shift}[op](
        unsigned, unsigned.dtype.type(3)
    )
    assert_same_bits(got.values, expected.view(dtype))


def test_bitwise_constants_may_be_negative_or_wider_than_the_tile():
    x = np.array([[0, 1, 255]], np.uint8)
    assert on_tiles(
        lambda t: nisa.tensor_scalar(t, op0=nl.bitwise_or, operand0=-2), x
    ).values.tolist() == [[254, 255, 255]]
    got = on_tiles(lambda t: nl.bitwise_and(t, 300), x)
    assert got.dtype == np.int32 and got.values.tolist() == [[0, 0, 300 & 255]]
    x = np.array([[1, 2**31]], np.uint32)
    assert on_tiles(
        lambda t: nisa.tensor_scalar(t, op0=nl.bitwise_xor, operand0=-1), x
    ).values.tolist() == [[2**32 - 2, 2**31 - 1]]


@pytest.mark.parametrize(
    ("op", "reference"),
    [("abs", np.abs), ("reciprocal", lambda x: 1 / x), ("logical_not", lambda x: x == 0)],
)
def test_operators_of_one_operand_ignore_the_second(op, reference):
    x = values((8, 16))
    got = on_tiles(lambda t: nisa.tensor_scalar(t, op0=getattr(nl, op), operand0=0.0), x)
    assert_same_bits(got.values, rounded(reference(wide(x)), FP32))


def test_rsqrt_adds_its_operand_before_the_root_and_runs_on_gpsimd():
    x = values((8, 16), low=0.5)
    got = on_tiles(lambda t: nisa.tensor_scalar(t, op0=nl.rsqrt, operand0=0.25), x)
    np.testing.assert_allclose(got.values, 1 / np.sqrt(wide(x) + 0.25), rtol=1e-6)
    assert got.run.count("tensor_scalar", engine="gpsimd") == 1


@pytest.mark.parametrize(
    "options",
    [
        {"op0": np.multiply, "operand0": 2.0, "op1": np.add, "operand1": 1.0},
        {"op0": np.multiply, "operand0": 2.0},
        {"op0": nl.add, "operand0": 1.0},
    ],
)
def test_scalar_engine_runs_the_three_documented_combinations_from_trn2_on(options):
    x = values((8, 16))
    got = on_tiles(lambda t: nisa.tensor_scalar(t, engine=nisa.scalar_engine, **options), x)
    assert got.run.count("tensor_scalar", engine="scalar") == 1
    refused_on_tiles(
        lambda t: nisa.tensor_scalar(t, engine=nisa.scalar_engine, **options),
        x,
        target="trn1",
        rule="engine",
    )


def test_scalar_tensor_tensor_is_two_operators_in_one_instruction():
    x, v, y = values((16, 24)), values((16, 1), seed=1), values((16, 24), BF16, 2)
    for reverse0, reverse1 in ((False, False), (True, False), (False, True), (True, True)):
        got = on_tiles(
            lambda s, u, t, r0=reverse0, r1=reverse1: nisa.scalar_tensor_tensor(
                data=s,
                op0=nl.subtract,
                operand0=u,
                op1=nl.subtract,
                operand1=t,
                reverse0=r0,
                reverse1=r1,
            ),
            x,
            v,
            y,
        )
        inner = ((v - x) if reverse0 else (x - v)).astype(np.float64)
        expected = wide(y) - inner if reverse1 else inner - wide(y)
        assert_same_bits(got.values, rounded(expected, FP32))
        assert got.run.counts()["scalar_tensor_tensor"] == 1
    got = on_tiles(
        lambda s, t: nisa.scalar_tensor_tensor(
            data=s, op0=nl.multiply, operand0=0.5, op1=nl.add, operand1=t, dtype=nl.float16
        ),
        x,
        y,
    )
    assert_same_bits(got.values, rounded(wide(x * np.float32(0.5)) + wide(y), FP16))


# -- reductions ------------------------------------------------------------------------------------
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


# -- copies and fills ------------------------------------------------------------------------------
@pytest.mark.parametrize("source", [*FLOATS, *INTEGERS], ids=str)
@pytest.mark.parametrize("target", [*FLOATS, *INTEGERS], ids=str)
def test_copies_cast_with_one_rounding_and_saturation(source, target):
    x = (
        values((8, 16), source, low=-300 if source.kind != "u" else 0, high=300)
        if source.itemsize > 1
        else values((8, 16), source, low=0, high=100)
    )
    for function in (
        lambda t: nisa.tensor_copy(t, dtype=target),
        lambda t: nl.copy(t, dtype=target),
        lambda t: t.astype(target),
    ):
        got = on_tiles(function, x)
        assert_same_bits(got.values, dtypes.cast(x, target))


def test_a_copy_of_the_same_type_is_accurate_to_the_bit_even_for_large_integers():
    x = np.array([[2**31 - 1, 2**24 + 1]], np.int32)
    assert_same_bits(on_tiles(nisa.tensor_copy, x).values, x)
    got = on_tiles(lambda t: nisa.tensor_copy(t, engine=nisa.scalar_engine), x, target="trn1")
    assert got.values[0, 1] == 2**24  # ScalarE of the first generation goes through float32


@pytest.mark.parametrize("engine", ["vector", "scalar", "gpsimd"])
def test_tensor_copy_runs_on_the_engine_asked_for(engine):
    got = on_tiles(
        lambda t: nisa.tensor_copy(t, engine=getattr(nisa, f"{engine}_engine")), values((8, 16))
    )
    assert got.run.count("tensor_copy", engine=engine) == 1


def test_a_copy_evacuates_psum_and_fills_strided_parts():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((8, 32), dtype=nl.bfloat16, buffer=nl.shared_hbm)
        both = nl.ndarray((8, 32), dtype=nl.bfloat16)
        i_p, i_f = nl.mgrid[0:8, 0:16]
        both[i_p, 2 * i_f] = nisa.tensor_copy(nisa.nc_matmul(nl.load(a), nl.load(b)))
        both[:, 1::2] = nl.load(b)
        nl.store(out, both)
        return out

    a, b = np.eye(8, dtype=np.float32), values((8, 16))
    got, run = run_kernel(kernel, a, b)
    expected = np.empty((8, 32), BF16)
    expected[:, 0::2] = expected[:, 1::2] = b.astype(BF16)
    assert_same_bits(got, expected)
    assert run.counts() == {"dma_copy": 4, "nc_matmul": 1, "tensor_copy": 1}


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
@pytest.mark.parametrize("engine", ["vector", "gpsimd"])
def test_memset_fills_a_new_tile(dtype, engine):
    got = on_tiles(
        lambda t: nisa.memset((16, 3, 8), 3, dtype=dtype, engine=getattr(nisa, f"{engine}_engine")),
        values((1, 1)),
    )
    assert (got.shape, got.space) == ((16, 3, 8), "sbuf")
    assert_same_bits(got.values, np.full((16, 3, 8), 3, dtype))
    assert got.run.count("memset", engine=engine) == 1


def test_a_fill_is_rounded_to_the_type_of_the_tile():
    got = on_tiles(lambda t: nl.full((2, 2), 1.003, dtype=nl.bfloat16), values((1, 1)))
    assert_same_bits(got.values, np.full((2, 2), 1.003, np.float32).astype(BF16))
    assert (
        on_tiles(lambda t: nl.full((2, 2), -np.inf, dtype=nl.float32), values((1, 1))).values[0, 0]
        == -np.inf
    )


# -- selection -------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [*FLOATS, np.dtype(np.int32)], ids=str)
@pytest.mark.parametrize("predicate", [np.uint8, np.bool_, np.int32, np.float32])
def test_where_chooses_between_tiles_vectors_and_numbers(dtype, predicate):
    p = (values((16, 24), seed=9) > 0).astype(predicate)
    x, y, v = (
        values((16, 24), dtype, high=9),
        values((16, 24), dtype, 1, high=9),
        values((16, 1), dtype, 2, high=9),
    )
    assert_same_bits(
        on_tiles(lambda c, a, b: nl.where(c, a, b), p, x, y).values, np.where(p != 0, x, y)
    )
    assert_same_bits(
        on_tiles(lambda c, a, b: nl.where(c, a, b), p, x, v).values, np.where(p != 0, x, v)
    )
    got = on_tiles(lambda c, a: nl.where(c, a, 7, dtype=dtype), p, x).values
    assert_same_bits(got, np.where(p != 0, x, np.asarray(7, dtype)))


@pytest.mark.parametrize("predicate", [np.uint8, np.uint16, np.uint32, np.bool_])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("source", ["tile", "number"])
def test_tensor_copy_predicated_leaves_the_rest_of_its_destination(predicate, reverse, source):
    p, x, y = (
        (values((8, 16), seed=9) > 0).astype(predicate),
        values((8, 16)),
        values((8, 16), seed=1),
    )

    def body(c, a, b):
        nisa.tensor_copy_predicated(
            src=a if source == "tile" else 2.5, dst=b, predicate=c, reverse_pred=reverse
        )
        return b

    got = on_tiles(body, p, x, y)
    chosen = (p == 0) if reverse else (p != 0)
    assert_same_bits(got.values, np.where(chosen, x if source == "tile" else np.float32(2.5), y))
    assert got.run.count("tensor_copy_predicated") == 1


@pytest.mark.parametrize("on_false", ["number", "vector"])
@pytest.mark.parametrize("reverse", [False, True])
def test_select_reduce_selects_and_gives_the_row_maxima_in_one_instruction(on_false, reverse):
    p, x, v = (
        (values((8, 16), seed=9) > 0).astype(np.uint8),
        values((8, 16)),
        values((8, 1), seed=1),
    )

    @nki.jit
    def kernel(p, x, v):
        out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        best = nl.ndarray((8, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        dst, res = nl.ndarray((8, 16), dtype=nl.float32), nl.ndarray((8, 1), dtype=nl.float32)
        other = nl.load(v)
        nisa.select_reduce(
            dst=dst,
            predicate=nl.load(p),
            on_true=nl.load(x),
            on_false=other if on_false == "vector" else -9984.0,
            reduce_res=res,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
            reduce_op=nl.max,
            reverse_pred=reverse,
        )
        nl.store(out, dst)
        nl.store(best, res)
        return out, best

    (got, best), run = run_kernel(kernel, p, x, v)
    expected = np.where(
        (p == 0) if reverse else (p != 0), x, v if on_false == "vector" else np.float32(-9984)
    )
    assert_same_bits(got, expected)
    assert_same_bits(best, expected.max(axis=1, keepdims=True))
    assert run.count("select_reduce") == 1 and len(run) == 6


def test_select_reduce_can_carry_the_maximum_over_several_instructions():
    p, x = np.ones((4, 8), np.uint8), values((2, 4, 8))

    @nki.jit
    def kernel(p, x):
        best = nl.ndarray((4, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        dst, res = nl.ndarray((4, 8), dtype=nl.float32), nl.ndarray((4, 1), dtype=nl.float32)
        predicate = nl.load(p)
        for i, cmd in enumerate((nisa.reduce_cmd.reset_reduce, nisa.reduce_cmd.reduce)):
            nisa.select_reduce(
                dst=dst,
                predicate=predicate,
                on_true=nl.load(x[i]),
                on_false=0.0,
                reduce_res=res,
                reduce_cmd=cmd,
            )
        nl.store(best, res)
        return best

    got, _ = run_kernel(kernel, p, x)
    assert_same_bits(got, x.max(axis=(0, 2))[:, None])
