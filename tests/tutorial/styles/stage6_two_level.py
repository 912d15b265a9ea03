"""Splits take every S-th tile; the merge halves the list of states in Python until one is left."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

LOW = -3.0e38


@nki.jit
def one_share(q, k, v, parts, scale):
    groups, d, n = k.shape
    heads = q.shape[1]
    per = heads // groups
    top_out = nl.ndarray((parts, heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    sum_out = nl.ndarray((parts, heads, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    mix_out = nl.ndarray((parts, heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    me = nl.program_id(0)
    for g in range(groups):
        rows = slice(g * per, g * per + per)
        top = nl.full((per, 1), LOW, dtype=nl.float32)
        total = nl.zeros((per, 1), dtype=nl.float32)
        mixed = nl.zeros((per, d), dtype=nl.float32)
        mine = nl.load(q[:, rows])
        for t in range(me, n // 128, parts):
            kt, vt = nl.load(k[g, :, t * 128:t * 128 + 128]), nl.load(v[g, :, t * 128:t * 128 + 128])
            s = nl.multiply(nisa.nc_matmul(mine, kt), scale)
            up = nl.maximum(top, nl.max(s, axis=1, keepdims=True))
            shrink = nl.exp(nl.subtract(top, up))
            e = nl.exp(nl.subtract(s, up))
            total[...] = nl.add(nl.multiply(total, shrink), nl.sum(e, axis=1, keepdims=True))
            e_t, v_t = nl.copy(nisa.nc_transpose(e)), nl.copy(nisa.nc_transpose(vt))
            mixed[...] = nl.add(nl.multiply(mixed, shrink), nisa.nc_matmul(e_t, v_t))
            top[...] = nl.copy(up)
        nl.store(top_out[me, rows, :], top)
        nl.store(sum_out[me, rows, :], total)
        nl.store(mix_out[me, rows, :], mixed)
    return top_out, sum_out, mix_out


def joined(left, right):
    """The state of two states together."""
    (m_a, l_a, o_a), (m_b, l_b, o_b) = left, right
    m = nl.maximum(m_a, m_b)
    a = nl.exp(nl.subtract(m_a, m))
    b = nl.exp(nl.subtract(m_b, m))
    l = nl.add(nl.multiply(l_a, a), nl.multiply(l_b, b))
    return m, l, nl.add(nl.multiply(o_a, a), nl.multiply(o_b, b))


@nki.jit
def all_shares(tops, sums, mixes):
    parts, heads, d = mixes.shape
    o = nl.ndarray((heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    states = [(nl.load(tops[s]), nl.load(sums[s]), nl.load(mixes[s])) for s in range(parts)]
    while len(states) > 1:
        pairs = [joined(states[i], states[i + 1]) for i in range(0, len(states) - 1, 2)]
        states = pairs + states[2 * len(pairs):]
    top, total, mixed = states[0]
    nl.store(o, nl.divide(mixed, total))
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    scale = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(k.shape[1])
    tops, sums, mixes = one_share[n_splits](q, k, v, n_splits, scale)
    return all_shares(tops, sums, mixes)
