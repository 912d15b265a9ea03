"""A right kernel in another style."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def split_kernel(q, k, v, S, s):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    T = n // 128
    mo = nl.ndarray((S, Q, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    lo = nl.ndarray((S, Q, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    ao = nl.ndarray((S, Q, d), dtype=nl.float32, buffer=nl.shared_hbm)
    c = nl.program_id(0)
    for h in range(H):
        qt = nl.multiply(nl.load(q[:, h * G:(h + 1) * G]), s)
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32)
        l = nl.full((G, 1), 0.0, dtype=nl.float32)
        acc = nl.full((G, d), 0.0, dtype=nl.float32)
        for i in range(c, T, S):
            kt = nl.load(k[h, :, nl.ds(i * 128, 128)])
            vt = nl.load(v[h, :, nl.ds(i * 128, 128)])
            x = nisa.tensor_copy(nisa.nc_matmul(qt, kt))
            mn = nl.maximum(m, nl.max(x, axis=1))
            a = nl.exp(nl.subtract(m, mn))
            p = nl.exp(nl.subtract(x, mn))
            l[...] = nl.add(nl.multiply(l, a), nl.sum(p, axis=1))
            acc[...] = nl.add(nl.multiply(acc, a), nl.matmul(p, nl.transpose(vt)))
            m[...] = mn
        nl.store(mo[c, h * G:(h + 1) * G, :], m)
        nl.store(lo[c, h * G:(h + 1) * G, :], l)
        nl.store(ao[c, h * G:(h + 1) * G, :], acc)
    return mo, lo, ao


@nki.jit
def merge_kernel(ms, ls, accs):
    S, Q, d = accs.shape
    o = nl.ndarray((Q, d), dtype=nl.float32, buffer=nl.shared_hbm)
    M = nl.full((Q, 1), -3e38, dtype=nl.float32)
    L = nl.zeros((Q, 1), dtype=nl.float32)
    N = nl.zeros((Q, d), dtype=nl.float32)
    for j in nl.sequential_range(S):
        mj, lj, aj = nl.load(ms[j]), nl.load(ls[j]), nl.load(accs[j])
        mn = nl.maximum(M, mj)
        L[...] = L * nl.exp(M - mn) + lj * nl.exp(mj - mn)
        N[...] = N * nl.exp(M - mn) + aj * nl.exp(mj - mn)
        M[...] = mn
    nl.store(o, N / L)
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    s = 1.0 / math.sqrt(k.shape[1]) if softmax_scale is None else softmax_scale
    return merge_kernel(*split_kernel[n_splits](q, k, v, n_splits, s))
