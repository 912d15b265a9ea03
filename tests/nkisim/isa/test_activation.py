"""ScalarE: activate2, what an activation of NKI 0.6 takes, and operators by magnitude, against
NumPy."""

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
from nkisim.isa.reduce import TENSOR_REDUCE
from nkisim.isa.registers import IDLE, REDUCE, RESET_REDUCE
from nkisim.isa.scalar import ACTIVATE2, ACTIVATION
from nkisim.isa.vector import TENSOR_TENSOR
from nkisim.tensors.const import Const

from ..helpers import BF16, FLOATS, FP32, covers, instruct, on_tiles, refused_on_tiles, values

OPS = alu.ALU

PAIRS = [
    ("multiply", "add"),
    ("multiply", "subtract"),
    ("multiply", None),
    ("add", None),
    ("subtract", None),
    (None, None),
]


@covers("activate2")
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 30),
    pair=st.sampled_from(PAIRS),
    dtype=st.sampled_from(FLOATS),
    reverse0=st.booleans(),
    reverse1=st.booleans(),
    function=st.sampled_from(["exp", "prelu", "copy", "gelu_apprx_sigmoid_dx"]),
)
def test_activate2_computes_two_operators_and_a_function(
    p, n, pair, dtype, reverse0, reverse1, function
):
    x, a, b = values((p, n), dtype), values((p, 1), seed=1), values((p, 1), seed=2)
    reverse0, reverse1 = reverse0 and pair[0] is not None, reverse1 and pair[1] is not None
    attrs = (
        function,
        pair[0] and OPS[pair[0]],
        reverse0,
        pair[1] and OPS[pair[1]],
        reverse1,
        None,
        IDLE,
    )
    got = on_tiles(
        lambda t, a, b: instruct(
            ACTIVATE2, "activate2", None, (t, a, b, Const(0.25)), attrs, "sbuf", FP32
        ),
        x,
        a,
        b,
        target="trn3",
    ).values
    y = x.astype(np.float64)
    for name, reverse, v in ((pair[0], reverse0, a), (pair[1], reverse1, b)):
        f = {"multiply": np.multiply, "add": np.add, "subtract": np.subtract, None: lambda p, q: p}[
            name
        ]
        y = f(v.astype(np.float64), y) if reverse else f(y, v.astype(np.float64))
    s = 1 / (1 + np.exp(-1.702 * y))
    want = {
        "exp": np.exp(y),
        "prelu": np.where(y >= 0, y, 0.25 * y),
        "copy": y,
        "gelu_apprx_sigmoid_dx": s + 1.702 * y * s * (1 - s),
    }[function]
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["add", "maximum", "minimum", "abs_max", "abs_min"])
def test_activate2_reduces_into_the_registers_of_scalare(op):
    x = values((8, 30))

    def body(t):
        res = nl.ndarray((8, 1), dtype=nl.float32)
        for part, cmd, extra in ((t[:, 0:10], RESET_REDUCE, None), (t[:, 10:30], REDUCE, res)):
            instruct(
                ACTIVATE2,
                "a",
                None,
                (part, Const(1.0), Const(1.0), Const(0.0)),
                ("copy", None, False, None, False, OPS[op], cmd),
                extra=extra,
            )
        return res

    got = on_tiles(body, x, target="trn3").values[:, 0]
    want = {
        "add": x.sum(axis=1),
        "maximum": x.max(axis=1),
        "minimum": x.min(axis=1),
        "abs_max": x[range(8), np.abs(x).argmax(axis=1)],
        "abs_min": np.zeros(8) if op == "never" else x[range(8), np.abs(x).argmin(axis=1)],
    }[op]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_activate2_refuses_what_the_reference_does_not_allow():
    x, v, w = values((4, 8)), values((4, 1)), values((4, 1), BF16)

    def of(pair=(None, None), reverse=(False, False), reduce_op=None, cmd=IDLE, imms=None):
        def body(t, v, w):
            a, b = (Const(1.0), Const(1.0)) if imms is None else (v, w)
            ops = [p and OPS[p] for p in pair]
            return instruct(
                ACTIVATE2,
                "a",
                None,
                (t, a, b, Const(0.0)),
                ("exp", ops[0], reverse[0], ops[1], reverse[1], reduce_op and OPS[reduce_op], cmd),
            )

        return body

    for body, rule in (
        (of(("add", "multiply")), "operator"),
        (of((None, "add")), "operator"),
        (of(reverse=(True, False)), "argument"),
        (of(reduce_op="multiply", cmd=RESET_REDUCE), "operator"),
        (of(cmd=RESET_REDUCE), "argument"),
        (of(("multiply", "add"), imms=True), "dtype"),
    ):
        refused_on_tiles(body, x, v, w, rule=rule, target="trn3")
    refused_on_tiles(of(), x, v, w, rule="target", target="trn2")


