"""Up to four tiles a step: one exp for all, and V as (128, 4, d)."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    Hkv, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // Hkv
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    W = 512 if n % 512 == 0 else (256 if n % 256 == 0 else 128)
    o = nl.ndarray((Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    ip = nl.arange(128)[:, None, None]
    ic = nl.arange(W // 128)[None, :, None]
    jd = nl.arange(d)[None, None, :]
    for h in nl.affine_range(Hkv):
        q_sb = nl.load(q[:, nl.ds(h * G, G)])
        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
        for i in nl.sequential_range(n // W):
            k_sb = nl.load(k[h, :, nl.ds(i * W, W)])
            v_sb = nl.load(v[h, i * W + ic * 128 + ip, jd])
            s = nisa.tensor_scalar(nisa.nc_matmul(q_sb, k_sb), op0=nl.multiply, operand0=scale, dtype=nl.float32)
            m_t = nisa.tensor_reduce(nl.maximum, s, axis=1, keepdims=True)
            m_new = nisa.tensor_tensor(m, m_t, op=nl.maximum)
            neg = nisa.tensor_scalar(m_new, op0=nl.multiply, operand0=-1.0)
            alpha = nisa.activation(nl.exp, m, bias=neg)
            rowsum = nl.zeros((G, 1), dtype=nl.float32)
            p = nisa.activation_reduce(nl.exp, s, bias=neg, reduce_op=nl.add, reduce_res=rowsum, dtype=nl.bfloat16)
            l[...] = nisa.scalar_tensor_tensor(data=l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=rowsum)
            pv = nl.zeros((G, d), dtype=nl.float32, buffer=nl.psum)
            for c in nl.affine_range(W // 128):
                p_t = nisa.tensor_copy(nisa.nc_transpose(p[:, nl.ds(c * 128, 128)]))
                pv += nisa.nc_matmul(p_t, v_sb[:, c, :])
            acc[...] = nisa.scalar_tensor_tensor(data=acc, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=pv)
            m[...] = m_new
        inv = nisa.reciprocal(l)
        nl.store(o[nl.ds(h * G, G), :], value=nisa.tensor_scalar(acc, op0=nl.multiply, operand0=inv, dtype=q.dtype))
    return o
