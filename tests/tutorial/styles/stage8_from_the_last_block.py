import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """From the last block to the first, all KV heads of a block in one transfer."""
    B, d, Hq = q.shape
    count, H, size, _ = k_blocks.shape
    most = block_table.shape[1]
    G = Hq // H
    factor = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    i_s, i_h, i_d = nl.arange(size)[:, None, None], nl.arange(H)[None, :, None], nl.arange(d)[None, None, :]
    inside = nisa.iota(nl.arange(size)[:, None], dtype=nl.float32)
    for b in range(B):
        mine = nl.multiply(nl.load(q[b]), factor)
        n_b = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(size, 1))
        m = nl.full((G, H), -3e38, dtype=nl.float32, name="m")
        l = nl.zeros((G, H), dtype=nl.float32, name="l")
        acc = nl.zeros((G, H, d), dtype=nl.float32, name="acc")
        for j in reversed(range(most)):
            gone = nl.greater_equal(nl.add(inside, float(size * j)), n_b, dtype=nl.uint8)
            where = nl.broadcast_to(nl.load(block_table[b:b + 1, j:j + 1], dtype=nl.float32), shape=(size, 1))
            where = nl.copy(nl.where(gone, float(count), where), dtype=nl.int32)
            ks, vs = nl.zeros((size, H, d), dtype=nl.float32), nl.zeros((size, H, d), dtype=nl.float32)
            nisa.dma_copy(dst=ks, src=k_blocks[where[i_s, 0], i_h, i_s, i_d], oob_mode=nisa.oob_mode.skip)
            nisa.dma_copy(dst=vs, src=v_blocks[where[i_s, 0], i_h, i_s, i_d], oob_mode=nisa.oob_mode.skip)
            for h in range(H):
                s = nl.copy(nisa.nc_matmul(nl.copy(nisa.nc_transpose(ks[:, h, :])), mine[:, h * G:h * G + G]))
                nisa.tensor_copy_predicated(src=-3e38, dst=s, predicate=nl.broadcast_to(gone, shape=(size, G)))
                s = nl.copy(nisa.nc_transpose(s))
                up = nl.maximum(m[:, h:h + 1], nl.max(s, axis=1, keepdims=True))
                fade = nl.exp(nl.subtract(m[:, h:h + 1], up))
                e = nl.exp(nl.subtract(s, up))
                l[:, h:h + 1] = nl.add(nl.multiply(l[:, h:h + 1], fade), nl.sum(e, axis=1, keepdims=True))
                part = nisa.nc_matmul(nl.copy(nisa.nc_transpose(e)), vs[:, h, :])
                acc[:, h, :] = nl.add(nl.multiply(acc[:, h, :], fade), part)
                m[:, h:h + 1] = nl.copy(up)
        for h in range(H):
            nl.store(o[b, h * G:h * G + G, :], nl.divide(acc[:, h, :], l[:, h:h + 1]))
    return o
