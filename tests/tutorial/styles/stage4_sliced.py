"""GQA, K/V tile outer, all heads' state in one tensor, slices updated per kv head"""
import math

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    Hkv, d, n = k.shape
    d_, Hq = q.shape
    G = Hq // Hkv
    scale = 1 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((G, Hkv), -1e30, dtype=nl.float32, name="m")
    l = nl.zeros((G, Hkv), dtype=nl.float32, name="l")
    acc = nl.zeros((G, Hkv, d), dtype=nl.float32, name="acc")
    qs = nl.load(q)
    for i in nl.sequential_range(n // 128):
        for h in nl.affine_range(Hkv):
            kt = nl.load(k[h, :, i * 128:(i + 1) * 128])
            vt = nl.load(v[h, :, i * 128:(i + 1) * 128])
            s = nl.multiply(nl.matmul(qs[:, h * G:(h + 1) * G], kt, transpose_x=True), scale)
            mn = nl.maximum(m[:, h:h + 1], nl.max(s, axis=1, keepdims=True))
            al = nl.exp(m[:, h:h + 1] - mn)
            p = nl.exp(s - mn)
            l[:, h:h + 1] = l[:, h:h + 1] * al + nl.sum(p, axis=1, keepdims=True)
            pv = nl.matmul(p, nl.transpose(vt))
            acc[:, h, :] = acc[:, h, :] * al + pv
            m[:, h:h + 1] = mn
    for h in nl.affine_range(Hkv):
        nl.store(o[h * G:(h + 1) * G, :], acc[:, h, :] / l[:, h:h + 1])
    return o
