"""K and V are cleaned first, and then the scores of what does not count are moved far down by an addition."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


def live_keys(start, width, rows, size):
    """(rows, width) uint8: 1 where position start + j is below the size (rows, 1)."""
    place = nl.broadcast_to(nisa.iota(start + nl.arange(width)[None, :], dtype=nl.float32), shape=(rows, width))
    return nl.less(place, size, dtype=nl.uint8)


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    batch, groups, d, n = k.shape
    heads = q.shape[2]
    per = heads // groups
    scale = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(d)
    o = nl.ndarray((batch, heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for g in range(groups):
        for b in range(batch):
            size = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
            mine = nl.multiply(nl.load(q[b, :, g * per:g * per + per]), scale)
            big = nl.full((per, 1), -3.0e38, dtype=nl.float32)
            weight = nl.full((per, 1), 1e-30, dtype=nl.float32)
            mixed = nl.zeros((per, d), dtype=nl.float32)
            for start in range(0, n, 128):
                w = min(128, n - start)
                kt = nl.load(k[b, g, :, start:start + w])
                vt = nl.load(v[b, g, :, start:start + w])
                live = live_keys(start, w, d, size[0:d, :])
                clean_k = nl.where(live, kt, 0.0)
                clean_v = nl.where(live, vt, 0.0)
                down = nl.multiply(nl.subtract(live_keys(start, w, per, size[0:per, :]), 1.0, dtype=nl.float32), 2.0e38)
                s = nl.add(nisa.nc_matmul(mine, clean_k), down)
                up = nl.maximum(big, nl.max(s, axis=1, keepdims=True))
                shrink = nl.exp(nl.subtract(big, up))
                e = nl.exp(nl.subtract(s, up))
                weight[...] = nl.add(nl.multiply(weight, shrink), nl.sum(e, axis=1, keepdims=True))
                e_t = nl.copy(nisa.nc_transpose(e))
                v_t = nl.copy(nisa.nc_transpose(clean_v))
                mixed[...] = nl.add(nl.multiply(mixed, shrink), nisa.nc_matmul(e_t, v_t))
                big[...] = nl.copy(up)
            nl.store(o[b, g * per:g * per + per, :], nl.divide(mixed, weight))
    return o
