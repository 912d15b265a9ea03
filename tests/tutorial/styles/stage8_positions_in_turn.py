"""A load brings whole blocks, one on each partition, of which one position is taken after another."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    B, d, Hq = q.shape
    n_blocks, Hkv, block, _ = k_blocks.shape
    most = block_table.shape[1]
    G = Hq // Hkv
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for b in range(B):
        size = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
        for h in range(Hkv):
            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.zeros((G, 1), dtype=nl.float32, name="l")
            acc = nl.zeros((G, d), dtype=nl.float32, name="acc")
            q_tile = nl.multiply(nl.load(q[b, :, h * G:(h + 1) * G]), scale)
            for first in range(0, most, 128):
                P = min(128, most - first)
                entry = nl.load(block_table[b, first + nl.arange(P)[:, None]], dtype=nl.float32)  # (P, 1)
                begin = nisa.iota((first + nl.arange(P)[:, None]) * block + nl.arange(1)[None, :], dtype=nl.float32)
                used = nisa.tensor_scalar(begin, op0=nl.less, operand0=size[0:P, :], dtype=nl.uint8)
                safe = nl.full((P, 1), float(n_blocks), dtype=nl.float32)
                nisa.tensor_copy_predicated(src=entry, dst=safe, predicate=used)
                index = nl.copy(safe, dtype=nl.int32)
                i_p, i_s, i_d = nl.arange(P)[:, None, None], nl.arange(block)[None, :, None], nl.arange(d)[None, None, :]
                k_tile = nl.zeros((P, block, d), dtype=nl.float32)
                v_tile = nl.zeros((P, block, d), dtype=nl.float32)
                nisa.dma_copy(dst=k_tile, src=k_blocks[index[i_p, 0], h, i_s, i_d], oob_mode=nisa.oob_mode.skip)
                nisa.dma_copy(dst=v_tile, src=v_blocks[index[i_p, 0], h, i_s, i_d], oob_mode=nisa.oob_mode.skip)
                for s in range(block):
                    live = nisa.tensor_scalar(begin, op0=nl.add, operand0=float(s), op1=nl.less, operand1=size[0:P, :], dtype=nl.uint8)
                    flags = nl.broadcast_to(live, shape=(P, d))
                    kc, vc = nl.zeros((P, d), dtype=nl.float32), nl.zeros((P, d), dtype=nl.float32)
                    nisa.tensor_copy_predicated(src=k_tile[:, s, :], dst=kc, predicate=flags)
                    nisa.tensor_copy_predicated(src=v_tile[:, s, :], dst=vc, predicate=flags)
                    k_t = nisa.tensor_copy(nisa.nc_transpose(kc))  # (d, P)
                    col = nl.full((P, G), -1e30, dtype=nl.float32)
                    nisa.tensor_copy_predicated(src=nisa.nc_matmul(k_t, q_tile), dst=col, predicate=nl.broadcast_to(live, shape=(P, G)))
                    x = nisa.tensor_copy(nisa.nc_transpose(col))  # (G, P)
                    m_new = nl.maximum(m, nl.max(x, axis=1, keepdims=True))
                    alpha = nl.exp(nl.subtract(m, m_new))
                    p = nl.exp(nl.subtract(x, m_new))
                    l[...] = nl.add(nl.multiply(l, alpha), nl.sum(p, axis=1, keepdims=True))
                    pv = nisa.nc_matmul(nisa.tensor_copy(nisa.nc_transpose(p)), vc)
                    acc[...] = nl.add(nl.multiply(acc, alpha), pv)
                    m[...] = nl.copy(m_new)
            nl.store(o[b, h * G:(h + 1) * G, :], value=nl.divide(acc, l))
    return o
