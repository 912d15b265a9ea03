"""o[b, h] = softmax(scale * q[b, h]^T k) v over the lengths[b] keys that block_table[b] points to

Line budget: 60 lines in place of the `raise`. Cost budget: every block of a sequence is read once
per KV head.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """q (B, d, Hq), k_blocks and v_blocks (n_blocks, Hkv, block, d) fp32,
    block_table (B, most) and lengths (B, 1) int32 -> o (B, Hq, d) fp32, all in HBM."""
    (B, d, Hq), (n_blocks, Hkv, block, _), most = q.shape, k_blocks.shape, block_table.shape[1]
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    # For every sequence b, KV head h, and chunk of up to 128 blocks, one block per partition:
    #   1. load the chunk's entries of block_table as a column, one index per partition;
    #      make those that are not used harmless
    #   2. load the blocks: k_blocks[index[i_p, 0], h, i_s, i_d] is (P, positions, d)
    #   3. clear what lies past lengths[b], and give its scores the weight 0
    #   4. update m, l and acc, with the keys on the partitions as in stage 7;
    #      K's tiles need a transpose here
    # Return o
    raise NotImplementedError("stage 8 is not attempted yet")
