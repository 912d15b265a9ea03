"""Masks: what is read and written under one, and what becomes of the elements it leaves out."""

from __future__ import annotations

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim

from ..helpers import assert_same_bits, marked_line, refused, run_kernel, values


# -- tails: the documented way to handle sizes that are not a multiple of the tile -----------------
@nki.jit
def exp_of_any_rows(x):
    rows, n = x.shape
    out = nl.ndarray((rows, n), dtype=x.dtype, buffer=nl.shared_hbm)
    i_f = nl.arange(n)[None, :]
    for p in nl.affine_range(math.ceil(rows / nl.tile_size.pmax)):
        i_p = p * nl.tile_size.pmax + nl.arange(nl.tile_size.pmax)[:, None]
        tile = nl.load(x[i_p, i_f], mask=(i_p < rows))
        nl.store(out[i_p, i_f], value=nl.exp(tile, mask=(i_p < rows)), mask=(i_p < rows))
    return out


@nki.jit
def rms_norm_masked_only_at_the_edges(x, w):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    ix, iw, iy = nl.arange(128)[:, None], nl.arange(1)[:, None], nl.arange(x.shape[1])[None, :]
    rows = x.shape[0]
    weight = nl.load(w.reshape((1, x.shape[1]))[iw, iy])
    for i in nl.affine_range(math.ceil(rows / 128)):
        tile = nl.load(x[i * 128 + ix, iy], mask=(i * 128 + ix < rows))
        total = nl.sum(nl.square(tile), axis=[1])
        scaled = nl.multiply(tile, nl.rsqrt(total / x.shape[1]))
        scaled[...] = nl.multiply(
            scaled, weight.broadcast_to((128, x.shape[1])), mask=(i * 128 + ix < rows)
        )
        nl.store(out[i * 128 + ix, iy], value=scaled, mask=(i * 128 + ix < rows))
    return out


@given(rows=st.integers(1, 300), n=st.integers(1, 40))
def test_a_masked_tail_computes_every_row_and_no_other(rows, n):
    x = values((rows, n))
    got, run = run_kernel(exp_of_any_rows, x)
    np.testing.assert_allclose(got, np.exp(x), rtol=1e-6)
    assert run.hbm_bytes_read == run.hbm_bytes_written == x.nbytes


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 256, 300])
def test_rows_left_out_by_a_masked_load_may_be_computed_on_as_long_as_they_are_not_stored(rows):
    x, w = values((rows, 32)), values((32,), seed=1)
    got, _ = run_kernel(rms_norm_masked_only_at_the_edges, x, w)
    np.testing.assert_allclose(
        got, x / np.sqrt(np.mean(x * x, axis=1, keepdims=True)) * w, rtol=1e-5
    )


