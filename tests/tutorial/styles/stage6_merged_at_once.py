"""The splits' maxima and sums come as columns, and are merged at once; uneven splits."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def part(q, k, v, parts, scale):
    KV, d, n = k.shape
    heads = q.shape[1]
    per = heads // KV
    top_hbm = nl.ndarray((parts, heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    sum_hbm = nl.ndarray((parts, heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    out_hbm = nl.ndarray((parts, heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    me = nl.program_id(0)
    count = n // 128
    base, more = divmod(count, parts)
    begin = me * base + min(me, more)
    end = begin + base + (1 if me < more else 0)
    for g in range(KV):
        qt = nl.load(q[:, g * per:(g + 1) * per])
        top = nl.full((per, 1), nl.fp32.min, dtype=nl.float32)
        tot = nl.zeros((per, 1), dtype=nl.float32)
        mix = nl.zeros((per, d), dtype=nl.float32)
        for t in range(begin, end):
            kt = nl.load(k[g, :, t * 128:(t + 1) * 128])
            vt = nl.load(v[g, :, t * 128:(t + 1) * 128])
            s = nl.multiply(nl.matmul(qt, kt, transpose_x=True), scale)
            up = nl.maximum(top, nl.max(s, axis=1, keepdims=True))
            f = nl.exp(nl.subtract(top, up))
            e = nl.exp(nl.subtract(s, up))
            tot[...] = nl.add(nl.multiply(tot, f), nl.sum(e, axis=1, keepdims=True))
            mix[...] = nl.add(nl.multiply(mix, f), nl.matmul(e, nl.transpose(vt)))
            top[...] = nl.copy(up)
        nl.store(top_hbm[me, g * per:(g + 1) * per, :], top)
        nl.store(sum_hbm[me, g * per:(g + 1) * per, :], tot)
        nl.store(out_hbm[me, g * per:(g + 1) * per, :], mix)
    return top_hbm, sum_hbm, out_hbm


@nki.jit
def join(tops, sums, outs):
    parts, heads, d = outs.shape
    o = nl.ndarray((heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    ms = nl.ndarray((heads, parts), dtype=nl.float32, buffer=nl.sbuf)
    ls = nl.ndarray((heads, parts), dtype=nl.float32, buffer=nl.sbuf)
    for s in range(parts):
        ms[:, s:s + 1] = nl.load(tops[s])
        ls[:, s:s + 1] = nl.load(sums[s])
    top = nl.max(ms, axis=1, keepdims=True)
    w = nl.exp(nl.subtract(ms, top))
    total = nl.sum(nl.multiply(w, ls), axis=1, keepdims=True)
    mixed = nl.zeros((heads, d), dtype=nl.float32)
    for s in range(parts):
        mixed[...] = nl.add(mixed, nl.multiply(nl.load(outs[s]), w[:, s:s + 1]))
    nl.store(o, nl.divide(mixed, total))
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    scale = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(k.shape[1])
    return join(*part[n_splits](q, k, v, n_splits, scale))
