"""Stage 4, wrong by its cost alone: one query head at a time, each with its own load of K and V; one state for all."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    n_kv, d, n = k.shape
    n_q = q.shape[1]
    group = n_q // n_kv
    scale = 1 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((n_q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((1, 1), -3e38, dtype=nl.float32, name="m")
    l = nl.full((1, 1), 0, dtype=nl.float32, name="l")
    acc = nl.full((1, d), 0, dtype=nl.float32, name="acc")
    for j in nl.sequential_range(n_q):
        m[...] = -3e38
        l[...] = 0.0
        acc[...] = 0.0
        q_tile = nl.load(q[:, j : j + 1])
        for i in nl.sequential_range(n // 128):
            k_tile = nl.load(k[j // group, :, i * 128 : (i + 1) * 128])
            v_tile = nl.load(v[j // group, :, i * 128 : (i + 1) * 128])
            s = nl.multiply(nisa.nc_matmul(q_tile, k_tile), scale)
            top = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
            alpha = nl.exp(nl.subtract(m, top))
            p = nl.exp(nl.subtract(s, top))
            l[...] = nl.add(nl.multiply(l, alpha), nl.sum(p, axis=1, keepdims=True))
            acc[...] = nl.add(nl.multiply(acc, alpha), nl.matmul(p, nl.transpose(v_tile)))
            m[...] = top
        nl.store(o[j : j + 1, :], nl.divide(acc, l))
    return o
