"""acc is (d, G): V is stationary, and alpha is turned into a row for it."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    n_kv, d, n = k.shape
    n_q = q.shape[1]
    G = n_q // n_kv
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((n_q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(n_kv):
        q_tile = nl.load(q[:, nl.ds(h * G, G)])
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((d, G), 0.0, dtype=nl.float32)
        ones = nl.ones((1, d), dtype=nl.float32)
        for i in nl.sequential_range(n // 128):
            k_tile = nl.load(k[h, :, nl.ds(i * 128, 128)])
            v_tile = nl.load(v[h, :, nl.ds(i * 128, 128)])
            qk = nl.multiply(nisa.nc_matmul(q_tile, k_tile), scale)
            m_new = nl.maximum(m, nl.max(qk, axis=1, keepdims=True))
            alpha = nl.exp(nl.subtract(m, m_new))
            p = nl.exp(nl.subtract(qk, m_new))
            l[...] = nl.add(nl.multiply(l, alpha), nl.sum(p, axis=1, keepdims=True))
            p_t = nl.copy(nl.transpose(p))
            v_t = nl.copy(nl.transpose(v_tile))
            pv = nisa.nc_matmul(v_t, p_t)
            a_row = nl.copy(nl.transpose(alpha))
            a_all = nl.copy(nisa.nc_matmul(ones, a_row))
            acc[...] = nl.add(nl.multiply(acc, a_all), pv)
            m[...] = m_new
        done = nl.copy(nl.transpose(acc))
        nl.store(o[nl.ds(h * G, G), :], nl.divide(done, l))
    return o
