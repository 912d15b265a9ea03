"""The tiles are the outer loop, so that every KV head has a state in a list."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    KV, d, n = k.shape
    heads = q.shape[1]
    per = heads // KV
    sc = softmax_scale if softmax_scale is not None else d ** -0.5
    out = nl.ndarray((heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    qs = [nl.multiply(nl.load(q[:, g * per:(g + 1) * per]), sc) for g in range(KV)]
    tops = [nl.full((per, 1), nl.fp32.min, dtype=nl.float32) for _ in range(KV)]
    sums = [nl.zeros((per, 1), dtype=nl.float32) for _ in range(KV)]
    outs = [nl.zeros((per, d), dtype=nl.float32) for _ in range(KV)]
    for t in range(n // 128):
        for g in range(KV):
            kt = nl.load(k[g, :, t * 128:(t + 1) * 128])
            vt = nl.load(v[g, :, t * 128:(t + 1) * 128])
            s = nl.copy(nl.matmul(qs[g], kt, transpose_x=True))
            up = nl.maximum(tops[g], nl.max(s, axis=1, keepdims=True))
            f = nl.exp(nl.subtract(tops[g], up))
            e = nl.exp(nl.subtract(s, up))
            sums[g][...] = nl.add(nl.multiply(sums[g], f), nl.sum(e, axis=1, keepdims=True))
            outs[g][...] = nl.add(nl.multiply(outs[g], f), nl.matmul(e, nl.transpose(vt)))
            tops[g][...] = nl.copy(up)
    for g in range(KV):
        nl.store(out[g * per:(g + 1) * per, :], nl.divide(outs[g], sums[g]))
    return out
