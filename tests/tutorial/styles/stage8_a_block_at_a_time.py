"""Stage 8 with a loop over the blocks: each key's row number is worked out, and unused entries are skipped."""
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    B, d, Hq = q.shape
    n_blocks, Hkv, block, _ = k_blocks.shape
    G = Hq // Hkv
    sc = d ** -0.5 if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    k_rows = k_blocks.reshape((n_blocks * Hkv * block, d))
    v_rows = v_blocks.reshape((n_blocks * Hkv * block, d))
    i_p, i_1, i_d = nl.arange(block)[:, None], nl.arange(1)[None, :], nl.arange(d)[None, :]
    for b in range(B):
        size = nl.broadcast_to(nl.load(lengths[b:b+1, :], dtype=nl.float32), shape=(block, 1))
        for h in range(Hkv):
            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.zeros((G, 1), dtype=nl.float32, name="l")
            acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
            qt = nl.load(q[b, :, h*G:(h+1)*G])
            for j in range(block_table.shape[1]):
                entry = nl.load(block_table[b:b+1, j:j+1], dtype=nl.float32)
                entry = nl.broadcast_to(entry, shape=(block, 1))
                key = nl.add(nl.zeros((block, 1), dtype=nl.float32), nl.copy(nki.isa.iota(i_p + i_1, dtype=nl.float32)))
                live = nl.less(nl.add(key, float(j * block)), size, dtype=nl.uint8)
                begun = nl.less(nl.full((block, 1), float(j * block), dtype=nl.float32), size, dtype=nl.uint8)
                entry = nl.where(begun, entry, float(n_blocks))
                row = nl.add(nl.multiply(nl.add(nl.multiply(entry, float(Hkv)), float(h)), float(block)), key, dtype=nl.int32)
                kt = nl.zeros((block, d), dtype=nl.float32)
                vt = nl.zeros((block, d), dtype=nl.float32)
                nisa.dma_copy(dst=kt, src=k_rows[row[i_p, 0], i_d], oob_mode=nisa.oob_mode.skip)
                nisa.dma_copy(dst=vt, src=v_rows[row[i_p, 0], i_d], oob_mode=nisa.oob_mode.skip)
                wide = nl.broadcast_to(live, shape=(block, d))
                kt = nl.where(wide, kt, 0.0)
                vt = nl.where(wide, vt, 0.0)
                s = nl.multiply(nl.matmul(kt, qt), sc)         # (block, G)
                s = nl.where(nl.broadcast_to(live, shape=(block, G)), s, -1e30)
                s = nl.copy(nl.transpose(s))                 # (G, block)
                m_new = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
                a = nl.exp(nl.subtract(m, m_new))
                p = nl.exp(nl.subtract(s, m_new))
                l[...] = nl.add(nl.multiply(l, a), nl.sum(p, axis=1, keepdims=True))
                acc[...] = nl.add(nl.multiply(acc, a), nl.matmul(p, vt))
                m[...] = nl.copy(m_new)
            nl.store(o[b, h*G:(h+1)*G, :], nl.divide(acc, l))
    return o
