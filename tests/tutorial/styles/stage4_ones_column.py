"""Tiles of 256 keys; a column of ones beside V sums the weights."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    Hkv, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // Hkv
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    W = 256 if n % 256 == 0 else 128
    o = nl.ndarray((Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    q_all = nl.load(q)
    for h in nl.affine_range(Hkv):
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        state = nl.zeros((G, d + 1), dtype=nl.float32, name="acc")
        for i in nl.sequential_range(n // W):
            k_tile = nl.load(k[h, :, nl.ds(i * W, W)])
            v_tile = nl.load(v[h, :, nl.ds(i * W, W)])
            qk = nisa.tensor_scalar(nisa.nc_matmul(q_all[:, nl.ds(h * G, G)], k_tile), op0=nl.multiply, operand0=scale)
            m_new = nl.maximum(m, nl.max(qk, axis=1, keepdims=True))
            alpha = nl.exp(nl.subtract(m, m_new))
            p = nl.exp(nl.subtract(qk, m_new))
            pv = nl.zeros((G, d + 1), dtype=nl.float32, buffer=nl.psum)
            for c in nl.affine_range(W // 128):
                right = nl.ones((128, d + 1), dtype=nl.float32)
                right[:, 0:d] = nl.copy(nl.transpose(v_tile[:, nl.ds(c * 128, 128)]))
                p_t = nl.copy(nl.transpose(p[:, nl.ds(c * 128, 128)]))
                pv += nisa.nc_matmul(p_t, right)
            state[...] = nl.add(nl.multiply(state, alpha), pv)
            m[...] = m_new
        nl.store(o[nl.ds(h * G, G), :], nl.divide(state[:, 0:d], state[:, d:d + 1]))
    return o
