"""Even and odd tiles have a state each; the two are merged in the end."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    sc = softmax_scale if softmax_scale is not None else d ** -0.5
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    qt = nl.load(q)

    def walk(lane):
        m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32)
        l = nl.zeros((1, 1), dtype=nl.float32)
        a = nl.zeros((1, d), dtype=nl.float32)
        for i in range(lane, n // 128, 2):
            s = nl.multiply(nl.matmul(qt, nl.load(k[:, i * 128:(i + 1) * 128]), transpose_x=True), sc)
            mn = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
            r = nl.exp(nl.subtract(m, mn))
            p = nl.exp(nl.subtract(s, mn))
            l[...] = nl.add(nl.multiply(l, r), nl.sum(p, axis=1, keepdims=True))
            a[...] = nl.add(nl.multiply(a, r), nl.matmul(p, nl.transpose(nl.load(v[:, i * 128:(i + 1) * 128]))))
            m[...] = nl.copy(mn)
        return m, l, a

    states = [walk(0), walk(1)]
    (m0, l0, a0), (m1, l1, a1) = states
    top = nl.maximum(m0, m1)
    f0 = nl.exp(nl.subtract(m0, top))
    f1 = nl.exp(nl.subtract(m1, top))
    total = nl.add(nl.multiply(l0, f0), nl.multiply(l1, f1))
    mixed = nl.add(nl.multiply(a0, f0), nl.multiply(a1, f1))
    nl.store(out, nl.divide(mixed, total))
    return out
