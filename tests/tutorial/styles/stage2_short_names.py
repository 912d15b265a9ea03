"""Three passes in the language of nl, with names of its own."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    tiles = n // 128
    c = softmax_scale if softmax_scale is not None else d ** -0.5
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    big = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")
    den = nl.zeros((1, 1), dtype=nl.float32, name="l")
    num = nl.zeros((1, d), dtype=nl.float32, name="acc")
    qv = nl.load(q)
    for t in range(tiles):
        x = nl.multiply(nl.matmul(qv, nl.load(k[:, t * 128:t * 128 + 128]), transpose_x=True), c)
        big[...] = nl.maximum(big, nl.max(x, axis=1, keepdims=True))
    for t in range(tiles):
        x = nl.multiply(nl.matmul(qv, nl.load(k[:, t * 128:t * 128 + 128]), transpose_x=True), c)
        e = nl.exp(nl.subtract(x, big))
        den[...] = nl.add(den, nl.sum(e, axis=1, keepdims=True))
    for t in range(tiles):
        x = nl.multiply(nl.matmul(qv, nl.load(k[:, t * 128:t * 128 + 128]), transpose_x=True), c)
        e = nl.exp(nl.subtract(x, big))
        vt = nl.load(v[:, t * 128:t * 128 + 128])
        num[...] = nl.add(num, nl.matmul(e, nl.transpose(vt)))
    nl.store(out, nl.divide(num, den))
    return out
