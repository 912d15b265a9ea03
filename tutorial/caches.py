"""Key/value caches: where a language model keeps the keys and values of the tokens so far, in the layout of a kernel.

Every kernel of the course wants its K and V differently, so there is a cache for each. All of them take a new key and value
of one token (`append`), and let a kernel attend over the first n of them (`attend`).

Kernels are built for fixed shapes, and a cache grows by one key a token. So a kernel is given whole tiles, and what lies
beyond the last key must weigh exactly nothing. Stages 4 and 6 take no lengths and no mask: their cache carries the padding
as one more head dimension. It is 0 in every key and -30000 in every column without a key, and 1 in the query: the padding's
score is -30000 times the scale lower, exp of it is 0 in fp32, and 0 times V's padding of zeros adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .languagemodel import F32, Config

TILE = 128  # keys in a tile of the kernels
PADDING = -30000.0
"""The last row of K in a column without a key. Within the range of fp16, so that it stays what it is in any precision."""

Kernel = Callable[..., Any]


class Cache(Protocol):
    """What a decode loop needs of a cache; `itemsize` is the number of bytes of one stored value."""

    itemsize: int

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        """Keep a token's key, turned to its position, and value, both (Hkv, d)."""

    def attend(self, kernel: Kernel, layer: int, n: int, q: F32) -> F32:
        """Attention (Hq, d) of the queries (Hq, d), turned to their position, over the first n keys, by the kernel."""


def whole_tiles(n: int) -> int:
    """The number of keys in the tiles that hold n keys."""
    return -(-n // TILE) * TILE


class NumpyCache:
    """The reference: plain arrays (layers, Hkv, d, capacity), no padding, float32 NumPy in the place of a kernel."""

    itemsize = 4

    def __init__(self, config: Config, capacity: int) -> None:
        self.k, self.v = (np.zeros((config.layers, config.kv_heads, config.d, capacity), np.float32) for _ in "kv")

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        self.k[layer, :, :, position] = k
        self.v[layer, :, :, position] = v

    def attend(self, kernel: Kernel | None, layer: int, n: int, q: F32) -> F32:
        k, v = self.k[layer, :, :, :n], self.v[layer, :, :, :n]
        n_kv_heads, d, _ = k.shape
        qk = q.reshape(n_kv_heads, -1, d) @ k / np.float32(math.sqrt(d))  # (Hkv, G, n)
        p = np.exp(qk - qk.max(axis=-1, keepdims=True))
        return np.asarray(p @ v.transpose(0, 2, 1) / p.sum(axis=-1, keepdims=True), np.float32).reshape(q.shape)


class TiledCache:
    """For stage 4: k and v (layers, Hkv, d + 1, capacity), capacity a multiple of 128; row d is the padding row."""

    itemsize = 4

    def __init__(self, config: Config, capacity: int) -> None:
        shape = (config.layers, config.kv_heads, config.d + 1, whole_tiles(capacity))
        self.k, self.v = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.k[:, :, config.d] = PADDING

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        marked = np.pad(k, ((0, 0), (0, 1)))  # 0 in the padding row: a key from now on
        self.k[layer, ..., position] = marked
        self.v[layer, ..., position] = np.pad(v, ((0, 0), (0, 1)))

    def attend(self, kernel: Kernel, layer: int, n: int, q: F32) -> F32:
        filled = whole_tiles(n)
        queries = np.pad(q, ((0, 0), (0, 1)), constant_values=1.0).T  # (d + 1, Hq)
        o = self.call(kernel, np.ascontiguousarray(queries), self.k[layer, ..., :filled], self.v[layer, ..., :filled],
                      1.0 / math.sqrt(q.shape[1]))
        return np.asarray(o, np.float32)[:, : q.shape[1]]

    def call(self, kernel: Kernel, q: F32, k: F32, v: F32, scale: float) -> Any:
        """The kernel's own signature: the scale is given, since the default would count the padding row."""
        return kernel(q, k, v, softmax_scale=scale)


CACHES: dict[int, Callable[[Config, int], Cache]] = {4: TiledCache}
"""The cache for the kernels of each stage, made from the sizes of a network and the most tokens that it must hold."""
