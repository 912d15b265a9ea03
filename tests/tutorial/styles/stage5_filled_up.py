"""A right kernel in another style."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    B, H, d, n = k.shape
    Q = q.shape[2]
    G = Q // H
    s = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    out = nl.ndarray((B, Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    i_g = nl.arange(G)[:, None]
    i_d = nl.arange(d)[:, None]
    i_w = nl.arange(128)[None, :]
    i_f = nl.arange(d)[None, :]
    for b in nl.sequential_range(B):
        L = nl.load(lengths[b, 0]).broadcast_to((128, 1))
        Lf = nl.copy(L, dtype=nl.float32)
        for h in nl.sequential_range(H):
            qt = nl.load(q[b, i_d, h * G + nl.arange(G)[None, :]])
            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.zeros((G, 1), dtype=nl.float32, name="l")
            acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
            for i in nl.sequential_range((n + 127) // 128):
                kt = nl.zeros((d, 128), dtype=nl.float32)
                vt = nl.zeros((d, 128), dtype=nl.float32)
                kt[i_d, i_w] = nl.load(k[b, h, i_d, i * 128 + i_w], mask=(i * 128 + i_w < n))
                vt[i_d, i_w] = nl.load(v[b, h, i_d, i * 128 + i_w], mask=(i * 128 + i_w < n))
                base = nisa.iota(i_w, dtype=nl.float32)
                posn = nl.broadcast_to(base, shape=(128, 128)) + i * 128
                dead = nisa.tensor_scalar(posn, nl.greater_equal, Lf, dtype=nl.uint8)
                nisa.tensor_copy_predicated(src=0.0, dst=vt, predicate=dead[0:d, :])
                x = nl.copy(nl.matmul(qt, kt, transpose_x=True)) * s
                nisa.tensor_copy_predicated(src=-1e30, dst=x, predicate=dead[0:G, :])
                mn = nl.maximum(m, nl.max(x, axis=1))
                c = nl.exp(m - mn)
                p = nl.exp(x - mn)
                nisa.tensor_copy_predicated(src=0.0, dst=p, predicate=dead[0:G, :])
                l[...] = l * c + nl.sum(p, axis=1)
                acc[...] = acc * c + nl.matmul(p, nl.transpose(vt))
                m[...] = nl.copy(mn)
            safe = nl.maximum(l, 1e-30)
            nl.store(out[b, h * G + i_g, i_f], acc / safe)
    return out
