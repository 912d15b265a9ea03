"""o[h] = softmax(scale * q[h]^T k[h // G]) v[h // G], in bfloat16, with the scores, m, l and acc in float32

Keys on the partitions: K is stationary and Q moves, so the scores come out as the weighted sum needs them, and
nothing but the max is transposed. m is the same on all 128 partitions; l is one sum per partition, added up at the end.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

KEYS = 8192  # a chunk at most: rows of 16 KiB per partition in every transfer
BANK = 512  # fp32 values per partition in a PSUM bank


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    """q (d, Hq), k (Hkv, d, n), v (Hkv, n, d), n a multiple of 128, bf16 in HBM -> o (Hq, d) bf16 in HBM."""
    assert len(k.shape) == 3, f"k must be (Hkv, d, n), got {k.shape}"
    n_kv_heads, d, n = k.shape
    assert tuple(v.shape) == (n_kv_heads, n, d), f"v must be (Hkv, n, d) = {(n_kv_heads, n, d)}, got {v.shape}"
    assert len(q.shape) == 2 and q.shape[0] == d, f"q must be (d, Hq) with d = {d}, got {q.shape}"
    n_q_heads = q.shape[1]
    assert 0 < d <= 128, f"the head dimension d lies on the partitions: 1 to 128, got {d}"
    assert n_kv_heads > 0 and n_q_heads > 0, f"there must be heads, got Hq = {n_q_heads} and Hkv = {n_kv_heads}"
    assert n_q_heads % n_kv_heads == 0, f"Hq must be a multiple of Hkv: {n_q_heads}, {n_kv_heads}"
    assert n > 0 and n % 128 == 0, f"n must be a positive multiple of 128, got {n}"
    assert q.dtype == k.dtype == v.dtype == nl.bfloat16, f"q, k, v must be bfloat16, got {q.dtype}, {k.dtype}, {v.dtype}"
    G = n_q_heads // n_kv_heads
    assert G <= 128, f"a group's query heads share a PSUM bank: 128 at most, got {G}"
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    highest = nl.maximum if scale >= 0 else nl.minimum  # scaled, the highest score is the max
    T = max(t for t in range(1, min(KEYS // 128, BANK // G) + 1) if n // 128 % t == 0)  # keys of a chunk on each partition
    chunk = 128 * T

    o = nl.ndarray((n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    i_p, i_vt, i_vd = nl.arange(128)[:, None, None], nl.arange(T)[None, :, None], nl.arange(d)[None, None, :]
    i_g, i_t = nl.arange(G)[None, :, None], nl.arange(T)[None, None, :]
    i_kd, i_kp = nl.arange(d)[:, None], nl.arange(128)[None, :]
    ones = nl.ones((128, 128), dtype=nl.float32)
    zeros = nl.zeros((G, 128), dtype=nl.float32)

    for h in nl.affine_range(n_kv_heads):
        m = nl.full((128, G), nl.fp32.min, dtype=nl.float32, name="m")  # the same on every partition
        l = nl.full((128, G), 0.0, dtype=nl.float32, name="l")  # one sum per partition
        acc = nl.full((d, G), 0.0, dtype=nl.float32, name="acc")
        q_tile = nl.load(q[:, nl.ds(h * G, G)])  # (d, G)

        for i in nl.sequential_range(n // chunk):
            k_tile = nl.load(k[h, :, nl.ds(i * chunk, chunk)])  # (d, chunk)
            v_tile = nl.load(v[h, i * chunk + i_p * T + i_vt, i_vd])  # (128, T, d): partition p has keys p T + t
            qk = nl.ndarray((128, T, G), dtype=nl.float32, buffer=nl.psum)
            for t in nl.affine_range(T):  # partition p must have key p T + t here too: every T-th column of K
                qk[:, t, :] = nisa.nc_matmul(k_tile[i_kd, i_kp * T + t], q_tile)  # (128, G)

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
