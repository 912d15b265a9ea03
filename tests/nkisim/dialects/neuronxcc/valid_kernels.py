"""Kernels in the styles that people write, with what each computes: tiles, block axes, state."""

from __future__ import annotations

import math

import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
from neuronxcc.nki.language import par_dim

from ...helpers import BF16, values
from .cases import Cases

TILE = 128
MODULE_I_P = nl.arange(128)[:, None]
MODULE_GRID = nl.mgrid[0:128, 0:64]

X = values((128, 512))
A, B = values((256, 128)), values((256, 512), seed=1)

case = CASES = Cases()


# -- tiling and indexing ---------------------------------------------------------------------------
@case(np.exp, X)
def slices_and_an_affine_range(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(x.shape[1] // TILE):
        nl.store(
            out[:, i * TILE : (i + 1) * TILE], nl.exp(nl.load(x[:, i * TILE : (i + 1) * TILE]))
        )
    return out


@case(np.exp, X)
def dynamic_slices_and_a_sequential_range(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in nl.sequential_range(4):
        tile = nl.load(x[0:128, nl.ds(i * TILE, TILE)])
        nl.store(out[0:128, nl.ds(i * TILE, TILE)], value=nl.exp(tile))
    return out


@case(np.exp, X)
def a_static_range_with_a_step(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for start in nl.static_range(0, 512, TILE):
        nl.store(out[:, start : start + TILE], nl.exp(nl.load(x[:, start : start + TILE])))
    return out


@case(np.exp, X)
def index_grids_made_at_module_level(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    i_f = nl.arange(512)[None, :]
    nl.store(out[MODULE_I_P, i_f], nl.exp(nl.load(x[MODULE_I_P, i_f])))
    return out


@case(lambda x: x[:, :64] * 2, X)
def mgrids_kept_with_their_axes(x):
    out = nl.ndarray((128, 64), dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x[MODULE_GRID.p, MODULE_GRID.x])
    nl.store(out[MODULE_GRID], nl.multiply(tile[MODULE_GRID], 2))
    return out


@case(lambda x: np.concatenate([x[:, 0::2], x[:, 1::2]], axis=1), X)
def even_and_odd_columns(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    i_p, i_f = nl.arange(128)[:, None], nl.arange(256)[None, :]
    nl.store(out[i_p, i_f], tile[i_p, 2 * i_f])
    nl.store(out[i_p, 256 + i_f], nl.copy(tile[:, 1::2]))
    return out


@case(lambda x: x.reshape(2, 3, 2, 3, 2).max(axis=(2, 4)), values((2, 6, 6)))
def a_pooling_window_as_a_five_axis_pattern(x):
    c, h, w = x.shape
    out = nl.ndarray((c, h // 2, w // 2), dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.ndarray((c, h, w), dtype=x.dtype)
    tile[:, :, :] = nl.load(x)
    i0 = nl.arange(c)[:, None, None, None, None]
    i1, i2 = nl.arange(h // 2)[None, :, None, None, None], nl.arange(2)[None, None, :, None, None]
    i3, i4 = nl.arange(w // 2)[None, None, None, :, None], nl.arange(2)[None, None, None, None, :]
    nl.store(out, nl.max(tile[i0, 2 * i1 + i2, 2 * i3 + i4], axis=[2, 4]))
    return out


@case(lambda x: np.exp(x), values((3, 2, 64, 40)))
def four_axis_inputs_by_number_and_grid(x):
    b, h, p, n = x.shape
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    i_p, i_f = nl.mgrid[0:p, 0:n]
    for i in nl.affine_range(b):
        for j in nl.affine_range(h):
            tile = nl.load(x[i, j, i_p, i_f])
            nl.store(out[i, j], nl.exp(tile))
    return out


@case(lambda x: x.transpose(1, 0, 2) + 1, values((4, 32, 8)))
def heads_moved_behind_the_partition_axis(x):
    out = nl.ndarray((32, 4, 8), dtype=x.dtype, buffer=nl.shared_hbm)
    heads = nl.ndarray((32, 4, 8), dtype=x.dtype)
    for h in nl.affine_range(4):
        heads[:, h, :] = nl.load(x[h])
    nl.store(out, heads + 1.0)
    return out


@case(lambda x: np.exp(x), values((300, 70)))
def a_masked_tail(x):
    rows, n = x.shape
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    i_f = nl.arange(n)[None, :]
    for t in nl.affine_range(math.ceil(rows / 128)):
        i_p = t * 128 + nl.arange(128)[:, None]
        tile = nl.load(x[i_p, i_f], mask=(i_p < rows))
        nl.store(out[i_p, i_f], value=nl.exp(tile), mask=(i_p < rows))
    return out


@case(lambda x: x[32:64] + x[64:96], X)
def tiles_that_start_at_partition_32_and_64(x):
    out = nl.ndarray((32, 512), dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    nl.store(out, nl.add(tile[32:64, :], tile[64:96, :]))
    return out


# -- block axes and matmuls ------------------------------------------------------------------------
@case(lambda a, b: a.T @ b, A, B, tolerance=1e-3)
def block_axes_with_par_dim(a, b):
    out = nl.ndarray((128, 512), dtype=a.dtype, buffer=nl.shared_hbm)
    left = nl.ndarray((2, par_dim(128), 128), dtype=a.dtype, buffer=nl.sbuf)
    right = nl.ndarray((2, nl.par_dim(128), 512), dtype=b.dtype, buffer=nl.sbuf)
    i_l, i_r = nl.mgrid[0:128, 0:128], nl.mgrid[0:128, 0:512]
    for k in nl.affine_range(2):
        left[k, i_l.p, i_l.x] = nl.load(a[k * 128 + i_l.p, i_l.x])
        right[k] = nl.load(b[k * 128 : (k + 1) * 128, :])
    acc = nl.zeros((128, 512), nl.float32, buffer=nl.psum)
    for k in nl.affine_range(2):
        acc += nl.matmul(left[k], right[k, i_r.p, i_r.x], transpose_x=True)
    nl.store(out, nl.copy(acc, dtype=a.dtype))
    return out


@case(lambda a, b: a.T @ b, A, B, tolerance=1e-3)
def psum_that_is_never_zeroed(a, b):
    out = nl.ndarray((128, 512), dtype=a.dtype, buffer=nl.shared_hbm)
    acc = nl.ndarray((par_dim(128), 512), dtype=nl.float32, buffer=nl.psum)
    for k in range(2):
        acc[...] += nisa.nc_matmul(
            stationary=nl.load(a[k * 128 : (k + 1) * 128]),
            moving=nl.load(b[k * 128 : (k + 1) * 128]),
        )
    nl.store(out, value=acc)
    return out


@case(lambda a, b: a.T @ b, A, B, tolerance=1e-3)
def partial_products_summed_in_sbuf(a, b):
    out = nl.ndarray((128, 512), dtype=a.dtype, buffer=nl.shared_hbm)
    total = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.sbuf)
    for k in nl.affine_range(2):
        total += nisa.nc_matmul(
            nl.load(a[nl.ds(k * 128, 128), :]), nl.load(b[nl.ds(k * 128, 128), :])
        )
    nl.store(out, total)
    return out


@case(lambda x, y: x @ y, values((64, 96)), values((96, 200), seed=1), tolerance=1e-4)
def matmul_without_a_transposed_left_side(x, y):
    out = nl.ndarray((64, 200), dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.matmul(nl.load(x), nl.load(y)))
    return out


@case(
    lambda a, b: a.astype(BF16).astype(np.float32).T @ b.astype(BF16).astype(np.float32),
    A,
    B,
    tolerance=1e-3,
)
def bfloat16_operands_and_a_float32_result(a, b):
    out = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.shared_hbm)
    acc = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.psum)
    for k in nl.affine_range(2):
        acc += nisa.nc_matmul(
            nl.load(a[nl.ds(k * 128, 128), :], dtype=nl.bfloat16),
            nl.load(b[nl.ds(k * 128, 128), :]).astype(nl.bfloat16),
        )
    nl.store(out, nisa.tensor_copy(acc, dtype=nl.float32))
    return out


@case(lambda x: x.T * 2, values((128, 128)))
def transposes_on_both_engines(x):
    out = nl.ndarray((128, 128), dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    turned = nl.ndarray((128, 128), dtype=x.dtype)
    turned[...] = nisa.nc_transpose(tile)
    turned[0:32, 0:32] = nisa.nc_transpose(tile[0:32, 0:32], engine=nisa.vector_engine)
    nl.store(out, nl.multiply(turned, 2.0))
    return out


# -- state, reductions, selections -----------------------------------------------------------------
@case(lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True), X, tolerance=1e-4)
def online_softmax_with_in_place_state_and_a_plain_range(x):
    rows, n = x.shape
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    m = nl.full((rows, 1), nl.fp32.min, dtype=nl.float32, name="m")
    l = nl.zeros((rows, 1), dtype=nl.float32, name="l")
    for i in range(n // TILE):
        tile = nl.load(x[:, i * TILE : (i + 1) * TILE])
        m_new = nl.maximum(m, nl.max(tile, axis=1, keepdims=True))
        alpha = nl.exp(m - m_new)
        l[...] = l * alpha + nl.sum(nl.exp(tile - m_new), axis=1, keepdims=True)
        m[...] = m_new
    inverse = nl.reciprocal(l)
    for i in nl.affine_range(n // TILE):
        tile = nl.load(x[:, i * TILE : (i + 1) * TILE])
        nl.store(out[:, i * TILE : (i + 1) * TILE], nl.exp(tile - m) * inverse)
    return out


@case(lambda x: np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True), X)
def fused_exp_and_sum_with_a_bias(x):
    out = nl.ndarray((128, 1), dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    low = nisa.tensor_reduce(np.max, tile, axis=(1,), negate=True)
    total = nl.ndarray((128, 1), dtype=nl.float32)
    nisa.activation(
        op=np.exp,
        data=tile,
        bias=low,
        scale=1.0,
        reduce_op=np.add,
        reduce_res=total[:, 0],
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
    )
    nl.store(out, total)
    return out


@case(lambda x: np.where(x > 0, x, 0) + np.tril(np.ones((128, 512))), X)
def where_comparisons_affine_select_and_iota(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    i_p, i_f = nl.arange(128)[:, None], nl.arange(512)[None, :]
    positive = nl.where(tile > 0, tile, 0.0)
    column = nisa.iota(i_f + 0 * i_p, dtype=nl.float32)
    row = nisa.iota(i_p, dtype=nl.float32)
    by_values = nl.where(nl.less_equal(column, row), 0.5, 0.0, dtype=nl.float32)
    by_index = nisa.affine_select(
        pred=(i_p >= i_f),
        on_true_tile=nl.full((128, 512), 0.5, dtype=nl.float32),
        on_false_value=0.0,
    )
    nl.store(out, positive + by_values + by_index)
    return out


@case(
    lambda x: x.sum(axis=(1, 2))[:, None] + x.max(axis=2).sum(axis=1)[:, None],
    values((16, 6, 10)),
    tolerance=1e-4,
)
def reductions_over_several_axes(x):
    out = nl.ndarray((16, 1), dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    nl.store(out, nl.sum(tile, axis=[1, 2]) + nl.sum(nl.max(tile, axis=2), axis=1))
    return out


@case(
    lambda x: (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5),
    X,
    tolerance=1e-4,
)
def layer_norm(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    mean = nl.mean(tile, axis=1)
    var = nl.mean(nl.square(tile), axis=1) - mean * mean
    nl.store(out, (tile - mean) * nl.rsqrt(var + 1e-5))
    return out


@case(lambda x, g: x * g.reshape(1, -1), X, values((512,), seed=1))
def a_one_axis_input_reshaped_and_broadcast(x, g):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    weight = nl.load(g.reshape((1, 512)))
    nl.store(out, nl.load(x) * weight.broadcast_to((128, 512)))
    return out
