"""Masks of a matmul's operands: rows out of the contraction, columns out of the result."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np

from ..helpers import refused, run_kernel, values


def masked_matmul(mask_x, mask_y):
    """A kernel: x.T @ y, each operand under a mask, stored where a number was computed."""

    @nki.jit
    def kernel(x, y):
        out = nl.ndarray((24, 40), dtype=nl.float32, buffer=nl.shared_hbm)
        i, j = nl.mgrid[0:24, 0:40]
        nl.store(out, nl.full((24, 40), -1.0, dtype=nl.float32, buffer=nl.sbuf))
        i_p, i_m, i_n = nl.arange(96)[:, None], nl.arange(24)[None, :], nl.arange(40)[None, :]
        product = nl.matmul(
            nl.load(x)[mask_x(i_p, i_m)], nl.load(y)[mask_y(i_p, i_n)], transpose_x=True
        )
        kept = (i < 20) & (j < 30)
        nl.store(out[i, j], nl.copy(product, mask=kept), mask=kept)
        return out

    return kernel


def test_operand_masks_leave_rows_out_of_the_contraction_and_columns_out_of_the_result():
    x, y = values((96, 24)), values((96, 40), seed=1)
    got, _ = run_kernel(masked_matmul(lambda p, m: (p < 50) & (m < 20), lambda p, n: n < 30), x, y)
    want = np.full((24, 40), -1.0)
    want[:20, :30] = x[:50, :20].T @ y[:50, :30]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_a_column_that_an_operand_mask_leaves_out_has_no_number_in_the_result():
    x, y = values((96, 24)), values((96, 40), seed=1)
    refused(
        masked_matmul(lambda p, m: m < 19, lambda p, n: n < 30), x, y, rule="uninitialized-read"
    )


def test_an_operand_mask_of_two_axes_at_once_is_refused():
    x, y = values((96, 24)), values((96, 40), seed=1)
    refused(masked_matmul(lambda p, m: p + m < 30, lambda p, n: n < 30), x, y, rule="mask")


def test_only_a_matmul_takes_an_operand_mask():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.exp(nl.load(x)[nl.arange(8)[None, :] < 4]))
        return out

    assert "mask= of the function" in str(refused(kernel, values((96, 8)), rule="mask"))


def test_a_mask_over_the_contraction_axis_is_told_to_go_to_the_operands():
    @nki.jit
    def kernel(x, y):
        out = nl.ndarray((24, 40), dtype=nl.float32, buffer=nl.shared_hbm)
        rows = nl.arange(96)[:, None] < 50
        nl.store(out, nl.matmul(nl.load(x), nl.load(y), transpose_x=True, mask=rows))
        return out

    error = refused(kernel, values((96, 24)), values((96, 40), seed=1), rule="mask")
    assert "belongs to each operand" in str(error)
