"""The instructions and forms that only NKI 0.3 to 0.6 has, called as `execute` takes them, against NumPy."""

from __future__ import annotations

import math

import ml_dtypes
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim
from nkisim import dtypes
from nkisim.index import Mask
from nkisim.isa import alu
from nkisim.isa.core import IDLE, LOAD_REDUCE, REDUCE, RESET_REDUCE
from nkisim.isa.dma import DMA_COMPUTE, DMA_COPY, DMA_TRANSPOSE
from nkisim.isa.mx import NC_MATMUL_MX, QUANTIZE_MX, scale_rows
from nkisim.isa.rank import NONZERO, TOPK, first_partitions
from nkisim.isa.reduce import EXPONENTIAL, TENSOR_SCALAR_CUMULATIVE, TENSOR_SCALAR_REDUCE
from nkisim.isa.scalar import ACTIVATE2, ACTIVATION
from nkisim.isa.tensor_engine import NC_MATMUL
from nkisim.isa.vector import TENSOR_TENSOR
from nkisim.state import STATE
from nkisim.tensor import Const

from .helpers import (
    BF16,
    FLOATS,
    FP16,
    FP32,
    assert_same_bits,
    covers,
    instruct,
    on_tiles,
    refused_on_tiles,
    values,
)

OPS = alu.ALU


def made(shape, dtype, space="sbuf"):
    """A tensor of any data type, those that neuronxcc.nki does not name included."""
    return STATE.program.allocate(space, shape, np.dtype(dtype))


# -- the running reductions of VectorE ----------------------------------------------------------------------------------
CUMULATIVE = {"add": (np.add, 0.0), "subtract": (np.subtract, 0.0), "multiply": (np.multiply, 1.0),
              "maximum": (np.maximum, -np.inf), "minimum": (np.minimum, np.inf)}


@covers("tensor_scalar_cumulative")
@given(p=st.integers(1, 128), n=st.integers(1, 40), op0=st.sampled_from(["add", "multiply", "maximum", "subtract"]),
       op1=st.sampled_from(sorted(CUMULATIVE)), dtype=st.sampled_from(FLOATS), reverse=st.booleans(), load=st.booleans())
