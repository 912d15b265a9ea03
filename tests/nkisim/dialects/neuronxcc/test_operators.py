"""Python's operators and assignments on tiles: values, result types, the instruction each one
is."""

from __future__ import annotations

import operator
from itertools import product

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.asking import of_each

from ...helpers import (
    BF16,
    FLOATS,
    FP16,
    FP32,
    assert_same_bits,
    few_examples,
    marked_line,
    on_tiles,
    refused,
    refused_on_tiles,
    rounded,
    run_kernel,
    values,
)

ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul}
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
BITS = {"&": operator.and_, "|": operator.or_, "^": operator.xor}
INPLACE = {"+": operator.iadd, "-": operator.isub, "*": operator.imul}


@pytest.mark.parametrize("symbol", ARITHMETIC)
@few_examples
@given(
    a=st.sampled_from(FLOATS),
    b=st.sampled_from(FLOATS),
    p=st.integers(1, 128),
    n=st.integers(1, 30),
)
def test_two_tiles_give_the_promoted_type_by_one_instruction(symbol, a, b, p, n):
    function = ARITHMETIC[symbol]
    x, y = values((p, n), a), values((p, n), b, 1)
    got = on_tiles(function, x, y)
    out = a if a == b else FP32
    assert_same_bits(got.values, rounded(function(x.astype(np.float64), y.astype(np.float64)), out))
    assert got.run.counts()["tensor_tensor"] == 1 and len(got.run) == 4


TYPED = (
    (0.75, lambda d: FP32),
    (3, lambda d: d),
    (np.float16(0.75), lambda d: FP32 if d == BF16 else d),
    (np.float32(0.75), lambda d: FP32),
    (np.float64(0.75), lambda d: FP32),
    (True, lambda d: d),
)


@of_each(product(ARITHMETIC, FLOATS, TYPED))
def test_a_number_on_either_side_is_typed_as_documented(symbol, dtype, typed):
    function, (number, out) = ARITHMETIC[symbol], typed
    x = values((8, 16), dtype)
    right = (
        on_tiles(lambda t: function(t, number), x),
        function(x.astype(np.float64), float(number)),
    )
    left = on_tiles(lambda t: function(number, t), x), function(float(number), x.astype(np.float64))
    for got, expected in (right, left):
        assert_same_bits(
            got.values, rounded(expected, FP32 if np.dtype(dtype) == FP32 else out(dtype))
        )
        assert got.run.counts()["tensor_scalar"] == 1


@pytest.mark.parametrize("symbol", COMPARE)
def test_comparisons_give_booleans(symbol):
    function = COMPARE[symbol]
    x, y = values((8, 16)), values((8, 16), seed=1)
    y[:, ::4] = x[:, ::4]
    assert_same_bits(on_tiles(function, x, y).values, function(x, y))
    assert_same_bits(on_tiles(lambda t: function(t, 0.5), x).values, function(x, 0.5))
    assert_same_bits(on_tiles(lambda t: function(0.5, t), x).values, function(np.float32(0.5), x))


@pytest.mark.parametrize("symbol", BITS)
def test_bitwise_operators_take_integers_and_booleans(symbol):
    function = BITS[symbol]
    x, y = (np.random.default_rng(i).integers(0, 2**30, (8, 16), np.int32) for i in (0, 1))
    assert_same_bits(on_tiles(function, x, y).values, function(x, y))
    assert_same_bits(on_tiles(lambda t: function(t, 12), x).values, function(x, np.int32(12)))
    got = on_tiles(lambda s, t: function(s > 2**29, t > 2**29), x, y)
    np.testing.assert_array_equal(got.values.astype(bool), function(x > 2**29, y > 2**29))
    refused_on_tiles(function, values((8, 16)), values((8, 16)), rule="dtype")


def test_the_other_operators():
    x = values((8, 16), low=0.5)
    i = np.arange(128, dtype=np.int32).reshape(8, 16)
    assert_same_bits(on_tiles(lambda t: -t, x).values, -x)
    assert_same_bits(on_tiles(abs, -x).values, x)
    assert_same_bits(on_tiles(lambda t: ~t, i).values, ~i)
    assert_same_bits(on_tiles(lambda t: ~(t > 1.0), x).values, ~(x > 1))
    assert_same_bits(on_tiles(lambda t: t << 3, i).values, i << 3)
    assert_same_bits(on_tiles(lambda t: t >> 2, i).values, i >> 2)
    np.testing.assert_allclose(
        on_tiles(lambda t: t**2, x).values, x.astype(np.float64) ** 2, rtol=1e-6
    )
    np.testing.assert_allclose(
        on_tiles(lambda t: 2.0**t, x).values, 2 ** x.astype(np.float64), rtol=1e-6
    )
    np.testing.assert_allclose(
        on_tiles(lambda t: t % 0.75, x).values, np.mod(x, np.float32(0.75)), rtol=1e-6
    )


