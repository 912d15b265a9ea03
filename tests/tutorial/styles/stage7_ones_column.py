"""Tiles of 128 keys, with a column of ones beside V."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    kv_heads, d, n = k.shape
    heads = q.shape[1]
    group = heads // kv_heads
    scale = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(d)
    out = nl.ndarray((heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(kv_heads):
        mine = nl.load(q[:, h * group:(h + 1) * group])
        top = nl.full((group, 1), nl.fp32.min, dtype=nl.float32)
        both = nl.zeros((group, d + 1), dtype=nl.float32)
        for t in nl.sequential_range(n // 128):
            kt = nl.load(k[h, :, nl.ds(t * 128, 128)])
            vt = nl.ones((128, d + 1), dtype=nl.bfloat16)
            vt[:, 0:d] = nl.load(v[h, nl.ds(t * 128, 128), :])
            x = nl.multiply(nisa.nc_matmul(mine, kt), scale, dtype=nl.float32)
            up = nl.maximum(top, nl.max(x, axis=1, keepdims=True))
            fade = nl.exp(nl.subtract(top, up))
            w = nl.exp(nl.subtract(x, up))
            w_t = nl.copy(nisa.nc_transpose(w), dtype=nl.bfloat16)
            both[...] = nl.add(nl.multiply(both, fade), nisa.nc_matmul(w_t, vt))
            top[...] = nl.copy(up)
        done = nl.divide(both[:, 0:d], both[:, d:d + 1])
        nl.store(out[h * group:(h + 1) * group, :], nl.copy(done, dtype=q.dtype))
    return out
