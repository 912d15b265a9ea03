"""o[b, h] = softmax(scale * q[b, h]^T k) v over the lengths[b] keys that block_table[b] points to

Partition p of a chunk of 128 blocks gets block p of the sequence: the table's entries are the indices of the load. Entries
past the last block are replaced by one that is out of bounds, which the DMA skips; keys past the length are cleared.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

STEP = 16  # positions of every block at a time: 128 * 16 keys between two updates of m, l and acc


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """q (B, d, Hq), k_blocks and v_blocks (n_blocks, Hkv, block, d) fp32, block_table (B, most) and lengths (B, 1) int32, all in
    HBM -> o (B, Hq, d) fp32 in HBM."""
    B, d, Hq = q.shape
    n_blocks, Hkv, block, _ = k_blocks.shape
    most = block_table.shape[1]
    assert tuple(v_blocks.shape) == tuple(k_blocks.shape), f"k and v must be alike, got {k_blocks.shape}, {v_blocks.shape}"
    assert k_blocks.shape[3] == d <= 128, f"blocks must be (n_blocks, Hkv, block, d), d = {d} <= 128, got {k_blocks.shape}"
    assert Hq % Hkv == 0, f"Hq must be a multiple of Hkv, got Hq = {Hq} and Hkv = {Hkv}"
    assert tuple(lengths.shape) == (B, 1), f"lengths must be (B, 1) = {(B, 1)}, got {lengths.shape}"
    assert q.dtype == k_blocks.dtype == v_blocks.dtype == nl.float32, f"q, k and v must be float32, got {q.dtype}"
    G, S = Hq // Hkv, max(s for s in range(1, STEP + 1) if block % s == 0)
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    ones = nl.ones((128, 128), dtype=nl.float32)
    zeros = nl.zeros((G, 128), dtype=nl.float32)
    i_1, i_s, i_d = nl.arange(1)[None, :], nl.arange(S)[None, :, None], nl.arange(d)[None, None, :]

    for b in nl.affine_range(B):
        length = nl.broadcast_to(nl.load(lengths[nl.ds(b, 1), :], dtype=nl.float32), shape=(128, 1))
        for h in nl.affine_range(Hkv):
            m = nl.full((128, G), nl.fp32.min, dtype=nl.float32, name="m")  # the same on every lane
            l = nl.full((128, G), 0.0, dtype=nl.float32, name="l")  # one sum a lane
            acc = nl.full((d, G), 0.0, dtype=nl.float32, name="acc")
            q_tile = nl.load(q[b, :, nl.ds(h * G, G)])  # (d, G)
            for first in range(0, most, 128):
                P = min(128, most - first)
                i_p, i_p3 = nl.arange(P)[:, None], nl.arange(P)[:, None, None]
                # An unused entry may hold anything: only where the block begins before the length is it the index.
                table = nl.load(block_table[b, first + i_p])  # (P, 1) int32
                used = nisa.tensor_scalar(nisa.iota((first + i_p) * block + i_1, dtype=nl.float32), op0=nl.less,
                                          operand0=length[0:P, :])  # (P, 1), 1 or 0
                index = nisa.tensor_scalar(table, op0=nl.subtract, operand0=n_blocks, op1=nl.multiply, operand1=used,
                                           dtype=nl.float32)
                index = nisa.tensor_scalar(index, op0=nl.add, operand0=n_blocks, dtype=nl.int32)
                for start in range(0, block, S):
                    k_tile, v_tile = nl.zeros((P, S, d), dtype=q.dtype), nl.zeros((P, S, d), dtype=q.dtype)
                    nisa.dma_copy(dst=k_tile, src=k_blocks[index[i_p3, 0], h, start + i_s, i_d], oob_mode=nisa.oob_mode.skip)
                    nisa.dma_copy(dst=v_tile, src=v_blocks[index[i_p3, 0], h, start + i_s, i_d], oob_mode=nisa.oob_mode.skip)
                    print(k_tile)
    return o
