"""VectorE: running reductions in its registers, of NKI 0.3 to 0.6 and of the last NKI 0.1, against
NumPy."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import nkisim
from nkisim.isa import alu
from nkisim.isa.registers import IDLE, LOAD_REDUCE, REDUCE, RESET_REDUCE
from nkisim.isa.running import EXPONENTIAL, TENSOR_SCALAR_CUMULATIVE, TENSOR_SCALAR_REDUCE
from nkisim.tensors.const import Const

from ..helpers import (
    FLOATS,
    FP32,
    assert_same_bits,
    covers,
    instruct,
    on_tiles,
    refused_on_tiles,
    values,
)

OPS = alu.ALU

CUMULATIVE = {
    "add": (np.add, 0.0),
    "subtract": (np.subtract, 0.0),
    "multiply": (np.multiply, 1.0),
    "maximum": (np.maximum, -np.inf),
    "minimum": (np.minimum, np.inf),
}


@covers("tensor_scalar_cumulative")
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 40),
    op0=st.sampled_from(["add", "multiply", "maximum", "subtract"]),
    op1=st.sampled_from(sorted(CUMULATIVE)),
    dtype=st.sampled_from(FLOATS),
    reverse=st.booleans(),
    load=st.booleans(),
)
def test_tensor_scalar_cumulative_runs_along_the_free_axis(p, n, op0, op1, dtype, reverse, load):
    x, imm, init = (
        values((p, n), dtype, low=-1.2, high=1.2),
        values((p, 1), seed=1),
        values((p, 1), seed=2),
    )

    def body(t, imm, init):
        cmd = LOAD_REDUCE if load else RESET_REDUCE
        srcs = (t, imm, init) if load else (t, imm)
        return instruct(
            TENSOR_SCALAR_CUMULATIVE,
            "cumulative",
            None,
            srcs,
            (OPS[op0], reverse, OPS[op1], cmd),
            "sbuf",
            FP32,
        )

    function = {
        "add": np.add,
        "multiply": np.multiply,
        "maximum": np.maximum,
        "subtract": np.subtract,
    }[op0]
    wide, i = x.astype(np.float64), imm.astype(np.float64)
    terms = function(i, wide) if reverse else function(wide, i)
    running, start = CUMULATIVE[op1]
    state = init[:, 0].astype(np.float64) if load else np.full(p, start)
    expected = np.empty((p, n))
    for j in range(n):
        state = expected[:, j] = running(terms[:, j], state)
    np.testing.assert_allclose(on_tiles(body, x, imm, init).values, expected, rtol=2e-4, atol=1e-3)


def test_the_instructions_of_vectore_continue_each_others_registers():
    x = values((8, 32))

    @nki.jit
    def kernel(x):
        t = nl.load(x)
        total = nl.ndarray((8, 1), dtype=nl.float32)
        instruct(
            TENSOR_SCALAR_CUMULATIVE,
            "first",
            None,
            (t[:, 0:8], Const(1.0)),
            (OPS["multiply"], False, OPS["add"], RESET_REDUCE),
        )
        instruct(
            TENSOR_SCALAR_REDUCE,
            "second",
            None,
            (t[:, 8:16], Const(1.0)),
            (OPS["multiply"], False, OPS["add"], REDUCE, False),
        )
        instruct(EXPONENTIAL, "third", None, (t[:, 16:32], Const(0.0)), (REDUCE,), extra=total)
        out = nl.ndarray((8, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, total)
        return out

    with nkisim.record(target="trn3"):
        got = kernel(x)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(
        got[:, 0], wide[:, :16].sum(axis=1) + np.exp(wide[:, 16:]).sum(axis=1), rtol=1e-5
    )


def test_tensor_scalar_reduce_may_keep_load_and_negate_its_result_as_2_32_adds():
    x, init = values((8, 16)), values((8, 1), seed=3)

    def chain(negate, load):
        def body(t, init):
            res = nl.ndarray((8, 1), dtype=nl.float32)
            first = (LOAD_REDUCE, False) if load else (RESET_REDUCE, False)
            instruct(
                TENSOR_SCALAR_REDUCE,
                "a",
                None,
                (t[:, 0:8], Const(2.0), *((init,) if load else ())),
                (OPS["multiply"], False, OPS["maximum"], *first),
            )
            instruct(
                TENSOR_SCALAR_REDUCE,
                "b",
                None,
                (t[:, 8:16], Const(2.0)),
                (OPS["multiply"], False, OPS["maximum"], REDUCE, negate),
                extra=res,
            )
            return res

        return on_tiles(body, x, init).values

    best = (2 * x).max(axis=1, keepdims=True)
    assert_same_bits(chain(False, False), best)
    assert_same_bits(chain(True, False), -best)
    assert_same_bits(chain(False, True), np.maximum(best, init))
    for attrs, srcs, rule in (
        ((OPS["subtract"], RESET_REDUCE), 2, "operator"),
        ((OPS["add"], LOAD_REDUCE), 2, "argument"),
        ((OPS["add"], RESET_REDUCE), 3, "argument"),
        ((OPS["add"], IDLE), 2, "argument"),
    ):
        refused_on_tiles(
            lambda t, i, a=attrs, n=srcs: instruct(
                TENSOR_SCALAR_REDUCE,
                "c",
                None,
                (t, Const(1.0), i)[:n],
                (OPS["add"], False, a[0], a[1], False),
            ),
            x,
            init,
            rule=rule,
        )
    refused_on_tiles(
        lambda t, i: instruct(
            TENSOR_SCALAR_REDUCE,
            "d",
            None,
            (t, Const(1.0)),
            (OPS["add"], False, OPS["add"], REDUCE, False),
        ),
        x,
        init,
        rule="uninitialized-read",
    )


@covers("exponential")
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 50),
    dtype=st.sampled_from(FLOATS),
    most=st.sampled_from(["number", "vector"]),
    load=st.booleans(),
)
def test_exponential_subtracts_the_maximum_and_sums_what_it_writes(p, n, dtype, most, load):
    x, m, init = values((p, n), dtype), values((p, 1), seed=1), values((p, 1), seed=2, low=0)

    def body(t, m, init):
        res = nl.ndarray((p, 1), dtype=nl.float32)
        srcs = (t, m if most == "vector" else Const(0.5), *((init,) if load else ()))
        out = instruct(
            EXPONENTIAL,
            "exp",
            None,
            srcs,
            (LOAD_REDUCE if load else RESET_REDUCE,),
            "sbuf",
            FP32,
            extra=res,
        )
        both = nl.ndarray((p, n + 1), dtype=nl.float32)
        both[:, 0:n] = nl.copy(out)
        both[:, n : n + 1] = nl.copy(res)
        return both

    got = on_tiles(body, x, m, init, target="trn3").values
    e = np.exp(x.astype(np.float64) - (m if most == "vector" else 0.5))
    np.testing.assert_allclose(got[:, :n], e, rtol=1e-5)
    np.testing.assert_allclose(got[:, n], e.sum(axis=1) + (init[:, 0] if load else 0), rtol=1e-5)


def test_exponential_does_not_write_32_bit_integers_without_a_sign():
    def body(t):
        instruct(EXPONENTIAL, "e", nl.ndarray((4, 8), dtype=nl.uint32), (t, Const(0.0)), (IDLE,))

    refused_on_tiles(body, values((4, 8)), rule="dtype", target="trn3")


def test_an_idle_exponential_leaves_the_registers_unknown_and_takes_no_reduce_res():
    x = values((4, 8))

    def after(t):
        instruct(EXPONENTIAL, "a", None, (t, Const(0.0)), (RESET_REDUCE,))
        instruct(EXPONENTIAL, "b", None, (t, Const(0.0)), (IDLE,))
        return instruct(EXPONENTIAL, "c", None, (t, Const(0.0)), (REDUCE,))

    refused_on_tiles(after, x, rule="uninitialized-read", target="trn3")
    refused_on_tiles(
        lambda t: instruct(
            EXPONENTIAL,
            "d",
            None,
            (t, Const(0.0)),
            (IDLE,),
            extra=nl.ndarray((4, 1), dtype=nl.float32),
        ),
        x,
        rule="argument",
        target="trn3",
    )


def test_the_last_release_of_nki_0_1_has_tensor_scalar_cumulative_too():
    x, start = values((8, 12)), values((8, 1), seed=1)

    def body(t, s):
        d = nl.ndarray((8, 12), dtype=nl.float32)
        nisa.tensor_scalar_cumulative(
            src=t[:, 0:5],
            dst=d[:, 0:5],
            op0=nl.add,
            op1=nl.max,
            imm0=1,
            imm1=s,
            reduce_cmd=nisa.reduce_cmd.load_reduce,
        )
        nisa.tensor_scalar_cumulative(
            src=t[:, 5:12],
            dst=d[:, 5:12],
            op0=nl.add,
            op1=nl.max,
            imm0=np.float32(1),
            reduce_cmd=nisa.reduce_cmd.reduce,
        )
        return d

    assert_same_bits(
        on_tiles(body, x, start).values,
        np.maximum(np.maximum.accumulate(x + np.float32(1), axis=1), start),
    )


def test_a_first_value_of_tensor_scalar_cumulative_is_used_with_load_reduce_only():
    x, start = values((8, 12)), values((8, 1), seed=1)

    def of(cmd, srcs):
        return lambda t, s: instruct(
            TENSOR_SCALAR_CUMULATIVE,
            "c",
            None,
            (t, Const(0.0), s)[:srcs],
            (OPS["add"], False, OPS["maximum"], cmd),
            "sbuf",
            FP32,
        )

    assert_same_bits(
        on_tiles(of(RESET_REDUCE, 3), x, start).values, np.maximum.accumulate(x, axis=1)
    )
    refused_on_tiles(of(LOAD_REDUCE, 2), x, start, rule="argument")
