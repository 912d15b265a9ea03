"""nl style, 256-key tiles, unnamed state"""
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np


@nki.jit
def decode_attention_fwd(query, keys, values, softmax_scale=None):
    d, n = keys.shape
    W = 256 if n % 256 == 0 else 128
    if softmax_scale is None:
        softmax_scale = 1 / np.sqrt(d)
    out = nl.ndarray((1, d), dtype=query.dtype, buffer=nl.shared_hbm)
    q = nl.load(query)
    run_max = nl.full((1, 1), -3.0e38, dtype=nl.float32)
    run_sum = nl.zeros((1, 1), dtype=nl.float32)
    run_acc = nl.zeros((1, d), dtype=nl.float32)
    for t in nl.sequential_range(n // W):
        k = nl.load(keys[0:d, t * W:(t + 1) * W])
        s = nl.multiply(nl.matmul(q, k, transpose_x=True), softmax_scale)
        new_max = nl.maximum(run_max, nl.max(s, axis=1, keepdims=True))
        a = nl.exp(nl.subtract(run_max, new_max))
        w = nl.exp(nl.subtract(s, new_max))
        run_sum[...] = nl.add(nl.multiply(run_sum, a), nl.sum(w, axis=1, keepdims=True))
        run_acc[...] = nl.multiply(run_acc, a)
        for c in nl.sequential_range(W // 128):
            v = nl.load(values[0:d, nl.ds(t * W + c * 128, 128)])
            wt = nl.transpose(w[0:1, nl.ds(c * 128, 128)])
            run_acc[...] = nl.add(run_acc, nl.matmul(wt, nl.transpose(v), transpose_x=True))
        run_max[...] = nl.copy(new_max)
    nl.store(out, value=nl.divide(run_acc, run_sum))
    return out
