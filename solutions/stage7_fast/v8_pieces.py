"""o[h] = softmax(scale * q[h]^T k[h // G]) v[h // G], in bfloat16, with the scores, m, l and acc in float32

Tried after v7, and it pays next to nothing: K and V of a chunk come in pieces, rows of 4 KiB per partition, so that the
first matmul waits for a piece and not for a chunk. By the model the smaller transfers cost what the earlier start saves.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

KEYS = 8192  # a chunk at most: one update of m, l and acc
PIECE = 16  # keys on each partition of a piece at most: rows of 4 KiB per partition in every transfer
BANK = 512  # fp32 values per partition in a PSUM bank


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    """q (d, Hq), k (Hkv, d, n), v (Hkv, n, d), n a multiple of 128, bf16 in HBM -> o (Hq, d) bf16 in HBM."""
    n_kv_heads, d, n = k.shape
    n_q_heads = q.shape[1]
    G = n_q_heads // n_kv_heads
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    highest = nl.maximum if scale >= 0 else nl.minimum  # scaled, the highest score is the max
    T = max(t for t in range(1, min(KEYS // 128, BANK // G) + 1) if n // 128 % t == 0)  # keys of a chunk on each partition
    S = max(s for s in range(1, PIECE + 1) if T % s == 0)  # keys of a piece on each partition
    chunk, piece = 128 * T, 128 * S

    o = nl.ndarray((n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    i_p, i_g, i_t = nl.arange(128)[:, None, None], nl.arange(G)[None, :, None], nl.arange(T)[None, None, :]
    i_s, i_d = nl.arange(S)[None, :, None], nl.arange(d)[None, None, :]
    i_kd, i_kp = nl.arange(d)[:, None], nl.arange(128)[None, :]
    ones = nl.ones((128, 128), dtype=nl.float32)
    zeros = nl.zeros((G, 128), dtype=nl.float32)

    for h in nl.affine_range(n_kv_heads):
        m = nl.full((128, G), nl.fp32.min, dtype=nl.float32, name="m")  # the same on every partition
        l = nl.full((128, G), 0.0, dtype=nl.float32, name="l")  # one sum per partition
        acc = nl.full((d, G), 0.0, dtype=nl.float32, name="acc")
        q_tile = nl.load(q[:, nl.ds(h * G, G)])  # (d, G)

        for i in nl.sequential_range(n // chunk):
            k_tile = nl.ndarray((d, chunk), dtype=k.dtype)
            v_tile = nl.ndarray((128, T, d), dtype=v.dtype)
            for j in nl.affine_range(T // S):
                k_tile[:, nl.ds(j * piece, piece)] = nl.load(k[h, :, nl.ds(i * chunk + j * piece, piece)])  # (d, piece)
            for j in nl.affine_range(T // S):  # partition p of piece j has keys p S + s
                v_tile[:, nl.ds(j * S, S), :] = nl.load(v[h, i * chunk + j * piece + i_p * S + i_s, i_d])  # (128, S, d)
            qk = nl.ndarray((128, T, G), dtype=nl.float32, buffer=nl.psum)
            for j in nl.affine_range(T // S):
                for s in nl.affine_range(S):  # the same keys: every S-th column of a piece of K
                    qk[:, j * S + s, :] = nisa.nc_matmul(k_tile[i_kd, j * piece + i_kp * S + s], q_tile)  # (128, G)

            lane_max = nisa.tensor_reduce(highest, qk[i_p, i_t, i_g], axis=2)  # (128, G)
            top = nisa.tensor_reduce(highest, nisa.nc_transpose(lane_max), axis=1, keepdims=True)  # (G, 1)
            rows = nisa.tensor_scalar(zeros, op0=nl.add, operand0=top, op1=nl.multiply, operand1=scale)  # (G, 128)
            m_new = nisa.tensor_tensor(m, nisa.nc_transpose(rows), op=nl.maximum)  # (128, G)
            alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))  # (128, G)
            minus_m = nisa.tensor_scalar(m_new, op0=nl.multiply, operand0=-1.0)

            p = nl.ndarray((128, T, G), dtype=q.dtype)
            l_tile = nl.ndarray((128, G), dtype=nl.float32)
            for g in nl.affine_range(G):  # p = exp(scale qk - m_new) and its sum, one instruction per head
                p[:, :, g] = nisa.activation_reduce(nl.exp, qk[:, :, g], scale=scale, bias=minus_m[:, nl.ds(g, 1)],
                                                    reduce_op=nl.add, reduce_res=l_tile[:, nl.ds(g, 1)], dtype=q.dtype)
            l[...] = nisa.tensor_tensor(nisa.tensor_tensor(l, alpha, op=nl.multiply), l_tile, op=nl.add)

            pv = nl.zeros((d, G), dtype=nl.float32, buffer=nl.psum)
            for t in nl.affine_range(T):
                pv += nisa.nc_matmul(v_tile[:, t, :], p[:, t, :])  # (d, G)
            acc[...] = nisa.tensor_tensor(nisa.tensor_tensor(acc, alpha[0:d, :], op=nl.multiply), pv, op=nl.add)
            m[...] = m_new

        total = nisa.reciprocal(nisa.nc_matmul(ones, l))  # (128, G): 1 / l on every partition
        o_t = nisa.tensor_tensor(acc, total[0:d, :], op=nl.multiply)  # (d, G)
        nl.store(o[nl.ds(h * G, G), :], value=nisa.tensor_copy(nisa.nc_transpose(o_t), dtype=q.dtype))
    return o