def test_tensor_scalar_cumulative_runs_along_the_free_axis(p, n, op0, op1, dtype, reverse, load):
    x, imm, init = values((p, n), dtype, low=-1.2, high=1.2), values((p, 1), seed=1), values((p, 1), seed=2)

    def body(t, imm, init):
        cmd = LOAD_REDUCE if load else RESET_REDUCE
        srcs = (t, imm, init) if load else (t, imm)
        return instruct(TENSOR_SCALAR_CUMULATIVE, "cumulative", None, srcs, (OPS[op0], reverse, OPS[op1], cmd), "sbuf", FP32)

    function = {"add": np.add, "multiply": np.multiply, "maximum": np.maximum, "subtract": np.subtract}[op0]
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
        instruct(TENSOR_SCALAR_CUMULATIVE, "first", None, (t[:, 0:8], Const(1.0)), (OPS["multiply"], False, OPS["add"], RESET_REDUCE))
        instruct(TENSOR_SCALAR_REDUCE, "second", None, (t[:, 8:16], Const(1.0)),
                 (OPS["multiply"], False, OPS["add"], REDUCE, False))
        instruct(EXPONENTIAL, "third", None, (t[:, 16:32], Const(0.0)), (REDUCE,), extra=total)
        out = nl.ndarray((8, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, total)
        return out

    with nkisim.record(target="trn3"):
        got = kernel(x)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(got[:, 0], wide[:, :16].sum(axis=1) + np.exp(wide[:, 16:]).sum(axis=1), rtol=1e-5)


def test_tensor_scalar_reduce_may_keep_load_and_negate_its_result_as_2_32_adds():
    x, init = values((8, 16)), values((8, 1), seed=3)

    def chain(negate, load):
        def body(t, init):
            res = nl.ndarray((8, 1), dtype=nl.float32)
            first = (LOAD_REDUCE, False) if load else (RESET_REDUCE, False)
            instruct(TENSOR_SCALAR_REDUCE, "a", None, (t[:, 0:8], Const(2.0), *((init,) if load else ())),
                     (OPS["multiply"], False, OPS["maximum"], *first))
            instruct(TENSOR_SCALAR_REDUCE, "b", None, (t[:, 8:16], Const(2.0)),
                     (OPS["multiply"], False, OPS["maximum"], REDUCE, negate), extra=res)
            return res
        return on_tiles(body, x, init).values

    best = (2 * x).max(axis=1, keepdims=True)
    assert_same_bits(chain(False, False), best)
    assert_same_bits(chain(True, False), -best)
    assert_same_bits(chain(False, True), np.maximum(best, init))
    for attrs, srcs, rule in (((OPS["subtract"], RESET_REDUCE), 2, "operator"), ((OPS["add"], LOAD_REDUCE), 2, "argument"),
                              ((OPS["add"], RESET_REDUCE), 3, "argument"), ((OPS["add"], IDLE), 2, "argument")):
        refused_on_tiles(lambda t, i, a=attrs, n=srcs: instruct(
            TENSOR_SCALAR_REDUCE, "c", None, (t, Const(1.0), i)[:n], (OPS["add"], False, a[0], a[1], False)), x, init, rule=rule)
    refused_on_tiles(lambda t, i: instruct(TENSOR_SCALAR_REDUCE, "d", None, (t, Const(1.0)),
                                           (OPS["add"], False, OPS["add"], REDUCE, False)), x, init, rule="uninitialized-read")


@covers("exponential")
@given(p=st.integers(1, 128), n=st.integers(1, 50), dtype=st.sampled_from(FLOATS), most=st.sampled_from(["number", "vector"]),
       load=st.booleans())
def test_exponential_subtracts_the_maximum_and_sums_what_it_writes(p, n, dtype, most, load):
    x, m, init = values((p, n), dtype), values((p, 1), seed=1), values((p, 1), seed=2, low=0)

    def body(t, m, init):
        res = nl.ndarray((p, 1), dtype=nl.float32)
        srcs = (t, m if most == "vector" else Const(0.5), *((init,) if load else ()))
        out = instruct(EXPONENTIAL, "exp", None, srcs, (LOAD_REDUCE if load else RESET_REDUCE,), "sbuf", FP32, extra=res)
        both = nl.ndarray((p, n + 1), dtype=nl.float32)
        both[:, 0:n] = nl.copy(out)
        both[:, n:n + 1] = nl.copy(res)
        return both

    got = on_tiles(body, x, m, init, target="trn3").values
    e = np.exp(x.astype(np.float64) - (m if most == "vector" else 0.5))
    np.testing.assert_allclose(got[:, :n], e, rtol=1e-5)
    np.testing.assert_allclose(got[:, n], e.sum(axis=1) + (init[:, 0] if load else 0), rtol=1e-5)


def test_an_idle_exponential_leaves_the_registers_unknown_and_takes_no_reduce_res():
    x = values((4, 8))

    def after(t):
        instruct(EXPONENTIAL, "a", None, (t, Const(0.0)), (RESET_REDUCE,))
        instruct(EXPONENTIAL, "b", None, (t, Const(0.0)), (IDLE,))
        return instruct(EXPONENTIAL, "c", None, (t, Const(0.0)), (REDUCE,))

    refused_on_tiles(after, x, rule="uninitialized-read", target="trn3")
    refused_on_tiles(lambda t: instruct(EXPONENTIAL, "d", None, (t, Const(0.0)), (IDLE,), extra=nl.ndarray((4, 1), dtype=nl.float32)),
                     x, rule="argument", target="trn3")


# -- ScalarE ------------------------------------------------------------------------------------------------------------
PAIRS = [("multiply", "add"), ("multiply", "subtract"), ("multiply", None), ("add", None), ("subtract", None), (None, None)]


@covers("activate2")
@given(p=st.integers(1, 128), n=st.integers(1, 30), pair=st.sampled_from(PAIRS), dtype=st.sampled_from(FLOATS),
       reverse0=st.booleans(), reverse1=st.booleans(), function=st.sampled_from(["exp", "prelu", "copy", "gelu_apprx_sigmoid_dx"]))
def test_activate2_computes_two_operators_and_a_function(p, n, pair, dtype, reverse0, reverse1, function):
    x, a, b = values((p, n), dtype), values((p, 1), seed=1), values((p, 1), seed=2)
    reverse0, reverse1 = reverse0 and pair[0] is not None, reverse1 and pair[1] is not None
    attrs = (function, pair[0] and OPS[pair[0]], reverse0, pair[1] and OPS[pair[1]], reverse1, None, IDLE)
    got = on_tiles(lambda t, a, b: instruct(ACTIVATE2, "activate2", None, (t, a, b, Const(0.25)), attrs, "sbuf", FP32), x, a, b,
                   target="trn3").values
    y = x.astype(np.float64)
    for name, reverse, v in ((pair[0], reverse0, a), (pair[1], reverse1, b)):
        f = {"multiply": np.multiply, "add": np.add, "subtract": np.subtract, None: lambda p, q: p}[name]
        y = f(v.astype(np.float64), y) if reverse else f(y, v.astype(np.float64))
    s = 1 / (1 + np.exp(-1.702 * y))
    want = {"exp": np.exp(y), "prelu": np.where(y >= 0, y, 0.25 * y), "copy": y,
            "gelu_apprx_sigmoid_dx": s + 1.702 * y * s * (1 - s)}[function]
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["add", "maximum", "minimum", "abs_max", "abs_min"])
def test_activate2_reduces_into_the_registers_of_scalare(op):
    x = values((8, 30))

    def body(t):
        res = nl.ndarray((8, 1), dtype=nl.float32)
        for part, cmd, extra in ((t[:, 0:10], RESET_REDUCE, None), (t[:, 10:30], REDUCE, res)):
            instruct(ACTIVATE2, "a", None, (part, Const(1.0), Const(1.0), Const(0.0)),
                     ("copy", None, False, None, False, OPS[op], cmd), extra=extra)
        return res

    got = on_tiles(body, x, target="trn3").values[:, 0]
    want = {"add": x.sum(axis=1), "maximum": x.max(axis=1), "minimum": x.min(axis=1),
            "abs_max": x[range(8), np.abs(x).argmax(axis=1)],
            "abs_min": np.zeros(8) if op == "never" else x[range(8), np.abs(x).argmin(axis=1)]}[op]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_activate2_refuses_what_the_reference_does_not_allow():
    x, v, w = values((4, 8)), values((4, 1)), values((4, 1), BF16)

    def of(pair=(None, None), reverse=(False, False), reduce_op=None, cmd=IDLE, imms=None):
        def body(t, v, w):
            a, b = (Const(1.0), Const(1.0)) if imms is None else (v, w)
            ops = [p and OPS[p] for p in pair]
            return instruct(ACTIVATE2, "a", None, (t, a, b, Const(0.0)),
                            ("exp", ops[0], reverse[0], ops[1], reverse[1], reduce_op and OPS[reduce_op], cmd))
        return body

    for body, rule in ((of(("add", "multiply")), "operator"), (of((None, "add")), "operator"), (of(reverse=(True, False)), "argument"),
                       (of(reduce_op="multiply", cmd=RESET_REDUCE), "operator"), (of(cmd=RESET_REDUCE), "argument"),
                       (of(("multiply", "add"), imms=True), "dtype")):
        refused_on_tiles(body, x, v, w, rule=rule, target="trn3")
    refused_on_tiles(of(), x, v, w, rule="target", target="trn2")


