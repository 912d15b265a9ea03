import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    """One kernel: the splits are a loop, their states stay on chip, tiles are dealt out evenly; a merge of all at once."""
    Hkv, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // Hkv
    sc = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    T = n // 128
    for h in nl.affine_range(Hkv):
        qt = nl.load(q[:, h * G:(h + 1) * G])
        ms = nl.full((G, n_splits), -1e30, dtype=nl.float32)
        ls = nl.full((G, n_splits), 0.0, dtype=nl.float32)
        accs = nl.full((G, n_splits, d), 0.0, dtype=nl.float32)
        for s in nl.static_range(n_splits):
            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
            acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
            for t in range(s * T // n_splits, (s + 1) * T // n_splits):
                kt = nl.load(k[h, :, t * 128:(t + 1) * 128])
                vt = nl.load(v[h, :, t * 128:(t + 1) * 128])
                x = nl.multiply(nisa.nc_matmul(qt, kt), sc)
                mn = nl.maximum(m, nl.max(x, axis=1, keepdims=True))
                al = nl.exp(m - mn)
                p = nl.exp(x - mn)
                l[...] = l * al + nl.sum(p, axis=1, keepdims=True)
                acc[...] = acc * al + nisa.nc_matmul(nl.copy(nl.transpose(p)), nl.copy(nl.transpose(vt)))
                m[...] = mn
            ms[:, s:s + 1] = nl.copy(m)
            ls[:, s:s + 1] = nl.copy(l)
            accs[:, s, :] = nl.copy(acc)
        top = nl.max(ms, axis=1, keepdims=True)
        w = nl.exp(ms - top)
        den = nl.sum(nl.multiply(ls, w), axis=1, keepdims=True)
        num = nl.full((G, d), 0.0, dtype=nl.float32)
        for s in nl.static_range(n_splits):
            num[...] = num + nl.multiply(accs[:, s, :], w[:, s:s + 1])
        nl.store(o[h * G:(h + 1) * G, :], num / den)
    return o