def test_division_is_a_reciprocal_and_a_product_and_by_a_number_a_product():
    x, y = values((8, 16)), values((8, 16), seed=1, low=0.5)
    got = on_tiles(operator.truediv, x, y)
    np.testing.assert_allclose(got.values, x / y, rtol=3e-7)
    assert got.run.counts() == {"dma_copy": 3, "reciprocal": 1, "tensor_tensor": 1}
    got = on_tiles(lambda t: t / 4, x)
    assert_same_bits(got.values, x / 4)
    assert got.run.counts() == {"dma_copy": 2, "tensor_scalar": 1}
    np.testing.assert_allclose(on_tiles(lambda t: 1.0 / t, y).values, 1 / y, rtol=3e-7)


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t @ t,
        lambda t: t // 2,
        lambda t: 7 // t,
        lambda t: +t,
        lambda t: operator.imatmul(t, t),
        lambda t: operator.ifloordiv(t, 2),
    ],
)
def test_an_operator_tiles_do_not_have_is_refused_with_what_to_use(use):
    error = refused_on_tiles(use, values((8, 8)), rule="operator")
    assert isinstance(error, TypeError) and error.remedy


def test_a_vector_over_the_partitions_goes_with_every_column_by_tensor_scalar():
    x, v = values((8, 16)), values((8, 1), seed=1)
    for function in ARITHMETIC.values():
        got = on_tiles(function, x, v)
        assert_same_bits(got.values, function(x, v))
        assert_same_bits(on_tiles(lambda s, t, f=function: f(t, s), x, v).values, function(v, x))
        assert got.run.counts() == {"dma_copy": 3, "tensor_scalar": 1}


def test_operators_do_not_broadcast_partitions_but_functions_of_the_language_do():
    x, row = values((8, 16)), values((1, 16), seed=1)
    error = refused_on_tiles(operator.add, x, row, rule="operator-broadcast")
    assert "nl.add" in error.remedy and ".broadcast_to" in error.remedy
    got = on_tiles(nl.add, x, row)
    assert_same_bits(got.values, x + row)
    assert got.run.count("nc_matmul") == 1


# -- in place --------------------------------------------------------------------------------------
@pytest.mark.parametrize("symbol", INPLACE)
@few_examples
@given(
    dtype=st.sampled_from(FLOATS),
    other=st.sampled_from(FLOATS),
    kind=st.sampled_from(["tile", "vector", "number"]),
)
def test_updates_in_place_keep_the_type_of_the_tile_and_are_one_instruction(
    symbol, dtype, other, kind
):
    x, y = values((8, 16), dtype), values((8, 16 if kind == "tile" else 1), other, 1)

    def body(t, u):
        before = t.buf
        t = INPLACE[symbol](t, 1.5 if kind == "number" else u)
        assert t.buf is before
        return t

    operand = 1.5 if kind == "number" else y.astype(np.float64)
    got = on_tiles(body, x, y)
    assert_same_bits(got.values, rounded(ARITHMETIC[symbol](x.astype(np.float64), operand), dtype))
    assert len(got.run) == 4


def test_parts_are_updated_in_place_through_subscripts():
    def body(t):
        i_p, i_f = nl.mgrid[0:8, 0:4]
        t[:, 0:4] += 1.0
        t[0:8, nl.ds(4, 4)] *= 2.0
        t[i_p, 8 + i_f] -= t[i_p, i_f]
        t[...] /= 2.0
        t[:, 12:16] = 7
        return t

    x = values((8, 16))
    expected = x.copy()
    expected[:, 0:4] += 1
    expected[:, 4:8] *= 2
    expected[:, 8:12] -= expected[:, 0:4]
    expected /= 2
    expected[:, 12:16] = 7
    got = on_tiles(body, x)
    assert_same_bits(got.values, expected)
    assert got.run.counts() == {"tensor_scalar": 3, "dma_copy": 2, "memset": 1, "tensor_tensor": 1}


# -- assignment ------------------------------------------------------------------------------------
MAKES = {
    "activation": lambda t: nisa.activation(nl.exp, t),
    "language": lambda t: nl.exp(t),
    "operator": lambda t: t * 2.0,
    "tensor_tensor": lambda t: nisa.tensor_tensor(t, t, op=nl.add),
    "memset": lambda t: nisa.memset((8, 16), 1.0, dtype=nl.float32),
    "zeros": lambda t: nl.zeros((8, 16), dtype=nl.float32),
    "select": lambda t: nl.where(t > 0, t, 0.0),
    "scan": lambda t: nisa.tensor_tensor_scan(t, t, 0.0, op0=nl.multiply, op1=nl.add),
    "iota": lambda t: nisa.iota(nl.arange(8)[:, None] + nl.arange(16)[None, :], dtype=nl.float32),
}


