"""m, l and acc of a split are one output; the weights are powers of 2."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

LN2 = math.log(2.0)


@nki.jit
def parts_kernel(q, k, v, S, scale):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    packed = nl.ndarray((S, Q, d + 2), dtype=nl.float32, buffer=nl.shared_hbm)
    s = nl.program_id(0)
    T = n // 128
    for h in range(H):
        qt = nl.multiply(nl.load(q[:, h * G:(h + 1) * G]), scale / LN2)
        top = nl.full((G, 1), -3.0e38, dtype=nl.float32)
        sums = nl.zeros((G, d + 1), dtype=nl.float32)
        for t in range(s * T // S, (s + 1) * T // S):
            kt = nl.load(k[h, :, t * 128:(t + 1) * 128])
            right = nl.ones((128, d + 1), dtype=nl.float32)
            right[:, 0:d] = nl.copy(nl.transpose(nl.load(v[h, :, t * 128:(t + 1) * 128])))
            x = nl.copy(nl.matmul(qt, kt, transpose_x=True))
            up = nl.maximum(top, nl.max(x, axis=1, keepdims=True))
            f = nl.exp(nl.multiply(nl.subtract(top, up), LN2))
            w = nl.exp(nl.multiply(nl.subtract(x, up), LN2))
            sums[...] = nl.add(nl.multiply(sums, f), nisa.nc_matmul(nl.copy(nl.transpose(w)), right))
            top[...] = nl.copy(up)
        nl.store(packed[s, h * G:(h + 1) * G, 0:d + 1], sums)
        nl.store(packed[s, h * G:(h + 1) * G, d + 1:d + 2], top)
    return packed


@nki.jit
def join_kernel(packed):
    S, Q, width = packed.shape
    d = width - 2
    o = nl.ndarray((Q, d), dtype=nl.float32, buffer=nl.shared_hbm)
    all_parts = nl.ndarray((Q, S, width), dtype=nl.float32, buffer=nl.sbuf)
    for s in range(S):
        all_parts[:, s, :] = nl.load(packed[s])
    tops = nl.ndarray((Q, S), dtype=nl.float32, buffer=nl.sbuf)
    for s in range(S):
        tops[:, s:s + 1] = nl.copy(all_parts[:, s, d + 1:d + 2])
    best = nl.max(tops, axis=1, keepdims=True)
    w = nl.exp(nl.multiply(nl.subtract(tops, best), LN2))
    both = nl.zeros((Q, d + 1), dtype=nl.float32)
    for s in range(S):
        both[...] = nl.add(both, nl.multiply(all_parts[:, s, 0:d + 1], w[:, s:s + 1]))
    nl.store(o, nl.divide(both[:, 0:d], both[:, d:d + 1]))
    return o


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    scale = 1.0 / math.sqrt(k.shape[1]) if softmax_scale is None else softmax_scale
    return join_kernel(parts_kernel[n_splits](q, k, v, n_splits, scale))
