"""Up to 1024 keys in one step of the loop; the last step takes what is left."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np

STEP = 1024


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    scale = d**-0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    query = nl.load(q)
    m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")
    l = nl.zeros((1, 1), dtype=nl.float32, name="l")
    acc = nl.zeros((1, d), dtype=nl.float32, name="acc")
    for first in range(0, n, STEP):
        width = min(STEP, n - first)
        keys, values = nl.load(k[:, first : first + width]), nl.load(v[:, first : first + width])
        qk = nl.ndarray((1, width), dtype=nl.float32, buffer=nl.sbuf)
        for j in range(0, width, 128):
            scores = nisa.nc_matmul(query, keys[:, j : j + 128])
            qk[0:1, j : j + 128] = nisa.tensor_scalar(scores, np.multiply, scale)
        m_new = nl.maximum(m, nl.max(qk, axis=1, keepdims=True))
        alpha = nl.exp(m - m_new)
        p = nl.exp(nl.subtract(qk, m_new))
        l[...] = l * alpha + nl.sum(p, axis=1, keepdims=True)
        pv = nl.zeros((1, d), dtype=nl.float32, buffer=nl.psum)
        for j in range(0, width, 128):
            p_t = nisa.tensor_copy(nisa.nc_transpose(p[:, j : j + 128]))
            v_t = nisa.tensor_copy(nisa.nc_transpose(values[:, j : j + 128]))
            pv += nisa.nc_matmul(p_t, v_t)
        acc[...] = nl.add(acc * alpha, pv)
        m[...] = m_new
    nl.store(out, nl.divide(acc, l))
    return out
