import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """K is never transposed: the scores are products and sums along d."""
    B, d, Hq = q.shape
    n_blocks, Hkv, size, _ = k_blocks.shape
    most = block_table.shape[1]
    G = Hq // Hkv
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for b in nl.static_range(B):
        length = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
        for h in nl.static_range(Hkv):
            q_all = [nl.copy(nisa.nc_matmul(nl.ones((1, 128), dtype=nl.float32), nl.copy(nisa.nc_transpose(nl.load(q[b, :, h * G + g:h * G + g + 1])))))
                     for g in range(G)]
            m = nl.full((1, G), nl.fp32.min, dtype=nl.float32)
            l = nl.zeros((G, 1), dtype=nl.float32)
            acc = nl.zeros((G, d), dtype=nl.float32)
            for first in range(0, most, 128):
                P = min(128, most - first)
                i_p, i_d = nl.arange(P)[:, None], nl.arange(d)[None, :]
                entry = nl.load(block_table[b, first + i_p])
                start = nisa.iota((first + i_p) * size, dtype=nl.float32)
                unused = nl.greater_equal(start, length[0:P, :], dtype=nl.uint8)
                nisa.tensor_copy_predicated(src=n_blocks, dst=entry, predicate=unused)
                for r in range(size):
                    k_r, v_r = nl.zeros((P, d), dtype=nl.float32), nl.zeros((P, d), dtype=nl.float32)
                    nisa.dma_copy(dst=k_r, src=k_blocks[entry[i_p, 0], h, r, i_d], oob_mode=nisa.oob_mode.skip)
                    nisa.dma_copy(dst=v_r, src=v_blocks[entry[i_p, 0], h, r, i_d], oob_mode=nisa.oob_mode.skip)
                    past = nl.greater_equal(nl.add(start, float(r)), length[0:P, :], dtype=nl.uint8)
                    nisa.tensor_copy_predicated(src=0.0, dst=v_r, predicate=nl.broadcast_to(past, shape=(P, d)))
                    s = nl.ndarray((P, G), dtype=nl.float32)
                    for g in range(G):
                        s[:, g:g + 1] = nl.multiply(nl.sum(nl.multiply(k_r, q_all[g][0:P, :]), axis=1, keepdims=True), scale)
                    nisa.tensor_copy_predicated(src=nl.fp32.min, dst=s, predicate=nl.broadcast_to(past, shape=(P, G)))
                    high = nl.max(nl.copy(nisa.nc_transpose(s)), axis=1, keepdims=True)
                    m_new = nl.maximum(m, nl.copy(nisa.nc_transpose(high)))
                    alpha = nl.copy(nisa.nc_transpose(nl.exp(nl.subtract(m, m_new))))
                    p = nl.exp(nl.subtract(s, nl.broadcast_to(m_new, shape=(P, G))))
                    l[...] = nl.add(nl.multiply(l, alpha), nisa.nc_matmul(p, nl.ones((P, 1), dtype=nl.float32)))
                    acc[...] = nl.add(nl.multiply(acc, alpha), nisa.nc_matmul(p, v_r))
                    m[...] = nl.copy(m_new)
            nl.store(o[b, h * G:(h + 1) * G, :], nl.divide(acc, l))
    return o
