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
    m = nl.full((1, Q), -3e38, dtype=nl.float32, name="m")
    l = nl.zeros((1, Q), dtype=nl.float32, name="l")
    acc = nl.zeros((d, Q), dtype=nl.float32, name="acc")
    qa = nl.load(q)
    for h in nl.static_range(H):
        for i in nl.static_range(n // 128):
            kt = nl.load(k[h, :, nl.ds(i * 128, 128)])
            vt = nl.load(v[h, :, nl.ds(i * 128, 128)])
            vT = nisa.tensor_copy(nisa.nc_transpose(vt))
            for g in range(h * G, (h + 1) * G):
                x = nisa.tensor_scalar(nisa.nc_matmul(qa[:, g:g + 1], kt), nl.multiply, s)
                mn = nl.maximum(m[:, g:g + 1], nl.max(x, axis=1))
                a = nl.exp(m[:, g:g + 1] - mn)
                p = nl.exp(x - mn)
                l[:, g:g + 1] = l[:, g:g + 1] * a + nl.sum(p, axis=1)
                ab = nl.broadcast_to(a, shape=(d, 1))
                acc[:, g:g + 1] = acc[:, g:g + 1] * ab + nisa.nc_matmul(vT, nisa.tensor_copy(nisa.nc_transpose(p)))
                m[:, g:g + 1] = mn
    lb = nl.broadcast_to(l, shape=(d, Q))
    res = nl.copy(nl.transpose(acc / lb))
    nl.store(o, res)
    return o
