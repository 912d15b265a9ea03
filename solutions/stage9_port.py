"""o[h] = softmax(scale * q[h]^T k[h // G]) v[h // G]^T, with G = Hq // Hkv query heads per KV head

Stage 4's kernel in `nki`: the same instructions in the same order, each of which is told the tile that it writes.
"""

import math

import nki
import nki.isa as nisa
import nki.language as nl

TILE = 128  # keys per tile: they become partitions in the weighted sum, so 128 at most


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    """q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), n a multiple of 128, fp32 in HBM -> o (Hq, d) fp32 in HBM."""
    assert len(k.shape) == 3 and v.shape == k.shape, f"k and v must be (Hkv, d, n), got {k.shape}, {v.shape}"
    n_kv_heads, d, n = k.shape
    assert len(q.shape) == 2 and q.shape[0] == d, f"q must be (d, Hq) with d = {d}, got {q.shape}"
    n_q_heads = q.shape[1]
    assert n_q_heads % n_kv_heads == 0, f"Hq must be a multiple of Hkv: {n_q_heads}, {n_kv_heads}"
    assert n > 0 and n % TILE == 0, f"n must be a positive multiple of {TILE}, got {n}"
    assert q.dtype == k.dtype == v.dtype == nl.float32, f"q, k, v must be float32, got {q.dtype}, {k.dtype}, {v.dtype}"
    G = n_q_heads // n_kv_heads
    scale = 1.0 / math.sqrt(d) if softmax_scale == None else softmax_scale  # noqa: E711  (the compiler takes no `is`)

    o = nl.ndarray((n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(n_kv_heads):
        group = slice(h * G, (h + 1) * G)
        m = nl.full((G, 1), -3.4028235e38, dtype=nl.float32, name=f"m_{h}")  # running max, from the smallest fp32
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name=f"l_{h}")  # running sum, one per query head
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name=f"acc_{h}")  # running weighted sum, one row per query head
        q_tile = nl.ndarray((d, G), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=q_tile, src=q[:, group])

        for i in range(n // TILE):
            keys = slice(i * TILE, (i + 1) * TILE)
            k_tile = nl.ndarray((d, TILE), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(dst=k_tile, src=k[h, :, keys])
            v_tile = nl.ndarray((d, TILE), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(dst=v_tile, src=v[h, :, keys])
            qk_psum = nl.ndarray((G, TILE), dtype=nl.float32, buffer=nl.psum)  # made here: a new sum for every tile
            nisa.nc_matmul(dst=qk_psum, stationary=q_tile, moving=k_tile)
            qk = nl.ndarray((G, TILE), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_scalar(dst=qk, data=qk_psum, op0=nl.multiply, operand0=scale)  # scales, and leaves PSUM

            m_tile = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=m_tile, op=nl.maximum, data=qk, axis=1, keepdims=True)
            m_new = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=m_new, data1=m, data2=m_tile, op=nl.maximum)
            alpha = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=alpha, data1=m, data2=m_new, op=nl.subtract)
            nisa.activation(dst=alpha, op=nl.exp, data=alpha)
            p = nl.ndarray((G, TILE), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_scalar(dst=p, data=qk, op0=nl.subtract, operand0=m_new)
            nisa.activation(dst=p, op=nl.exp, data=p)
            l_tile = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=l_tile, op=nl.add, data=p, axis=1, keepdims=True)
            nisa.tensor_scalar(dst=l, data=l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)

            p_t_psum = nl.ndarray((TILE, G), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_transpose(dst=p_t_psum, data=p)
            p_t = nl.ndarray((TILE, G), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=p_t, src=p_t_psum)
            v_t_psum = nl.ndarray((TILE, d), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_transpose(dst=v_t_psum, data=v_tile)
            v_t = nl.ndarray((TILE, d), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=v_t, src=v_t_psum)
            pv = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(dst=pv, stationary=p_t, moving=v_t)
            nisa.tensor_scalar(dst=acc, data=acc, op0=nl.multiply, operand0=alpha)
            nisa.tensor_tensor(dst=acc, data1=acc, data2=pv, op=nl.add)
            nisa.tensor_copy(dst=m, src=m_new)
        r = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.reciprocal(dst=r, data=l)
        o_tile = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=o_tile, data=acc, op0=nl.multiply, operand0=r)
        nisa.dma_copy(dst=o[group, :], src=o_tile)
    return o
