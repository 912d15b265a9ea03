"""GQA, per query head with scalar state on one K/V load: (1,Hq) rows, updated per head"""
import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    Hkv, d, n = k.shape
    d_, Hq = q.shape
    G = Hq // Hkv
    scale = 1 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((1, Hq), -3e38, dtype=nl.float32, name="m")
    l = nl.full((1, Hq), 0, dtype=nl.float32, name="l")
    acc = nl.full((1, Hq, d), 0, dtype=nl.float32, name="acc")
    qs = nl.load(q)
    for h in nl.sequential_range(Hkv):
        for i in nl.sequential_range(n // 128):
            kt = nl.load(k[h, :, i * 128:(i + 1) * 128])
            vt = nl.load(v[h, :, i * 128:(i + 1) * 128])
            v_t = nisa.tensor_copy(nisa.nc_transpose(vt))
            for g in nl.sequential_range(G):
                j = h * G + g
                s = nl.multiply(nisa.nc_matmul(qs[:, j:j + 1], kt), scale)   # (1,128)
                mn = nl.maximum(m[:, j:j + 1], nl.max(s, axis=1, keepdims=True))
                al = nl.exp(nl.subtract(m[:, j:j + 1], mn))
                p = nl.exp(nl.subtract(s, mn))
                l[:, j:j + 1] = nl.add(nl.multiply(l[:, j:j + 1], al), nl.sum(p, axis=1, keepdims=True))
                p_t = nisa.tensor_copy(nisa.nc_transpose(p))
                acc[:, j, :] = nl.add(nl.multiply(acc[:, j, :], al), nisa.nc_matmul(p_t, v_t))
                m[:, j:j + 1] = mn
    for j in nl.affine_range(Hq):
        nl.store(o[j:j + 1, :], nl.divide(acc[:, j, :], l[:, j:j + 1]))
    return o
