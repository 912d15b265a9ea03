import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """128 keys at a time: their row numbers are worked out in a row, and turned into a column."""
    B, d, Hq = q.shape
    NB, H, bs, _ = k_blocks.shape
    most = block_table.shape[1]
    G = Hq // H
    per = 128 // bs
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    k_rows = k_blocks.reshape((NB * H * bs, d))
    v_rows = v_blocks.reshape((NB * H * bs, d))
    i_f = nl.arange(d)[None, :]
    one = nl.ones((1, 1), dtype=nl.float32)
    for b in range(B):
        size = nl.load(lengths[b:b + 1, :], dtype=nl.float32)
        table = nl.load(block_table[b:b + 1, :], dtype=nl.float32)
        for h in range(H):
            qt = nl.load(q[b, :, h * G:(h + 1) * G])
            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.zeros((G, 1), dtype=nl.float32, name="l")
            acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
            for e0 in range(0, most, per):
                E = min(per, most - e0)
                W = E * bs
                number = nl.ndarray((1, W), dtype=nl.float32)
                offset = nisa.iota(nl.arange(bs)[None, :], dtype=nl.float32)
                for e in range(E):
                    base = nl.add(nl.multiply(table[:, e0 + e:e0 + e + 1], float(H * bs)), float(h * bs))
                    number[:, e * bs:(e + 1) * bs] = nl.add(offset, base)
                key = nisa.iota(e0 * bs + nl.arange(W)[None, :], dtype=nl.float32)
                alive = nl.less(key, size)
                number = nl.where(alive, number, float(NB * H * bs))
                column = nl.copy(nisa.nc_matmul(number, one), dtype=nl.int32)
                i_p = nl.arange(W)[:, None]
                kt, vt = nl.zeros((W, d), dtype=nl.float32), nl.zeros((W, d), dtype=nl.float32)
                nisa.dma_copy(dst=kt, src=k_rows[column[i_p, 0], i_f], oob_mode=nisa.oob_mode.skip)
                nisa.dma_copy(dst=vt, src=v_rows[column[i_p, 0], i_f], oob_mode=nisa.oob_mode.skip)
                s = nl.multiply(nl.copy(nisa.nc_matmul(qt, nl.copy(nisa.nc_transpose(kt)))), scale)
                s = nl.where(nl.broadcast_to(alive, shape=(G, W)), s, -1e30)
                m_new = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
                alpha = nl.exp(nl.subtract(m, m_new))
                p = nl.exp(nl.subtract(s, m_new))
                l[...] = nl.add(nl.multiply(l, alpha), nl.sum(p, axis=1, keepdims=True))
                acc[...] = nl.add(nl.multiply(acc, alpha), nisa.nc_matmul(nl.copy(nisa.nc_transpose(p)), vt))
                m[...] = nl.copy(m_new)
            nl.store(o[b, h * G:(h + 1) * G, :], nl.divide(acc, l))
    return o
