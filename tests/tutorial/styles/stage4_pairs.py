"""Stage 4 with two query heads at a time: state of two rows and a column a pair."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    K, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // K
    W = 2 if G % 2 == 0 else 1
    sc = d ** -0.5 if softmax_scale is None else softmax_scale
    o = nl.ndarray((Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in nl.affine_range(K):
        m = nl.full((W, G // W), -1e30, dtype=nl.float32, name="m")
        l = nl.zeros((W, G // W), dtype=nl.float32, name="l")
        acc = nl.zeros((W, G // W, d), dtype=nl.float32, name="acc")
        for i in nl.sequential_range(n // 128):
            kt = nl.load(k[h, :, i*128:(i+1)*128])
            vT = nl.transpose(nl.load(v[h, :, i*128:(i+1)*128]))
            for c in nl.affine_range(G // W):
                qt = nl.load(q[:, h*G + c*W : h*G + (c+1)*W])
                s = nl.multiply(nl.matmul(qt, kt, transpose_x=True), sc)     # (W,128)
                mn = nl.maximum(m[:, c:c+1], nl.max(s, axis=1, keepdims=True))
                al = nl.exp(nl.subtract(m[:, c:c+1], mn))
                p = nl.exp(nl.subtract(s, mn))
                l[:, c:c+1] = nl.add(nl.multiply(l[:, c:c+1], al), nl.sum(p, axis=1, keepdims=True))
                acc[:, c, :] = nl.add(nl.multiply(acc[:, c, :], al), nl.matmul(p, vT))
                m[:, c:c+1] = mn
        for c in nl.affine_range(G // W):
            nl.store(o[h*G + c*W : h*G + (c+1)*W, :], nl.divide(acc[:, c, :], l[:, c:c+1]))
    return o
