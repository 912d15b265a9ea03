"""Kernels as students write them after the public description of a course's assignment: addition of
vectors, transposes, softmax, blocked matmul, and a convolution with bias and pooling in five
styles. The course runs such kernels on devices; they must run here."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim

from ...helpers import values

P = 128


# -- vectors in HBM --------------------------------------------------------------------------------
@nki.jit
def add_by_load(a, b):
    """One column of at most 128 elements."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.add(nl.load(a), nl.load(b)))
    return out


@nki.jit
def add_by_chunks(a, b):
    """A column at a time, into tiles that are made first."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.hbm)
    for i in nl.affine_range(a.shape[0] // P):
        a_tile = nl.ndarray((P, 1), dtype=a.dtype, buffer=nl.sbuf)
        b_tile = nl.ndarray((P, 1), dtype=b.dtype, buffer=nl.sbuf)
        nisa.dma_copy(src=a[i * P : (i + 1) * P], dst=a_tile)
        nisa.dma_copy(src=b[i * P : (i + 1) * P], dst=b_tile)
        total = nisa.tensor_scalar(a_tile, nl.add, b_tile)
        nisa.dma_copy(src=total, dst=out[i * P : (i + 1) * P])
    return out


@nki.jit
def add_assigned(a, b):
    """As `add_by_chunks`, by loads that are assigned to the tiles."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(a.shape[0] // P):
        a_tile = nl.ndarray((P, 1), dtype=a.dtype)
        a_tile[...] = nl.load(a[i * P : (i + 1) * P])
        b_tile = nl.load(b[i * P : (i + 1) * P])
        nl.store(out[i * P : (i + 1) * P], value=nl.add(a_tile, b_tile))
    return out


