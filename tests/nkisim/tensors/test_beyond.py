"""Slices that end beyond a tensor: fine where a mask leaves out what is not there, refused where
they are read or written without one."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from ..helpers import marked_line, refused, run_kernel, values

X = values((72, 40))


def last_tile(x):
    """Rows and columns in tiles of 64 x 32, the last of which end beyond x."""
    rows, columns = x.shape
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    i_p, i_f = nl.arange(64)[:, None], nl.arange(32)[None, :]
    for i in nl.affine_range(-(-rows // 64)):
        for j in nl.affine_range(-(-columns // 32)):
            there = (i * 64 + i_p < rows) & (j * 32 + i_f < columns)
            t = nl.load(x[i * 64 : (i + 1) * 64, nl.ds(j * 32, 32)], mask=there)
            nl.store(
                out[nl.ds(i * 64, 64), j * 32 : (j + 1) * 32], value=nl.multiply(t, 2.0), mask=there
            )
    return out


def test_a_mask_leaves_out_what_a_slice_names_beyond_the_tensor():
    got, _ = run_kernel(last_tile, X)
    np.testing.assert_array_equal(got, 2 * X)


def test_a_copy_takes_such_a_slice_with_a_mask_too():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((2, 40), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.zeros((8, 40), dtype=x.dtype)
        nisa.dma_copy(dst=t, src=x[70:78], mask=nl.arange(8)[:, None] < 2)
        nl.store(out, t[0:2])
        return out

    np.testing.assert_array_equal(kernel(X), X[70:])


def test_numbers_beside_such_a_slice_drop_their_axes():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 4), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.zeros((8, 5), dtype=x.dtype)
        i_f = nl.arange(5)[None, :]
        part = nl.load(x[:, 3, 6:11], mask=i_f < 4)
        assert part.shape == (8, 5)
        t[...] = nl.copy(part, mask=i_f < 4)
        nl.store(out, t[:, 0:4])
        return out

    x = values((8, 5, 10))
    np.testing.assert_array_equal(kernel(x), x[:, 3, 6:])


@pytest.mark.parametrize(("limit", "fine"), [(72, True), (73, False)])
def test_a_mask_that_keeps_one_row_too_many_does_not_help(limit, fine):
    def kernel(x):
        t = nl.load(x[64:128], mask=(64 + nl.arange(64)[:, None] < limit))
        out = nl.ndarray((8, 40), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, t[0:8])
        return out

    if fine:
        run_kernel(kernel, X)
    else:
        assert "slice 64:128" in refused(kernel, X, rule="out-of-bounds").headline


def test_without_a_mask_the_slice_is_refused_where_it_is_read():
    def kernel(x):
        part = x[64:128]
        t = nl.load(part)  # breaks
        return t

    error = refused(kernel, X, rule="out-of-bounds")
    assert error.line == marked_line(kernel) and "slice 64:128" in error.headline
    assert error.limit.startswith("0..72")


@pytest.mark.parametrize(
    "use",
    [
        lambda t: nl.exp(t[0:80]),
        lambda t: nl.add(t[:, 0:50], 1.0),
        lambda t: t.__setitem__((slice(0, 72), slice(0, 41)), 0.0),
        lambda t: t[0:73].reshape((73, 40)),
        lambda t: t[:, nl.ds(8, 40)][0:8],
        lambda t: nisa.tensor_copy(t[:, 39:41]),
    ],
    ids=["rows", "columns", "assignment", "reshape", "again", "copy"],
)
def test_a_tile_has_no_elements_beyond_its_end(use):
    error = refused(lambda x: use(nl.load(x)), X, rule="out-of-bounds")
    assert "slice" in error.headline


def test_a_range_is_a_slice():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((72, 20), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        nl.store(out, nl.copy(t[range(72), range(0, 40, 2)]))
        return out

    np.testing.assert_array_equal(kernel(X), X[:, ::2])
    refused(lambda x: nl.load(x[range(70, 80)]), X, rule="out-of-bounds")
