"""Heads on the partitions and up to 512 keys per step; p is transposed 128 keys at a time, V comes in one transfer a step."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    groups, d, n = k.shape
    heads = q.shape[1]
    per = heads // groups
    scale = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(d)
    quarters = max(c for c in (1, 2, 3, 4) if n // 128 % c == 0)
    step = 128 * quarters
    o = nl.ndarray((heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    lane, quarter, column = nl.arange(128)[:, None, None], nl.arange(quarters)[None, :, None], nl.arange(d)[None, None, :]
    for g in nl.affine_range(groups):
        mine = nl.load(q[:, nl.ds(g * per, per)])
        m = nl.full((per, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((per, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((per, d), 0.0, dtype=nl.float32, name="acc")
        for i in nl.sequential_range(n // step):
            kt = nl.load(k[g, :, nl.ds(i * step, step)])
            vt = nl.load(v[g, i * step + quarter * 128 + lane, column])
            s = nl.multiply(nisa.nc_matmul(mine, kt), scale)
            up = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
            shrink = nl.exp(nl.subtract(m, up))
            e = nl.exp(nl.subtract(s, up))
            l[...] = nl.add(nl.multiply(l, shrink), nl.sum(e, axis=1, keepdims=True))
            part = nl.zeros((per, d), dtype=nl.float32, buffer=nl.psum)
            for j in nl.affine_range(quarters):
                e_t = nl.copy(nisa.nc_transpose(e[:, nl.ds(j * 128, 128)]), dtype=q.dtype)
                part += nisa.nc_matmul(e_t, vt[:, j, :])
            acc[...] = nl.add(nl.multiply(acc, shrink), part)
            m[...] = nl.copy(up)
        nl.store(o[nl.ds(g * per, per), :], nl.divide(acc, l, dtype=q.dtype))
    return o
