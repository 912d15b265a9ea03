"""Stage 3 with the keys on the partitions: m is broadcast over 128 lanes, and l is one sum per lane."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    sc = d ** -0.5 if softmax_scale is None else softmax_scale
    o = nl.ndarray((1, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((128, 1), -1e30, dtype=nl.float32, name="m")
    lanes = nl.zeros((128, 1), dtype=nl.float32)
    acc = nl.zeros((1, d), dtype=nl.float32, name="acc")
    qt = nl.load(q)
    ones = nl.ones((128, 1), dtype=nl.float32)
    for i in nl.sequential_range(n // 128):
        kt = nl.load(k[:, i*128:(i+1)*128])
        vt = nl.load(v[:, i*128:(i+1)*128])
        s = nl.multiply(nisa.nc_matmul(kt, qt), sc)          # (128, 1)
        row = nisa.tensor_copy(nisa.nc_transpose(s))         # (1,128)
        tm = nl.max(row, axis=1, keepdims=True)              # (1,1)
        tmb = nl.broadcast_to(tm, shape=(128, 1))
        mn = nl.maximum(m, tmb)
        al = nl.exp(nl.subtract(m, mn))                      # (128,1)
        p = nl.exp(nl.subtract(s, mn))                       # (128,1)
        lanes[...] = nl.add(nl.multiply(lanes, al), p)
        vT = nisa.tensor_copy(nisa.nc_transpose(vt))         # (128,d)
        pv = nisa.nc_matmul(p, vT)                           # (1,d)
        acc[...] = nl.add(nl.multiply(acc, al[0:1, 0:1]), pv)
        m[...] = nl.copy(mn)
    tot = nisa.nc_matmul(lanes, ones)
    nl.store(o, nl.divide(acc, nl.copy(tot)))
    return o
