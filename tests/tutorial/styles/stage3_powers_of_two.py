"""Weights that are powers of 2, in steps of up to 512 keys that add up in PSUM."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

LOG2E = 1.4426950408889634
LN2 = 0.6931471805599453


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    base = LOG2E * (softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(d))
    width = max(w for w in (128, 256, 384, 512) if n % w == 0)
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    run_max = nl.full((1, 1), -1.0e38, dtype=nl.float32)
    run_sum = nl.zeros((1, 1), dtype=nl.float32)
    run_out = nl.zeros((1, d), dtype=nl.float32)
    query = nl.load(q)
    for step in nl.sequential_range(n // width):
        k_t = nl.load(k[:, nl.ds(step * width, width)])
        v_t = nl.load(v[:, nl.ds(step * width, width)])
        y = nl.multiply(nl.matmul(query, k_t, transpose_x=True), base)
        up = nl.maximum(run_max, nl.max(y, axis=1, keepdims=True))
        keep = nl.exp(nl.multiply(nl.subtract(run_max, up), LN2))
        w = nl.exp(nl.multiply(nl.subtract(y, up), LN2))
        run_sum[...] = run_sum * keep + nl.sum(w, axis=1, keepdims=True)
        part = nl.zeros((1, d), dtype=nl.float32, buffer=nl.psum)
        for c in nl.affine_range(width // 128):
            w_c = nl.copy(nl.transpose(w[:, nl.ds(c * 128, 128)]))
            v_c = nl.copy(nl.transpose(v_t[:, nl.ds(c * 128, 128)]))
            part += nisa.nc_matmul(w_c, v_c)
        run_out[...] = run_out * keep + part
        run_max[...] = up
    nl.store(out, run_out / run_sum)
    return out
