import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    many = n // 128
    s = d**-0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    query = nl.load(q)
    tops = nl.ndarray((1, many), dtype=nl.float32)
    sums = nl.ndarray((1, many), dtype=nl.float32)
    for t in nl.affine_range(many):
        x = nl.multiply(nl.matmul(query, nl.load(k[:, nl.ds(t * 128, 128)]), transpose_x=True), s)
        tops[:, nl.ds(t, 1)] = nl.max(x, axis=1, keepdims=True)
        sums[:, nl.ds(t, 1)] = nl.sum(nl.exp(x - tops[:, nl.ds(t, 1)]), axis=1, keepdims=True)
    top = nl.max(tops, axis=1, keepdims=True)
    total = nl.sum(nl.multiply(sums, nl.exp(tops - top)), axis=1, keepdims=True)
    mix = nl.zeros((1, d), dtype=nl.float32)
    for t in nl.sequential_range(many):
        x = nl.multiply(nl.matmul(query, nl.load(k[:, nl.ds(t * 128, 128)]), transpose_x=True), s)
        w = nl.exp(x - top)
        mix[...] = mix + nl.matmul(w, nl.transpose(nl.load(v[:, nl.ds(t * 128, 128)])))
    nl.store(out, mix / total)
    return out
