"""Strided splits; the merge is a recursion over halves."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def share(q, k, v, S, scale):
    Hkv, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // Hkv
    ms = nl.ndarray((S, Hq, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    ls = nl.ndarray((S, Hq, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    accs = nl.ndarray((S, Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    s = nl.program_id(0)
    for h in range(Hkv):
        rows = slice(h * G, (h + 1) * G)
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.zeros((G, 1), dtype=nl.float32, name="l")
        acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
        qh = nl.multiply(nl.load(q[:, rows]), scale)
        for t in range(s, n // 128, S):
            kt = nl.load(k[h, :, t * 128:(t + 1) * 128])
            vt = nl.load(v[h, :, t * 128:(t + 1) * 128])
            x = nl.copy(nl.matmul(qh, kt, transpose_x=True))
            m_old = nl.copy(m)
            m[...] = nl.maximum(m, nl.max(x, axis=1, keepdims=True))
            a = nl.exp(nl.subtract(m_old, m))
            w = nl.exp(nl.subtract(x, m))
            l[...] = nl.add(nl.multiply(l, a), nl.sum(w, axis=1, keepdims=True))
            acc[...] = nl.add(nl.multiply(acc, a), nl.matmul(w, nl.transpose(vt)))
        nl.store(ms[s, rows, :], m)
        nl.store(ls[s, rows, :], l)
        nl.store(accs[s, rows, :], acc)
    return ms, ls, accs


@nki.jit
def combine(ms, ls, accs):
    S, Hq, d = accs.shape
    o = nl.ndarray((Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)

    def pair(a, b):
        top = nl.maximum(a[0], b[0])
        fa = nl.exp(nl.subtract(a[0], top))
        fb = nl.exp(nl.subtract(b[0], top))
        total = nl.add(nl.multiply(a[1], fa), nl.multiply(b[1], fb))
        mixed = nl.add(nl.multiply(a[2], fa), nl.multiply(b[2], fb))
        return top, total, mixed

    def tree(lo, hi):
        if hi - lo == 1:
            return nl.load(ms[lo]), nl.load(ls[lo]), nl.load(accs[lo])
        mid = (lo + hi) // 2
        return pair(tree(lo, mid), tree(mid, hi))

    top, total, mixed = tree(0, S)
    nl.store(o, nl.divide(mixed, total))
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    scale = 1.0 / math.sqrt(k.shape[1]) if softmax_scale is None else softmax_scale
    return combine(*share[n_splits](q, k, v, n_splits, scale))
