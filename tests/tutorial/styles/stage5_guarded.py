import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    """K and V are cleaned, a big negative number is added to the scores, the weights are masked, l is kept above 0."""
    B, Hkv, d, n = k.shape
    Hq = q.shape[2]
    G = Hq // Hkv
    W = 256
    sc = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    out = nl.ndarray((B, Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    ip, iw = nl.mgrid[0:d, 0:W]
    for b in nl.affine_range(B):
        row = nl.load(lengths[b:b + 1, 0:1], dtype=nl.float32)
        for h in nl.affine_range(Hkv):
            m = nl.full((G, 1), -3e38, dtype=nl.float32, name="m")
            l = nl.zeros((G, 1), dtype=nl.float32, name="l")
            acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
            qt = nl.load(q[b, :, nl.ds(h * G, G)])
            for i in nl.sequential_range((n + W - 1) // W):
                kt = nl.zeros((d, W), dtype=nl.float32)
                vt = nl.zeros((d, W), dtype=nl.float32)
                kt[ip, iw] = nl.load(k[b, h, ip, i * W + iw], mask=(i * W + iw < n))
                vt[ip, iw] = nl.load(v[b, h, ip, i * W + iw], mask=(i * W + iw < n))
                at = nl.add(nisa.iota(nl.arange(W)[None, :], dtype=nl.int32), i * W, dtype=nl.float32)
                live = nl.less(at, row, dtype=nl.float32)
                wide = nl.copy(nl.broadcast_to(live, shape=(d, W)))
                gone = nisa.tensor_scalar(wide, op0=nl.less, operand0=0.5, dtype=nl.uint8)
                nisa.tensor_copy_predicated(src=0.0, dst=kt, predicate=gone)
                nisa.tensor_copy_predicated(src=0.0, dst=vt, predicate=gone)
                s = nl.multiply(nisa.nc_matmul(qt, kt), sc)
                bias = nisa.tensor_scalar(wide[0:G, :], op0=nl.subtract, operand0=1.0, op1=nl.multiply, operand1=1e30)
                s = nl.add(s, bias)
                mn = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
                al = nl.exp(nl.subtract(m, mn))
                p = nl.multiply(nl.exp(nl.subtract(s, mn)), wide[0:G, :])
                l[...] = nl.add(nl.multiply(l, al), nl.sum(p, axis=1, keepdims=True))
                a = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.psum)
                for c in nl.static_range(W // 128):
                    pt = nl.copy(nl.transpose(p[:, c * 128:(c + 1) * 128]))
                    v2 = nl.copy(nl.transpose(vt[:, c * 128:(c + 1) * 128]))
                    a += nisa.nc_matmul(pt, v2)
                acc[...] = nl.add(nl.multiply(acc, al), a)
                m[...] = nl.copy(mn)
            safe = nl.maximum(l, 1e-30)
            nl.store(out[b, nl.ds(h * G, G), :], nl.divide(acc, safe))
    return out
