"""Two tiles per iteration, the scores of both in one matmul, with nl's operators; the last tile of an odd count stands alone."""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fwd(query, keys, values, softmax_scale=None):
    dim, count = keys.shape
    factor = softmax_scale if softmax_scale is not None else 1.0 / math.sqrt(dim)
    result = nl.ndarray((1, dim), dtype=nl.float32, buffer=nl.shared_hbm)
    column = nl.load(query)
    scaled = nl.multiply(column, factor)
    peak = nl.full((1, 1), -3.0e38, dtype=nl.float32, name="m")
    mass = nl.zeros((1, 1), dtype=nl.float32, name="l")
    mix = nl.zeros((1, dim), dtype=nl.float32, name="acc")
    begin = 0
    while begin < count:
        wide = 256 if begin + 256 <= count else 128
        here = nl.ds(begin, wide)
        score = nl.copy(nl.matmul(scaled, nl.load(keys[:, here]), transpose_x=True))
        best = nl.max(score, axis=1, keepdims=True)
        risen = nl.maximum(peak, best)
        fade = nl.exp(nl.subtract(peak, risen))
        weight = nl.exp(nl.subtract(score, risen))
        mass[...] = nl.add(nl.multiply(mass, fade), nl.sum(weight, axis=1, keepdims=True))
        added = nl.zeros((1, dim), dtype=nl.float32, buffer=nl.psum)
        for part in range(wide // 128):
            piece = nl.load(values[:, nl.ds(begin + part * 128, 128)])
            column_p = nl.copy(nl.transpose(weight[:, part * 128:part * 128 + 128]))
            added += nl.matmul(column_p, nl.copy(nl.transpose(piece)), transpose_x=True)
        mix[...] = nl.add(nl.multiply(mix, fade), added)
        peak[...] = risen
        begin += wide
    nl.store(result, nl.divide(mix, mass))
    return result
