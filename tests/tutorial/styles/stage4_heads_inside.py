"""A right kernel in another style."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    s = d ** -0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in nl.static_range(H):
        ms = [nl.full((1, 1), -1e38, dtype=nl.float32, name=f"m{g}_{h}") for g in range(G)]
        ls = [nl.zeros((1, 1), dtype=nl.float32, name=f"l{g}_{h}") for g in range(G)]
        accs = [nl.zeros((1, d), dtype=nl.float32, name=f"acc{g}_{h}") for g in range(G)]
        qs = [nl.load(q[:, h * G + g:h * G + g + 1]) for g in range(G)]
        for t in nl.static_range(n // 128):
            kt = nl.load(k[h, :, t * 128:(t + 1) * 128])
            vT = nl.copy(nl.transpose(nl.load(v[h, :, t * 128:(t + 1) * 128])))
            for g in range(G):
                x = nl.matmul(qs[g], kt, transpose_x=True) * s
                mn = nl.maximum(ms[g], nl.max(x, axis=1))
                c = nl.exp(ms[g] - mn)
                p = nl.exp(x - mn)
                ls[g][...] = ls[g] * c + nl.sum(p, axis=1)
                accs[g][...] = accs[g] * c + nl.matmul(p, vT)
                ms[g][...] = mn
        for g in range(G):
            nl.store(out[h * G + g:h * G + g + 1, :], accs[g] / ls[g])
    return out
