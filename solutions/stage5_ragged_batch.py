"""o[b, h] = softmax(scale * q[b, h]^T k[b, h // G, :n_b]) v[b, h // G, :n_b]^T, with n_b = lengths[b]; zeros if n_b is 0

Every sequence of the batch has its own length, which is known only when the kernel runs. Keys from there on are padding that
may hold anything, NaN too: before the max their scores are overwritten with the lowest number, and their values with 0.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # keys per tile: they become partitions in the weighted sum, so 128 at most
LOWEST = nl.fp32.min  # finite, so that LOWEST - LOWEST is 0 and not NaN, as -inf - -inf would be


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None, max_length=None):
    """q (B, d, Hq), k and v (B, Hkv, d, n), fp32, any n, lengths (B, 1) int32, each 0 to n, in HBM -> o (B, Hq, d) fp32 in HBM.

    max_length: no length is larger, as the caller knows when the kernel is built (None: n). Tiles beyond it are not read.
    """
    assert len(k.shape) == 4 and tuple(v.shape) == tuple(k.shape), f"k and v must be (B, Hkv, d, n), got {k.shape}, {v.shape}"
    n_seqs, n_kv_heads, d, n = k.shape
    assert len(q.shape) == 3 and tuple(q.shape[:2]) == (n_seqs, d), f"q must be (B, d, Hq) = ({n_seqs}, {d}, Hq), got {q.shape}"
    n_q_heads = q.shape[2]
    assert tuple(lengths.shape) == (n_seqs, 1), f"lengths must be (B, 1) = {(n_seqs, 1)}, got {lengths.shape}"
    assert 0 < d <= 128, f"the head dimension d lies on the partitions: 1 to 128, got {d}"
    assert n_seqs <= 512, f"the lengths of a batch share one PSUM bank: 512 sequences at most, got {n_seqs}"
    assert n_q_heads % n_kv_heads == 0, f"Hq must be a multiple of Hkv: {n_q_heads}, {n_kv_heads}"
    assert q.dtype == k.dtype == v.dtype == nl.float32, f"q, k, v must be float32, got {q.dtype}, {k.dtype}, {v.dtype}"
    G = n_q_heads // n_kv_heads
    assert G <= 128, f"a group's query heads lie on the partitions: 128 at most, got {G}"
    longest = n if max_length is None else max_length
    assert 0 < longest <= n, f"max_length must be 1 to n = {n}, got {max_length}"
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale

    o = nl.ndarray((n_seqs, n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    # Every partition compares for itself: a matmul with ones copies a row of numbers to all of them (fp32: exact below 2**24).
    ones = nl.full((1, 128), 1.0, dtype=nl.float32)
    length_row = nl.load(lengths.reshape((1, n_seqs)), dtype=nl.float32)  # (1, B)
    length = nisa.tensor_copy(nisa.nc_matmul(ones, length_row))  # (128, B)
    position_row = nisa.iota(nl.arange(TILE)[None, :], dtype=nl.float32)  # (1, TILE): 0, 1, 2, ...
    position = nisa.tensor_copy(nisa.nc_matmul(ones, position_row))  # (128, TILE)

    for b in nl.affine_range(n_seqs):
        for h in nl.affine_range(n_kv_heads):
            m = nl.full((G, 1), LOWEST, dtype=nl.float32, name="m")  # running max
            l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")  # running sum
            acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")  # running weighted sum
            q_tile = nl.load(q[b, :, nl.ds(h * G, G)])  # (d, G)

            for i in nl.static_range(math.ceil(longest / TILE)):  # unrolled, so that i is a number and w may depend on it
                w = min(TILE, n - i * TILE)  # the last tile may be narrower
                k_tile = nl.load(k[b, h, :, nl.ds(i * TILE, w)])  # (d, w)
                v_tile = nl.load(v[b, h, :, nl.ds(i * TILE, w)])  # (d, w)
                padding = nisa.tensor_scalar(position[:, 0:w], op0=nl.add, operand0=i * TILE, op1=nl.greater_equal,
                                             operand1=length[:, b:b + 1], dtype=nl.uint8)  # (128, w): 1 beyond the length
                qk = nisa.tensor_scalar(nisa.nc_matmul(q_tile, k_tile), op0=nl.multiply, operand0=scale)  # (G, w)
                nisa.tensor_copy_predicated(src=LOWEST, dst=qk, predicate=padding[0:G, :])  # before the max: it may be NaN
                nisa.tensor_copy_predicated(src=0.0, dst=v_tile, predicate=padding[0:d, :])  # a weight of 0 times NaN is NaN

                m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (G, 1)
                m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)  # (G, 1)
                alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))  # (G, 1)
                p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new))  # (G, w)

                l_tile = nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)  # (G, 1)
                l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)
                p_t = nisa.tensor_copy(nisa.nc_transpose(p))  # (w, G)
                v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))  # (w, d)
                pv = nisa.nc_matmul(p_t, v_t)  # (G, d) PSUM
                acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)
                m[...] = m_new

            # Length 0: every weight was exp(LOWEST - LOWEST) = 1 and every value 0, so this is 0 / l, with l > 0.
            o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l))  # (G, d)
            nl.store(o[b, nl.ds(h * G, G), :], value=o_tile)
    return o
