"""The scores are (keys, G), l and m rows, acc (d, G); the sums are matmuls."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

LOG2E = 1.0 / math.log(2.0)


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    s = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    ones_p = nl.ones((1, 128), dtype=nl.float32)
    ones_d = nl.ones((1, d), dtype=nl.float32)
    ones_c = nl.ones((128, 1), dtype=nl.float32)
    for h in nl.affine_range(H):
        m = nl.full((1, G), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.zeros((1, G), dtype=nl.float32, name="l")
        acc = nl.zeros((d, G), dtype=nl.float32, name="acc")
        qs = nl.multiply(nl.load(q[:, nl.ds(h * G, G)]), s)
        for i in nl.sequential_range(n // 128):
            kt = nl.load(k[h, :, nl.ds(i * 128, 128)])
            v_t = nl.copy(nl.transpose(nl.load(v[h, :, nl.ds(i * 128, 128)])))
            x = nl.copy(nisa.nc_matmul(kt, qs))
            best = nl.copy(nl.transpose(nl.max(nisa.nc_transpose(x), axis=1, keepdims=True)))
            m_new = nl.maximum(m, best)
            a = nl.exp(nl.subtract(m, m_new))
            w = nl.exp(nl.subtract(x, nl.copy(nisa.nc_matmul(ones_p, m_new))))
            l[...] = nl.add(nl.multiply(l, a), nisa.nc_matmul(ones_c, w))
            acc[...] = nl.add(nl.multiply(acc, nl.copy(nisa.nc_matmul(ones_d, a))), nisa.nc_matmul(v_t, w))
            m[...] = nl.copy(m_new)
        done = nl.multiply(acc, nl.copy(nisa.nc_matmul(ones_d, nl.reciprocal(l))))
        nl.store(o[nl.ds(h * G, G), :], nl.copy(nl.transpose(done)))
    return o
