"""Keys p T + t on the partitions; sums and weighted sums add up in PSUM."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    Hkv, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // Hkv
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    T = max(t for t in (1, 2, 4, 8, 16) if n // 128 % t == 0)
    chunk = 128 * T
    o = nl.ndarray((Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    lane, slot, col = nl.arange(128)[:, None, None], nl.arange(T)[None, :, None], nl.arange(d)[None, None, :]
    ikd, ikp = nl.arange(d)[:, None], nl.arange(128)[None, :]
    ones_d = nl.ones((1, d), dtype=nl.float32)
    ones_p = nl.ones((1, 128), dtype=nl.float32)
    ones_b = nl.ones((128, 1), dtype=nl.bfloat16)
    for h in nl.affine_range(Hkv):
        q_t = nl.load(q[:, nl.ds(h * G, G)])
        m = nl.full((1, G), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.zeros((1, G), dtype=nl.float32, name="l")
        acc = nl.zeros((d, G), dtype=nl.float32, name="acc")
        for c in nl.sequential_range(n // chunk):
            k_t = nl.load(k[h, :, nl.ds(c * chunk, chunk)])
            v_t = nl.load(v[h, c * chunk + lane * T + slot, col])
            s = nl.ndarray((128, T, G), dtype=nl.float32, buffer=nl.sbuf)
            tops = nl.ndarray((G, T), dtype=nl.float32, buffer=nl.sbuf)
            for t in range(T):
                s[:, t, :] = nl.multiply(nisa.nc_matmul(k_t[ikd, ikp * T + t], q_t), scale)
                tops[:, t:t + 1] = nl.max(nisa.nc_transpose(s[:, t, :]), axis=1, keepdims=True)
            best = nl.copy(nl.transpose(nl.max(tops, axis=1, keepdims=True)))
            m_new = nl.maximum(m, best)
            alpha = nl.exp(nl.subtract(m, m_new))
            m_all = nl.copy(nisa.nc_matmul(ones_p, m_new))
            pv = nl.zeros((d, G), dtype=nl.float32, buffer=nl.psum)
            ps = nl.zeros((1, G), dtype=nl.float32, buffer=nl.psum)
            for t in range(T):
                p = nl.exp(nl.subtract(s[:, t, :], m_all), dtype=nl.bfloat16)
                pv += nisa.nc_matmul(v_t[:, t, :], p)
                ps += nisa.nc_matmul(ones_b, p)
            l[...] = nl.add(nl.multiply(l, alpha), ps)
            a_all = nl.copy(nisa.nc_matmul(ones_d, alpha))
            acc[...] = nl.add(nl.multiply(acc, a_all), pv)
            m[...] = nl.copy(m_new)
        inv = nl.copy(nisa.nc_matmul(ones_d, nl.reciprocal(l)))
        done = nl.multiply(acc, inv)
        nl.store(o[nl.ds(h * G, G), :], nl.copy(nl.transpose(done), dtype=q.dtype))
    return o
