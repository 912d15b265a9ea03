import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

W = 64


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    """Tiles of 64 keys, nl functions and nl.where throughout."""
    B, Hkv, d, n = k.shape
    Hq = q.shape[2]
    G = Hq // Hkv
    sc = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    out = nl.ndarray((B, Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    for b in range(B):
        own = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
        for h in range(Hkv):
            qt = nl.load(q[b, :, h * G:h * G + G])
            m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
            l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
            acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
            for i in range((n + W - 1) // W):
                first, last = i * W, min(n, i * W + W)
                kt = nl.load(k[b, h, :, first:last])
                vt = nl.load(v[b, h, :, first:last])
                at = nisa.iota(first + nl.arange(last - first)[None, :], dtype=nl.float32)
                live = nl.less(nl.broadcast_to(at, shape=(128, last - first)), own)
                s = nl.multiply(nl.matmul(qt, kt, transpose_x=True), sc)
                s = nl.where(live[0:G, :], s, nl.fp32.min)
                vt = nl.where(live[0:d, :], vt, 0.0)
                mn = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
                al = nl.exp(nl.subtract(m, mn))
                p = nl.exp(nl.subtract(s, mn))
                l[...] = nl.add(nl.multiply(l, al), nl.sum(p, axis=1, keepdims=True))
                pv = nl.matmul(p, nl.transpose(vt))
                acc[...] = nl.add(nl.multiply(acc, al), pv)
                m[...] = mn
            nl.store(out[b, h * G:h * G + G, :], nl.divide(acc, l))
    return out
