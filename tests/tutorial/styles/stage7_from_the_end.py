"""From the last tile to the first, with acc as (d, G)."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    s = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    T = n // 128
    ones = nl.ones((1, d), dtype=nl.float32)
    for h in range(H):
        m = nl.full((G, 1), -1e38, dtype=nl.float32, name=f"m{h}")
        l = nl.zeros((G, 1), dtype=nl.float32, name=f"l{h}")
        acc = nl.zeros((d, G), dtype=nl.float32, name=f"acc{h}")
        mine = nl.load(q[:, h * G:(h + 1) * G])
        for back in nl.sequential_range(T):
            t = T - 1 - back
            kt = nl.load(k[h, :, nl.ds(t * 128, 128)])
            vt = nl.load(v[h, nl.ds(t * 128, 128), :])
            x = nisa.activation(nl.copy, nisa.nc_matmul(mine, kt), scale=s)
            up = nl.maximum(m, nl.max(x, axis=1, keepdims=True))
            f = nl.exp(nl.subtract(m, up))
            w = nl.exp(nl.subtract(x, up))
            l[...] = nl.add(nl.multiply(l, f), nl.sum(w, axis=1, keepdims=True))
            w_t = nl.copy(nisa.nc_transpose(w), dtype=nl.bfloat16)
            f_all = nl.copy(nisa.nc_matmul(ones, nl.copy(nl.transpose(f))))
            acc[...] = nl.add(nl.multiply(acc, f_all), nisa.nc_matmul(vt, w_t))
            m[...] = nl.copy(up)
        done = nl.copy(nl.transpose(acc))
        nl.store(o[h * G:(h + 1) * G, :], nl.divide(done, l, dtype=q.dtype))
    return o
