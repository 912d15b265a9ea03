"""A right kernel in another style."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    s = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    T = n // 128
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    m = nl.ndarray((1, 1), dtype=nl.float32, name="m")
    l = nl.zeros((1, 1), dtype=nl.float32, name="l")
    acc = nl.zeros((1, d), dtype=nl.float32, name="acc")
    tops = nl.ndarray((1, T), dtype=nl.float32, buffer=nl.sbuf)
    qt = nisa.tensor_scalar(nl.load(q), nl.multiply, s)
    for i in range(T):
        kt = nl.load(k[:, nl.ds(i * 128, 128)])
        tops[:, i:i + 1] = nisa.tensor_reduce(nl.maximum, nisa.nc_matmul(qt, kt), axis=1)
    m[...] = nl.max(tops, axis=1)
    nm = m * -1.0
    for i in range(T):
        kt = nl.load(k[:, nl.ds(i * 128, 128)])
        p = nisa.activation(nl.exp, nisa.nc_matmul(qt, kt), bias=nm)
        l[...] = l + nl.sum(p, axis=1)
    for i in range(T):
        kt = nl.load(k[:, nl.ds(i * 128, 128)])
        vt = nl.load(v[:, nl.ds(i * 128, 128)])
        p = nisa.activation(nl.exp, nisa.nc_matmul(qt, kt), bias=nm)
        pT = nisa.tensor_copy(nisa.nc_transpose(p))
        vT = nisa.tensor_copy(nisa.nc_transpose(vt))
        acc[...] = acc + nisa.nc_matmul(pT, vT)
    nl.store(out, acc * nisa.reciprocal(l))
    return out
