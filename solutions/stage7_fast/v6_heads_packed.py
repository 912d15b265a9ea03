"""o[h] = softmax(scale * q[h]^T k[h // G]) v[h // G], in bfloat16, with the scores, m, l and acc in float32

All heads on the partitions of one tile: every group's queries stand in their own columns of a padded stationary
operand, zeros elsewhere, so that the KV heads' scores add up to (Hq, chunk) in PSUM. Likewise for the weights.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

KEYS = 2048  # a chunk at most, for all heads at once: rows of 4 KiB per partition in every transfer
WIDEST = 512  # columns that move through one matmul


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    """q (d, Hq), k (Hkv, d, n), v (Hkv, n, d), n a multiple of 128, bf16 in HBM -> o (Hq, d) bf16 in HBM."""
    n_kv_heads, d, n = k.shape
    n_q_heads = q.shape[1]
    G = n_q_heads // n_kv_heads
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    T = max(t for t in range(1, KEYS // 128 + 1) if n // 128 % t == 0)  # keys of a chunk on each partition
    chunk, block = 128 * T, min(WIDEST, 128 * T)
    starts = [min(start, chunk - block) for start in range(0, chunk, block)]  # the last block may overlap the one before

    o = nl.ndarray((n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    i_p, i_t, i_d = nl.arange(128)[:, None, None], nl.arange(T)[None, :, None], nl.arange(d)[None, None, :]
    i_h, i_k = nl.arange(n_q_heads)[:, None], nl.arange(128)[None, :]
    i_kv, i_g = nl.arange(n_kv_heads)[None, :, None], nl.arange(G)[None, None, :]
    own = i_kv * (n_q_heads + G) + i_g  # columns of group kv in the padded copy of KV head kv

    m = nl.full((n_q_heads, 1), nl.fp32.min, dtype=nl.float32, name="m")
    l = nl.full((n_q_heads, 1), 0.0, dtype=nl.float32, name="l")
    acc = nl.full((n_q_heads, d), 0.0, dtype=nl.float32, name="acc")
    q_pad = nl.zeros((d, n_kv_heads * n_q_heads), dtype=q.dtype)
    q_pad[nl.arange(d)[:, None, None], own] = nl.load(q).reshape((d, n_kv_heads, G))

    for i in nl.sequential_range(n // chunk):
        k_tile = nl.ndarray((d, n_kv_heads, chunk), dtype=k.dtype)
        v_tile = nl.ndarray((128, n_kv_heads, T, d), dtype=v.dtype)
        for h in nl.affine_range(n_kv_heads):
            k_tile[:, h, :] = nl.load(k[h, :, nl.ds(i * chunk, chunk)])  # (d, chunk)
            v_tile[:, h, :, :] = nl.load(v[h, i * chunk + i_p * T + i_t, i_d])  # (128, T, d)
        qk = nl.ndarray((n_q_heads, chunk), dtype=nl.float32)
        for start in starts:
            qk_psum = nl.zeros((n_q_heads, block), dtype=nl.float32, buffer=nl.psum)
            for h in nl.affine_range(n_kv_heads):
                qk_psum += nisa.nc_matmul(q_pad[:, nl.ds(h * n_q_heads, n_q_heads)], k_tile[:, h, nl.ds(start, block)])
            qk[:, nl.ds(start, block)] = nisa.tensor_scalar(qk_psum, op0=nl.multiply, operand0=scale)

        m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (Hq, 1)
        m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)
        alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))
        minus_m = nisa.tensor_scalar(m_new, op0=nl.multiply, operand0=-1.0)
        l_tile = nl.ndarray((n_q_heads, 1), dtype=nl.float32)
        p = nisa.activation_reduce(nl.exp, qk, bias=minus_m, reduce_op=nl.add, reduce_res=l_tile, dtype=v.dtype)
        l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)

        pv = nl.zeros((n_q_heads, d), dtype=nl.float32, buffer=nl.psum)
        for t in nl.affine_range(T):
            p_pad = nl.zeros((128, n_kv_heads * n_q_heads), dtype=v.dtype)
            p_t = nisa.nc_transpose(p[i_h, i_k * T + t])  # (128, Hq)
            p_pad[i_p, own] = nisa.tensor_copy(p_t.reshape((128, n_kv_heads, G)))
            for h in nl.affine_range(n_kv_heads):
                pv += nisa.nc_matmul(p_pad[:, nl.ds(h * n_q_heads, n_q_heads)], v_tile[:, h, t, :])  # (Hq, d)
        acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)
        m[...] = m_new

    o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l), dtype=q.dtype)  # (Hq, d)
    nl.store(o, value=o_tile)
    return o
