"""o = softmax(scale * q^T k) v^T

One query row against one tile of at most 128 keys. The max is subtracted before exp, so no score can
overflow; the division by l comes last, so it touches d numbers and not n.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    """q (d, 1), k (d, n), v (d, n), n <= 128, fp32 in HBM -> o (1, d) fp32 in HBM."""
    assert len(k.shape) == 2 and tuple(v.shape) == tuple(k.shape), f"k and v must be (d, n), got {k.shape} and {v.shape}"
    d, n = k.shape
    assert tuple(q.shape) == (d, 1), f"q must be (d, 1) = {(d, 1)}, got {q.shape}"
    assert 0 < d <= 128, f"the head dimension d lies on the partitions: 1 to 128, got {d}"
    assert 0 < n <= 128, f"n must be 1 to 128 keys, got {n}"
    assert q.dtype == k.dtype == v.dtype == nl.float32, f"q, k, v must be float32, got {q.dtype}, {k.dtype}, {v.dtype}"
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale

    o = nl.ndarray((1, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.ndarray((1, 1), dtype=nl.float32, name="m")  # max of the scores
    l = nl.ndarray((1, 1), dtype=nl.float32, name="l")  # sum of the weights
    acc = nl.ndarray((1, d), dtype=nl.float32, name="acc")  # weighted sum of the values

    q_tile = nl.load(q)  # (d, 1)
    k_tile = nl.load(k)  # (d, n)
    v_tile = nl.load(v)  # (d, n)

    # Scores: the Tensor Engine contracts over the partitions, which hold d, and answers in PSUM.
    qk_psum = nisa.nc_matmul(q_tile, k_tile)  # (1, n) PSUM
    qk = nisa.tensor_scalar(qk_psum, op0=nl.multiply, operand0=scale)  # (1, n) SBUF

    # Softmax, without its division.
    m[...] = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (1, 1)
    shifted = nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m)  # (1, n), none above 0
    p = nisa.activation(nl.exp, shifted)  # (1, n), none above 1
    l[...] = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (1, 1)

    # Weighted sum: this contraction is over the keys, so the keys move to the partitions first.
    p_t = nisa.tensor_copy(nisa.nc_transpose(p))  # (n, 1)
    v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))  # (n, d)
    acc[...] = nisa.tensor_copy(nisa.nc_matmul(p_t, v_t))  # (1, d)

    o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l))  # (1, d)
    nl.store(o, value=o_tile)
    return o
