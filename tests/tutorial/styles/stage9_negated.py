"""A right kernel in another style."""

import math

import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    H, d, n = k.shape
    Q = q.shape[1]
    G = Q // H
    s = 1.0 / math.sqrt(d) if softmax_scale == None else softmax_scale  # noqa: E711
    o = nl.ndarray((Q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(H):
        qt = nl.ndarray((d, G), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=qt, src=q[:, h * G:(h + 1) * G])
        neg = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
        l = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
        acc = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(neg, value=1e38)
        nisa.memset(l, value=0.0)
        nisa.memset(acc, value=0.0)
        for i in range(n // 128):
            kt = nl.ndarray((d, 128), dtype=nl.float32, buffer=nl.sbuf)
            vt = nl.ndarray((d, 128), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(dst=kt, src=k[h, :, i * 128:(i + 1) * 128])
            nisa.dma_copy(dst=vt, src=v[h, :, i * 128:(i + 1) * 128])
            ps = nl.ndarray((G, 128), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(ps, stationary=qt, moving=kt)
            tn = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=tn, op=nl.maximum, data=ps, axis=1, negate=True)
            nisa.tensor_scalar(dst=tn, data=tn, op0=nl.multiply, operand0=s)
            nn = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_tensor(dst=nn, data1=neg, data2=tn, op=nl.minimum)
            a = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.activation(dst=a, op=nl.exp, data=neg, bias=nn, scale=-1.0)
            nisa.tensor_copy(dst=neg, src=nn)
            p = nl.ndarray((G, 128), dtype=nl.float32, buffer=nl.sbuf)
            nisa.activation(dst=p, op=nl.exp, data=ps, bias=nn, scale=s)
            ls = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=ls, op=nl.add, data=p, axis=1)
            nisa.scalar_tensor_tensor(dst=l, data=l, op0=nl.multiply, operand0=a, op1=nl.add, operand1=ls)
            pTp = nl.ndarray((128, G), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_transpose(pTp, p)
            pT = nl.ndarray((128, G), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=pT, src=pTp)
            vTp = nl.ndarray((128, d), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_transpose(vTp, vt)
            vT = nl.ndarray((128, d), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=vT, src=vTp)
            pv = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(pv, pT, vT)
            nisa.scalar_tensor_tensor(dst=acc, data=acc, op0=nl.multiply, operand0=a, op1=nl.add, operand1=pv)
        r = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.reciprocal(dst=r, data=l)
        res = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_scalar(dst=res, data=acc, op0=nl.multiply, operand0=r)
        nisa.dma_copy(dst=o[h * G:(h + 1) * G, :], src=res)
    return o
