"""A right kernel in another style."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    (B, d, Q), (N, H, bs, _), most = q.shape, k_blocks.shape, block_table.shape[1]
    G = Q // H
    s = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for b in nl.static_range(B):
        L = nl.copy(nl.load(lengths[b:b + 1, :]), dtype=nl.float32)
        for h in nl.static_range(H):
            qt = nl.load(q[b, :, h * G:(h + 1) * G])
            m = nl.full((1, G), -1e30, dtype=nl.float32)
            l = nl.zeros((G, 1), dtype=nl.float32)
            acc = nl.zeros((G, d), dtype=nl.float32)
            for c in range(math.ceil(most / 128)):
                P = min(128, most - c * 128)
                i_p, i_d = nl.arange(P)[:, None], nl.arange(d)[None, :]
                ent = nl.load(block_table.reshape((B, most, 1))[b, c * 128:c * 128 + P, :])      # (P, 1)
                first = nisa.iota(c * 128 * bs + bs * nl.arange(P)[:, None], dtype=nl.float32)
                Lb = nl.broadcast_to(L, shape=(P, 1))
                used = nl.less(first, Lb, dtype=nl.uint8)
                idx = nl.ndarray((P, 1), dtype=nl.int32, buffer=nl.sbuf)
                idx[...] = nl.copy(nl.where(used, nl.copy(ent, dtype=nl.float32), float(N)), dtype=nl.int32)
                sc = nl.ndarray((P, bs, G), dtype=nl.float32, buffer=nl.sbuf)
                vals = nl.ndarray((P, bs, d), dtype=nl.float32, buffer=nl.sbuf)
                for r in range(bs):
                    kt = nl.zeros((P, d), dtype=nl.float32)
                    vt = nl.zeros((P, d), dtype=nl.float32)
                    nisa.dma_copy(dst=kt, src=k_blocks[idx[i_p, 0], h, r, i_d], oob_mode=nisa.oob_mode.skip)
                    nisa.dma_copy(dst=vt, src=v_blocks[idx[i_p, 0], h, r, i_d], oob_mode=nisa.oob_mode.skip)
                    dead = nl.greater_equal(nl.add(first, float(r)), Lb, dtype=nl.uint8)
                    nisa.tensor_copy_predicated(src=0.0, dst=kt, predicate=nl.broadcast_to(dead, shape=(P, d)))
                    nisa.tensor_copy_predicated(src=0.0, dst=vt, predicate=nl.broadcast_to(dead, shape=(P, d)))
                    vals[:, r, :] = nl.copy(vt)
                    kT = nisa.tensor_copy(nisa.nc_transpose(kt))            # (d, P)
                    x = nisa.tensor_scalar(nisa.nc_matmul(kT, qt), nl.multiply, s)   # (P, G)
                    nisa.tensor_copy_predicated(src=-1e30, dst=x, predicate=nl.broadcast_to(dead, shape=(P, G)))
                    sc[:, r, :] = nl.copy(x)
                top = nl.ndarray((P, G), dtype=nl.float32, buffer=nl.sbuf)
                for g in range(G):
                    top[:, g:g + 1] = nl.max(sc[:, :, g], axis=1)
                tT = nisa.tensor_copy(nisa.nc_transpose(top))               # (G, P)
                tr = nisa.tensor_copy(nisa.nc_transpose(nl.max(tT, axis=1)))    # (1, G)
                mn = nl.maximum(m, tr)
                a = nisa.tensor_copy(nisa.nc_transpose(nl.exp(m - mn)))     # (G, 1)
                mb = nl.broadcast_to(mn, shape=(P, G))
                num = nl.zeros((G, d), dtype=nl.float32, buffer=nl.psum)
                den = nl.zeros((G, 1), dtype=nl.float32, buffer=nl.psum)
                one = nl.ones((P, 1), dtype=nl.float32)
                for r in range(bs):
                    p = nl.exp(nl.subtract(sc[:, r, :], mb))
                    num += nisa.nc_matmul(p, vals[:, r, :])
                    den += nisa.nc_matmul(p, one)
                l[...] = l * a + den
                acc[...] = acc * a + num
                m[...] = mn
            nl.store(o[b, h * G:(h + 1) * G, :], acc / l)
    return o
