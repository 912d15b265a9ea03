"""o[h] = softmax(scale * q[h]^T k[h // G]) v[h // G], in bfloat16, with the scores, m, l and acc in float32

Chunks of up to 8192 keys: one transfer brings 16 KiB to each partition. For V that means neighbouring keys on one
partition: partition p has keys p T + t, and the weights are taken in the same order.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

KEYS = 8192  # a chunk at most: rows of 16 KiB per partition in every transfer
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
    i_g, i_k = nl.arange(G)[:, None], nl.arange(128)[None, :]

    for h in nl.affine_range(n_kv_heads):
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
        q_tile = nl.load(q[:, nl.ds(h * G, G)])  # (d, G)

        for i in nl.sequential_range(n // chunk):
            k_tile = nl.load(k[h, :, nl.ds(i * chunk, chunk)])  # (d, chunk)
            v_tile = nl.load(v[h, i * chunk + i_p * T + i_t, i_d])  # (128, T, d): partition p has keys p T + t
            qk = nl.ndarray((G, chunk), dtype=nl.float32)
            for start in starts:
                qk_psum = nisa.nc_matmul(q_tile, k_tile[:, nl.ds(start, block)])  # (G, block)
                qk[:, nl.ds(start, block)] = nisa.tensor_scalar(qk_psum, op0=nl.multiply, operand0=scale)

            m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (G, 1)
            m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)
            alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))
            p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new))  # (G, chunk) fp32
            l_tile = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (G, 1)
            l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)

            pv = nl.zeros((G, d), dtype=nl.float32, buffer=nl.psum)
            for t in nl.affine_range(T):  # partition p of block t must have key p T + t here too: every T-th column of p
                p_t = nisa.tensor_copy(nisa.nc_transpose(p[i_g, i_k * T + t]), dtype=v.dtype)  # (128, G)
                pv += nisa.nc_matmul(p_t, v_tile[:, t, :])  # (G, d), summed in PSUM
            acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)
            m[...] = m_new

        o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l), dtype=q.dtype)  # (G, d)
        nl.store(o[nl.ds(h * G, G), :], value=o_tile)
    return o
