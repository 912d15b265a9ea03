"""One entry after another; the block is a tile (block, d), its keys past the length are cleared, and their scores overwritten."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    batch, d, heads = q.shape
    count, groups, size, _ = k_blocks.shape
    entries = block_table.shape[1]
    per = heads // groups
    scale = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(d)
    o = nl.ndarray((batch, heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    i_s, i_d = nl.arange(size)[:, None], nl.arange(d)[None, :]
    for b in range(batch):
        length = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
        table = nl.load(block_table[b:b + 1, :])
        for g in range(groups):
            mine = nl.multiply(nl.load(q[b, :, g * per:g * per + per]), scale)
            m = nl.full((per, 1), -3.0e38, dtype=nl.float32, name="m")
            l = nl.full((per, 1), 0.0, dtype=nl.float32, name="l")
            acc = nl.full((per, d), 0.0, dtype=nl.float32, name="acc")
            for j in range(entries):
                place = nisa.iota(j * size + i_s, dtype=nl.float32)
                alive = nl.less(place, length[0:size, :])
                entry = nl.broadcast_to(nl.copy(table[:, j:j + 1], dtype=nl.float32), shape=(size, 1))
                entry = nl.copy(nl.where(alive, entry, float(count)), dtype=nl.int32)
                kt, vt = nl.zeros((size, d), dtype=nl.float32), nl.zeros((size, d), dtype=nl.float32)
                nisa.dma_copy(dst=kt, src=k_blocks[entry[i_s, 0], g, i_s, i_d], oob_mode=nisa.oob_mode.skip)
                nisa.dma_copy(dst=vt, src=v_blocks[entry[i_s, 0], g, i_s, i_d], oob_mode=nisa.oob_mode.skip)
                k_t = nl.copy(nisa.nc_transpose(kt))
                s = nl.copy(nisa.nc_matmul(mine, k_t))
                row = nl.broadcast_to(nisa.iota(j * size + nl.arange(size)[None, :], dtype=nl.float32), shape=(per, size))
                s = nl.where(nl.less(row, length[0:per, :]), s, -2.0e38)
                up = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
                shrink = nl.exp(nl.subtract(m, up))
                e = nl.exp(nl.subtract(s, up))
                l[...] = nl.add(nl.multiply(l, shrink), nl.sum(e, axis=1, keepdims=True))
                e_t = nl.copy(nisa.nc_transpose(e))
                acc[...] = nl.add(nl.multiply(acc, shrink), nisa.nc_matmul(e_t, vt))
                m[...] = nl.copy(up)
            nl.store(o[b, g * per:g * per + per, :], nl.divide(acc, l))
    return o
