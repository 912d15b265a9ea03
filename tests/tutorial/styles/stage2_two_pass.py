"""Stage 2 in two passes: tile maxima into a row, then sum and weighted sum together; 256 keys per tile where they fit."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np


@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    width = 256 if n % 256 == 0 else 128
    tiles = n // width
    scale = 1 / np.sqrt(d) if softmax_scale is None else softmax_scale
    out = nl.ndarray((1, d), dtype=nl.float32, buffer=nl.shared_hbm)
    q_tile = nl.load(q[0:d, 0:1])
    tops = nl.ndarray((1, tiles), dtype=nl.float32)
    total = nl.zeros((1, 1), dtype=nl.float32)
    mixed = nl.zeros((1, d), dtype=nl.float32)
    for i in nl.affine_range(tiles):
        k_tile = nl.load(k[0:d, i * width : (i + 1) * width])
        scores = nl.multiply(nl.matmul(q_tile, k_tile, transpose_x=True), scale)
        tops[0:1, i : i + 1] = nl.max(scores, axis=1, keepdims=True)
    top = nl.max(tops, axis=1, keepdims=True)
    for i in nl.sequential_range(tiles):
        k_tile = nl.load(k[0:d, i * width : (i + 1) * width])
        scores = nl.multiply(nl.matmul(q_tile, k_tile, transpose_x=True), scale)
        weights = nl.exp(nl.subtract(scores, top))
        total[...] = nl.add(total, nl.sum(weights, axis=1, keepdims=True))
        for c in nl.sequential_range(width // 128):
            v_tile = nl.load(v[0:d, nl.ds(i * width + c * 128, 128)])
            w_t = nl.transpose(weights[0:1, nl.ds(c * 128, 128)])
            mixed[...] = nl.add(mixed, nl.matmul(w_t, nl.transpose(v_tile), transpose_x=True))
    nl.store(out, value=nl.divide(mixed, total))
    return out
