import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    """All scores of a sequence on chip, masked once; then one max, one sum, and the weighted sum tile by tile."""
    B, Hkv, d, n = k.shape
    Hq = q.shape[2]
    G = Hq // Hkv
    sc = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    cuts = [(a, min(a + 128, n)) for a in range(0, n, 128)]
    for b in nl.static_range(B):
        one = nl.load(lengths[b:b + 1, :], dtype=nl.float32)
        nb = nl.copy(one.broadcast_to((128, 1)))
        pos = nl.copy(nisa.iota(nl.arange(n)[None, :], dtype=nl.float32).broadcast_to((128, n)))
        off = nisa.tensor_scalar(pos, op0=nl.greater_equal, operand0=nb, dtype=nl.uint8)
        for h in nl.static_range(Hkv):
            qt = nl.load(q[b, :, h * G:h * G + G])
            kt = nl.load(k[b, h])
            s = nl.ndarray((G, n), dtype=nl.float32)
            for a, e in cuts:
                s[:, a:e] = nisa.tensor_scalar(nisa.nc_matmul(qt, kt[:, a:e]), op0=nl.multiply, operand0=sc)
            nisa.tensor_copy_predicated(src=-1e38, dst=s, predicate=off[0:G, :])
            top = nl.full((G, 1), -1e38, dtype=nl.float32, name="m")
            top[...] = nl.maximum(top, nl.max(s, axis=1, keepdims=True))
            p = nl.exp(s - top)
            den = nl.sum(p, axis=1, keepdims=True)
            acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
            for a, e in cuts:
                vt = nl.load(v[b, h, :, a:e])
                nisa.tensor_copy_predicated(src=0.0, dst=vt, predicate=off[0:d, a:e])
                pt = nisa.tensor_copy(nisa.nc_transpose(p[:, a:e]))
                acc[...] = acc + nisa.nc_matmul(pt, nisa.tensor_copy(nisa.nc_transpose(vt)))
            nl.store(o[b, h * G:h * G + G, :], acc / den)
    return o
