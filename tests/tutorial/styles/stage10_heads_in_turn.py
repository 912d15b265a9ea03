
import numpy as np

TILE = 128


def attention_step(q, k, v, layer, position, cache, rotate, kernel):
    """Own words: heads written one by one, queries stacked."""
    heads, size = q.shape
    tiles = -(-(position + 1) // TILE)
    turned = rotate(k, position)
    for g in range(len(k)):
        cache.k[layer, g, :size, position] = turned[g]
        cache.k[layer, g, size, position] = 0
        cache.v[layer, g, :size, position] = v[g]
    asked = np.concatenate([rotate(q, position).T, np.ones((1, heads), np.float32)])
    keys = cache.k[layer][:, :, :tiles * TILE]
    values = cache.v[layer][:, :, :tiles * TILE]
    answer = kernel(asked, keys, values, softmax_scale=size ** -0.5)
    return np.ascontiguousarray(answer[:, :size]).ravel()
