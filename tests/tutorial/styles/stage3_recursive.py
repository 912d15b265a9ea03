"""A right kernel in another style."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    s = d ** -0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((1, d), dtype=q.dtype, buffer=nl.shared_hbm)
    qt = nl.load(q)

    def step(t, state):
        m, l, a = state
        x = nl.matmul(qt, nl.load(k[:, t * 128:(t + 1) * 128]), transpose_x=True) * s
        mn = nl.maximum(m, nl.max(x, axis=1))
        c = nl.exp(m - mn)
        p = nl.exp(x - mn)
        l2 = l * c + nl.sum(p, axis=1)
        a2 = a * c + nl.matmul(p, nl.transpose(nl.load(v[:, t * 128:(t + 1) * 128])))
        state = (mn, l2, a2)
        return state if t + 1 == n // 128 else step(t + 1, state)

    state = step(0, (nl.full((1, 1), -1e38, dtype=nl.float32), nl.zeros((1, 1), dtype=nl.float32), nl.zeros((1, d), dtype=nl.float32)))
    nl.store(out, state[2] / state[1])
    return out
