"""Kernels in `nki` that the simulator and triton-viz's interpreter of it both run: the same text,
the output written to a parameter. And decode with KV tiles of 512 in the older dialect, and on
arrays."""

from __future__ import annotations

import math

import numpy as np

import nkisim  # noqa: F401  (from here on there are `nki` and `neuronxcc`)

# isort: split
import neuronxcc.nki as old_nki
import neuronxcc.nki.isa as old_nisa
import neuronxcc.nki.language as old_nl
import nki.isa as nisa
import nki.language as nl

LOWEST = -3.4028235e38


def filled(shape, value):
    """A tile of float32 that holds a number: there is no nl.full in triton-viz."""
    t = nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf)
    zero = nl.zeros(shape, dtype=nl.float32)
    nisa.tensor_scalar(dst=t, data=zero, op0=nl.add, operand0=value)
    return t


def weighted(p, v, width):
    """p (G, width) times the transpose of v (d, width), which lie in SBUF: a tile (G, d) in PSUM.
    128 keys at a time are transposed, and the products are added up."""
    heads, d = p.shape[0], v.shape[0]
    pv = nl.ndarray((heads, d), dtype=nl.float32, buffer=nl.psum)
    for at in range(0, width, 128):
        p_t_psum = nl.ndarray((128, heads), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_transpose(dst=p_t_psum, data=p[:, at : at + 128])
        p_t = nl.ndarray((128, heads), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_copy(dst=p_t, src=p_t_psum)
        v_t_psum = nl.ndarray((128, d), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_transpose(dst=v_t_psum, data=v[:, at : at + 128])
        v_t = nl.ndarray((128, d), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_copy(dst=v_t, src=v_t_psum)
        nisa.nc_matmul(dst=pv, stationary=p_t, moving=v_t)
    return pv


def decode(q, k, v, out, width):
    """Stage 9 with KV tiles of `width` keys: q (d, Hq), k, v (Hkv, d, n), out (Hq, d)."""
    n_kv_heads, d, n = k.shape
    heads = q.shape[1] // n_kv_heads
    scale = 1.0 / math.sqrt(d)
    for h in range(n_kv_heads):
        group = slice(h * heads, (h + 1) * heads)
        m, l, acc = filled((heads, 1), LOWEST), filled((heads, 1), 0.0), filled((heads, d), 0.0)
        q_tile = nl.ndarray((d, heads), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=q_tile, src=q[:, group])
        for i in range(n // width):
            keys = slice(i * width, (i + 1) * width)
            k_tile = nl.ndarray((d, width), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(dst=k_tile, src=k[h, :, keys])
            v_tile = nl.ndarray((d, width), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(dst=v_tile, src=v[h, :, keys])
            qk_psum = nl.ndarray((heads, width), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(dst=qk_psum, stationary=q_tile, moving=k_tile)
            qk = nl.ndarray((heads, width), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_scalar(dst=qk, data=qk_psum, op0=nl.multiply, operand0=scale)
            m_tile = nl.ndarray((heads, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=m_tile, op=nl.maximum, data=qk, axis=1, keepdims=True)
            m_new = nl.ndarray((heads, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=m_new, data1=m, data2=m_tile, op=nl.maximum)
            alpha = nl.ndarray((heads, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=alpha, data1=m, data2=m_new, op=nl.subtract)
            nisa.activation(dst=alpha, op=nl.exp, data=alpha)
            p = nl.ndarray((heads, width), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_scalar(dst=p, data=qk, op0=nl.subtract, operand0=m_new)
            nisa.activation(dst=p, op=nl.exp, data=p)
            l_tile = nl.ndarray((heads, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=l_tile, op=nl.add, data=p, axis=1, keepdims=True)
            nisa.tensor_scalar(
                dst=l, data=l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile
            )
            pv = weighted(p, v_tile, width)
            nisa.tensor_scalar(dst=acc, data=acc, op0=nl.multiply, operand0=alpha)
            nisa.tensor_tensor(dst=acc, data1=acc, data2=pv, op=nl.add)
            nisa.tensor_copy(dst=m, src=m_new)
        r = nl.ndarray((heads, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.reciprocal(dst=r, data=l)
        o_tile = nl.ndarray((heads, d), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=o_tile, data=acc, op0=nl.multiply, operand0=r)
        nisa.dma_copy(dst=out[group, :], src=o_tile)
    return out


def product(lhs_t, rhs, out):
    """out (M, N) = lhs_t.T @ rhs for lhs_t (K, M), rhs (K, N), by tiles of 128 x 128 x 512."""
    (k, m), n = lhs_t.shape, rhs.shape[1]
    for i in range(m // 128):
        for j in range(n // 512):
            total = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)
            rows, columns = slice(i * 128, (i + 1) * 128), slice(j * 512, (j + 1) * 512)
            for at in range(k // 128):
                depth = slice(at * 128, (at + 1) * 128)
                a = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf)
                nisa.dma_copy(dst=a, src=lhs_t[depth, rows])
                b = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
                nisa.dma_copy(dst=b, src=rhs[depth, columns])
                nisa.nc_matmul(dst=total, stationary=a, moving=b)
            done = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=done, src=total)
            nisa.dma_copy(dst=out[rows, columns], src=done)
    return out


def softmax(x, out):
    """Softmax over the rows of x, 128 of them at a time."""
    rows, columns = x.shape
    for i in range(rows // 128):
        part = slice(i * 128, (i + 1) * 128)
        tile = nl.ndarray((128, columns), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x[part, :])
        low = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(dst=low, op=nl.maximum, data=tile, axis=1, negate=True, keepdims=True)
        p = nl.ndarray((128, columns), dtype=nl.float32, buffer=nl.sbuf)
        nisa.activation(dst=p, op=nl.exp, data=tile, bias=low)
        total = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(dst=total, op=nl.add, data=p, axis=1, keepdims=True)
        inverse = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.reciprocal(dst=inverse, data=total)
        done = nl.ndarray((128, columns), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=done, data=p, op0=nl.multiply, operand0=inverse)
        nisa.dma_copy(dst=out[part, :], src=done)
    return out


@old_nki.jit
def decode_512(q, k, v):
    """Stage 4 with KV tiles of 512 keys: q (d, Hq), k, v (Hkv, d, n) -> (Hq, d)."""
    n_kv_heads, d, n = k.shape
    heads = q.shape[1] // n_kv_heads
    scale = 1.0 / math.sqrt(d)
    o = old_nl.ndarray((q.shape[1], d), dtype=q.dtype, buffer=old_nl.shared_hbm)
    for h in old_nl.affine_range(n_kv_heads):
        m = old_nl.full((heads, 1), old_nl.fp32.min, dtype=old_nl.float32, name="m")
        l = old_nl.full((heads, 1), 0.0, dtype=old_nl.float32, name="l")
        acc = old_nl.full((heads, d), 0.0, dtype=old_nl.float32, name="acc")
        q_tile = old_nl.load(q[:, old_nl.ds(h * heads, heads)])
        for i in old_nl.sequential_range(n // 512):
            k_tile = old_nl.load(k[h, :, old_nl.ds(i * 512, 512)])
            v_tile = old_nl.load(v[h, :, old_nl.ds(i * 512, 512)])
            qk_psum = old_nisa.nc_matmul(q_tile, k_tile)
            qk = old_nisa.tensor_scalar(qk_psum, op0=old_nl.multiply, operand0=scale)
            m_tile = old_nisa.tensor_reduce(old_nl.maximum, qk, axis=1, keepdims=True)
            m_new = old_nisa.tensor_tensor(m, m_tile, op=old_nl.maximum)
            alpha = old_nisa.activation(
                old_nl.exp, old_nisa.tensor_tensor(m, m_new, op=old_nl.subtract)
            )
            p = old_nisa.activation(
                old_nl.exp, old_nisa.tensor_scalar(qk, op0=old_nl.subtract, operand0=m_new)
            )
            l_tile = old_nisa.tensor_reduce(old_nl.add, p, axis=1, keepdims=True)
            l[...] = old_nisa.tensor_scalar(
                l, op0=old_nl.multiply, operand0=alpha, op1=old_nl.add, operand1=l_tile
            )
            pv = old_nl.zeros((heads, d), dtype=old_nl.float32, buffer=old_nl.psum)
            for j in old_nl.affine_range(4):
                part = old_nl.ds(j * 128, 128)
                p_t = old_nisa.tensor_copy(old_nisa.nc_transpose(p[:, part]))
                v_t = old_nisa.tensor_copy(old_nisa.nc_transpose(v_tile[:, part]))
                pv += old_nisa.nc_matmul(p_t, v_t)
            acc[...] = old_nisa.tensor_tensor(
                old_nisa.tensor_scalar(acc, op0=old_nl.multiply, operand0=alpha), pv, op=old_nl.add
            )
            m[...] = m_new
        o_tile = old_nisa.tensor_scalar(acc, op0=old_nl.multiply, operand0=old_nisa.reciprocal(l))
        old_nl.store(o[old_nl.ds(h * heads, heads), :], value=o_tile)
    return o


def bare_512(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """`decode_512` on arrays: the same copies, transposes and arithmetic."""
    n_kv_heads, d, n = k.shape
    heads = q.shape[1] // n_kv_heads
    out = np.empty((q.shape[1], d), dtype=np.float32)
    scale = np.float32(1 / np.sqrt(d))
    for h in range(n_kv_heads):
        q_tile = q[:, h * heads : (h + 1) * heads].copy()
        m = np.full((heads, 1), np.float32(LOWEST), dtype=np.float32)
        l = np.full((heads, 1), 0.0, dtype=np.float32)
        acc = np.full((heads, d), 0.0, dtype=np.float32)
        for i in range(n // 512):
            k_tile = k[h, :, i * 512 : (i + 1) * 512].copy()
            v_tile = v[h, :, i * 512 : (i + 1) * 512].copy()
            qk_psum = q_tile.T @ k_tile
            qk = qk_psum * scale
            m_tile = np.maximum.reduce(qk, axis=1, keepdims=True)
            m_new = np.maximum(m, m_tile)
            alpha = np.exp(m - m_new)
            p = np.exp(qk - m_new)
            l_tile = np.add.reduce(p, axis=1, keepdims=True)
            l[...] = l * alpha + l_tile
            pv = np.zeros((heads, d), np.float32)
            for j in range(0, 512, 128):
                p_t = p[:, j : j + 128].T.copy().copy()
                v_t = v_tile[:, j : j + 128].T.copy().copy()
                pv += p_t.T @ v_t
            acc[...] = acc * alpha + pv
            m[...] = m_new.copy()
        out[h * heads : (h + 1) * heads] = (acc * np.reciprocal(l)).copy()
    return out
