"""A right kernel in another style."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    s = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = [nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name=f"m[{h}]") for h in range(H)]
    l = [nl.full((G, 1), 0.0, dtype=nl.float32, name=f"l[{h}]") for h in range(H)]
    acc = [nl.full((G, d), 0.0, dtype=nl.float32, name=f"acc[{h}]") for h in range(H)]
    qs = [nl.load(q[:, h * G:(h + 1) * G]) for h in range(H)]
    for i in range(n // 128):
        for h in reversed(range(H)):
            kt = nl.load(k[h, :, i * 128:(i + 1) * 128])
            vt = nl.load(v[h, :, i * 128:(i + 1) * 128])
            x = nisa.tensor_scalar(nisa.nc_matmul(qs[h], kt), nl.multiply, s)
            mn = nl.maximum(m[h], nl.max(x, axis=1))
            a = nl.exp(m[h] - mn)
            p = nl.exp(x - mn)
            l[h][...] = l[h] * a + nl.sum(p, axis=1)
            acc[h][...] = acc[h] * a + nl.matmul(p, nl.transpose(vt))
            m[h][...] = mn
    for h in range(H):
        nl.store(o[h * G:(h + 1) * G, :], acc[h] / l[h])
    return o