def test_an_activation_of_0_6_takes_a_number_as_bias_from_trn2_on_and_sums_only():
    x = values((4, 8))

    def of(op=None, newer=(True,)):
        return lambda t: instruct(ACTIVATION, "activation", None, (t, Const(0.5)), (
            "exp", False, True, op and OPS[op], RESET_REDUCE if op else IDLE, *newer), "sbuf", FP32)

    np.testing.assert_allclose(on_tiles(of(), x).values, np.exp(x.astype(np.float64) + 0.5), rtol=1e-6)
    refused_on_tiles(of(), x, rule="target", target="trn1")
    refused_on_tiles(of(newer=()), x, rule="dtype")
    refused_on_tiles(of("maximum"), x, rule="operator")


def test_sin_goes_on_as_a_cubic_beyond_pi_as_2_32_documents():
    x = np.array([[9.0, -9.0, 3.0, -3.14159, 0.5]], np.float32)
    got = on_tiles(lambda t: instruct(ACTIVATION, "activation", None, (t,), ("sin_table", False, False, None, IDLE, True)), x).values[0]
    assert abs(got[0] - 27.65) < 0.01 and got[1] == -got[0]
    np.testing.assert_allclose(got[2:], np.sin(x[0, 2:].astype(np.float64)), atol=1e-6)


def test_a_reduction_that_is_read_into_the_result_s_own_tile_is_kept_as_2_32_corrects():
    x = values((8, 16))

    @nki.jit
    def kernel(x):
        t, d = nl.load(x), nl.ndarray((8, 16), dtype=nl.float32)
        nisa.activation(nl.exp, t, dst=d, reduce_op=nl.add, reduce_res=d[:, 0:1], reduce_cmd=nisa.reduce_cmd.reset_reduce)
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


# -- TensorE ------------------------------------------------------------------------------------------------------------
FP8 = {"e4m3": ml_dtypes.float8_e4m3, "e5m2": ml_dtypes.float8_e5m2}


@given(k=st.sampled_from([1, 32, 128]), m=st.integers(1, 128), n=st.integers(1, 60), a=st.sampled_from(sorted(FP8)),
       b=st.sampled_from(sorted(FP8)), mode=st.sampled_from(["double_row", "double_row_gen3"]))
