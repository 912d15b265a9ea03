import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

WIDTH = 128


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None, max_length=None):
    n_seqs, n_kv, d, n = k.shape
    n_q = q.shape[2]
    per = n_q // n_kv
    most = n if max_length is None else max_length
    factor = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    out = nl.ndarray((n_seqs, n_q, d), dtype=nl.float32, buffer=nl.shared_hbm)
    pairs = [(b, h) for b in range(n_seqs) for h in range(n_kv)]
    maxima = nl.full((per, len(pairs)), nl.fp32.min, dtype=nl.float32, name="m")
    sums = nl.zeros((per, len(pairs)), dtype=nl.float32, name="l")
    mixes = nl.zeros((per, len(pairs), d), dtype=nl.float32, name="acc")
    queries = nl.ndarray((d, len(pairs), per), dtype=nl.float32)
    for x, (b, h) in enumerate(pairs):
        queries[:, x, :] = nl.multiply(nl.load(q[b, :, h * per:h * per + per]), factor)
    sizes = nl.broadcast_to(nl.load(lengths.reshape((1, n_seqs)), dtype=nl.float32), shape=(128, n_seqs))
    for first in range(0, most, WIDTH):
        w = min(WIDTH, n - first)
        place = nl.broadcast_to(nisa.iota(first + nl.arange(w)[None, :], dtype=nl.float32), shape=(128, w))
        for x, (b, h) in enumerate(pairs):
            kt = nl.load(k[b, h, :, first:first + w])
            vt = nl.load(v[b, h, :, first:first + w])
            inside = nl.less(place, sizes[:, b:b + 1])
            s = nl.where(inside[0:per, :], nl.copy(nisa.nc_matmul(queries[:, x, :], kt)), nl.fp32.min)
            vt = nl.where(inside[0:d, :], vt, 0.0)
            top = nl.maximum(maxima[:, x:x + 1], nl.max(s, axis=1, keepdims=True))
            keep = nl.exp(nl.subtract(maxima[:, x:x + 1], top))
            e = nl.exp(nl.subtract(s, top))
            sums[:, x:x + 1] = nl.add(nl.multiply(sums[:, x:x + 1], keep), nl.sum(e, axis=1, keepdims=True))
            mix = nisa.nc_matmul(nl.copy(nisa.nc_transpose(e)), nl.copy(nisa.nc_transpose(vt)))
            mixes[:, x, :] = nl.add(nl.multiply(mixes[:, x, :], keep), mix)
            maxima[:, x:x + 1] = nl.copy(top)
    for x, (b, h) in enumerate(pairs):
        nl.store(out[b, h * per:h * per + per, :], nl.divide(mixes[:, x, :], sums[:, x:x + 1]))
    return out
