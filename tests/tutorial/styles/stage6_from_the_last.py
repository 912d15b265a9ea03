"""The merge starts from the last split's state and goes back to the first."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128


@nki.jit
def split_kernel(q, k, v, n_splits, scale):
    n_kv_heads, d, n = k.shape
    n_q_heads = q.shape[1]
    G = n_q_heads // n_kv_heads
    m_out = nl.ndarray((n_splits, n_q_heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    l_out = nl.ndarray((n_splits, n_q_heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    acc_out = nl.ndarray((n_splits, n_q_heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    s = nl.program_id(0)
    per_split = -(-(n // TILE) // n_splits)
    lo = s * per_split
    hi = min(lo + per_split, n // TILE)
    for h in nl.affine_range(n_kv_heads):
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
        q_tile = nl.load(q[:, nl.ds(h * G, G)])
        for i in range(lo, hi):
            k_tile = nl.load(k[h, :, nl.ds(i * TILE, TILE)])
            v_tile = nl.load(v[h, :, nl.ds(i * TILE, TILE)])
            qk = nisa.tensor_scalar(nisa.nc_matmul(q_tile, k_tile), op0=nl.multiply, operand0=scale)
            m_new = nl.maximum(m, nl.max(qk, axis=1, keepdims=True))
            alpha = nl.exp(m - m_new)
            p = nl.exp(qk - m_new)
            l[...] = l * alpha + nl.sum(p, axis=1, keepdims=True)
            acc[...] = acc * alpha + nl.matmul(p, nl.transpose(v_tile))
            m[...] = m_new
        nl.store(m_out[s, nl.ds(h * G, G), :], value=m)
        nl.store(l_out[s, nl.ds(h * G, G), :], value=l)
        nl.store(acc_out[s, nl.ds(h * G, G), :], value=acc)
    return m_out, l_out, acc_out


@nki.jit
def merge_kernel(m_parts, l_parts, acc_parts):
    n_splits, n_q_heads, d = acc_parts.shape
    o = nl.ndarray((n_q_heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    m = nl.load(m_parts[n_splits - 1])
    l = nl.load(l_parts[n_splits - 1])
    acc = nl.load(acc_parts[n_splits - 1])
    for back in range(1, n_splits):
        s = n_splits - 1 - back
        m_s = nl.load(m_parts[s])
        l_s = nl.load(l_parts[s])
        acc_s = nl.load(acc_parts[s])
        m_both = nl.maximum(m, m_s)
        w_old = nl.exp(m - m_both)
        w_s = nl.exp(m_s - m_both)
        l[...] = l * w_old + l_s * w_s
        acc[...] = acc * w_old + acc_s * w_s
        m[...] = m_both
    nl.store(o, value=acc / l)
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    d = k.shape[1]
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    m_parts, l_parts, acc_parts = split_kernel[n_splits](q, k, v, n_splits, scale)
    return merge_kernel(m_parts, l_parts, acc_parts)