def test_double_row_contracts_partitions_and_the_axis_of_two_as_2_32_corrects(k, m, n, a, b, mode):
    s, x = values((k, 2, m), FP8[a]), values((k, 2, n), FP8[b], seed=1)
    got = on_tiles(lambda s, x: nl.copy(nisa.nc_matmul(s, x, perf_mode=mode)), s, x)
    want = np.einsum("kim,kin->mn", s.astype(np.float64), x.astype(np.float64))
    assert got.shape == (m, n)
    np.testing.assert_allclose(got.values, want, rtol=1e-5, atol=1e-4)


def test_double_row_refuses_what_the_reference_does_not_allow():
    s, x = values((32, 2, 16), FP8["e4m3"]), values((32, 2, 8), FP8["e4m3"])
    double = lambda s, x: nisa.nc_matmul(s, x, perf_mode="double_row")  # noqa: E731
    refused_on_tiles(double, s, x, rule="target", target="trn1")
    refused_on_tiles(double, values((32, 2, 16), BF16), x, rule="dtype")
    refused_on_tiles(double, values((32, 3, 16), FP8["e4m3"]), x, rule="shape-mismatch")
    refused_on_tiles(lambda s, x: nisa.nc_matmul(s, x, perf_mode="double_col"), s, x, rule="argument")
    refused_on_tiles(lambda s, x: nisa.nc_matmul(s, x, perf_mode="double_row", tile_position=(0, 0), tile_size=(32, 64)), s, x,
                     rule="argument")


def newer_matmul(s, x, dst_dtype=nl.float32, free=None):
    dst = made((s.shape[1], free or x.shape[1]), dst_dtype, "psum")
    instruct(NC_MATMUL, "nc_matmul", dst, (s, x), (False, False, False, (), (), False, "none", True))
    return nl.copy(dst)


def test_a_matmul_of_0_6_checks_which_types_go_together_and_v4_writes_all_of_psum():
    s, x, big = values((32, 16)), values((32, 8), BF16), values((64, 2000), BF16)
    refused_on_tiles(newer_matmul, s, x, rule="dtype")
    refused_on_tiles(lambda s, x: newer_matmul(s, x, nl.bfloat16), s, s, rule="dtype")
    assert on_tiles(lambda s, x: newer_matmul(s, x, nl.bfloat16), s, s, target="trn3").shape == (16, 16)
    got = on_tiles(lambda x: newer_matmul(x[:, 0:32], x), big, target="trn3").values
    np.testing.assert_allclose(got, big[:, :32].astype(np.float64).T @ big.astype(np.float64), rtol=1e-4, atol=1e-3)
    refused_on_tiles(lambda x: newer_matmul(x[:, 0:32], x), big, rule="moving-free-limit", target="trn2")


# -- DMA ----------------------------------------------------------------------------------------------------------------
@covers("dma_compute")
@given(n=st.integers(1, 16), dtype=st.sampled_from([FP32, BF16, np.int16]), out=st.sampled_from([FP32, BF16]))
def test_dma_compute_adds_its_sources_in_float32_and_rounds_once(n, dtype, out):
    x = values((n, 8, 6), dtype, low=-9, high=9)

    @nki.jit
    def kernel(x):
        dst = nl.ndarray((8, 6), dtype=out, buffer=nl.shared_hbm)
        instruct(DMA_COMPUTE, "dma_compute", dst, tuple(x[i] if i % 2 else nl.load(x[i]) for i in range(n)))
        return dst

    want = np.zeros((8, 6), np.float32)
    for part in x:
        want = want + part.astype(np.float32)
    assert_same_bits(nki.simulate_kernel(kernel, x), want.astype(out))


def test_dma_compute_takes_up_to_16_sources_of_one_size():
    x = values((8, 6))

    def of(n, cut=6):
        def body(t):
            d = nl.ndarray((8, 6), dtype=nl.float32)
            return instruct(DMA_COMPUTE, "dma_compute", d, (t,) * (n - 1) + (t[:, 0:cut],))
        return body

    refused_on_tiles(of(17), x, rule="argument")
    refused_on_tiles(of(2, 3), x, rule="dma-element-count")


def test_a_skipped_transfer_keeps_the_bits_of_integers_as_2_30_corrects():
    x = np.array([[2**24 + 1, -(2**31)], [7, 2**31 - 1]], np.int32)
    index = np.array([[0], [5]], np.int32)

    @nki.jit
    def kernel(x, index):
        d = nl.full((2, 2), 2**30 + 1, dtype=nl.int32)
        nisa.dma_copy(dst=d, src=x[nl.load(index), nl.arange(2)[None, :]], oob_mode=nisa.oob_mode.skip)
        out = nl.ndarray((2, 2), dtype=nl.int32, buffer=nl.shared_hbm)
        nl.store(out, d)
        return out

    assert nki.simulate_kernel(kernel, x, index).tolist() == [[2**24 + 1, -(2**31)], [2**30 + 1, 2**30 + 1]]