@nki.jit
def add_as_a_matrix(a, b):
    """The vector as 128 long rows: one large transfer instead of many small ones."""
    rows = a.reshape((P, a.shape[0] // P))
    others = b.reshape((P, b.shape[0] // P))
    out = nl.ndarray(rows.shape, dtype=a.dtype, buffer=nl.hbm)
    nl.store(out, value=nl.add(nl.load(rows), nl.load(others)))
    return out.reshape(a.shape)


@pytest.mark.parametrize(
    ("kernel", "n"),
    [(add_by_load, 128), (add_by_load, 7), (add_by_chunks, 384), (add_assigned, 256)]
    + [(add_as_a_matrix, 1024)],
)
def test_vectors_in_hbm_are_added(kernel, n):
    a, b = values((n,)), values((n,), seed=1)
    np.testing.assert_array_equal(nki.simulate_kernel(kernel, a, b), a + b)


def test_a_vector_is_loaded_as_a_column_and_stored_from_a_row_too():
    @nki.jit
    def kernel(a):
        out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
        column = nl.load(a)
        assert column.shape == (16, 1)
        row = nl.transpose(column)
        nl.store(out, value=row)
        return out

    a = values((16,))
    np.testing.assert_array_equal(kernel(a), a)


def test_a_vector_of_more_than_128_elements_is_no_column():
    @nki.jit
    def kernel(a):
        return nl.load(a)

    with pytest.raises(nkisim.KernelError) as caught:
        kernel(values((129,)))
    assert caught.value.rule == "partition-limit" and "reshape((1, n))" in caught.value.remedy


# -- matrices --------------------------------------------------------------------------------------
@nki.jit
def transposed_by_tensor_engine(x):
    rows, columns = x.shape
    out = nl.ndarray((columns, rows), dtype=x.dtype, buffer=nl.hbm)
    for i in nl.affine_range(rows // P):
        for j in nl.affine_range(columns // P):
            t = nl.ndarray((P, P), dtype=x.dtype, buffer=nl.sbuf)
            nisa.dma_copy(dst=t, src=x[i * P : (i + 1) * P, j * P : (j + 1) * P])
            turned = nisa.nc_transpose(t)
            evacuated = nl.copy(turned, dtype=x.dtype)
            nisa.dma_copy(dst=out[j * P : (j + 1) * P, i * P : (i + 1) * P], src=evacuated)
    return out


@nki.jit
def transposed_by_load(x):
    rows, columns = x.shape
    out = nl.ndarray((columns, rows), dtype=x.dtype, buffer=nl.shared_hbm)
    for j in nl.affine_range(columns // P):
        nl.store(out[nl.ds(j * P, P), :], nl.load_transpose2d(x[:, nl.ds(j * P, P)]))
    return out


@pytest.mark.parametrize("kernel", [transposed_by_tensor_engine, transposed_by_load])
def test_matrices_are_transposed(kernel):
    x = values((256, 384))
    np.testing.assert_array_equal(nki.simulate_kernel(kernel, x), x.T)


@nki.jit
def softmax(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(x.shape[0] // P):
        t = nl.load(x[nl.ds(i * P, P), :])
        shifted = nl.exp(nl.subtract(t, nl.max(t, axis=1, keepdims=True)))
        total = nl.sum(shifted, axis=1, keepdims=True)
        nl.store(out[nl.ds(i * P, P), :], nl.multiply(shifted, nl.reciprocal(total)))
    return out


def test_softmax_of_rows():
    x = values((256, 96))
    e = np.exp(x - x.max(axis=1, keepdims=True))
    got = nki.simulate_kernel(softmax, x)
    np.testing.assert_allclose(got, e / e.sum(axis=1, keepdims=True), rtol=1e-5)


@nki.jit
def blocked_matmul(a, b):
    """a (m, k) @ b (k, n): tiles of 128 x 512, the contraction summed in PSUM."""
    m, k = a.shape
    n = b.shape[1]
    out = nl.ndarray((m, n), dtype=a.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(m // P):
        left = nl.ndarray((k // P, nl.par_dim(P), P), dtype=a.dtype, buffer=nl.sbuf)
        for c in nl.affine_range(k // P):
            block = nl.load(a[nl.ds(i * P, P), nl.ds(c * P, P)])
            left[c] = nisa.nc_transpose(block)
        for j in nl.affine_range(n // 512):
            total = nl.zeros((P, 512), dtype=nl.float32, buffer=nl.psum)
            for c in nl.affine_range(k // P):
                right = nl.load(b[nl.ds(c * P, P), nl.ds(j * 512, 512)])
                total += nisa.nc_matmul(left[c], right)
            nl.store(out[nl.ds(i * P, P), nl.ds(j * 512, 512)], value=nl.copy(total))
    return out


def test_a_blocked_matmul():
    a, b = values((256, 256)), values((256, 1024), seed=1)
    np.testing.assert_allclose(nki.simulate_kernel(blocked_matmul, a, b), a @ b, atol=1e-3)


# -- convolution with bias and pooling: X (b, ci, h, w), W (co, ci, fh, fw), bias (co,) ------------
def sizes(X, W, pool):
    b, ci, h, w = X.shape
    co, _, fh, fw = W.shape
    return b, ci, co, fh, fw, h - fh + 1, w - fw + 1, pool


@nki.jit
def rows_of_a_convolution(X, W, bias, pool):
    """A row of the output at a time; weights transposed on TensorE; the bias a one-axis load for
    tensor_scalar; pooling by a reduction over two axes that are not neighbors."""
    b, ci, co, fh, fw, oh, ow, pool = sizes(X, W, pool)
    out = nl.ndarray((b, co, oh // pool, ow // pool), dtype=X.dtype, buffer=nl.hbm)
    for o in nl.affine_range(co // P):
        weights = nl.load(W[nl.ds(o * P, P)])
        turned = nl.ndarray((ci // P, fh, fw, nl.par_dim(P), P), dtype=W.dtype, buffer=nl.sbuf)
        for c in nl.affine_range(ci // P):
            for i in nl.affine_range(fh):
                for j in nl.affine_range(fw):
                    block = nl.copy(weights[:, nl.ds(c * P, P), i, j])
                    turned[c, i, j] = nisa.nc_transpose(block)
        bias_tile = nl.load(bias[o * P : (o + 1) * P])
        for n in nl.affine_range(b):
            image = nl.ndarray((P, oh, ow), dtype=X.dtype, buffer=nl.sbuf)
            for r in nl.affine_range(oh):
                total = nl.zeros((P, ow), dtype=nl.float32, buffer=nl.psum)
                for c in nl.affine_range(ci // P):
                    for i in nl.affine_range(fh):
                        line = nl.load(X[n, nl.ds(c * P, P), r + i, :])
                        for j in nl.affine_range(fw):
                            total += nisa.nc_matmul(turned[c, i, j], line[:, j : j + ow])
                image[:, r, :] = nisa.tensor_scalar(total, np.add, bias_tile)
            if pool > 1:
                windows = image.reshape((P, oh // pool, pool, ow // pool, pool))
                image = nisa.tensor_reduce(nl.max, windows, axis=(2, 4))
            nl.store(out[n, nl.ds(o * P, P)], value=image)
    return out


@nki.jit
def copies_of_a_convolution(X, W, bias, pool):
    """Everything by dma_copy; the bias a (128, 1) tile for tensor_tensor; pooling by the largest of
    slices with a step."""
    b, ci, co, fh, fw, oh, ow, pool = sizes(X, W, pool)
    out = nl.ndarray((b, co, oh // pool, ow // pool), dtype=X.dtype, buffer=nl.hbm)
    bias_sbuf = nl.ndarray((P, co // P), dtype=bias.dtype, buffer=nl.sbuf)
    for o in nl.affine_range(co // P):
        nisa.dma_copy(dst=bias_sbuf[:, o], src=bias[o * P : (o + 1) * P])
    for n in nl.affine_range(b):
        image = nl.ndarray((P, ci // P, oh + fh - 1, ow + fw - 1), dtype=X.dtype, buffer=nl.sbuf)
        for c in nl.affine_range(ci // P):
            nisa.dma_copy(dst=image[:, c], src=X[n, c * P : (c + 1) * P])
        for o in nl.affine_range(co // P):
            kernel = nl.ndarray((P, ci, fh, fw), dtype=W.dtype, buffer=nl.sbuf)
            nisa.dma_copy(dst=kernel, src=W[o * P : (o + 1) * P])
            result = nl.ndarray((P, oh, ow), dtype=X.dtype, buffer=nl.sbuf)
            for r in nl.affine_range(oh):
                total = nl.zeros((P, ow), dtype=nl.float32, buffer=nl.psum)
                for c in nl.affine_range(ci // P):
                    for i in nl.affine_range(fh):
                        for j in nl.affine_range(fw):
                            block = nisa.tensor_copy(kernel[:, c * P : (c + 1) * P, i, j])
                            total += nisa.nc_matmul(
                                nisa.tensor_copy(nisa.nc_transpose(block)),
                                image[:, c, r + i, j : j + ow],
                            )
                result[:, r, :] = nisa.tensor_tensor(total, bias_sbuf[:, o], op=nl.add)
            if pool == 2:
                wide = nisa.tensor_tensor(result[:, :, 0::2], result[:, :, 1::2], op=nl.maximum)
                result = nisa.tensor_tensor(wide[:, 0::2, :], wide[:, 1::2, :], op=nl.maximum)
            nisa.dma_copy(dst=out[n, o * P : (o + 1) * P], src=result)
    return out


@nki.jit
def grids_of_a_convolution(X, W, bias, pool):
    """Blocks with par_dim and index grids; a one-axis tile for the bias; pooling by a pattern of
    five axes."""
    b, ci, co, fh, fw, oh, ow, pool = sizes(X, W, pool)
    out = nl.ndarray((b, co, oh // pool, ow // pool), dtype=X.dtype, buffer=nl.shared_hbm)
    turned = nl.ndarray((fh, fw, co // P, ci // P, nl.par_dim(P), P), dtype=W.dtype)
    i_p, i_f = nl.arange(P)[:, None], nl.arange(P)[None, :]
    for o in nl.affine_range(co // P):
        for c in nl.affine_range(ci // P):
            for i in nl.affine_range(fh):
                for j in nl.affine_range(fw):
                    block = nl.load(W[o * P + i_p, c * P + i_f, i, j])
                    turned[i, j, o, c] = nl.transpose(block)
    for n in nl.affine_range(b):
        for o in nl.affine_range(co // P):
            bias_tile = nl.ndarray((nl.par_dim(P),), dtype=bias.dtype, buffer=nl.sbuf)
            bias_tile[...] = nl.load(bias[o * P : (o + 1) * P])
            image = nl.ndarray((P, oh, ow), dtype=X.dtype)
            for r in nl.affine_range(oh):
                total = nl.zeros((P, ow), dtype=nl.float32, buffer=nl.psum)
                for i in nl.affine_range(fh):
                    for c in nl.affine_range(ci // P):
                        line = nl.load(X[n, c * P : (c + 1) * P, r + i, :])
                        for j in nl.affine_range(fw):
                            total += nl.matmul(
                                turned[i, j, o, c], line[:, j : j + ow], transpose_x=True
                            )
                image[:, r, :] = nl.add(total, bias_tile)
            at = nl.mgrid[0:P, 0 : oh // pool, 0 : ow // pool, 0:pool, 0:pool]
            windows = image[at[0], at[1] * pool + at[3], at[2] * pool + at[4]]
            nl.store(out[n, o * P : (o + 1) * P], value=nl.max(windows, axis=[3, 4]))
    return out


@nki.jit
def activations_of_a_convolution(X, W, bias, pool):
    """Weights turned by the DMA that loads them; several rows in one matmul; the bias in the
    activation that empties PSUM; pooling in two steps."""
    b, ci, co, fh, fw, oh, ow, pool = sizes(X, W, pool)
    out = nl.ndarray((b, co, oh // pool, ow // pool), dtype=X.dtype, buffer=nl.shared_hbm)
    flat = W.reshape((co, ci * fh * fw))
    for o in nl.affine_range(co // P):
        bias_tile = nl.load(bias.reshape((co, 1))[o * P : (o + 1) * P, :])
        for n in nl.affine_range(b):
            total = nl.zeros((P, oh, ow), dtype=nl.float32, buffer=nl.psum)
            for c in nl.affine_range(ci // P):
                image = nl.load(X[n, c * P : (c + 1) * P])
                for i in nl.affine_range(fh):
                    for j in nl.affine_range(fw):
                        first = c * P * fh * fw + i * fw + j
                        columns = first + nl.arange(P)[None, :] * (fh * fw)
                        block = nl.load(flat[o * P + nl.arange(P)[:, None], columns])
                        total += nisa.nc_matmul(
                            nisa.nc_transpose(block), image[:, i : i + oh, j : j + ow]
                        )
            image_out = nisa.activation(nl.copy, total, bias=bias_tile)
            if pool > 1:
                pairs = nisa.tensor_reduce(
                    nl.max, image_out.reshape((P, oh, ow // pool, pool)), axis=[3]
                )
                image_out = nisa.tensor_reduce(
                    nl.max, pairs.reshape((P, oh // pool, pool, ow // pool)), axis=[2]
                )
            nl.store(out[n, o * P : (o + 1) * P], value=image_out)
    return out


@nki.jit
def sums_of_a_convolution(X, W, bias, pool):
    """A product for each place of the filter, summed in SBUF; the bias spread over a tile first;
    the largest element kept while the rows go by."""
    b, ci, co, fh, fw, oh, ow, pool = sizes(X, W, pool)
    out = nl.ndarray((b, co, oh // pool, ow // pool), dtype=X.dtype, buffer=nl.shared_hbm)
    for n in nl.affine_range(b):
        for o in nl.affine_range(co // P):
            weights = nl.load(W[o * P : (o + 1) * P])
            spread = nl.ndarray((P, ow), dtype=bias.dtype, buffer=nl.sbuf)
            for column in nl.affine_range(ow):
                spread[:, column] = nl.load(bias[o * P : (o + 1) * P])
            for q in nl.affine_range(oh // pool):
                best = nl.full((P, ow // pool), -1e30, dtype=nl.float32)
                for s in nl.sequential_range(pool):
                    line = nl.copy(spread, dtype=nl.float32)
                    for c in nl.affine_range(ci // P):
                        for i in nl.affine_range(fh):
                            pixels = nl.load(X[n, c * P : (c + 1) * P, q * pool + s + i])
                            for j in nl.affine_range(fw):
                                turned = nl.transpose(nl.copy(weights[:, nl.ds(c * P, P), i, j]))
                                line += nl.matmul(turned, pixels[:, j : j + ow], transpose_x=True)
                    pairs = nl.max(line.reshape((P, ow // pool, pool)), axis=2)
                    best[...] = nl.maximum(best, pairs)
                nl.store(out[n, o * P : (o + 1) * P, q], value=best)
    return out


def convolution(X, W, bias, pool):
    """In float64, on the host."""
    b, _ci, co, fh, fw, oh, ow, pool = sizes(X, W, pool)
    out = np.zeros((b, co, oh, ow))
    for i in range(fh):
        for j in range(fw):
            window = X[:, :, i : i + oh, j : j + ow].astype(np.float64)
            out += np.einsum("bchw,oc->bohw", window, W[:, :, i, j].astype(np.float64))
    out += bias[:, None, None]
    return out.reshape(b, co, oh // pool, pool, ow // pool, pool).max(axis=(3, 5))


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize(
    "kernel",
    [
        rows_of_a_convolution,
        copies_of_a_convolution,
        grids_of_a_convolution,
        activations_of_a_convolution,
        sums_of_a_convolution,
    ],
    ids=lambda kernel: kernel.__name__,
)
@pytest.mark.filterwarnings("ignore::nkisim.RuleWarning")
def test_a_convolution_with_bias_and_pooling(kernel, pool):
    X, W = values((1, 256, 6, 8)), values((128, 256, 3, 3), seed=1)
    bias = values((128,), seed=2)
    got = nki.simulate_kernel(kernel, X, W, bias, pool)
    np.testing.assert_allclose(got, convolution(X, W, bias, pool), rtol=1e-4, atol=1e-3)
