"""Two operands on VectorE (and what may run elsewhere): tile with tile, and tile with number,
against NumPy in float64."""

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


def test_two_operators_that_no_engine_has_both_are_told_to_be_two_instructions():
    error = refused_on_tiles(
        lambda t: nisa.tensor_scalar(t, np.abs, 0.0, op1=np.power, operand1=0.5),
        values((32, 8)),
        rule="engine",
    )
    assert "no engine runs both" in error.headline and "two instructions" in error.remedy


def test_an_engine_without_the_operator_is_told_to_be_left_out():
    for engine in (nisa.scalar_engine, nisa.gpsimd_engine):
        error = refused_on_tiles(
            lambda t, engine=engine: nisa.tensor_scalar(t, np.subtract, 1.0, engine=engine),
            values((32, 8)),
            rule="engine",
        )
        assert "leave engine= out" in error.remedy


def _assigned(t):
    """The bits of `t` as an assignment casts, or does not cast, them."""
    bits = nl.ndarray(t.shape, dtype=nl.uint32, buffer=nl.sbuf)
    bits[...] = nl.bitwise_or(t, t)
    return bits


def _assigned_under_a_mask(t):
    bits = nl.zeros(t.shape, dtype=nl.uint32, buffer=nl.sbuf)
    _, j = nl.mgrid[0 : t.shape[0], 0 : t.shape[1]]
    bits[...] = nl.bitwise_or(t, t, mask=j < 9)
    return bits


@pytest.mark.parametrize(
    "body",
    [
        lambda t: nisa.tensor_tensor(t, t, nl.bitwise_and, dtype=nl.uint32),
        lambda t: nisa.tensor_scalar(t, nl.bitwise_or, 0, dtype=nl.uint32),
        lambda t: nl.invert(nl.invert(t), dtype=nl.uint32),
        lambda t: nisa.tensor_reduce(nl.bitwise_or, t, axis=1, dtype=nl.uint32),
        lambda t: nisa.tensor_partition_reduce(nl.bitwise_or, t, dtype=nl.uint32),
        _assigned,
        _assigned_under_a_mask,
    ],
)
def test_bits_are_written_as_they_are_to_integers_of_the_other_sign(body):
    # nothing is cast: aws-neuron-sdk v2.26.0 nki.isa, tensor_tensor, tensor_scalar, tensor_reduce
    x = np.full((1, 1), -(2**31) + 5, np.int32)
    got = on_tiles(body, x)
    assert got.values.dtype == np.uint32
    assert got.values.tolist() == [[2**31 + 5]]


def test_operands_of_both_signs_are_shifted_within_their_width():
    x, by = np.array([[-1, 5]], np.int32), np.array([[3, 31]], np.uint32)
    got = on_tiles(lambda t, s: nisa.tensor_tensor(t, s, nl.left_shift, dtype=nl.int32), x, by)
    assert got.values.tolist() == [[-8, -(2**31)]]
