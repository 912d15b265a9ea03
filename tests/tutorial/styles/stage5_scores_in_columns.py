import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    """Scores of all tiles, then one max for each head; the state is (d, G), divided at the end by a row."""
    B, H, d, n = k.shape
    G = q.shape[2] // H
    T = math.ceil(n / 128)
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, H * G, d), dtype=q.dtype, buffer=nl.shared_hbm)
    lane = nisa.iota(nl.arange(128)[:, None], dtype=nl.float32)
    for b in range(B):
        size = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
        for h in range(H):
            qt = nl.load(q[b, :, h * G:(h + 1) * G])
            all_s = nl.zeros((128, T, G), dtype=nl.float32)
            tops = nl.full((G, T), nl.fp32.min, dtype=nl.float32)
            for t in range(T):
                w = min(128, n - t * 128)
                dead = nl.greater_equal(nl.add(lane[0:w, :], 128.0 * t), size[0:w, :], dtype=nl.uint8)
                kt = nl.load(k[b, h, :, t * 128:t * 128 + w])
                s = nl.multiply(nl.copy(nisa.nc_matmul(kt, qt)), scale)
                nisa.tensor_copy_predicated(src=nl.fp32.min, dst=s, predicate=nl.broadcast_to(dead, shape=(w, G)))
                tops[:, t:t + 1] = nl.max(nl.copy(nisa.nc_transpose(s)), axis=1, keepdims=True)
                all_s[0:w, t, :] = nl.copy(s)
            top = nl.max(tops, axis=1, keepdims=True)
            row = nl.copy(nisa.nc_transpose(top))
            total = nl.zeros((G, 1), dtype=nl.float32)
            mix = nl.zeros((G, d), dtype=nl.float32)
            for t in range(T):
                w = min(128, n - t * 128)
                s = all_s[0:w, t, :]
                dead = nl.greater_equal(nl.add(lane[0:w, :], 128.0 * t), size[0:w, :], dtype=nl.uint8)
                p = nl.exp(nl.subtract(s, nl.broadcast_to(row, shape=(w, G))))
                vt = nl.copy(nisa.nc_transpose(nl.load(v[b, h, :, t * 128:t * 128 + w])))
                nisa.tensor_copy_predicated(src=0.0, dst=vt, predicate=nl.broadcast_to(dead, shape=(w, d)))
                total[...] = nl.add(total, nisa.nc_matmul(p, nl.ones((w, 1), dtype=nl.float32)))
                mix[...] = nl.add(mix, nisa.nc_matmul(p, vt))
            nl.store(o[b, h * G:(h + 1) * G, :], nl.divide(mix, total))
    return o
