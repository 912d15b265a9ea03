"""Elements that nobody wrote: what is computed from them may be as it likes, and must not reach an
output or a decision."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.isa.transpose import NC_TRANSPOSE

from ..helpers import instruct, marked_line, refused, run_kernel, values

X = values((72, 16))


def padded(x):
    """Doubles a tile of which only the first rows are loaded, and stores these."""
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.ndarray((128, x.shape[1]), dtype=x.dtype)
    t[0 : x.shape[0]] = nl.load(x)
    twice = nl.add(t, t)
    nl.store(out, twice[0 : x.shape[0]])
    return out


def test_rows_that_are_computed_on_and_never_stored_may_be_unwritten():
    got, _ = run_kernel(padded, X)
    np.testing.assert_array_equal(got, 2 * X)


def test_so_may_halves_that_are_overwritten_before_they_count():
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray(x.shape, dtype=x.dtype)
        t[:, 0:8] = nl.load(x[:, 0:8])
        e = nl.exp(t)
        e[:, 8:16] = nl.load(x[:, 8:16])
        nl.store(out, e)
        return out

    got, _ = run_kernel(kernel, X)
    np.testing.assert_allclose(got[:, :8], np.exp(X[:, :8]), rtol=1e-6)
    np.testing.assert_array_equal(got[:, 8:], X[:, 8:])


def stored(x, steps):
    """Computes `steps` on a tile of which half is unwritten, and stores all of the result."""
    t = nl.ndarray((64, 16), dtype=x.dtype)
    t[:, 0:8] = nl.load(x[0:64, 0:8])
    result = steps(t)
    out = nl.ndarray(result.shape, dtype=result.dtype, buffer=nl.shared_hbm)
    nl.store(out, result)
    return out


@pytest.mark.parametrize(
    "steps",
    [
        lambda t: nl.exp(t),
        lambda t: nl.exp(nl.add(t, 1.0)),
        lambda t: nl.sum(t, axis=1, keepdims=True),
        lambda t: nl.transpose(t),
        lambda t: nl.copy(nisa.nc_matmul(t, t)),
        lambda t: nl.where(nl.greater(t, 0.0), t, 0.0),
        lambda t: nisa.tensor_tensor_scan(t, t, 0.0, op0=nl.multiply, op1=nl.add),
        lambda t: nl.softmax(t, axis=1),
    ],
    ids=["exp", "chain", "sum", "transpose", "matmul", "where", "scan", "softmax"],
)
def test_what_reaches_an_output_is_refused_at_the_read(steps):
    error = refused(stored, X, steps, rule="uninitialized-read")
    assert "'t' is read before it is written" in error.headline and error.tensor == "t"
    assert "out" in error.reaches and "nl.store" in error.reaches


def test_the_error_names_the_line_of_the_read_and_that_of_the_store():
    def kernel(x):
        out = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((128, 16), dtype=x.dtype)
        t[0:72] = nl.load(x)
        twice = nl.add(t, t)  # breaks
        again = nl.add(twice, 1.0)
        nl.store(out, again)
        return out

    error = refused(kernel, X, rule="uninitialized-read")
    assert error.line == marked_line(kernel)
    assert f"line {marked_line(kernel) + 2}" in error.reaches and error.reaches in str(error)
    assert "896 of 2048 elements" in error.headline


@pytest.mark.parametrize(("rows", "fine"), [(72, True), (73, False)])
def test_the_border_is_exact(rows, fine):
    def kernel(x):
        out = nl.ndarray((rows, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((128, 16), dtype=x.dtype)
        t[0:72] = nl.load(x)
        nl.store(out, nl.exp(t)[0:rows])
        return out

    if fine:
        run_kernel(kernel, X)
    else:
        refused(kernel, X, rule="uninitialized-read")


def test_only_columns_of_a_product_that_an_unwritten_column_reaches_are_unknown():
    def kernel(x, width):
        out = nl.ndarray((16, width), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((72, 16), dtype=x.dtype)
        t[:, 0:8] = nl.load(x[:, 0:8])
        product = nl.copy(nisa.nc_matmul(nl.load(x), t))
        nl.store(out, product[:, 0:width])
        return out

    got, _ = run_kernel(kernel, X, 8)
    np.testing.assert_allclose(got, X.T @ X[:, :8], rtol=1e-4, atol=1e-4)
    refused(kernel, X, 9, rule="uninitialized-read")


def test_a_selection_leaves_unwritten_elements_out():
    def kernel(x, limit):
        out = nl.ndarray((64, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((64, 16), dtype=x.dtype)
        t[:, 0:8] = nl.load(x[0:64, 0:8])
        i_p, i_f = nl.arange(64)[:, None], nl.arange(16)[None, :]
        column = nisa.iota(i_f + 0 * i_p, dtype=nl.int32)
        nl.store(out, nl.where(nl.less(column, limit), t, 0.0))
        return out

    got, _ = run_kernel(kernel, X, 8)
    np.testing.assert_array_equal(got, np.where(np.arange(16) < 8, X[:64], 0))
    refused(kernel, X, 9, rule="uninitialized-read")


def test_unwritten_elements_are_followed_through_a_tensor_in_hbm_that_is_no_output():
    def kernel(x, rows):
        scratch = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.hbm)
        out = nl.ndarray((rows, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((128, 16), dtype=x.dtype)
        t[0:72] = nl.load(x)
        nl.store(scratch, nl.exp(t))
        nl.store(out, nl.load(scratch)[0:rows])
        return out

    got, _ = run_kernel(kernel, X, 72)
    np.testing.assert_allclose(got, np.exp(X), rtol=1e-6)
    error = refused(kernel, X, 100, rule="uninitialized-read")
    assert "'t' is read" in error.headline


def test_so_is_what_is_loaded_from_a_tensor_in_hbm_that_nobody_wrote():
    def kernel(x):
        scratch = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.hbm)
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(scratch)  # breaks
        nl.store(out, t)
        return out

    error = refused(kernel, X, rule="uninitialized-read")
    assert error.tensor == "scratch" and error.line == marked_line(kernel)


def test_a_tensor_in_hbm_that_holds_them_may_not_be_returned():
    def kernel(x):
        out = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.hbm)
        t = nl.ndarray((128, 16), dtype=x.dtype)
        t[0:72] = nl.load(x)
        nl.store(out, nl.exp(t))
        return out

    error = refused(kernel, X, rule="uninitialized-read")
    assert error.tensor == "t" and "returns" in error.reaches


def test_elements_that_are_written_in_the_end_are_known():
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray(x.shape, dtype=x.dtype)
        e = nl.exp(t)
        e[...] = nl.load(x)
        t[...] = nl.copy(e)
        nl.store(out, t)
        return out

    np.testing.assert_array_equal(run_kernel(kernel, X)[0], X)


def test_a_sum_in_registers_does_not_take_them():
    def kernel(x):
        out = nl.ndarray((64, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((64, 16), dtype=x.dtype)
        t[:, 0:8] = nl.load(x[0:64, 0:8])
        nisa.activation(nl.exp, t, reduce_op=nl.add, reduce_cmd=nisa.reduce_cmd.reset_reduce)
        nl.store(out, nl.load(x[0:64]))
        return out

    assert "nisa.activation" in refused(kernel, X, rule="uninitialized-read").headline


def test_they_are_found_on_shapes_alone_too():
    def kernel(x, rows):
        out = nl.ndarray((rows, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((128, 16), dtype=x.dtype)
        t[0:72] = nl.load(x)
        nl.store(out, nl.exp(t)[0:rows])
        return out

    shape = nkisim.shape((72, 16), np.float32)
    with nkisim.record(values=False):
        nki.jit(kernel)(shape, 72)
    with nkisim.record(values=False), pytest.raises(nkisim.KernelError, match="read before"):
        nki.jit(kernel)(shape, 73)


def test_the_rule_can_be_a_warning():
    def kernel(x):
        out = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((128, 16), dtype=x.dtype)
        t[0:72] = nl.load(x)
        nl.store(out, nl.exp(t))
        return out

    config = nkisim.Config(warn={"uninitialized-read": True})
    with (
        nkisim.record(config=config),
        pytest.warns(nkisim.RuleWarning, match="uninitialized-read"),
    ):
        got = nki.jit(kernel)(X)
    np.testing.assert_allclose(got[:72], np.exp(X), rtol=1e-6)


@pytest.mark.parametrize("columns", [slice(0, 64), slice(32, 64)])
def test_a_product_of_unwritten_elements_that_is_added_to_zeros_in_psum_is_not_zero(columns):
    def kernel(y):
        out = nl.ndarray((32, 64), dtype=y.dtype, buffer=nl.shared_hbm)
        empty = nl.ndarray((32, 64), dtype=y.dtype)
        total = nl.zeros((32, 64), dtype=nl.float32, buffer=nl.psum)
        total[:, columns] += nisa.nc_matmul(nl.load(y), empty[:, columns])
        nl.store(out, nl.copy(total))
        return out

    with pytest.raises(nkisim.KernelError, match="'empty' is read before it is written"):
        nki.jit(kernel)(np.ones((32, 32), np.float32))


def half_written(x):
    """A tile of which the first eight columns are loaded."""
    t = nl.ndarray((64, 16), dtype=x.dtype)
    t[:, 0:8] = nl.load(x[0:64, 0:8])
    return t


def turned(out, t):
    """Copies the transpose of `t` to `out`, by way of PSUM with the axes of `out`."""
    there = nl.ndarray(out.shape, dtype=t.dtype, buffer=nl.psum)
    instruct(NC_TRANSPOSE, "nc_transpose", there, (t,), ())
    nisa.tensor_copy(dst=out, src=there)


SELECTIONS = {
    "select_reduce": lambda out, t, ones: nisa.select_reduce(
        dst=out, predicate=ones, on_true=t, on_false=0.0
    ),
    "transpose": lambda out, t, ones: turned(out, nl.copy(nisa.nc_transpose(t))),
    "where": lambda out, t, ones: nisa.tensor_copy(dst=out, src=nl.where(ones, t, 0.0)),
}


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_they_are_followed_into_a_destination_that_has_other_axes(select):
    def kernel(x):
        out = nl.ndarray((64, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        wide = nl.ndarray((64, 2, 8), dtype=x.dtype)
        select(wide, half_written(x), nl.full((64, 16), 1, dtype=nl.uint8))
        nl.store(out, wide[:, 0, :])
        return out

    got, _ = run_kernel(kernel, X)
    np.testing.assert_array_equal(got, X[:64, :8])
