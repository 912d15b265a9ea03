import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    s = d**-0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    query = nl.load(q)
    best = nl.full((1, 1), -3e38, dtype=nl.float32)
    total = nl.zeros((1, 1), dtype=nl.float32)
    mix = nl.zeros((1, d), dtype=nl.float32)
    for t in nl.sequential_range(n // 128):
        here = nl.ds(t * 128, 128)
        keys = nl.load(k[:, here])
        vals = nl.load(v[:, here])
        score = nl.multiply(nl.matmul(query, keys, transpose_x=True), s)
        top = nl.maximum(best, nl.max(score, axis=1, keepdims=True))
        fade = nl.exp(best - top)
        w = nl.exp(score - top)
        total[...] = total * fade + nl.sum(w, axis=1, keepdims=True)
        mix[...] = mix * fade + nl.matmul(w, nl.transpose(vals))
        best[...] = nl.copy(top)
    nl.store(out, mix / total)
    return out
