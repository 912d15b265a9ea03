"""(m, l, acc) = merge over splits s of (m_s, l_s, acc_s); o = acc / l

merge: m = max(m_a, m_b); l = l_a exp(m_a - m) + l_b exp(m_b - m); acc likewise; its identity is (-inf, 0, 0).
Each split runs stage 4's loop over its own tiles, as one program instance of a grid, and leaves its state in HBM; a second
kernel merges the states. A kernel cannot launch a grid, so the entry point is a Python function that launches both.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # keys per tile: they become partitions in the weighted sum, so 128 at most


@nki.jit
def split_kernel(q, k, v, n_splits, scale):
    """The state of split program_id(0), one row per query head: m (S, Hq, 1), l (S, Hq, 1), acc (S, Hq, d), fp32 in HBM."""
    n_kv_heads, d, n = k.shape
    n_q_heads, G = q.shape[1], q.shape[1] // n_kv_heads
    m_out = nl.ndarray((n_splits, n_q_heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    l_out = nl.ndarray((n_splits, n_q_heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    acc_out = nl.ndarray((n_splits, n_q_heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    s = nl.program_id(0)
    tiles_a_split = math.ceil(n // TILE / n_splits)
    for h in nl.affine_range(n_kv_heads):
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
        q_tile = nl.load(q[:, nl.ds(h * G, G)])  # (d, G)
        for i in nl.static_range(tiles_a_split):
            first = (s * tiles_a_split + i) * TILE
            if first < n:  # the last splits may have fewer tiles, or none
                k_tile = nl.load(k[h, :, nl.ds(first, TILE)])  # (d, TILE)
                v_tile = nl.load(v[h, :, nl.ds(first, TILE)])  # (d, TILE)
                qk = nisa.tensor_scalar(nisa.nc_matmul(q_tile, k_tile), op0=nl.multiply, operand0=scale)  # (G, TILE)
                m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (G, 1)
                m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)  # (G, 1)
                alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))  # (G, 1)
                p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new))  # (G, TILE)
                l_tile = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (G, 1)
                l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)
                p_t, v_t = nisa.tensor_copy(nisa.nc_transpose(p)), nisa.tensor_copy(nisa.nc_transpose(v_tile))
                pv = nisa.nc_matmul(p_t, v_t)  # (G, d) PSUM
                acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)
                m[...] = m_new
        for out, state in ((m_out, m), (l_out, l), (acc_out, acc)):
            nl.store(out[s, nl.ds(h * G, G), :], value=state)
    return m_out, l_out, acc_out


@nki.jit
def merge_kernel(m_parts, l_parts, acc_parts):
    """The merged state of all splits, divided: m (S, Hq, 1), l (S, Hq, 1), acc (S, Hq, d) -> o (Hq, d), fp32 in HBM."""
    n_splits, n_q_heads, d = acc_parts.shape
    o = nl.ndarray((n_q_heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    m = nl.full((n_q_heads, 1), nl.fp32.min, dtype=nl.float32)  # the identity of merge: lowest, 0, 0
    l = nl.full((n_q_heads, 1), 0.0, dtype=nl.float32)
    acc = nl.full((n_q_heads, d), 0.0, dtype=nl.float32)
    for s in nl.sequential_range(n_splits):
        m_s, l_s, acc_s = nl.load(m_parts[s]), nl.load(l_parts[s]), nl.load(acc_parts[s])
        m_new = nisa.tensor_tensor(m, m_s, op=nl.maximum)  # (Hq, 1)
        alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))  # what carries the old state over
        beta = nisa.activation(nl.exp, nisa.tensor_tensor(m_s, m_new, op=nl.subtract))  # and the split's
        l[...] = nl.add(nl.multiply(l, alpha), nl.multiply(l_s, beta))  # (Hq, 1)
        acc[...] = nl.add(nl.multiply(acc, alpha), nl.multiply(acc_s, beta))  # (Hq, d)
        m[...] = m_new
    nl.store(o, value=nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l)))
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    """q (d, Hq), k and v (Hkv, d, n), n a multiple of 128, fp32, n_splits >= 1 program instances -> o (Hq, d) fp32."""
    n_kv_heads, d, n = k.shape
    assert tuple(v.shape) == tuple(k.shape) and q.shape[0] == d, f"got q {q.shape}, k {k.shape}, v {v.shape}"
    assert n > 0 and n % TILE == 0 and n_splits >= 1, f"n must be a positive multiple of {TILE}, got n = {n}, S = {n_splits}"
    assert q.shape[1] % n_kv_heads == 0 and q.shape[1] <= 128, f"Hq must be a multiple of Hkv, 128 at most, got {q.shape[1]}"
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    return merge_kernel(*split_kernel[n_splits](q, k, v, n_splits, scale))
