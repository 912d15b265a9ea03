"""512 keys a step, as many as a PSUM bank has scores; V is turned 128 keys at a time."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

STEP = 512


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    n_seq, n_kv, d, n = k.shape
    group = q.shape[2] // n_kv
    scale = 1 / math.sqrt(d) if softmax_scale is None else softmax_scale
    o = nl.ndarray((n_seq, n_kv * group, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for b in nl.affine_range(n_seq):
        length = nl.broadcast_to(nl.load(lengths[nl.ds(b, 1), :], dtype=nl.float32), shape=(128, 1))
        for h in nl.affine_range(n_kv):
            qt = nl.load(q[b, :, nl.ds(h * group, group)])
            m = nl.full((group, 1), nl.fp32.min, dtype=nl.float32, name="m")
            l = nl.full((group, 1), 0.0, dtype=nl.float32, name="l")
            acc = nl.full((group, d), 0.0, dtype=nl.float32, name="acc")
            for begin in range(0, n, STEP):
                w = min(STEP, n - begin)
                keys = nl.load(k[b, h, :, nl.ds(begin, w)])
                vals = nl.load(v[b, h, :, nl.ds(begin, w)])
                place = nisa.iota(begin + nl.arange(w)[None, :], dtype=nl.float32)
                place = nl.broadcast_to(place, shape=(128, w))
                gone = nl.greater_equal(place, length, dtype=nl.uint8)
                qk = nl.multiply(nisa.nc_matmul(qt, keys), scale)
                nisa.tensor_copy_predicated(src=nl.fp32.min, dst=qk, predicate=gone[0:group, :])
                nisa.tensor_copy_predicated(src=0.0, dst=vals, predicate=gone[0:d, :])
                m_new = nl.maximum(m, nl.max(qk, axis=1, keepdims=True))
                alpha = nl.exp(nl.subtract(m, m_new))
                p = nl.exp(nl.subtract(qk, m_new))
                l[...] = nl.add(nl.multiply(l, alpha), nl.sum(p, axis=1, keepdims=True))
                pv = nl.zeros((group, d), dtype=nl.float32, buffer=nl.psum)
                for j in range(0, w, 128):
                    c = min(128, w - j)
                    p_t = nl.copy(nisa.nc_transpose(p[:, j : j + c]))
                    pv += nisa.nc_matmul(p_t, nl.copy(nisa.nc_transpose(vals[:, j : j + c])))
                acc[...] = nl.add(nl.multiply(acc, alpha), pv)
                m[...] = m_new
            nl.store(o[b, nl.ds(h * group, group), :], nl.divide(acc, l))
    return o
