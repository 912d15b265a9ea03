
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    (nseq, hd, nq), (pool, nkv, page, _), width = q.shape, k_blocks.shape, block_table.shape[1]
    rep = nq // nkv
    sm = hd ** -0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((nseq, nq, hd), dtype=nl.float32, buffer=nl.shared_hbm)
    ip, jf = nl.arange(page)[:, None], nl.arange(hd)[None, :]
    slot = nisa.iota(ip, dtype=nl.float32)
    for kv in range(nkv):
        for s in range(nseq):
            ctx = nl.broadcast_to(nl.load(lengths[s:s + 1, :], dtype=nl.float32), shape=(128, 1))
            qg = nl.load(q[s, :, kv * rep:(kv + 1) * rep])
            mx = nl.full((rep, 1), -1e30, dtype=nl.float32)
            av = nl.zeros((rep, hd + 1), dtype=nl.float32)
            for blk in range(width):
                pos = nl.add(slot, float(blk * page))
                good = nl.less(pos, ctx[0:page, :])
                phys = nl.broadcast_to(nl.load(block_table[s:s + 1, blk:blk + 1], dtype=nl.float32), shape=(page, 1))
                phys = nl.copy(nl.where(good, phys, float(pool)), dtype=nl.int32)
                kp = nl.zeros((page, hd), dtype=nl.float32)
                vp = nl.zeros((page, hd + 1), dtype=nl.float32)
                nisa.dma_copy(dst=kp, src=k_blocks[phys[ip, 0], kv, ip, jf], oob_mode=nisa.oob_mode.skip)
                nisa.dma_copy(dst=vp[ip, jf], src=v_blocks[phys[ip, 0], kv, ip, jf], oob_mode=nisa.oob_mode.skip)
                vp[:, hd:hd + 1] = nl.copy(good)
                sT = nl.multiply(nl.copy(nisa.nc_matmul(nl.copy(nisa.nc_transpose(kp)), qg)), sm)
                sT = nl.where(nl.broadcast_to(good, shape=(page, rep)), sT, -1e30)
                sc = nl.copy(nisa.nc_transpose(sT))
                nm = nl.maximum(mx, nl.max(sc, axis=1, keepdims=True))
                fade = nl.exp(nl.subtract(mx, nm))
                e = nl.exp(nl.subtract(sc, nm))
                av[...] = nl.add(nl.multiply(av, fade), nisa.nc_matmul(nl.copy(nisa.nc_transpose(e)), vp))
                mx[...] = nl.copy(nm)
            den = nl.maximum(av[:, hd:hd + 1], 1e-30)
            nl.store(out[s, kv * rep:(kv + 1) * rep, :], nl.divide(av[:, 0:hd], den))
    return out
