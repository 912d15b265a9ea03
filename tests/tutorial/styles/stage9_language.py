"""nki 0.6 with the functions of nl that return tiles, in-place assignments, and instructions where nl has none; no names."""
import math

import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    n_kv, d, n = k.shape
    n_q = q.shape[1]
    group = n_q // n_kv
    scale = softmax_scale if softmax_scale != None else 1 / math.sqrt(d)  # noqa: E711
    o = nl.ndarray((n_q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(n_kv):
        q_t = nl.load(q[:, h * group:(h + 1) * group])
        top = nl.full((group, 1), -1e30, dtype=nl.float32)
        total = nl.zeros((group, 1), dtype=nl.float32)
        out = nl.zeros((group, d), dtype=nl.float32)
        for i in range(n // 128):
            k_t = nl.load(k[h, :, i * 128:(i + 1) * 128])
            v_t = nl.load(v[h, :, i * 128:(i + 1) * 128])
            s = nl.ndarray((group, 128), dtype=nl.float32)
            nisa.tensor_scalar(dst=s, data=nl.matmul(q_t, k_t, transpose_x=True), op0=nl.multiply, operand0=scale)
            new = nl.maximum(top, nl.max(s, axis=1, keepdims=True))
            keep = nl.exp(nl.subtract(top, new))
            p = nl.ndarray((group, 128), dtype=nl.float32)
            nisa.tensor_scalar(p, s, nl.subtract, new)
            p[...] = nl.exp(p)
            total[...] = nl.add(nl.multiply(total, keep), nl.sum(p, axis=1, keepdims=True))
            p_t = nl.copy(nl.transpose(p))
            v_tt = nl.copy(nl.transpose(v_t))
            nisa.tensor_scalar(out, out, nl.multiply, keep)
            out[...] = nl.add(out, nl.matmul(p_t, v_tt, transpose_x=True))
            nisa.tensor_copy(top, new)
        nisa.tensor_scalar(out, out, nl.multiply, nl.reciprocal(total))
        nl.store(o[h * group:(h + 1) * group, :], out)
    return o
