"""A right kernel in another style."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def part(q, k, v, S, s):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    T = n // 128
    per = (T + S - 1) // S
    os_ = nl.ndarray((S, Q, d), dtype=nl.float32, buffer=nl.shared_hbm)
    lse = nl.ndarray((S, Q, 1), dtype=nl.float32, buffer=nl.shared_hbm)
    c = nl.program_id(0)
    for h in nl.affine_range(H):
        qt = nl.load(q[:, nl.ds(h * G, G)])
        m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
        l = nl.zeros((G, 1), dtype=nl.float32, name="l")
        acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
        for i in range(c * per, min(T, (c + 1) * per)):
            kt = nl.load(k[h, :, nl.ds(i * 128, 128)])
            vt = nl.load(v[h, :, nl.ds(i * 128, 128)])
            x = nisa.tensor_scalar(nisa.nc_matmul(qt, kt), nl.multiply, s)
            mn = nl.maximum(m, nl.max(x, axis=1))
            a = nl.exp(m - mn)
            p = nl.exp(x - mn)
            l[...] = l * a + nl.sum(p, axis=1)
            acc[...] = acc * a + nl.matmul(p, nl.transpose(vt))
            m[...] = mn
        safe = nl.maximum(l, 1e-37)
        nl.store(os_[c, nl.ds(h * G, G), :], acc / safe)
        nl.store(lse[c, nl.ds(h * G, G), :], m + nl.log(safe))
    return os_, lse


@nki.jit
def merge(os_, lse):
    S, Q, d = os_.shape
    o = nl.ndarray((Q, d), dtype=nl.float32, buffer=nl.shared_hbm)
    top = nl.full((Q, 1), -3e38, dtype=nl.float32)
    for j in nl.sequential_range(S):
        top[...] = nl.maximum(top, nl.load(lse[j]))
    den = nl.zeros((Q, 1), dtype=nl.float32)
    num = nl.zeros((Q, d), dtype=nl.float32)
    for j in nl.sequential_range(S):
        w = nl.exp(nl.load(lse[j]) - top)
        den += w
        num += nl.load(os_[j]) * w
    nl.store(o, num / den)
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    s = 1.0 / math.sqrt(k.shape[1]) if softmax_scale is None else softmax_scale
    return merge(*part[n_splits](q, k, v, n_splits, s))
