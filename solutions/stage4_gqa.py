"""o[h] = softmax(scale * q[h]^T k[h // G]) v[h // G]^T, with G = Hq // Hkv query heads per KV head

The G query heads of a group become the G rows of one score tile: one load of K and V serves them all,
and the running (m, l, acc) have G rows instead of one. K and V are each read once.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # keys per tile: they become partitions in the weighted sum, so 128 at most


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    """q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), n a multiple of 128, fp32 in HBM -> o (Hq, d) fp32 in HBM."""
    assert len(k.shape) == 3 and tuple(v.shape) == tuple(k.shape), f"k and v must be (Hkv, d, n), got {k.shape}, {v.shape}"
    n_kv_heads, d, n = k.shape
    assert len(q.shape) == 2 and q.shape[0] == d, f"q must be (d, Hq) with d = {d}, got {q.shape}"
    n_q_heads = q.shape[1]
    assert 0 < d <= 128, f"the head dimension d lies on the partitions: 1 to 128, got {d}"
    assert n_kv_heads > 0 and n_q_heads > 0, f"there must be heads, got Hq = {n_q_heads} and Hkv = {n_kv_heads}"
    assert n_q_heads % n_kv_heads == 0, f"Hq must be a multiple of Hkv: {n_q_heads}, {n_kv_heads}"
    assert n > 0 and n % TILE == 0, f"n must be a positive multiple of {TILE}, got {n}"
    assert q.dtype == k.dtype == v.dtype == nl.float32, f"q, k, v must be float32, got {q.dtype}, {k.dtype}, {v.dtype}"
    G = n_q_heads // n_kv_heads
    assert G <= 128, f"a group's query heads lie on the partitions: 128 at most, got {G}"
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale

    o = nl.ndarray((n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)

    for h in nl.affine_range(n_kv_heads):  # the groups do not depend on each other
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")  # running max, one per query head
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")  # running sum, one per query head
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")  # running weighted sum, one row per query head
        q_tile = nl.load(q[:, nl.ds(h * G, G)])  # (d, G)

        for i in nl.sequential_range(n // TILE):
            k_tile = nl.load(k[h, :, nl.ds(i * TILE, TILE)])  # (d, TILE), for all G heads
            v_tile = nl.load(v[h, :, nl.ds(i * TILE, TILE)])  # (d, TILE), for all G heads
            qk_psum = nisa.nc_matmul(q_tile, k_tile)  # (G, TILE) PSUM
            qk = nisa.tensor_scalar(qk_psum, op0=nl.multiply, operand0=scale)  # (G, TILE) SBUF

            m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (G, 1)
            m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)  # (G, 1)
            alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))  # (G, 1)
            p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new))  # (G, TILE)

            l_tile = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (G, 1)
            l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)

            p_t = nisa.tensor_copy(nisa.nc_transpose(p))  # (TILE, G)
            v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))  # (TILE, d), once for all G heads
            pv = nisa.nc_matmul(p_t, v_t)  # (G, d) PSUM
            acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)

            m[...] = m_new

        o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l))  # (G, d)
        nl.store(o[nl.ds(h * G, G), :], value=o_tile)
    return o