def test_a_mean_under_a_mask_is_that_of_the_smaller_tile():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 2), dtype=x.dtype, buffer=nl.shared_hbm)
        _, i_f = nl.mgrid[0:64, 0:40]
        tile = nl.load(x)
        nl.store(out[:, 0:1], value=nl.mean(tile, axis=1, mask=(i_f < 30)))
        nl.store(out[:, 1:2], value=nl.var(tile, axis=1, mask=(i_f < 30)))
        return out

    x = values((64, 40))
    np.testing.assert_allclose(
        kernel(x), np.stack([x[:, :30].mean(1), x[:, :30].var(1)], axis=1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("n", [100, 512, 700])
def test_columns_beyond_the_end_go_through_a_matmul_and_are_never_stored(n):
    @nki.jit
    def kernel(q, k):
        d, keys = k.shape
        out = nl.ndarray((1, keys), dtype=nl.float32, buffer=nl.shared_hbm)
        i_d, i_k, i_0 = nl.arange(d)[:, None], nl.arange(512)[None, :], nl.arange(1)[:, None]
        query = nl.load(q)
        for t in nl.affine_range(math.ceil(keys / 512)):
            tile = nl.load(k[i_d, t * 512 + i_k], mask=(t * 512 + i_k < keys))
            scores = nl.copy(nisa.nc_matmul(query, tile))
            nl.store(out[i_0, t * 512 + i_k], value=scores, mask=(t * 512 + i_k < keys))
        return out

    q, k = values((64, 1)), values((64, n), seed=1)
    got, _ = run_kernel(kernel, q, k)
    np.testing.assert_allclose(got, q.T @ k, rtol=1e-4, atol=1e-5)


def test_unknown_elements_follow_transposes_copies_and_views():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 100), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(128)[:, None], nl.arange(64)[None, :]
        tile = nl.load(x[i_p, i_f], mask=(i_p < 100))
        turned = nl.copy(nl.copy(nisa.nc_transpose(tile)))
        nl.store(out, value=turned[:, 0:100])
        return out

    x = values((100, 64))
    assert_same_bits(run_kernel(kernel, x)[0], np.ascontiguousarray(x.T))


# -- where they are refused ------------------------------------------------------------------------
def test_a_reduction_that_mixes_unknown_with_known_elements_is_refused():
    def kernel(x):
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        scores = nl.load(x[i_p, i_f], mask=(i_f < 10))
        return nl.max(scores, axis=1)  # breaks

    error = refused(kernel, values((8, 16)), rule="uninitialized-read")
    assert error.line == marked_line(kernel)
    assert error.tensor == "scores" and "left out" in error.headline and "mask" in error.remedy


def test_a_contraction_that_mixes_them_is_refused():
    def kernel(a, b):
        i_p, i_f = nl.arange(32)[:, None], nl.arange(16)[None, :]
        left = nl.load(a[i_p, i_f], mask=(i_p < 20))
        return nisa.nc_matmul(left, nl.load(b))  # breaks

    error = refused(kernel, values((20, 16)), values((32, 8)), rule="uninitialized-read")
    assert error.line == marked_line(kernel) and error.tensor == "left"


def test_storing_them_is_refused():
    def kernel(x):
        out = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(128)[:, None], nl.arange(16)[None, :]
        nl.store(out, nl.exp(nl.load(x[i_p, i_f], mask=(i_p < 100))))  # breaks
        return out

    error = refused(kernel, values((100, 16)), rule="uninitialized-read")
    assert error.line == marked_line(kernel) and error.tensor == "out"


def test_a_mask_on_the_reduction_itself_leaves_them_out_of_it():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        low = nl.ndarray((8, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        tile = nl.load(x[i_p, i_f], mask=(i_f < 10))
        nl.store(out, nl.max(tile, axis=1, mask=(i_f < 10)))
        nl.store(low, nisa.tensor_reduce(nl.add, tile, axis=[1], mask=(i_f < 10)))
        return out, low

    x = -np.abs(values((8, 10))) - 1
    (top, total), _ = run_kernel(kernel, np.ascontiguousarray(x))
    assert_same_bits(top, x.max(axis=1, keepdims=True))
    np.testing.assert_allclose(total, x.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "reference"), [("bitwise_and", np.bitwise_and), ("bitwise_or", np.bitwise_or)]
)
def test_a_masked_bitwise_reduction_keeps_the_bits(op, reference):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        i_f = nl.arange(16)[None, :]
        nl.store(out, nisa.tensor_reduce(getattr(nl, op), nl.load(x), axis=1, mask=(i_f < 10)))
        return out

    x = np.random.default_rng(0).integers(0, 2**31, (8, 16), np.int32)
    assert_same_bits(run_kernel(kernel, x)[0], reference.reduce(x[:, :10], axis=1, keepdims=True))


# -- filling them ----------------------------------------------------------------------------------
FILLS = {
    "where": lambda tile, i_p, i_f, keep: nl.where(keep, tile, -1e4),
    "affine_select": lambda tile, i_p, i_f, keep: nisa.affine_select(i_f < 10, tile, -1e4),
}


@pytest.mark.parametrize("fill", FILLS)
def test_a_selection_that_replaces_every_unknown_element_makes_the_tile_whole(fill):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        tile = nl.load(x[i_p, i_f], mask=(i_f < 10))
        keep = nl.less(nisa.iota(i_f + 0 * i_p, dtype=nl.float32), 10.0)
        nl.store(out, nl.max(FILLS[fill](tile, i_p, i_f, keep), axis=1))
        return out

    x = values((8, 10))
    assert_same_bits(run_kernel(kernel, x)[0], x.max(axis=1, keepdims=True))


def test_a_masked_load_into_a_filled_tile_leaves_the_rest_of_it():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        tile = nl.full((8, 16), -1.0, dtype=x.dtype)
        tile[i_p, i_f] = nl.load(x[i_p, i_f], mask=(i_f < 10))
        tile[...] = nl.exp(tile, mask=(i_p < 4))
        nl.store(out, tile)
        return out

    x = values((8, 10))
    expected = np.full((8, 16), -1, np.float32)
    expected[:, :10] = x
    expected[:4] = np.exp(expected[:4])
    got, run = run_kernel(kernel, x)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert run.counts() == {"dma_copy": 2, "activation": 1, "memset": 1}


def test_a_masked_load_into_fresh_memory_leaves_the_rest_unknown():
    def kernel(x):
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        tile = nl.ndarray((8, 16), dtype=x.dtype)
        tile[...] = nl.load(x[i_p, i_f], mask=(i_f < 10))
        doubled = nl.add(tile, tile)
        return nl.sum(doubled, axis=1)  # breaks

    assert refused(kernel, values((8, 10)), rule="uninitialized-read").line == marked_line(kernel)


def test_memory_that_nothing_wrote_is_refused_at_once_mask_or_no_mask():
    def kernel(x):
        tile = nl.ndarray((8, 16), dtype=x.dtype)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        return nl.exp(tile, mask=(i_f < 10) & (i_p < 8))  # breaks

    assert refused(kernel, values((8, 10)), rule="uninitialized-read").line == marked_line(kernel)


def test_rows_that_a_masked_reduction_register_never_saw_are_unknown():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((100, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(128)[:, None], nl.arange(16)[None, :]
        total = nl.ndarray((128, 1), dtype=nl.float32)
        tile = nl.load(x[i_p, i_f], mask=(i_p < 100))
        nisa.activation_reduce(nl.exp, tile, reduce_op=nl.add, reduce_res=total)
        nl.store(out, total[0:100, :])
        return out

    x = values((100, 16))
    np.testing.assert_allclose(
        run_kernel(kernel, x)[0], np.exp(x).sum(axis=1, keepdims=True), rtol=1e-5
    )


# -- matmuls under a mask --------------------------------------------------------------------------
def test_a_masked_matmul_adds_to_the_kept_part_of_its_psum_tile_only():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((16, 24), dtype=nl.float32, buffer=nl.shared_hbm)
        acc = nl.zeros((16, 24), dtype=nl.float32, buffer=nl.psum)
        i_p, i_f = nl.arange(16)[:, None], nl.arange(24)[None, :]
        for i in nl.affine_range(3):
            acc[i_p, i_f] += nisa.nc_matmul(nl.load(a[i]), nl.load(b[i]), mask=(i_f < 8 * (i + 1)))
        nl.store(out, nl.copy(acc))
        return out

    a, b = values((3, 32, 16)), values((3, 32, 24), seed=1)
    expected = np.zeros((16, 24))
    for i in range(3):
        expected[:, : 8 * (i + 1)] += (a[i].T.astype(np.float64) @ b[i])[:, : 8 * (i + 1)]
    got, run = run_kernel(kernel, a, b)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    # the rest of the zeros is added to
    assert run.counts() == {"dma_copy": 7, "nc_matmul": 3, "memset": 1, "tensor_copy": 1}


# -- forms a mask may take -------------------------------------------------------------------------
@pytest.mark.parametrize("condition", [True, np.True_])
def test_a_mask_that_is_true_is_no_mask(condition):
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.exp(nl.load(x, mask=condition), mask=condition), mask=condition)
        return out

    x = values((8, 16))
    np.testing.assert_allclose(run_kernel(kernel, x)[0], np.exp(x), rtol=1e-6)


def test_a_mask_that_is_false_reads_nothing_writes_nothing_counts_nothing_and_minds_no_bounds():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        for i in nl.affine_range(3):
            tile = nl.load(x[i * 8 + i_p, i_f], mask=(i < 1))
            tile = nl.exp(tile, mask=(i < 1))
            nl.store(out[i_p, i_f], value=tile, mask=(i < 1))
        return out

    x = values((8, 16))
    got, run = run_kernel(kernel, x)
    np.testing.assert_allclose(got, np.exp(x), rtol=1e-6)
    assert len(run) == 3 and run.hbm_bytes_read == x.nbytes


def test_masks_join_and_may_use_loop_indices_and_program_ids():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        base = nl.program_id(0) * 8
        for j in nl.affine_range(2):
            tile = nl.load(
                x[base + i_p, j * 16 + i_f],
                mask=(base + i_p < x.shape[0]) & (j * 16 + i_f < x.shape[1]),
            )
            nl.store(
                out[base + i_p, j * 16 + i_f],
                tile,
                mask=(base + i_p < x.shape[0]) & (j * 16 + i_f < x.shape[1]),
            )
        return out

    x = values((13, 21))
    assert_same_bits(run_kernel(kernel[2], x)[0], x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda i_f, t: t, "Tensor"),
        (lambda i_f, t: (i_f % 4) < 2, "not affine"),
        (lambda i_f, t: "yes", "str"),
        (lambda i_f, t: np.ones((8, 16), bool), "ndarray"),
    ],
)
def test_what_is_no_affine_predicate_is_refused_as_a_mask(make, words):
    def kernel(x):
        i_f = nl.arange(16)[None, :]
        t = nl.load(x)
        return nl.exp(t, mask=make(i_f, t))

    error = refused(kernel, values((8, 16)), rule="mask")
    assert words in str(error)


def test_comparing_an_index_with_a_tile_is_refused_where_it_happens():
    def kernel(x):
        i_f = nl.arange(16)[None, :]
        length = nl.load(x)
        return nl.exp(length, mask=(i_f < length))  # breaks

    assert refused(kernel, values((8, 16)), rule="mask").line == marked_line(kernel)


def test_masks_joined_with_and_are_the_second_one_and_a_warning_says_so():
    @nki.jit
    def kernel(x):
        i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.zeros(x.shape, dtype=x.dtype)
        t[i_p, i_f] = nl.load(x[i_p, i_f], mask=(i_p < 4 and i_f < 8))
        nl.store(out, t)
        return out

    x = values((8, 16))
    with pytest.warns(nkisim.RuleWarning, match="mask-truth") as seen:
        got = kernel(x)
    assert "&" in seen[0].message.error.remedy
    np.testing.assert_array_equal(got, np.where(np.arange(16) < 8, x, 0))


def test_a_mask_of_another_shape_is_refused():
    def kernel(x):
        return nl.load(x, mask=(nl.arange(9)[None, :] < 5))

    refused(kernel, values((8, 16)), rule="mask")


# -- bounds ----------------------------------------------------------------------------------------
def test_an_index_beyond_the_tensor_is_fine_under_the_mask_and_refused_beside_it():
    def kernel(x, keep):
        i_p, i_f = nl.arange(8)[:, None], nl.arange(24)[None, :]
        out = nl.ndarray((8, 24), dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.full((8, 24), 0.0, dtype=x.dtype)
        tile[...] = nl.load(x[i_p, i_f], mask=(i_f < keep))  # breaks
        nl.store(out, tile)
        return out

    x = values((8, 16))
    assert_same_bits(run_kernel(kernel, x, 16)[0], np.pad(x, ((0, 0), (0, 8))))
    error = refused(kernel, x, 17, rule="out-of-bounds")
    assert (
        error.line == marked_line(kernel) and error.tensor == "x" and isinstance(error, IndexError)
    )


def test_adding_a_matmul_that_its_mask_leaves_out_changes_nothing_and_begins_with_nothing():
    x = values((16, 8))

    @nki.jit
    def kernel(x):
        out = nl.ndarray((3, 8, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.load(x)
        for i in nl.static_range(3):
            total = nl.ndarray((8, 8), dtype=nl.float32, buffer=nl.psum)
            total += nisa.nc_matmul(t, t, mask=i > 0)
            total += nisa.nc_matmul(t, t, mask=i > 1)
            nl.store(out[i], nl.copy(total))
        return out

    got, _ = run_kernel(kernel, x)
    product = x.astype(np.float64).T @ x
    np.testing.assert_allclose(got, [0 * product, product, 2 * product], rtol=1e-5, atol=1e-5)


def test_assigning_what_a_mask_left_out_altogether_keeps_the_tile_as_it_was():
    x = values((16, 8))

    @nki.jit
    def kernel(x):
        out = nl.ndarray((2, 16, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        for i in nl.static_range(2):
            t = nl.load(x)
            t[...] = nl.exp(t, mask=i > 0)
            nl.store(out[i], t)
        return out

    got, run = run_kernel(kernel, x)
    np.testing.assert_allclose(got, [x, np.exp(x)], rtol=1e-6)
    assert run.counts() == {"dma_copy": 4, "activation": 1}


def test_a_named_tile_that_a_mask_left_out_has_no_values_to_assign():
    @nki.jit
    def kernel(x):
        t, other = nl.load(x), nl.ndarray((16, 8), dtype=nl.float32)
        nothing = nl.exp(t, mask=False)
        other[...] = nothing
        out = nl.ndarray((16, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, other)
        return out

    refused(kernel, values((16, 8)), rule="uninitialized-read")


def test_an_instruction_that_its_mask_leaves_out_reads_none_of_its_operands():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        unwritten = nl.ndarray((16, 8), dtype=nl.float32)
        total = nl.ndarray((8, 8), dtype=nl.float32, buffer=nl.psum)
        for i in nl.static_range(2):
            total += nisa.nc_matmul(nl.load(x) if i else unwritten, nl.load(x), mask=i > 0)
        nl.store(out, total)
        return out

    x = values((16, 8))
    np.testing.assert_allclose(run_kernel(kernel, x)[0], x.T @ x, rtol=1e-5, atol=1e-5)


def test_a_reduction_over_axes_that_are_not_the_last_ones_takes_a_mask_over_the_tile():
    """A pooling window of three rows and columns at the lower end of an image: rows beyond it are
    masked."""
    x = values((20, 9))

    @nki.jit
    def kernel(x):
        out = nl.ndarray((18, 7), dtype=x.dtype, buffer=nl.shared_hbm)
        i_h, i_k, i_w = nl.mgrid[0:32, 0:3, 0:9]
        rows = nl.load(x[i_h + i_k, i_w], mask=i_h < 18)
        i_h, i_k, i_w, j_k = nl.mgrid[0:32, 0:3, 0:7, 0:3]
        best = nl.max(rows[i_h, i_k, i_w + j_k], axis=[1, 3], mask=i_h < 18)
        i_h, i_w = nl.mgrid[0:32, 0:7]
        nl.store(out[i_h, i_w], best, mask=i_h < 18)
        return out

    window = np.lib.stride_tricks.sliding_window_view(x, (3, 3))
    assert_same_bits(run_kernel(kernel, x)[0], window.max(axis=(2, 3)))


@pytest.mark.parametrize("shape", [(16, 8), (64, 100)])
def test_a_masked_transpose_moves_what_the_mask_keeps(shape):
    x = values(shape)
    p, f = shape

    @nki.jit
    def kernel(x):
        out = nl.ndarray((f, p), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        i_p, i_f = nl.arange(p)[:, None], nl.arange(f)[None, :]
        whole = nl.zeros((f, p), dtype=x.dtype)
        turned = nl.transpose(t[i_p, i_f], mask=i_f < 5)
        j_p, j_f = nl.arange(f)[:, None], nl.arange(p)[None, :]
        whole[j_p, j_f] = nl.copy(turned[j_p, j_f], mask=j_p < 5)
        nl.store(out, whole)
        return out

    got, _ = run_kernel(kernel, x)
    assert_same_bits(got, np.where(np.arange(f)[:, None] < 5, x.T, 0).astype(np.float32))