@pytest.mark.parametrize("name", MAKES)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_instruction_that_makes_a_value_writes_where_it_is_assigned_and_casts_there(
    name, dtype
):
    def body(t):
        whole = nl.ndarray((8, 32), dtype=dtype)
        whole[:, 0:16] = MAKES[name](t)
        whole[:, 16:32] = MAKES[name](t)
        return whole

    x = values((8, 16))
    plain = on_tiles(MAKES[name], x)
    got = on_tiles(body, x)
    expected = plain.values.astype(np.float64)
    assert_same_bits(got.values, rounded(np.concatenate([expected, expected], axis=1), dtype))
    once = {op: n for op, n in plain.run.counts().items() if op != "dma_copy"}
    assert {op: n for op, n in got.run.counts().items() if op != "dma_copy"} == {
        op: 2 * n for op, n in once.items()
    }


def test_a_load_writes_where_it_is_assigned():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 16), dtype=nl.float16, buffer=nl.shared_hbm)
        tile = nl.ndarray((8, 16), dtype=nl.float16)
        tile[:, 0:8] = nl.load(x[:, 0:8])
        tile[:, 8:16] = nl.load(x[:, 8:16])
        nl.store(out, tile)
        return out

    x = values((8, 16))
    got, run = run_kernel(kernel, x)
    assert_same_bits(got, x.astype(FP16))
    assert run.counts() == {"dma_copy": 3}


def test_a_value_that_comes_out_of_a_function_is_still_written_where_it_is_assigned():
    def helper(t):
        doubled = t * 2.0
        return doubled

    def body(t):
        into = nl.ndarray((8, 16), dtype=nl.float32)
        into[...] = helper(t)
        return into

    assert on_tiles(body, values((8, 16))).run.counts() == {"dma_copy": 2, "tensor_scalar": 1}


def test_a_value_that_has_a_name_is_copied():
    def body(t):
        into = nl.ndarray((8, 16), dtype=nl.float32)
        doubled = t * 2.0
        into[...] = doubled
        return into

    assert on_tiles(body, values((8, 16))).run.counts() == {
        "dma_copy": 2,
        "tensor_scalar": 1,
        "tensor_copy": 1,
    }


def test_a_value_made_earlier_is_copied():
    def body(t):
        into = nl.ndarray((8, 16), dtype=nl.float32)
        held = [t * 2.0, t * 3.0]
        into[...] = held.pop(0)
        return into

    assert on_tiles(body, values((8, 16))).run.count("tensor_copy") == 1


def test_an_assigned_vector_is_repeated_over_the_free_axis():
    x, v = values((8, 16)), values((8, 1), seed=1)

    def body(t, u):
        t[...] = u
        t[:, 4:8] = u + 1.0
        return t

    expected = np.repeat(v, 16, axis=1)
    expected[:, 4:8] += 1
    assert_same_bits(on_tiles(body, x, v).values, expected)


@pytest.mark.parametrize(
    ("assign", "rule"),
    [
        (lambda t: t[:, 0:1].__setitem__(Ellipsis, t), "assign-shape"),
        (lambda t: t.__setitem__(Ellipsis, t[0:1, :]), "partition-mismatch"),
        (lambda t: t.__setitem__((slice(0, 8), slice(0, 3)), t[:, 0:4]), "assign-shape"),
        (lambda t: t.__setitem__(Ellipsis, np.ones((8, 16))), "numpy-on-tile"),
        (lambda t: t.__setitem__(Ellipsis, "x"), "argument"),
        (lambda t: t.__setitem__(Ellipsis, [1, 2]), "argument"),
    ],
)
def test_assignments_that_do_not_fit_are_refused(assign, rule):
    refused_on_tiles(assign, values((8, 16)), rule=rule)


def test_hbm_tensors_are_stored_to_and_never_assigned_or_updated():
    def assigns(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        out[...] = nl.load(x)  # breaks
        return out

    def updates(x):
        x += 1.0  # breaks
        return x

    def assigned_from(x):
        tile = nl.ndarray(x.shape, dtype=x.dtype)
        tile[...] = x  # breaks
        return tile

    for kernel, words in ((assigns, "nl.store"), (updates, "nl.load"), (assigned_from, "nl.load")):
        error = refused(kernel, values((8, 16)), rule="memory")
        assert error.line == marked_line(kernel) and words in error.remedy
