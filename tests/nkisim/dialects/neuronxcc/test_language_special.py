"""nl.loop_reduce, nl.atomic_rmw, nl.all_reduce, the grids of matmul operands: what needs more than
its arguments."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim

from ...helpers import BF16, FP32, assert_same_bits, refused, run_kernel, values


def summed(x, op, start, form, dtype=nl.float32):
    """x (k, p, n) reduced over k by nl.loop_reduce."""

    @nki.jit
    def kernel(x):
        k, p, n = x.shape
        out = nl.ndarray((p, n), dtype=dtype, buffer=nl.shared_hbm)
        total = (
            nl.ndarray((p, n), dtype=dtype)
            if start is None
            else nl.full((p, n), start, dtype=dtype)
        )
        for i in nl.affine_range(k):
            t = nl.load(x[i])
            if form == "subscript":
                total[...] = nl.loop_reduce(t, op=op, loop_indices=[i], dtype=dtype)
            else:
                total = nl.loop_reduce(t, op, (i,), dtype=dtype)
        nl.store(out, total)
        return out

    return run_kernel(kernel, x)


@pytest.mark.parametrize("form", ["subscript", "name"])
@pytest.mark.parametrize("op", [np.add, np.max, nl.multiply, np.minimum])
def test_loop_reduce_combines_the_iterations_of_a_loop_into_what_it_is_assigned_to(form, op):
    x = values((5, 16, 20), seed=2)
    start = {"add": 0.0, "max": -9.0, "amax": -9.0, "multiply": 1.0, "minimum": 9.0}[op.__name__]
    got, run = summed(x, op, start, form)
    function = {
        "add": np.add,
        "max": np.maximum,
        "amax": np.maximum,
        "multiply": np.multiply,
        "minimum": np.minimum,
    }[op.__name__]
    np.testing.assert_allclose(got, function.reduce(x.astype(np.float64)), rtol=1e-5, atol=1e-5)
    assert run.counts()["tensor_tensor"] == 5


def test_loop_reduce_takes_the_first_value_where_nothing_was_written_and_rounds_to_the_tile():
    x = values((4, 8, 8), BF16)
    got, run = summed(x, np.add, None, "subscript", nl.bfloat16)
    expected = x[0]
    for part in x[1:]:
        expected = (expected.astype(np.float32) + part.astype(np.float32)).astype(BF16)
    assert_same_bits(got, expected)
    assert (run.counts()["tensor_copy"], run.counts()["tensor_tensor"]) == (1, 3)


def test_loop_reduce_accumulates_blocks_of_a_matmul_over_the_loop_around_them():
    a, b = values((4, 128, 64)), values((4, 128, 96), seed=1)

    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((64, 96), dtype=nl.float32, buffer=nl.shared_hbm)
        z = nl.zeros((2, nl.par_dim(32), 96), dtype=nl.float32)
        for k in nl.affine_range(4):
            s, m = nl.load(a[k]), nl.load(b[k])
            for j in nl.affine_range(2):
                part = nl.zeros((32, 96), dtype=nl.float32, buffer=nl.psum)
                part += nisa.nc_matmul(s[:, nl.ds(j * 32, 32)], m)
                z[j, :, 0:96] = nl.loop_reduce(part, op=np.add, loop_indices=[k], dtype=nl.float32)
        for j in nl.affine_range(2):
            nl.store(out[nl.ds(j * 32, 32)], z[j])
        return out

    got = nki.simulate_kernel(kernel, a, b)
    np.testing.assert_allclose(
        got, np.einsum("kpi,kpj->ij", a.astype(float), b.astype(float)), rtol=1e-4, atol=1e-4
    )


def test_loop_reduce_into_nothing_is_refused():
    x = values((4, 8))

    def nameless(x):
        nl.exp(nl.loop_reduce(nl.load(x), np.add, [0]))

    def fresh_name(x):
        total = nl.loop_reduce(nl.load(x), np.add, [0])
        return total

    def no_reduction(x):
        t = nl.zeros((4, 8), dtype=nl.float32)
        t[...] = nl.loop_reduce(nl.load(x), nl.less, [0])

    refused(nki.jit(nameless), x, rule="argument")
    error = refused(nki.jit(fresh_name), x, rule="argument")
    assert "'total' holds no tile" in error.headline and "nl.zeros" in error.remedy
    refused(nki.jit(no_reduction), x, rule="operator")


@given(
    rows=st.lists(st.integers(0, 9), min_size=1, max_size=24),
    dtype=st.sampled_from([FP32, BF16]),
    number=st.booleans(),
)
def test_atomic_rmw_adds_to_the_rows_that_indices_pick_however_often_they_do(rows, dtype, number):
    held, added = values((10, 12), dtype), values((len(rows), 12), dtype, seed=1)
    index = np.array(rows, np.int32)[:, None]

    @nki.jit
    def kernel(held, added, index):
        out = nl.ndarray(held.shape, dtype=held.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load(held))
        places = nl.load(index)
        nl.atomic_rmw(
            out[places, nl.arange(12)[None, :]], value=2.5 if number else nl.load(added), op=np.add
        )
        return out

    expected = held.astype(np.float64)
    for i, row in enumerate(rows):
        expected[row] += 2.5 if number else added[i].astype(np.float64)
    got = nki.simulate_kernel(kernel, held, added, index)
    np.testing.assert_allclose(
        got.astype(np.float64), expected, rtol=1e-5 if dtype == FP32 else 2e-2, atol=2e-2
    )


def test_atomic_rmw_takes_run_time_rows_of_hbm_and_addition_only():
    x, index = values((8, 12)), np.zeros((8, 1), np.int32)

    def of(dst, op=np.add):
        @nki.jit
        def kernel(x, index):
            out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
            t = nl.load(x)
            nl.store(out, t)
            nl.atomic_rmw(dst(out, t, nl.load(index), nl.arange(12)[None, :]), value=t, op=op)
            return out

        return kernel

    refused(of(lambda out, t, i, f: out), x, index, rule="indirect-index")
    refused(of(lambda out, t, i, f: t), x, index, rule="memory")
    refused(of(lambda out, t, i, f: out[i, f], np.maximum), x, index, rule="operator")


def test_all_reduce_over_one_instance_is_a_copy_and_over_several_is_refused():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.all_reduce(nl.load(x), np.add, program_axes=(0,)))
        return out

    x = values((8, 12))
    assert_same_bits(kernel(x), x)
    assert_same_bits(kernel[1](x), x)
    with pytest.raises(Exception, match="over 2 program instances is not simulated") as caught:
        kernel[2](x)
    assert caught.value.rule == "argument" and "second kernel" in caught.value.remedy


def test_the_grids_of_matmul_operands_index_their_largest_tiles():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.shared_hbm)
        s, m = nl.gemm_stationary_grid(), nl.gemm_grid()
        t = nl.load(x[m.p, m.x])
        nl.store(out[m.p, m.x], nisa.nc_matmul(t[s.p, s.x], t))
        return out

    x = values((128, 512))
    np.testing.assert_allclose(kernel(x), x[:, :128].T.astype(float) @ x, rtol=1e-3, atol=1e-3)


def test_the_custom_operator_is_refused_by_its_name():
    with pytest.raises(nkisim.KernelError, match="nisa.builtin_custom_op runs a library") as caught:
        nisa.builtin_custom_op("f", "f.so", "1", "1", srcs=[], dsts=[])
    assert caught.value.rule == "operator"