def test_transposes_by_descriptor_hardware_have_the_limits_of_2_32():
    def of(shape, dtype=BF16, mode="hwdge", target=None):
        axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}[len(shape)]

        @nki.jit
        def kernel(x):
            t = instruct(DMA_TRANSPOSE, "dma_transpose", None, (x,), (axes, mode), "sbuf", np.dtype(dtype))
            out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
            nl.store(out, t)
            return out

        x = values(shape, dtype)
        with nkisim.record(target=target):
            assert_same_bits(kernel(x), x.transpose(axes))

    for shape in ((16, 128), (16, 40), (2, 8, 100), (4, 3, 4, 64)):
        of(shape)
    of((200, 32), FP32, "unknown")
    for shape, dtype, mode, rule in (((8, 64), BF16, "hwdge", "dimension-limit"), ((16, 129), BF16, "hwdge", "dimension-limit"),
                                     ((2, 7, 64), BF16, "hwdge", "dimension-limit"), ((16, 64), FP32, "hwdge", "dtype"),
                                     ((16, 64), BF16, "swdge", "argument"), ((16, 64), BF16, "none", "argument")):
        with pytest.raises(nkisim.KernelError) as caught:
            of(shape, dtype, mode)
        assert caught.value.rule == rule
    with pytest.raises(nkisim.KernelError) as caught:
        of((16, 64), target="trn1")
    assert caught.value.rule == "target"


# -- GpSimdE ------------------------------------------------------------------------------------------------------------
@covers("nonzero_with_count")
@given(p=st.sampled_from([1, 16, 33, 128]), n=st.integers(1, 40), dtype=st.sampled_from([FP32, np.int32]),
       offset=st.integers(-5, 100), padding=st.integers(-3, 3), seed=st.integers(0, 9))
def test_nonzero_with_count_lists_places_in_the_first_partition_of_each_core(p, n, dtype, offset, padding, seed):
    x = (values((p, n), seed=seed) * (values((p, n), seed=seed + 50) > 0.5)).astype(dtype)

    def body(t):
        d = nl.full((p, n + 1), 77, dtype=nl.int32)
        kept = first_partitions(d)
        return instruct(NONZERO, "nonzero_with_count", d, (t,), (offset, padding), mask=None if kept is None else Mask(kept))

    want = np.full((p, n + 1), 77, np.int32)
    for i in range(0, p, 16):
        places = np.flatnonzero(x[i])
        want[i] = [*(places + offset), *[padding] * (n - len(places)), len(places)]
    assert_same_bits(on_tiles(body, x).values, want)


def test_nonzero_with_count_refuses_what_the_reference_does_not_allow():
    x = np.zeros((16, 8), np.float32)

    def of(dst=(16, 9), dtype=nl.int32, src=nl.float32, attrs=(0, -1)):
        return lambda t: instruct(NONZERO, "n", nl.zeros(dst, dtype=dtype), (nl.copy(t, dtype=src),), attrs)

    for body, rule in ((of((16, 8)), "element-count"), (of(dtype=nl.uint32), "dtype"), (of(src=nl.bfloat16), "dtype"),
                       (of(attrs=(2**31, 0)), "argument")):
        refused_on_tiles(body, x, rule=rule)
    refused_on_tiles(of(), x, rule="target", target="trn1")


