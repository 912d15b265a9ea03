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
    kr = k_blocks.reshape((N * H * bs, d))
    vr = v_blocks.reshape((N * H * bs, d))
    i_p = nl.arange(bs)[:, None]
    i_f = nl.arange(d)[None, :]
    lane = nisa.iota(i_p, dtype=nl.float32)                       # (bs, 1)
    for b in range(B):
        L = nl.copy(nl.load(lengths[b:b + 1, :]), dtype=nl.float32)
        Lp = nl.broadcast_to(L, shape=(bs, 1))
        Lg = nl.broadcast_to(L, shape=(G, 1))
        tab = nl.copy(nl.load(block_table[b:b + 1, :]), dtype=nl.float32)
        for h in range(H):
            qt = nl.load(q[b, :, h * G:(h + 1) * G])
            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.zeros((G, 1), dtype=nl.float32, name="l")
            acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
            for j in range(most):
                e = nl.broadcast_to(tab[:, j:j + 1], shape=(bs, 1))
                alive = nl.less(lane + float(j * bs), Lp, dtype=nl.uint8)
                row = (e * float(H) + float(h)) * float(bs) + lane
                row = nl.where(alive, row, float(N * H * bs))
                idx = nl.copy(row, dtype=nl.int32)
                kt = nl.zeros((bs, d), dtype=nl.float32)
                vt = nl.zeros((bs, d), dtype=nl.float32)
                nisa.dma_copy(dst=kt, src=kr[idx[i_p, 0], i_f], oob_mode=nisa.oob_mode.skip)
                nisa.dma_copy(dst=vt, src=vr[idx[i_p, 0], i_f], oob_mode=nisa.oob_mode.skip)
                dead = nisa.tensor_scalar(nl.copy(alive, dtype=nl.float32), nl.less, 0.5, dtype=nl.uint8)
                deadb = nl.broadcast_to(dead, shape=(bs, d))
                kt = nl.where(deadb, 0.0, kt)
                vt = nl.where(deadb, 0.0, vt)
                kT = nisa.tensor_copy(nisa.nc_transpose(kt))
                x = nisa.tensor_scalar(nisa.nc_matmul(qt, kT), nl.multiply, s)
                pos = nisa.iota(j * bs + nl.arange(bs)[None, :], dtype=nl.float32)
                dg = nisa.tensor_scalar(nl.broadcast_to(pos, shape=(G, bs)), nl.greater_equal, Lg, dtype=nl.uint8)
                nisa.tensor_copy_predicated(src=-1e30, dst=x, predicate=dg)
                mn = nl.maximum(m, nl.max(x, axis=1))
                a = nl.exp(m - mn)
                p = nl.exp(x - mn)
                l[...] = l * a + nl.sum(p, axis=1)
                pT = nisa.tensor_copy(nisa.nc_transpose(p))
                acc[...] = acc * a + nisa.nc_matmul(pT, vt)
                m[...] = mn
            nl.store(o[b, h * G:(h + 1) * G, :], acc / l)
    return o
