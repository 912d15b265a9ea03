import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """Every partition attends over its own blocks; the partitions' states are merged at the end."""
    (B, d, Hq), (NB, H, bs, _), most = q.shape, k_blocks.shape, block_table.shape[1]
    G = Hq // H
    L = min(128, most)
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    ones = nl.ones((L, 1), dtype=nl.float32)
    for b in range(B):
        size = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(L, 1))
        for h in range(H):
            q_t = nl.load(q[b, :, h * G:(h + 1) * G])
            tops = [nl.full((L, 1), -1e30, dtype=nl.float32) for _ in range(G)]
            sums = [nl.zeros((L, 1), dtype=nl.float32) for _ in range(G)]
            mixes = [nl.zeros((L, d), dtype=nl.float32) for _ in range(G)]
            for first in range(0, most, L):
                P = min(L, most - first)
                i_p, i_f = nl.arange(P)[:, None], nl.arange(d)[None, :]
                entry = nl.load(block_table[b, first + i_p], dtype=nl.float32)
                begin = nisa.iota((first + i_p) * bs, dtype=nl.float32)
                wanted = nl.less(begin, size[0:P, :])
                index = nl.copy(nl.where(wanted, entry, float(NB)), dtype=nl.int32)
                for r in range(bs):
                    kr, vr = nl.zeros((P, d), dtype=nl.float32), nl.zeros((P, d), dtype=nl.float32)
                    nisa.dma_copy(dst=kr, src=k_blocks[index[i_p, 0], h, r, i_f], oob_mode=nisa.oob_mode.skip)
                    nisa.dma_copy(dst=vr, src=v_blocks[index[i_p, 0], h, r, i_f], oob_mode=nisa.oob_mode.skip)
                    valid = nl.less(nl.add(begin, float(r)), size[0:P, :])
                    kr = nl.where(nl.broadcast_to(valid, shape=(P, d)), kr, 0.0)
                    vr = nl.where(nl.broadcast_to(valid, shape=(P, d)), vr, 0.0)
                    s = nl.multiply(nl.copy(nisa.nc_matmul(nl.copy(nisa.nc_transpose(kr)), q_t)), scale)
                    s = nl.where(nl.broadcast_to(valid, shape=(P, G)), s, -1e30)
                    for g in range(G):
                        up = nl.maximum(tops[g][0:P, :], s[:, g:g + 1])
                        fade = nl.exp(nl.subtract(tops[g][0:P, :], up))
                        w = nl.multiply(nl.exp(nl.subtract(s[:, g:g + 1], up)), valid)
                        sums[g][0:P, :] = nl.add(nl.multiply(sums[g][0:P, :], fade), w)
                        mixes[g][0:P, :] = nl.add(nl.multiply(mixes[g][0:P, :], fade), nl.multiply(vr, w))
                        tops[g][0:P, :] = nl.copy(up)
            for g in range(G):
                row = nl.copy(nisa.nc_transpose(tops[g]))
                best = nl.broadcast_to(nl.max(row, axis=1, keepdims=True), shape=(L, 1))
                share = nl.exp(nl.subtract(tops[g], best))
                total = nl.copy(nisa.nc_matmul(nl.multiply(sums[g], share), ones))
                mixed = nl.copy(nisa.nc_matmul(share, mixes[g]))
                nl.store(o[b, h * G + g:h * G + g + 1, :], nl.divide(mixed, nl.maximum(total, 1e-30)))
    return o
