"""m_new = max(m, max qk); alpha = exp(m - m_new); l = l alpha + sum p; acc = acc alpha + p v^T; o = acc / l

One pass: when a tile brings a higher max, what was summed under the old one is rescaled by alpha.
K and V are each read once, and on-chip memory does not grow with n.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # keys per tile: they become partitions in the weighted sum, so 128 at most


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    """q (d, 1), k (d, n), v (d, n), n a multiple of 128, fp32 in HBM -> o (1, d) fp32 in HBM."""
    assert len(k.shape) == 2 and tuple(v.shape) == tuple(k.shape), f"k and v must be (d, n), got {k.shape} and {v.shape}"
    d, n = k.shape
    assert tuple(q.shape) == (d, 1), f"q must be (d, 1) = {(d, 1)}, got {q.shape}"
    assert 0 < d <= 128, f"the head dimension d lies on the partitions: 1 to 128, got {d}"
    assert n > 0 and n % TILE == 0, f"n must be a positive multiple of {TILE}, got {n}"
    assert q.dtype == k.dtype == v.dtype == nl.float32, f"q, k, v must be float32, got {q.dtype}, {k.dtype}, {v.dtype}"
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale

    o = nl.ndarray((1, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")  # running max
    l = nl.full((1, 1), 0.0, dtype=nl.float32, name="l")  # running sum of the weights, relative to m
    acc = nl.full((1, d), 0.0, dtype=nl.float32, name="acc")  # running weighted sum, relative to m
    q_tile = nl.load(q)  # (d, 1)

    for i in nl.sequential_range(n // TILE):  # each tile needs the state that the last one left
        k_tile = nl.load(k[:, nl.ds(i * TILE, TILE)])  # (d, TILE)
        v_tile = nl.load(v[:, nl.ds(i * TILE, TILE)])  # (d, TILE)
        qk_psum = nisa.nc_matmul(q_tile, k_tile)  # (1, TILE) PSUM
        qk = nisa.tensor_scalar(qk_psum, op0=nl.multiply, operand0=scale)  # (1, TILE) SBUF

        # The new max, and the factor that carries the old sums over to it.
        m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (1, 1)
        m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)  # (1, 1)
        alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))  # (1, 1)
        p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new))  # (1, TILE)

        # l = l alpha + sum p
        l_tile = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (1, 1)
        l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)

        # acc = acc alpha + p v^T, with the keys on the partitions
        p_t = nisa.tensor_copy(nisa.nc_transpose(p))  # (TILE, 1)
        v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))  # (TILE, d)
        pv = nisa.nc_matmul(p_t, v_t)  # (1, d) PSUM
        acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)

        m[...] = m_new  # only now: alpha needed the old one

    o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l))  # (1, d)
    nl.store(o, value=o_tile)
    return o
