"""Every function of ScalarE against an independent float64 reference, over data types."""

from __future__ import annotations

import math
from itertools import product

import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkisim.isa.alu import ACTIVATIONS
from tests.asking import of_each

from ..helpers import covers
from .float64 import BF16, CLOSE, FLOATS, agree, normal, run, wide

floats = st.sampled_from(FLOATS)


REFERENCE = {
    "exp": np.exp,
    "log": lambda x: np.log(np.abs(x) + 1),
    "sqrt": lambda x: np.sqrt(np.abs(x) + 1),
    "square": np.square,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "abs": np.abs,
    "sin": np.sin,
    "arctan": np.arctan,
    "sign": np.sign,
    "erf": lambda x: np.vectorize(math.erf)(x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "copy": lambda x: x,
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_apprx_tanh": lambda x: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "gelu_apprx_sigmoid": lambda x: x / (1 + np.exp(-1.702 * x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "erf_dx": lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
    "rsqrt": lambda x: 1 / np.sqrt(np.abs(x) + 1),
    "reciprocal": lambda x: 1 / (np.abs(x) + 1),
}
DERIVATIVES = {"gelu_dx": "gelu", "silu_dx": "silu"}
POSITIVE = ("log", "sqrt", "rsqrt", "reciprocal")


@covers("activation")
@of_each(product(sorted(REFERENCE), FLOATS))
def test_an_activation_is_its_function_in_float32_rounded_once(name, dtype):
    x = normal(21, 64, 50, dtype=dtype)
    x = (np.abs(x.astype(np.float32)) + 1).astype(dtype) if name in POSITIVE else x
    (a,) = wide(x)
    want = {
        "log": np.log,
        "sqrt": np.sqrt,
        "rsqrt": lambda v: 1 / np.sqrt(v),
        "reciprocal": lambda v: 1 / v,
    }.get(name, REFERENCE[name])(a)
    got = run(lambda t: nisa.activation(getattr(nl, name), t), x)
    assert got.dtype == np.dtype(dtype)
    assert np.max(np.abs(got.astype(np.float64) - want)) <= max(
        CLOSE[np.dtype(dtype)], 1e-6
    ) * np.max(np.abs(want))


@pytest.mark.parametrize("name", sorted(DERIVATIVES))
def test_a_derivative_is_the_slope_of_its_function(name):
    x = normal(22, 32, 40)
    f, h = REFERENCE[DERIVATIVES[name]], 1e-5
    slope = (f(x.astype(np.float64) + h) - f(x.astype(np.float64) - h)) / (2 * h)
    assert np.allclose(run(lambda t: nisa.activation(getattr(nl, name), t), x), slope, atol=1e-5)


def test_every_activation_function_has_a_reference():
    assert set(REFERENCE) | set(DERIVATIVES) == set(ACTIVATIONS)


@covers("activation")
@given(
    scale=st.sampled_from([1.0, 0.125, "vector"]),
    bias=st.sampled_from([None, np.float32, BF16]),
    out=floats,
)
def test_activation_scales_then_adds_the_bias(scale, bias, out):
    x, s, b = normal(23, 100, 30), normal(24, 100, 1), normal(25, 100, 1, dtype=bias or np.float32)
    a, sa, ba = wide(x, s, b)
    want = np.exp(a * (sa if scale == "vector" else scale) + (ba if bias else 0))
    got = run(
        lambda x, s, b: nisa.activation(
            nl.exp, x, scale=s if scale == "vector" else scale, bias=b if bias else None, dtype=out
        ),
        x,
        s,
        b,
    )
    assert got.dtype == np.dtype(out)
    assert np.allclose(got.astype(np.float64), want, rtol=max(2 * CLOSE[np.dtype(out)], 4e-6))


@covers("activation")
def test_the_registers_of_the_scalar_engine_carry_over_instructions():
    x = normal(26, 128, 64)

    def body(x):
        total, half = nl.ndarray((128, 1), dtype=nl.float32), nl.ndarray((128, 1), dtype=nl.float32)
        nisa.activation(
            nl.exp,
            x[:, 0:32],
            reduce_op=nl.add,
            reduce_res=half,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
        )
        nisa.activation(
            nl.exp,
            x[:, 32:64],
            reduce_op=nl.add,
            reduce_res=total,
            reduce_cmd=nisa.reduce_cmd.reduce,
        )
        return half, total

    half, total = run(body, x, outputs=2)
    (a,) = wide(x)
    agree(half, np.exp(a[:, :32]).sum(axis=1, keepdims=True))
    agree(total, np.exp(a).sum(axis=1, keepdims=True))
