"""From the last tile to the first, 64 keys each; m is overwritten before p is formed."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 64


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((1, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")
    l = nl.full((1, 1), 0.0, dtype=nl.float32, name="l")
    acc = nl.full((1, d), 0.0, dtype=nl.float32, name="acc")
    q_tile = nl.load(q)
    i = n // TILE
    while i > 0:
        i -= 1
        k_tile = nl.load(k[:, nl.ds(i * TILE, TILE)])
        v_tile = nl.load(v[:, nl.ds(i * TILE, TILE)])
        qk = nl.multiply(nisa.nc_matmul(q_tile, k_tile), scale)
        old = nl.copy(m)
        m[...] = nl.maximum(m, nl.max(qk, axis=1, keepdims=True))
        alpha = nl.exp(nl.subtract(old, m))
        p = nl.exp(nl.subtract(qk, m))
        l[...] = nl.multiply(l, alpha)
        l[...] = nl.add(l, nl.sum(p, axis=1, keepdims=True))
        acc[...] = nl.multiply(acc, alpha)
        acc[...] = nl.add(acc, nl.matmul(p, nl.transpose(v_tile)))
    nl.store(o, value=nl.divide(acc, l))
    return o