def test_an_activation_of_0_6_takes_a_number_as_bias_from_trn2_on_and_sums_only():
    x = values((4, 8))

    def of(op=None, newer=(True,)):
        return lambda t: instruct(
            ACTIVATION,
            "activation",
            None,
            (t, Const(0.5)),
            ("exp", False, True, op and OPS[op], RESET_REDUCE if op else IDLE, *newer),
            "sbuf",
            FP32,
        )

    np.testing.assert_allclose(
        on_tiles(of(), x).values, np.exp(x.astype(np.float64) + 0.5), rtol=1e-6
    )
    refused_on_tiles(of(), x, rule="target", target="trn1")
    refused_on_tiles(of(newer=()), x, rule="dtype")
    refused_on_tiles(of("maximum"), x, rule="operator")


def test_sin_goes_on_as_a_cubic_beyond_pi_as_2_32_documents():
    x = np.array([[9.0, -9.0, 3.0, -3.14159, 0.5]], np.float32)
    got = on_tiles(
        lambda t: instruct(
            ACTIVATION, "activation", None, (t,), ("sin_table", False, False, None, IDLE, True)
        ),
        x,
    ).values[0]
    assert abs(got[0] - 27.65) < 0.01 and got[1] == -got[0]
    np.testing.assert_allclose(got[2:], np.sin(x[0, 2:].astype(np.float64)), atol=1e-6)


def test_a_reduction_that_is_read_into_the_result_s_own_tile_is_kept_as_2_32_corrects():
    x = values((8, 16))

    @nki.jit
    def kernel(x):
        t, d = nl.load(x), nl.ndarray((8, 16), dtype=nl.float32)
        nisa.activation(
            nl.exp,
            t,
            dst=d,
            reduce_op=nl.add,
            reduce_res=d[:, 0:1],
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
        )
        out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, d)
        return out

    got, e = nki.simulate_kernel(kernel, x), np.exp(x.astype(np.float64))
    np.testing.assert_allclose(got[:, 0], e.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(got[:, 1:], e[:, 1:], rtol=1e-5)


@pytest.mark.parametrize("op", ["abs_max", "abs_min"])
def test_operators_by_magnitude_keep_the_sign_and_take_the_second_of_equals(op):
    x = np.array([[-5, 3, 1, -2, 0]], np.float32)
    y = np.array([[3, -5, -1, 2, -0.0]], np.float32)
    body = lambda a, b: instruct(TENSOR_TENSOR, "tensor_tensor", None, (a, b), (OPS[op], None))  # noqa: E731
    got = on_tiles(body, x, y, target="trn3").values
    assert got.tolist() == [[-5, -5, -1, 2, 0] if op == "abs_max" else [3, 3, -1, 2, 0]]
    refused_on_tiles(body, x, y, rule="target", target="trn2")


def test_logical_operators_take_any_number_but_zero_as_true_as_2_30_corrects():
    x, y = np.array([[0, 0, 2, -3, 0.5]], np.float32), np.array([[0, 1, 4, 0, 8]], np.float32)
    got = {
        name: on_tiles(lambda a, b, f=name: nisa.tensor_tensor(a, b, getattr(nl, f)), x, y)
        .values[0]
        .tolist()
        for name in ("logical_and", "logical_or", "logical_xor")
    }
    assert got == {
        "logical_and": [0, 0, 1, 0, 1],
        "logical_or": [0, 1, 1, 1, 1],
        "logical_xor": [0, 1, 0, 1, 0],
    }


@pytest.mark.parametrize("op", ["abs_max", "abs_min"])
def test_only_activate2_reduces_by_magnitude(op):
    # "N" in the column of legal reductions: aws-neuron-sdk v2.32.0 nki.api.shared.rst
    refused_on_tiles(
        lambda t: instruct(
            TENSOR_REDUCE, "tensor_reduce", None, (t,), (OPS[op], 1, False, False), "sbuf", FP32
        ),
        values((4, 8)),
        rule="operator",
        target="trn3",
    )


@pytest.mark.parametrize(
    ("name", "right"),
    [(name, np.inf) for name in ("gelu", "gelu_apprx_tanh", "gelu_apprx_sigmoid", "silu", "mish")]
    + [(name, 1.0) for name in ("gelu_dx", "silu_dx", "gelu_apprx_sigmoid_dx")],
)
def test_a_function_of_all_inputs_is_at_infinity_what_it_approaches_there(name, right):
    # valid from -inf to inf: aws-neuron-sdk v2.26.0 nki.api.shared.rst
    got = alu.activation_function(name)(np.array([-np.inf, np.inf, np.nan], np.float32))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [0, right, np.nan])


def test_gelu_keeps_its_digits_far_to_the_left():
    x = np.array([-5.0, -3.0, 2.0], np.float32)
    right = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()]
    np.testing.assert_allclose(alu.activation_function("gelu")(x), right, rtol=1e-6)
    z = np.sqrt(2 / np.pi) * (x.astype(np.float64) + 0.044715 * x.astype(np.float64) ** 3)
    tanh = alu.activation_function("gelu_apprx_tanh")(x)
    np.testing.assert_allclose(tanh, x / (1 + np.exp(-2 * z)), rtol=1e-6)
