"""o[h] = softmax(scale * q[h]^T k[h // G]) v[h // G]^T, in bfloat16, with the scores, m, l and acc in float32

Stage 4's method in bfloat16: half the bytes, and one pass of the Tensor Engine where float32 takes four. V is still
(Hkv, d, n), as in stage 4, and its tiles are transposed on chip.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # keys per tile


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    """q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), n a multiple of 128, bf16 in HBM -> o (Hq, d) bf16 in HBM."""
    n_kv_heads, d, n = k.shape
    n_q_heads = q.shape[1]
    G = n_q_heads // n_kv_heads
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale

    o = nl.ndarray((n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)

    for h in nl.affine_range(n_kv_heads):
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
        q_tile = nl.load(q[:, nl.ds(h * G, G)])  # (d, G)

        for i in nl.sequential_range(n // TILE):
            k_tile = nl.load(k[h, :, nl.ds(i * TILE, TILE)])  # (d, TILE)
            v_tile = nl.load(v[h, :, nl.ds(i * TILE, TILE)])  # (d, TILE)
            qk_psum = nisa.nc_matmul(q_tile, k_tile)  # (G, TILE) PSUM
            qk = nisa.tensor_scalar(qk_psum, op0=nl.multiply, operand0=scale)  # (G, TILE) fp32

            m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (G, 1)
            m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)
            alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))
            p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new))  # (G, TILE) fp32
            l_tile = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (G, 1)
            l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)

            p_t = nisa.tensor_copy(nisa.nc_transpose(p), dtype=v.dtype)  # (TILE, G): rounded to bf16 only here
            v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))  # (TILE, d)
            pv = nisa.nc_matmul(p_t, v_t)  # (G, d) PSUM
            acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)
            m[...] = m_new

        o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l), dtype=q.dtype)  # (G, d)
        nl.store(o[nl.ds(h * G, G), :], value=o_tile)
    return o
