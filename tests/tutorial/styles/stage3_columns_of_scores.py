"""The keys lie on the partitions; m is broadcast to them by a matmul of ones."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((1, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")
    l = nl.full((1, 1), 0.0, dtype=nl.float32, name="l")
    acc = nl.full((1, d), 0.0, dtype=nl.float32, name="acc")
    ones_row = nl.ones((1, 128), dtype=nl.float32)
    ones_col = nl.ones((128, 1), dtype=nl.float32)
    q_sb = nl.load(q)
    for j in nl.sequential_range(n // 128):
        k_sb = nl.load(k[:, nl.ds(j * 128, 128)])
        v_sb = nl.load(v[:, nl.ds(j * 128, 128)])
        s = nisa.tensor_scalar(nisa.nc_matmul(k_sb, q_sb), op0=nl.multiply, operand0=scale)
        s_row = nisa.nc_transpose(s)
        m_j = nisa.tensor_reduce(nl.maximum, s_row, axis=1, keepdims=True)
        m_new = nisa.tensor_tensor(m, m_j, op=nl.maximum)
        m_col = nisa.tensor_copy(nisa.nc_matmul(ones_row, m_new))
        p = nisa.activation(nl.exp, nisa.tensor_tensor(s, m_col, op=nl.subtract))
        corr = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))
        l_j = nisa.nc_matmul(p, ones_col)
        l[...] = nisa.tensor_tensor(nisa.tensor_tensor(l, corr, op=nl.multiply), l_j, op=nl.add)
        v_t = nisa.tensor_copy(nisa.nc_transpose(v_sb))
        pv = nisa.nc_matmul(p, v_t)
        acc[...] = nisa.scalar_tensor_tensor(data=acc, op0=nl.multiply, operand0=corr, op1=nl.add, operand1=pv)
        m[...] = nisa.tensor_copy(m_new)
    nl.store(o, value=nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l)))
    return o