@covers("topk")
@given(groups=st.integers(1, 8), n=st.integers(8, 200), data=st.data())
def test_topk_gives_the_largest_of_each_group_in_ascending_order(groups, n, data):
    k = data.draw(st.integers(1, n))
    lists = np.stack([np.random.default_rng([n, g]).permutation(n) for g in range(groups)]).astype(BF16)
    columns = -(-n // 16)
    x = np.zeros((groups, columns * 16), BF16)
    x[:, :n] = lists
    x = x.reshape(groups, columns, 16).transpose(0, 2, 1).reshape(groups * 16, columns)
    found = {}

    def body(t):
        v, i = nl.ndarray((groups * 16, k), dtype=nl.bfloat16), nl.ndarray((groups * 16, k), dtype=nl.uint32)
        instruct(TOPK, "topk", v, (t,), (n,), extra=i)
        found["v"], found["i"] = v.array.copy(), i.array.copy()
        return v

    on_tiles(body, x)
    for g in range(groups):
        order = np.argsort(lists[g].astype(np.float64), kind="stable")[n - k:]
        for j, place in enumerate(order):
            assert found["v"][16 * g + j % 16, j // 16] == lists[g][place]
            assert found["i"][16 * g + j % 16, j // 16] == place


def test_topk_refuses_what_the_reference_does_not_allow():
    x = np.zeros((16, 4), BF16)

    def of(n=42, k=8, p=16, idx=nl.uint32):
        return lambda t: instruct(TOPK, "topk", nl.ndarray((p, k), dtype=nl.bfloat16), (t[0:p, :],), (n,),
                                  extra=nl.ndarray((p, k), dtype=idx))

    for body, rule in ((of(n=7), "argument"), (of(n=65), "element-count"), (of(n=10, k=11), "element-count"),
                       (of(p=8), "dimension-limit"), (of(idx=nl.int32), "dtype")):
        refused_on_tiles(body, x, rule=rule)
    refused_on_tiles(of(), x.astype(np.float32), rule="dtype")


# -- micro-scaled formats -------------------------------------------------------------------------------------------------
PACKED = {"e4m3fn": (dtypes.float8_e4m3fn_x4, ml_dtypes.float8_e4m3fn, 8, 448.0),
          "e5m2": (dtypes.float8_e5m2_x4, ml_dtypes.float8_e5m2, 15, 57344.0)}


def quantised(x, name):
    """Independent: bytes (p, f / 4, 4) of the elements and scale exponents (p / 8, f / 4), each group by itself."""
    _, element, largest, _ = PACKED[name]
    p, f = x.shape
    data, exponents = np.zeros((p, f // 4, 4), element), np.zeros((p // 8, f // 4), int)
    for i in range(p // 8):
        for j in range(f // 4):
            group = x[8 * i:8 * i + 8, 4 * j:4 * j + 4].astype(np.float64)
            most = np.abs(group).max()
            e = -127 if most == 0 else math.floor(math.log2(most)) - (largest - 1)
            exponents[i, j] = e
            data[8 * i:8 * i + 8, j] = (group / 2.0**e).astype(np.float32).astype(element)
    return data, exponents


def rows_of(scales, p, start=0):
    """The rows of a scale tile that belong to a data tile of p partitions."""
    return np.concatenate([scales[start + 32 * q:start + 32 * q + 4] for q in range(p // 32)])


def run_mx(x, name, scale_dtype, start=0):
    """The data bytes and the scale bytes that quantize_mx leaves of x (p, f)."""
    found = {}
    p, f = x.shape

    def body(t):
        d = made((p, f // 4), PACKED[name][0])
        s = made((max(p, 32), f // 4), scale_dtype)
        rows = scale_rows(s[start:start + max(p, 32) - start, :] if start else s, p, f // 4, "dst_scale", "quantize_mx")
        instruct(QUANTIZE_MX, "quantize_mx", d, (t,), extra=rows)
        found["d"], found["s"] = d.array.copy(), s.array.copy()
        return t

    on_tiles(body, x, target="trn3")
    return found["d"].view(np.uint32).view(np.uint8).reshape(p, f // 4, 4), found["s"].view(np.uint8)


@covers("quantize_mx")
@given(p=st.sampled_from([32, 64, 96, 128]), n=st.integers(1, 6), name=st.sampled_from(sorted(PACKED)),
       dtype=st.sampled_from([BF16, FP16]), exponent=st.integers(-6, 6), scale=st.sampled_from([dtypes.UINT8, dtypes.float8_e8m0fnu]))
def test_quantize_mx_shares_a_power_of_two_between_32_elements_and_rounds_the_rest_to_fp8(p, n, name, dtype, exponent, scale):
    x = (values((p, 4 * n)) * np.float32(2.0**exponent) * np.exp2(np.rint(values((p, 1), seed=9) * 2))).astype(dtype)
    x[:8, :4] = 0
    data, scales = run_mx(x, name, scale)
    want, exponents = quantised(x, name)
    assert_same_bits(data, want.view(np.uint8))
    assert_same_bits(rows_of(scales, p), (exponents + 127).astype(np.uint8))


@pytest.mark.parametrize("start", [4, 8, 12])
def test_scales_of_several_tensors_share_a_tile_by_slices_as_2_32_corrects(start):
    x = values((128, 8), BF16)
    data, scales = run_mx(x, "e5m2", dtypes.UINT8, start)
    want, exponents = quantised(x, "e5m2")
    assert_same_bits(rows_of(scales, 128, start), (exponents + 127).astype(np.uint8))
    others = [r for r in range(128) if not start <= r % 32 < start + 4]
    assert (scales[others] == 0).all()


FP4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def packed_input(rng, p, n, name):
    """Random packed data as an array of its data type, its values (p, n, 4), and scale exponents (p / 8, n)."""
    exponents = rng.integers(-6, 6, (p // 8, n))
    if name == "fp4":
        codes = rng.integers(0, 16, (p, n, 4)).astype(np.uint16)
        words = (codes << np.array([0, 4, 8, 12], np.uint16)).sum(axis=2).astype(np.uint16)
        floats = np.array(FP4 + [-v for v in FP4])[codes]
        return words.view(dtypes.float4_e2m1fn_x4), floats, exponents
    dtype, element, _, _ = PACKED[name]
    elements = rng.normal(0, 4, (p, n, 4)).astype(np.float32).astype(element)
    return elements.view(np.uint32).view(dtype).reshape(p, n), elements.astype(np.float64), exponents


@covers("nc_matmul_mx")
@given(p=st.sampled_from([32, 64, 128]), m=st.sampled_from([2, 16, 128]), n=st.integers(1, 20),
       a=st.sampled_from(["e4m3fn", "e5m2", "fp4"]), b=st.sampled_from(["e4m3fn", "e5m2", "fp4"]), accumulate=st.booleans(),
       scale=st.sampled_from([dtypes.UINT8, dtypes.float8_e8m0fnu]))
def test_nc_matmul_mx_multiplies_scaled_elements_over_partitions_and_packs(p, m, n, a, b, accumulate, scale):
    rng = np.random.default_rng([p, m, n])
    operands = [packed_input(rng, p, width, name) for width, name in ((m, a), (n, b))]

    def body(t):
        srcs, scales = [], []
        for words, _, exponents in operands:
            d, s = made(words.shape, words.dtype), made((max(p, 32), words.shape[1]), scale)
            d.array[...] = words
            STATE.program.mark_written(d)
            view = scale_rows(s, p, words.shape[1], "scale", "nc_matmul_mx")
            view.array[...] = (exponents + 127).astype(np.uint8).view(view.array.dtype).reshape(view.shape)
            STATE.program.mark_written(view)
            srcs.append(d)
            scales.append(view)
        dst = made((m, n), FP32, "psum")
        instruct(NC_MATMUL_MX, "nc_matmul_mx", dst, (*srcs, *scales), ((), (), False))
        if accumulate:
            instruct(NC_MATMUL_MX, "nc_matmul_mx", dst, (*srcs, *scales, dst), ((), (), True))
        return nl.copy(dst)

    wide = [floats * np.repeat(np.exp2(exponents.astype(np.float64)), 8, axis=0)[..., None] for _, floats, exponents in operands]
    want = np.einsum("kmq,knq->mn", *wide) * (2 if accumulate else 1)
    got = on_tiles(body, values((1, 1)), target="trn3").values
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(want).max()))


def test_micro_scaled_instructions_refuse_what_the_reference_does_not_allow():
    def quantise(p=32, f=8, dtype=BF16, out=dtypes.float8_e5m2_x4, scale=(4, 2), scale_dtype=dtypes.UINT8, target="trn3", rule=""):
        def body(t):
            d = made((p, f // 4), out)
            instruct(QUANTIZE_MX, "q", d, (t,), extra=scale_rows(made(scale, scale_dtype), p, f // 4, "dst_scale", "q"))
        refused_on_tiles(body, values((p, f), dtype), rule=rule, target=target)

    quantise(target="trn2", rule="target")
    quantise(dtype=FP32, rule="dtype")
    quantise(out=dtypes.UINT8, rule="dtype")
    quantise(p=24, scale=(3, 2), rule="dimension-limit")
    quantise(f=10, rule="element-count")
    quantise(scale=(3, 2), rule="shape-mismatch")
    quantise(p=64, scale=(8, 2), rule="shape-mismatch")
    quantise(scale_dtype=np.int8, rule="dtype")

    def multiply(p=32, m=16, n=8, dtype=dtypes.float8_e5m2_x4, out=FP32, space="psum", position=(), size=(), target="trn3", rule=""):
        def body(t):
            srcs = [made((p, width), dtype) for width in (m, n)]
            scales = [scale_rows(made((4, width), dtypes.UINT8), 32, width, "scale", "mx") for width in (m, n)]
            instruct(NC_MATMUL_MX, "mx", made((m, n), out, space), (*srcs, *scales), (position, size, False))
        refused_on_tiles(body, values((1, 1)), rule=rule, target=target)

    multiply(target="trn2", rule="target")
    multiply(dtype=dtypes.UINT8, rule="dtype")
    multiply(p=16, rule="dimension-limit")
    multiply(m=15, rule="stationary-free-limit")
    multiply(n=4097, rule="moving-free-limit")
    multiply(out=FP16, rule="dtype")
    multiply(space="sbuf", rule="matmul-destination")
    multiply(position=(0, 0), size=(32, 64), rule="argument")
    multiply(position=(16, 0), size=(32, 128), rule="argument")


def test_a_copy_by_dma_casts_through_float32():
    x = np.array([[2**24 + 1, 3, 300, -7]], np.int32)

    @nki.jit
    def kernel(x):
        out = nl.ndarray((1, 4), dtype=nl.float32, buffer=nl.shared_hbm)
        instruct(DMA_COPY, "dma_copy", out, (x,), (False, True))
        return out

    assert nki.simulate_kernel(kernel, x).tolist() == [[2.0**24, 3, 300, -7]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_fp32_becomes_an_integer_by_rounding_ties_to_even_and_saturating_as_2_32_corrects(dtype):
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 126.7, 254.5, 255.5, -129, 300, 7e4, -7e4, 3e9, -3e9, 5e9, np.inf, -np.inf]], np.float32)
    info = np.iinfo(dtype)
    want = [int(np.clip(v, info.min, info.max)) for v in np.rint(x.astype(np.float64))[0]]
    for body in (lambda t: nl.copy(t, dtype=dtype), lambda t: nisa.tensor_scalar(t, nl.multiply, 1.0, dtype=dtype),
                 lambda t: nisa.activation(nl.copy, t, dtype=dtype)):
        assert on_tiles(body, x).values[0].tolist() == want


def test_matmuls_of_more_than_two_axes_use_all_their_elements_as_2_30_corrects():
    s, x = values((32, 2, 3, 4)), values((32, 5, 3, 2), seed=1)
    got = on_tiles(lambda s, x: nl.copy(nisa.nc_matmul(s, x)), s, x)
    want = s.reshape(32, 24).astype(np.float64).T @ x.reshape(32, 30).astype(np.float64)
    assert got.shape == (24, 5, 3, 2)
    np.testing.assert_allclose(got.values.reshape(24, 30), want, rtol=1e-4, atol=1e-4)


def test_logical_operators_take_any_number_but_zero_as_true_as_2_30_corrects():
    x, y = np.array([[0, 0, 2, -3, 0.5]], np.float32), np.array([[0, 1, 4, 0, 8]], np.float32)
    got = {name: on_tiles(lambda a, b, f=name: nisa.tensor_tensor(a, b, getattr(nl, f)), x, y).values[0].tolist()
           for name in ("logical_and", "logical_or", "logical_xor")}
    assert got == {"logical_and": [0, 0, 1, 0, 1], "logical_or": [0, 1, 1, 1, 1], "logical_xor": [0, 1, 0, 1, 0]}


def test_the_scale_of_a_zero_group_is_the_least_that_the_type_has_as_2_31_documents():
    _, scales = run_mx(np.zeros((32, 8), BF16), "e4m3fn", dtypes.UINT8)
    assert (scales[:4] == 0).all()


def test_options_that_older_generations_or_the_reference_lack_are_refused():
    x = values((16, 64), BF16)

    def transfer(t):
        nisa.dma_copy(dst=nl.ndarray((16, 64), dtype=nl.bfloat16), src=t, dge_mode=nisa.dge_mode.hwdge)

    refused_on_tiles(transfer, x, rule="target", target="trn1")
    refused_on_tiles(lambda t: nisa.dma_transpose(t, dge_mode=nisa.dge_mode.hwdge), x, rule="target", target="trn1")
    refused_on_tiles(lambda t: nisa.tensor_scalar_reduce(data=t, op0=nl.subtract, operand0=1.0, reverse0=True, reduce_op=nl.add,
                                                         reduce_res=nl.ndarray((16, 1), dtype=nl.float32)), x, rule="argument")


def test_the_last_release_of_nki_0_1_has_tensor_scalar_cumulative_too():
    x, start = values((8, 12)), values((8, 1), seed=1)

    def body(t, s):
        d = nl.ndarray((8, 12), dtype=nl.float32)
        nisa.tensor_scalar_cumulative(src=t[:, 0:5], dst=d[:, 0:5], op0=nl.add, op1=nl.max, imm0=1, imm1=s,
                                      reduce_cmd=nisa.reduce_cmd.load_reduce)
        nisa.tensor_scalar_cumulative(src=t[:, 5:12], dst=d[:, 5:12], op0=nl.add, op1=nl.max, imm0=np.float32(1),
                                      reduce_cmd=nisa.reduce_cmd.reduce)
        return d

    assert_same_bits(on_tiles(body, x, start).values, np.maximum(np.maximum.accumulate(x + np.float32(1), axis=1), start))


def test_a_first_value_of_tensor_scalar_cumulative_is_used_with_load_reduce_only():
    x, start = values((8, 12)), values((8, 1), seed=1)

    def of(cmd, srcs):
        return lambda t, s: instruct(TENSOR_SCALAR_CUMULATIVE, "c", None, (t, Const(0.0), s)[:srcs], (
            OPS["add"], False, OPS["maximum"], cmd), "sbuf", FP32)

    assert_same_bits(on_tiles(of(RESET_REDUCE, 3), x, start).values, np.maximum.accumulate(x, axis=1))
    refused_on_tiles(of(LOAD_REDUCE, 2), x, start, rule="argument")
