"""acc as columns (d, G), m and l as rows (1, G): the weights stand with the keys on the partitions, and ones spread a row out."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

W = 128


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    groups, d, n = k.shape
    heads = q.shape[1]
    per = heads // groups
    scale = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(d)
    o = nl.ndarray((heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    spread = nl.ones((1, 128), dtype=nl.float32)
    gather = nl.ones((128, 1), dtype=nl.float32)
    for g in range(groups):
        first = g * per
        mine = nl.load(q[:, first:first + per])
        top = nl.full((1, per), -3.0e38, dtype=nl.float32)
        total = nl.zeros((1, per), dtype=nl.float32)
        mixed = nl.zeros((d, per), dtype=nl.float32)
        for t in range(n // W):
            at = slice(t * W, t * W + W)
            keys, values = nl.load(k[g, :, at]), nl.load(v[g, :, at])
            s = nl.multiply(nisa.nc_matmul(keys, mine), scale)
            s_rows = nl.copy(nisa.nc_transpose(s))
            high = nl.copy(nisa.nc_transpose(nl.max(s_rows, axis=1, keepdims=True)))
            above = nl.maximum(top, high)
            shrink = nl.exp(nl.subtract(top, above))
            e = nl.exp(nl.subtract(s, nl.copy(nisa.nc_matmul(spread, above))))
            total[...] = nl.add(nl.multiply(total, shrink), nisa.nc_matmul(gather, e))
            shrink_d = nl.copy(nisa.nc_matmul(spread[:, 0:d], shrink))
            values_t = nl.copy(nisa.nc_transpose(values))
            mixed[...] = nl.add(nl.multiply(mixed, shrink_d), nisa.nc_matmul(values_t, e))
            top[...] = nl.copy(above)
        inverse = nl.copy(nisa.nc_matmul(spread[:, 0:d], nl.reciprocal(total)))
        nl.store(o[first:first + per, :], value=nl.copy(nisa.nc_transpose(nl.multiply(mixed, inverse))))
    return o
