import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


def one_tile(query, keys, values, live_g, live_d, scale):
    """(m, l, acc) of one tile alone."""
    s = nl.multiply(nl.copy(nisa.nc_matmul(query, keys)), scale)
    s = nl.where(live_g, s, -1.0e38)
    m = nl.max(s, axis=1, keepdims=True)
    p = nl.exp(nl.subtract(s, m))
    values = nl.where(live_d, values, 0.0)
    acc = nisa.nc_matmul(nl.copy(nisa.nc_transpose(p)), nl.copy(nisa.nc_transpose(values)))
    return m, nl.sum(p, axis=1, keepdims=True), nl.copy(acc)


def merged(one, two):
    m = nl.maximum(one[0], two[0])
    a, b = nl.exp(nl.subtract(one[0], m)), nl.exp(nl.subtract(two[0], m))
    l = nl.add(nl.multiply(one[1], a), nl.multiply(two[1], b))
    acc = nl.add(nl.multiply(one[2], a), nl.multiply(two[2], b))
    return m, l, acc


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    B, H, d, n = k.shape
    G = q.shape[2] // H
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, H * G, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for b in nl.static_range(B):
        size = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
        for h in nl.static_range(H):
            query = nl.load(q[b, :, h * G:(h + 1) * G])
            state = None
            for a in range(0, n, 128):
                w = min(128, n - a)
                at = nl.broadcast_to(nisa.iota(a + nl.arange(w)[None, :], dtype=nl.float32), shape=(128, w))
                live = nl.less(at, size)
                mine = one_tile(query, nl.load(k[b, h, :, a:a + w]), nl.load(v[b, h, :, a:a + w]),
                                live[0:G, :], live[0:d, :], scale)
                state = mine if state is None else merged(state, mine)
            nl.store(o[b, h * G:(h + 1) * G, :], nl.divide(state[2], state[1]))
    return o
