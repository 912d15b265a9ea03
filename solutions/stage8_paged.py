"""o[b, h] = softmax(scale * q[b, h]^T k) v over the lengths[b] keys that block_table[b] points to

Partition p of a chunk of 128 blocks gets block p: the table's entries are the indices of the load. Where the length ends
before an entry, an index out of bounds takes its place, and the DMA skips it; keys past the length are cleared.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

STEP = 16  # positions of every block at a time: 128 * 16 keys between two updates of m, l and acc


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """q (B, d, Hq), k_, v_blocks (n_blocks, Hkv, block, d) fp32; block_table (B, most), lengths (B, 1) int32 -> o (B, Hq, d)"""
    (B, d, Hq), (n_blocks, Hkv, block, _), most = q.shape, k_blocks.shape, block_table.shape[1]
    assert tuple(k_blocks.shape) == tuple(v_blocks.shape) == (n_blocks, Hkv, block, d), f"blocks must end in d = {d}"
    assert 0 < d <= 128 and Hq % Hkv == 0, f"d must be 1 to 128, Hq a multiple of Hkv, got d = {d}, Hq = {Hq}, Hkv = {Hkv}"
    assert block_table.shape[0] == lengths.shape[0] == B, f"block_table and lengths must have {B} rows"
    assert q.dtype == k_blocks.dtype == v_blocks.dtype == nl.float32, f"q, k and v must be float32, got {q.dtype}"
    G, S = Hq // Hkv, max(s for s in range(1, STEP + 1) if block % s == 0)
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    ones, zeros = nl.ones((128, 128), dtype=nl.float32), nl.zeros((G, 128), dtype=nl.float32)
    i_s, i_d = nl.arange(S)[None, :, None], nl.arange(d)[None, None, :]

    for b in nl.affine_range(B):
        length = nl.broadcast_to(nl.load(lengths[nl.ds(b, 1), :], dtype=nl.float32), shape=(128, 1))
        for h in nl.affine_range(Hkv):
            m = nl.full((128, G), nl.fp32.min, dtype=nl.float32, name="m")  # the same on every partition
            l = nl.full((128, G), 0.0, dtype=nl.float32, name="l")  # one sum per partition
            acc = nl.full((d, G), 0.0, dtype=nl.float32, name="acc")
            q_tile = nl.load(q[b, :, nl.ds(h * G, G)])  # (d, G)
            for first in range(0, most, 128):
                P = min(128, most - first)  # blocks of this chunk
                i_p, i_3 = nl.arange(P)[:, None], nl.arange(P)[:, None, None]
                table = nl.load(block_table[b, first + i_p])  # (P, 1) int32: an entry that is not used may hold anything
                begins = nisa.iota((first + i_p) * block + nl.arange(1)[None, :], dtype=nl.float32)  # (P, 1)
                used = nisa.tensor_scalar(begins, op0=nl.less, operand0=length[0:P, :])  # 1 or 0
                index = nisa.tensor_scalar(table, op0=nl.subtract, operand0=n_blocks, op1=nl.multiply, operand1=used,
                                           dtype=nl.float32)
                index = nisa.tensor_scalar(index, op0=nl.add, operand0=n_blocks, dtype=nl.int32)  # its own, or n_blocks
                for start in range(0, block, S):
                    k_tile = nisa.memset((P, S, d), 0.0, dtype=q.dtype, engine=nisa.gpsimd_engine)
                    v_tile = nisa.memset((P, S, d), 0.0, dtype=q.dtype, engine=nisa.gpsimd_engine)
                    for tile, blocks in ((k_tile, k_blocks), (v_tile, v_blocks)):
                        nisa.dma_copy(dst=tile, src=blocks[index[i_3, 0], h, start + i_s, i_d], oob_mode=nisa.oob_mode.skip)
                    key = nisa.iota((first + i_p) * block + start + nl.arange(S)[None, :], dtype=nl.float32)  # (P, S)
                    live = nisa.tensor_scalar(key, op0=nl.less, operand0=length[0:P, :])  # (P, S)
                    past = nisa.tensor_scalar(live, op0=nl.subtract, operand0=1.0, op1=nl.multiply, operand1=1e30)  # 0, -1e30
                    live_8 = nl.copy(live, dtype=nl.uint8).reshape((P, S, 1)).broadcast_to((P, S, d))
                    for tile in (k_tile, v_tile):  # what lies past the length may be NaN: cleared, since 0 * NaN is not 0
                        nisa.tensor_copy_predicated(dst=tile, src=0.0, predicate=live_8, reverse_pred=True)
                    qk = nl.ndarray((P, G, S), dtype=nl.float32)
                    for s in nl.affine_range(S):
                        k_t = nisa.tensor_copy(nisa.nc_transpose(k_tile[:, s, :]), engine=nisa.scalar_engine)  # (d, P)
                        qk_psum = nisa.nc_matmul(k_t, q_tile)  # (P, G)
                        qk[:, :, s] = nisa.tensor_scalar(qk_psum, nl.multiply, scale, op1=nl.add, operand1=past[:, nl.ds(s, 1)])
                    top = nl.max(nisa.nc_transpose(nl.max(qk, axis=2)), axis=1, keepdims=True)  # (G, 1)
                    rows = nisa.tensor_scalar(zeros, op0=nl.add, operand0=top)  # (G, 128)
                    m_new = nisa.tensor_tensor(m, nisa.nc_transpose(rows), op=nl.maximum)  # (128, G)
                    alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))  # (128, G)
                    minus_m = nisa.tensor_scalar(m_new, op0=nl.multiply, operand0=-1.0)
                    p, l_tile = nl.ndarray((P, G, S), dtype=nl.float32), nl.zeros((128, G), dtype=nl.float32)
                    for g in nl.affine_range(G):
                        p[:, g, :] = nisa.activation_reduce(nl.exp, qk[:, g, :], bias=minus_m[0:P, nl.ds(g, 1)],
                                                            reduce_op=nl.add, reduce_res=l_tile[0:P, nl.ds(g, 1)])
                    l[...] = nisa.tensor_tensor(nisa.tensor_tensor(l, alpha, op=nl.multiply), l_tile, op=nl.add)
                    pv = nl.zeros((d, G), dtype=nl.float32, buffer=nl.psum)
                    for s in nl.affine_range(S):
                        pv += nisa.nc_matmul(v_tile[:, s, :], p[:, :, s])  # (d, G)
                    acc[...] = nisa.tensor_tensor(nisa.tensor_tensor(acc, alpha[0:d, :], op=nl.multiply), pv, op=nl.add)
                    m[...] = m_new
            total = nisa.reciprocal(nisa.nc_matmul(ones, l))  # (128, G); no key at all: l is not 0, and acc is
            o_t = nisa.tensor_tensor(acc, total[0:d, :], op=nl.multiply)  # (d, G)
            nl.store(o[b, nl.ds(h * G, G), :], value=nisa.tensor_copy(nisa.nc_transpose(o_t)))
    return o
