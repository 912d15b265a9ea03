"""ScalarE: activation and its reduction registers, against NumPy in float64."""

from __future__ import annotations

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkisim.isa import alu

from ..helpers import (
    BF16,
    FLOATS,
    FP32,
    assert_close,
    assert_same_bits,
    few_examples,
    on_tiles,
    refused_on_tiles,
    rounded,
    run_kernel,
    values,
)


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def _normal(x: np.ndarray) -> np.ndarray:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


# float64, written from the definitions and not from the simulator
REFERENCE = {
    "copy": lambda x: x,
    "square": lambda x: x * x,
    "sigmoid": _sigmoid,
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "gelu_dx": lambda x: (1 + _erf(x / math.sqrt(2))) / 2 + x * _normal(x),
    "gelu_apprx_tanh": lambda x: (
        x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "gelu_apprx_sigmoid": lambda x: x * _sigmoid(1.702 * x),
    "silu": lambda x: x * _sigmoid(x),
    "silu_dx": lambda x: _sigmoid(x) + x * _sigmoid(x) * _sigmoid(-x),
    "tanh": np.tanh,
    "softplus": _softplus,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "erf": _erf,
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "arctan": np.arctan,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: x**-0.5,
    "reciprocal": lambda x: 1 / x,
    "sign": np.sign,
    "abs": np.abs,
}
POSITIVE = {"log", "sqrt", "rsqrt", "reciprocal"}
EXACT = {"copy", "relu", "sign", "abs", "square", "sqrt", "reciprocal"}


def test_every_activation_function_has_a_reference_here():
    assert set(REFERENCE) == set(alu.ACTIVATIONS)


def inputs(name: str, shape: tuple[int, ...], dtype, seed: int = 0) -> np.ndarray:
    return values(shape, dtype, seed, low=0.1 if name in POSITIVE else -3.0, high=3.0)


@pytest.mark.parametrize("name", REFERENCE)
@few_examples
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 40),
    dtype=st.sampled_from(FLOATS),
    out=st.sampled_from([None, *FLOATS]),
    seed=st.integers(0, 3),
)
def test_activation_computes_its_function_in_float32_and_rounds_once(name, p, n, dtype, out, seed):
    x = inputs(name, (p, n), dtype, seed)
    got = on_tiles(lambda t: nisa.activation(getattr(nl, name), t, dtype=out), x)
    assert (got.shape, got.space, got.run.counts()["activation"]) == ((p, n), "sbuf", 1)
    reference = REFERENCE[name](x.astype(np.float64))
    if name in EXACT:
        assert_same_bits(got.values, rounded(reference, out or dtype))
    else:
        # near its zeros a function of float32 arguments is only as good as its argument
        good = np.abs(reference) > 1e-2
        assert_close(got.values[good], reference[good], out or dtype, ulps=64)
        np.testing.assert_allclose(got.values.astype(np.float64), reference, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("name", sorted(set(REFERENCE) - {"copy", "reciprocal"}))
def test_the_function_of_the_language_is_the_same_instruction(name):
    x = inputs(name, (16, 24), FP32)
    by_name = on_tiles(getattr(nl, name), x)
    by_instruction = on_tiles(lambda t: nisa.activation(getattr(nl, name), t), x)
    assert_same_bits(by_name.values, by_instruction.values)
    assert by_name.run.counts() == by_instruction.run.counts()


@pytest.mark.parametrize("function", [np.exp, np.tanh, np.square, np.absolute, np.copy])
def test_numpy_functions_name_activations_too(function):
    x = values((8, 16))
    got = on_tiles(lambda t: nisa.activation(function, t), x)
    np.testing.assert_allclose(got.values, function(x), rtol=1e-6)


@given(
    p=st.integers(1, 128),
    n=st.integers(1, 30),
    scale=st.sampled_from(["number", "vector", None]),
    bias=st.sampled_from([None, FP32, BF16]),
    dtype=st.sampled_from(FLOATS),
)
def test_the_argument_is_scaled_first_and_the_bias_added_then_in_float32(p, n, scale, bias, dtype):
    x, s, b = values((p, n), dtype), values((p, 1), seed=1), values((p, 1), bias or FP32, 2)

    def body(t, u, v):
        chosen = {"number": 0.125, "vector": u, None: 1.0}[scale]
        return nisa.activation(
            nl.copy, t, scale=chosen, bias=v if bias is not None else None, dtype=nl.float32
        )

    factor = {"number": 0.125, "vector": s.astype(np.float64), None: 1.0}[scale]
    scaled = (x.astype(np.float64) * factor).astype(np.float32)
    expected = scaled.astype(np.float64) + (b.astype(np.float64) if bias is not None else 0)
    assert_same_bits(on_tiles(body, x, s, b).values, rounded(expected, FP32))


def test_activation_reads_psum_and_writes_where_it_is_told():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((3, 8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        product = nisa.nc_matmul(nl.load(a), nl.load(b))
        to_psum = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.psum)
        to_psum[...] = nisa.activation(nl.exp, product)
        part = nl.ndarray((8, 32), dtype=nl.float32)
        part[:, 0:32:2] = nl.exp(product)
        nisa.activation(nl.exp, product, dst=part[:, 1:32:2])
        nl.store(out[0], nl.copy(to_psum))
        nl.store(out[1], part[:, 0::2])
        nl.store(out[2], part[:, 1::2])
        return out

    a, b = np.eye(8, dtype=np.float32), values((8, 16))
    got, run = run_kernel(kernel, a, b)
    np.testing.assert_allclose(got, np.broadcast_to(np.exp(b), (3, 8, 16)), rtol=1e-6)
    assert [i.dst[0].space for i in run.instructions if i.op == "activation"] == [
        "psum",
        "sbuf",
        "sbuf",
    ]
    assert run.counts() == {"dma_copy": 5, "activation": 3, "nc_matmul": 1, "tensor_copy": 1}


def test_a_buffer_keyword_puts_the_result_in_psum():
    got = on_tiles(lambda t: nisa.activation(nl.exp, t, buffer=nl.psum), values((8, 16)))
    assert got.space == "psum"


# -- reductions ------------------------------------------------------------------------------------
@given(
    p=st.integers(1, 128), n=st.integers(1, 40), dtype=st.sampled_from(FLOATS), form=st.booleans()
)
def test_activation_reduce_gives_the_tile_and_the_sum_of_its_rows(p, n, dtype, form):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((p, n), dtype=x.dtype, buffer=nl.shared_hbm)
        sums = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        res = nl.ndarray((p, 1), dtype=nl.float32)
        if form:
            tile = nisa.activation_reduce(
                nl.exp, nl.load(x), reduce_op=nl.add, reduce_res=res, scale=0.5
            )
        else:
            tile = nisa.activation(
                nl.exp,
                nl.load(x),
                reduce_op=np.add,
                reduce_res=res,
                scale=0.5,
                reduce_cmd=nisa.reduce_cmd.reset_reduce,
            )
        nl.store(out, tile)
        nl.store(sums, res)
        return out, sums

    x = values((p, n), dtype)
    (got, sums), run = run_kernel(kernel, x)
    expected = np.exp(x.astype(np.float64) * 0.5)
    assert_close(got, expected, dtype, ulps=8)
    np.testing.assert_allclose(sums, expected.sum(axis=1, keepdims=True), rtol=1e-5)
    assert [o.name for o in next(i for i in run.instructions if i.op == "activation").dst] == [
        "tile",
        "res",
    ]


def test_the_sum_is_taken_before_the_result_is_rounded_to_its_own_type():
    x = np.full((1, 256), 1.0 + 2.0**-10, np.float32)

    def body(t):
        res = nl.ndarray((1, 1), dtype=nl.float32)
        nisa.activation_reduce(nl.copy, t, reduce_op=nl.add, reduce_res=res, dtype=nl.bfloat16)
        return res

    assert on_tiles(body, x).values.item() == 256.25


def test_registers_carry_a_sum_over_several_instructions_until_they_are_reset():
    cmd = nisa.reduce_cmd

    @nki.jit
    def kernel(x):
        out = nl.ndarray((4, 5), dtype=nl.float32, buffer=nl.shared_hbm)
        res = nl.ndarray((4, 5), dtype=nl.float32)
        tile = nl.load(x)
        for i, what in enumerate((cmd.reset_reduce, cmd.reduce, cmd.idle, cmd.reset, cmd.reduce)):
            nisa.activation(
                nl.copy,
                tile,
                reduce_op=None if what in (cmd.idle, cmd.reset) else nl.add,
                reduce_cmd=what,
                reduce_res=res[:, i : i + 1],
            )
        nl.store(out, res)
        return out

    x = values((4, 8))
    total = x.sum(axis=1, dtype=np.float64)
    expected = np.stack([total, 2 * total, 2 * total, 0 * total, total], axis=1)
    np.testing.assert_allclose(run_kernel(kernel, x)[0], expected, rtol=1e-5, atol=1e-6)


def test_registers_belong_to_partitions():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        tile, res = nl.load(x), nl.ndarray((128, 1), dtype=nl.float32)
        nisa.activation_reduce(
            nl.copy, tile[64:128, :], reduce_op=nl.add, reduce_res=res[64:128, :]
        )
        nisa.activation_reduce(nl.copy, tile[0:64, :], reduce_op=nl.add, reduce_res=res[0:64, :])
        nisa.activation(
            nl.copy,
            tile[64:128, :],
            reduce_op=nl.add,
            reduce_cmd=nisa.reduce_cmd.reduce,
            reduce_res=res[64:128, :],
        )
        nl.store(out, res[64:128, :])
        return out

    x = values((128, 8))
    np.testing.assert_allclose(
        run_kernel(kernel, x)[0], 2 * x[64:].sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6
    )


def test_registers_that_were_never_reset_cannot_be_read():
    def body(t):
        res = nl.ndarray((8, 1), dtype=nl.float32)
        nisa.activation(nl.exp, t, reduce_op=nl.add, reduce_res=res)  # reduce_cmd is forgotten
        return res

    error = refused_on_tiles(body, values((8, 16)), rule="uninitialized-read")
    assert "reset_reduce" in error.remedy


def test_reductions_other_than_a_sum_need_the_second_generation():
    def body(t):
        res = nl.ndarray((8, 1), dtype=nl.float32)
        nisa.activation_reduce(nl.copy, t, reduce_op=nl.maximum, reduce_res=res)
        return res

    x = values((8, 16))
    assert_same_bits(on_tiles(body, x).values, x.max(axis=1, keepdims=True))
    refused_on_tiles(body, x, target="trn1", rule="operator")


@pytest.mark.parametrize(
    ("options", "rule", "words"),
    [
        ({"bias": lambda t: 1.0}, "dtype", "memset"),
        ({"bias": lambda t: nl.zeros((8, 1), dtype=nl.int8)}, "dtype", "int8"),
        (
            {"bias": lambda t: nl.zeros((8, 2), dtype=nl.float32)},
            "shape-mismatch",
            "one element per partition",
        ),
        ({"scale": lambda t: nl.zeros((8, 1), dtype=nl.float16)}, "dtype", "float32"),
        ({"scale": lambda t: t}, "shape-mismatch", "(8, 1)"),
        ({"reduce_cmd": lambda t: nisa.reduce_cmd.reduce}, "argument", "reduce_op"),
    ],
)
def test_wrong_operands_of_activation_are_refused(options, rule, words):
    def body(t):
        return nisa.activation(nl.exp, t, **{name: make(t) for name, make in options.items()})

    assert words in str(refused_on_tiles(body, values((8, 16)), rule=rule))


def test_reciprocal_takes_a_bias_from_the_second_generation_on():
    def body(t):
        return nisa.activation(nl.reciprocal, t, bias=nl.ones((8, 1), dtype=nl.float32))

    x = values((8, 16), low=1)
    np.testing.assert_allclose(on_tiles(body, x).values, 1 / (x + 1), rtol=1e-6)
    refused_on_tiles(body, x, target="trn1", rule="argument")


def test_a_function_that_is_no_activation_is_refused_with_the_list_of_those_there_are():
    error = refused_on_tiles(lambda t: nisa.activation(nl.cos, t), values((8, 16)), rule="operator")
    assert "cos" in error.headline and "exp" in error.limit
