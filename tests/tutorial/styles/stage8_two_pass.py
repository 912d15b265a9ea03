import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_paged_fwd(q, k_blocks, v_blocks, block_table, lengths, softmax_scale=None):
    """All scores of a sequence stay on the chip: one max, one sum, and then the values."""
    (B, d, Hq), (N, H, S, _), most = q.shape, k_blocks.shape, block_table.shape[1]
    G = Hq // H
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((B, Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    i_s, i_d = nl.arange(S)[:, None], nl.arange(d)[None, :]
    for b in range(B):
        n_b = nl.load(lengths[b:b + 1, :], dtype=nl.float32)
        n_s = nl.broadcast_to(n_b, shape=(S, 1))
        dead = nisa.tensor_scalar(nl.broadcast_to(nisa.iota(nl.arange(most * S)[None, :], dtype=nl.float32), shape=(128, most * S)),
                                  op0=nl.greater_equal, operand0=nl.broadcast_to(n_b, shape=(128, 1)), dtype=nl.uint8)
        entries = nl.load(block_table[b:b + 1, :], dtype=nl.float32)
        rows = []
        for j in range(most):
            here = nisa.iota(j * S + i_s, dtype=nl.float32)
            entry = nl.broadcast_to(entries[:, j:j + 1], shape=(S, 1))
            rows.append(nl.copy(nl.where(nl.less(here, n_s), entry, float(N)), dtype=nl.int32))
        for h in range(H):
            q_g = nl.load(q[b, :, h * G:(h + 1) * G])
            scores = nl.ndarray((G, most * S), dtype=nl.float32)
            for j in range(most):
                kt = nl.zeros((S, d), dtype=nl.float32)
                nisa.dma_copy(dst=kt, src=k_blocks[rows[j][i_s, 0], h, i_s, i_d], oob_mode=nisa.oob_mode.skip)
                scores[:, j * S:(j + 1) * S] = nl.multiply(nisa.nc_matmul(q_g, nl.copy(nisa.nc_transpose(kt))), scale)
            nisa.tensor_copy_predicated(src=nl.fp32.min, dst=scores, predicate=dead[0:G, :])
            m = nl.max(scores, axis=1, keepdims=True)
            p = nl.exp(nl.subtract(scores, m))
            l = nl.sum(p, axis=1, keepdims=True)
            acc = nl.zeros((G, d), dtype=nl.float32, buffer=nl.psum)
            for j in range(most):
                vt = nl.zeros((S, d), dtype=nl.float32)
                nisa.dma_copy(dst=vt, src=v_blocks[rows[j][i_s, 0], h, i_s, i_d], oob_mode=nisa.oob_mode.skip)
                acc += nisa.nc_matmul(nl.copy(nisa.nc_transpose(p[:, j * S:(j + 1) * S])), vt)
            nl.store(o[b, h * G:(h + 1) * G, :], nl.divide(nl.copy(acc), l))
    return o
