"""A right kernel in another style."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    B, H, d, n = k.shape
    Q = q.shape[2]
    G = Q // H
    T = -(-n // 128)
    s = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    out = nl.ndarray((B, Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    lrow = nl.ndarray((1, B), dtype=nl.int32, buffer=nl.sbuf)
    lrow[...] = nl.load(lengths.reshape((1, B)))
    lf = nl.copy(lrow, dtype=nl.float32)
    for b in nl.static_range(B):
        for h in nl.static_range(H):
            qt = nl.load(q[b, :, h * G:(h + 1) * G])
            sc = nl.ndarray((G, n), dtype=nl.float32, buffer=nl.sbuf)
            for i in nl.static_range(T):
                w = min(128, n - 128 * i)
                kt = nl.load(k[b, h, :, 128 * i:128 * i + w])
                sc[:, 128 * i:128 * i + w] = nisa.activation(nl.copy, nisa.nc_matmul(qt, kt), scale=s)
            zero = nl.zeros((G, 1), dtype=nl.float32)
            Lb = nl.broadcast_to(lf[:, b:b + 1], shape=(G, 1))
            sel = nisa.range_select(on_true_tile=sc, comp_op0=nl.greater_equal, comp_op1=nl.less, bound0=zero, bound1=Lb, range_start=0, on_false_value=nl.fp32.min)
            top = nl.max(sel, axis=1)
            p = nl.exp(sel - top)
            den = nl.sum(p, axis=1)
            num = nl.zeros((G, d), dtype=nl.float32, buffer=nl.psum)
            for i in nl.static_range(T):
                w = min(128, n - 128 * i)
                vt = nl.copy(nl.transpose(nl.load(v[b, h, :, 128 * i:128 * i + w])))   # (w, d)
                col = nisa.iota(128 * i + nl.arange(w)[:, None], dtype=nl.float32)
                alive = nisa.tensor_tensor(col, nl.broadcast_to(lf[:, b:b + 1], shape=(w, 1)), nl.less)
                vt = nl.where(nl.broadcast_to(alive, shape=(w, d)), vt, 0.0)
                num += nisa.nc_matmul(nisa.tensor_copy(nisa.nc_transpose(p[:, 128 * i:128 * i + w])), vt)
            nl.store(out[b, h * G:(h + 1) * G, :], nl.copy(num) / den)
    return out
