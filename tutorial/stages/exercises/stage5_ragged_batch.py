"""o[b, h] = softmax(scale * q[b, h]^T k[b, h // G, :n_b]) v[b, h // G, :n_b]^T,
with n_b = lengths[b]; zeros if n_b is 0

Line budget: 40 lines in place of the `raise`. Cost budget: K and V are each read once.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # keys per tile: they become partitions in the weighted sum, so 128 at most
LOWEST = nl.fp32.min  # finite, so that LOWEST - LOWEST is 0 and not NaN, as -inf - -inf would be


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None, max_length=None):
    """q (B, d, Hq), k and v (B, Hkv, d, n), any n, fp32, lengths (B, 1) int32, 0 to n
    -> o (B, Hq, d) fp32, all in HBM.

    max_length: no length is larger, as the caller knows when the kernel is built (None: n). Tiles
    beyond it are not read.
    """
    n_seqs, n_kv_heads, d, n = k.shape
    n_q_heads = q.shape[2]
    G = n_q_heads // n_kv_heads
    longest = n if max_length is None else max_length
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale

    o = nl.ndarray((n_seqs, n_q_heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    # Once: the lengths as a row (1, B), and the positions 0 .. TILE - 1 as a row (1, TILE), each
    # copied to 128 partitions by a matmul with ones.
    # Then for every sequence b and every KV head h stage 4's loop, with two additions in every tile:
    #   1. padding (128, w), uint8: 1 where the key's position is lengths[b] or more
    #   2. there, put LOWEST into the scores before their max is taken, and 0 into the values
    # The last tile may be narrower: w = min(TILE, n - i * TILE).
    # Store acc / l into o, and return o
    raise NotImplementedError("stage 5 is not attempted yet")
