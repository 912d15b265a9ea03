"""A KV head's K and V are loaded at once, and every query head walks over them alone."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    n_kv, d, n = k.shape
    n_q = q.shape[1]
    group = n_q // n_kv
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((n_q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(n_kv):
        k_all = nl.load(k[h])
        v_all = nl.load(v[h])
        for g in range(group):
            head = h * group + g
            q_tile = nl.load(q[:, head:head + 1])
            m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name=f"m_{head}")
            l = nl.zeros((1, 1), dtype=nl.float32, name=f"l_{head}")
            acc = nl.zeros((1, d), dtype=nl.float32, name=f"acc_{head}")
            for i in range(n // 128):
                x = nl.multiply(nisa.nc_matmul(q_tile, k_all[:, i * 128:(i + 1) * 128]), scale)
                m_new = nl.maximum(m, nl.max(x, axis=1, keepdims=True))
                alpha = nl.exp(nl.subtract(m, m_new))
                p = nl.exp(nl.subtract(x, m_new))
                l[...] = nl.add(nl.multiply(l, alpha), nl.sum(p, axis=1, keepdims=True))
                v_t = nl.transpose(v_all[:, i * 128:(i + 1) * 128])
                acc[...] = nl.add(nl.multiply(acc, alpha), nl.matmul(p, v_t))
                m[...] = m_new
            nl.store(o[head:head + 1, :], nl.divide(acc, l))
    return o
