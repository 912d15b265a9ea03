"""o = kernel(q, K, V), for one new token: its key and value join the cache, then its queries attend over all keys so far

One layer's part of a decode loop. The kernel takes whole tiles of 128 keys, so the cache is handed over in whole tiles, and
what lies beyond the last key must weigh nothing: row d of the cached K is the padding row, 0 in a key and -30000 in a column
without one, and the query has a 1 there. A score of -30000 * scale underflows in exp to exactly 0.
"""

import math

import numpy as np

TILE = 128  # keys per tile of the kernel


def attention_step(q, k, v, layer, position, cache, rotate, kernel):
    """q (Hq, d), k and v (Hkv, d): the new token's projections in this layer, fp32, not yet rotated -> o (Hq * d,).

    position: the new token's, counted from 0; the cache holds the tokens before it.
    cache.k, cache.v (layers, Hkv, d + 1, capacity) fp32: column p is the token at position p.
    rotate(x, position) -> x, every row turned to that position; keys are cached rotated.
    kernel(q, k, v, softmax_scale=None) is stage 4's: q (d, Hq), k and v (Hkv, d, n) -> o (Hq, d).
    """
    n_q_heads, d = q.shape
    keys = (position // TILE + 1) * TILE  # in the tiles that hold positions 0 to `position`

    # The new key and value join the cache; the padding row says that there is a key now.
    cache.k[layer, :, :d, position] = rotate(k, position)  # (Hkv, d)
    cache.k[layer, :, d, position] = 0.0
    cache.v[layer, :, :d, position] = v

    # The queries, one a column, with a 1 in the padding row.
    queries = np.ones((d + 1, n_q_heads), np.float32)
    queries[:d] = rotate(q, position).T

    # The scale is that of d dimensions: by default the kernel would take it for d + 1.
    o = kernel(queries, cache.k[layer, :, :, :keys], cache.v[layer, :, :, :keys], softmax_scale=1.0 / math.sqrt(d))
    return o[:, :d].reshape(-1)  # the padding row's column goes; the heads follow one another
