import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def part(queries, keys, values, S, sc):
    """Every split leaves its output and its log-sum-exp; a split without keys leaves 0 and the lowest number."""
    Hkv, d, n = keys.shape
    Hq = queries.shape[1]
    G = Hq // Hkv
    outs = nl.ndarray((S, Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    lses = nl.ndarray((S, Hq, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    s, T = nl.program_id(0), n // 128
    first, last = s * T // S, (s + 1) * T // S
    for h in nl.static_range(Hkv):
        m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
        qt = nl.load(queries[:, h * G:(h + 1) * G])
        for t in range(first, last):
            kt = nl.load(keys[h, :, t * 128:(t + 1) * 128])
            vt = nl.load(values[h, :, t * 128:(t + 1) * 128])
            x = nl.multiply(nisa.nc_matmul(qt, kt), sc)
            mn = nl.maximum(m, nl.max(x, axis=1, keepdims=True))
            al = nl.exp(m - mn)
            p = nl.exp(x - mn)
            l[...] = l * al + nl.sum(p, axis=1, keepdims=True)
            acc[...] = acc * al + nisa.nc_matmul(nl.copy(nl.transpose(p)), nl.copy(nl.transpose(vt)))
            m[...] = mn
        if first < last:
            nl.store(outs[s, h * G:(h + 1) * G, :], acc / l)
            nl.store(lses[s, h * G:(h + 1) * G, :], m + nl.log(l))
        else:
            nl.store(outs[s, h * G:(h + 1) * G, :], acc)
            nl.store(lses[s, h * G:(h + 1) * G, :], m)
    return outs, lses


@nki.jit
def whole(outs, lses):
    S, Hq, d = outs.shape
    o = nl.ndarray((Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    top = nl.full((Hq, 1), -1e30, dtype=nl.float32)
    for s in range(S):
        top[...] = nl.maximum(top, nl.load(lses[s]))
    den = nl.full((Hq, 1), 0.0, dtype=nl.float32)
    num = nl.full((Hq, d), 0.0, dtype=nl.float32)
    for s in range(S):
        w = nl.exp(nl.subtract(nl.load(lses[s]), top))
        den[...] = den + w
        num[...] = num + nl.multiply(nl.load(outs[s]), w)
    nl.store(o, num / den)
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    sc = 1.0 / math.sqrt(k.shape[1]) if softmax_scale is None else softmax_scale
    return whole(*part[n_splits](q, k, v, n_splits, sc))
