"""o = softmax(scale * q^T k) v^T, over tiles of 128 keys in three passes: max, sum, weighted sum

The softmax needs the max of all scores before the first exp, and on-chip memory holds a tile, not the
cache. So K is read three times and V once: 3 K + V bytes from HBM. Stage 3 gets rid of the factor.
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
    m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")  # max of all scores
    l = nl.full((1, 1), 0.0, dtype=nl.float32, name="l")  # sum of all weights
    acc = nl.full((1, d), 0.0, dtype=nl.float32, name="acc")  # weighted sum of the values
    q_tile = nl.load(q)  # (d, 1)

    # Pass 1: the max of all scores.
    for i in nl.sequential_range(n // TILE):
        k_tile = nl.load(k[:, nl.ds(i * TILE, TILE)])  # (d, TILE)
        qk = nisa.tensor_scalar(nisa.nc_matmul(q_tile, k_tile), op0=nl.multiply, operand0=scale)  # (1, TILE)
        m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (1, 1)
        m[...] = nisa.tensor_tensor(m, m_tile, op=nl.maximum)

    # Pass 2: the sum of all weights.
    for i in nl.sequential_range(n // TILE):
        k_tile = nl.load(k[:, nl.ds(i * TILE, TILE)])  # (d, TILE), the second time
        qk = nisa.tensor_scalar(nisa.nc_matmul(q_tile, k_tile), op0=nl.multiply, operand0=scale)  # (1, TILE)
        p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m))  # (1, TILE)
        l_tile = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (1, 1)
        l[...] = nisa.tensor_tensor(l, l_tile, op=nl.add)

    # Pass 3: the weighted sum of the values.
    for i in nl.sequential_range(n // TILE):
        k_tile = nl.load(k[:, nl.ds(i * TILE, TILE)])  # (d, TILE), the third time
        v_tile = nl.load(v[:, nl.ds(i * TILE, TILE)])  # (d, TILE)
        qk = nisa.tensor_scalar(nisa.nc_matmul(q_tile, k_tile), op0=nl.multiply, operand0=scale)  # (1, TILE)
        p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m))  # (1, TILE)
        p_t = nisa.tensor_copy(nisa.nc_transpose(p))  # (TILE, 1)
        v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))  # (TILE, d)
        acc[...] = nisa.tensor_tensor(acc, nisa.nc_matmul(p_t, v_t), op=nl.add)  # (1, d)

    o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l))  # (1, d)
    nl.store(o, value=o_tile)
    return o
