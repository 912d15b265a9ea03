"""Key/value caches: where a language model keeps the keys and values of the tokens so far, in the
layout of a kernel.

Every kernel of the course wants its K and V differently, so there is a cache for each. All of them
take a new key and value of one token (`append`), and let a kernel attend over the first n of them
(`attend`).

Kernels are built for fixed shapes, and a cache grows by one key per token. So a kernel is given
whole tiles, and what lies beyond the last key must weigh exactly nothing. Stages 4 and 6
take no lengths and no mask: their cache carries the padding as one more head dimension. It is 0 in
every key and -30000 in every column without a key, and 1 in the query: the padding's score is
-30000 times the scale lower, exp of it is 0 in fp32, and 0 times V's padding of zeros adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nkisim.machine import narrow

from .languagemodel import F32, Config

TILE = 128  # keys in a tile of the kernels
PADDING = -30000.0
"""The last row of K in a column without a key. Within the range of fp16, so that it stays what it
is in any precision."""

Kernel = Callable[..., Any]


class Cache(Protocol):
    """What a decode loop needs of a cache; `itemsize` is the number of bytes of one stored
    value."""

    itemsize: int

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        """Keep a token's key, turned to its position, and value, both (Hkv, d)."""

    def attend(self, kernel: Kernel, layer: int, n: int, q: F32) -> F32:
        """Attention (Hq, d) of the queries (Hq, d), turned to their position, over the first n
        keys, by the kernel."""


def whole_tiles(n: int) -> int:
    """The number of keys in the tiles that hold n keys."""
    return -(-n // TILE) * TILE


def _columns(q: F32, ones: int = 0) -> F32:
    """The queries (Hq, d) as a kernel takes them, (d, Hq), and below them a row of ones where keys
    have a padding row."""
    return np.ascontiguousarray(np.pad(q, ((0, 0), (0, ones)), constant_values=1.0).T)


def _with_zero(x: F32) -> F32:
    """A token's keys or values (Hkv, d) with a 0 in the padding row: a key from now on."""
    return np.pad(x, ((0, 0), (0, 1)))


def _only(o: Any) -> F32:
    """The output (Hq, d) of a batch of one."""
    found: F32 = np.asarray(o, np.float32)[0]
    return found


class NumpyCache:
    """The reference: plain arrays (layers, Hkv, d, capacity), no padding, float32 NumPy instead
    of a kernel.

    With `dtype` bfloat16 everything that a bf16 kernel rounds is rounded: q, k, v, the weights p,
    and o.
    """

    def __init__(self, config: Config, capacity: int, dtype: Any = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        self.k, self.v = (
            np.zeros((config.layers, config.kv_heads, config.d, capacity), np.float32) for _ in "kv"
        )

    def _rounded(self, x: F32) -> F32:
        return x.astype(self.dtype).astype(np.float32)

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        self.k[layer, :, :, position] = self._rounded(k)
        self.v[layer, :, :, position] = self._rounded(v)

    def attend(self, kernel: Kernel | None, layer: int, n: int, q: F32) -> F32:
        k, v = self.k[layer, :, :, :n], self.v[layer, :, :, :n]
        n_kv_heads, d, _ = k.shape
        # (Hkv, G, n)
        qk = self._rounded(q).reshape(n_kv_heads, -1, d) @ k / np.float32(math.sqrt(d))
        p = np.exp(qk - qk.max(axis=-1, keepdims=True)).astype(np.float32)
        o = self._rounded(p) @ v.transpose(0, 2, 1) / p.sum(axis=-1, keepdims=True)
        return self._rounded(o.astype(np.float32)).reshape(q.shape)


class TiledCache:
    """For stage 4: k and v (layers, Hkv, d + 1, capacity), capacity a multiple of 128; row d is the
    padding row."""

    itemsize = 4
    k: NDArray[Any]
    v: NDArray[Any]

    def __init__(self, config: Config, capacity: int) -> None:
        shape = (config.layers, config.kv_heads, config.d + 1, whole_tiles(capacity))
        self.k, self.v = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.k[:, :, config.d] = PADDING

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        self.k[layer, ..., position], self.v[layer, ..., position] = _with_zero(k), _with_zero(v)

    def attend(self, kernel: Kernel, layer: int, n: int, q: F32) -> F32:
        k, v = (x[layer, ..., : whole_tiles(n)] for x in (self.k, self.v))
        o = self.call(kernel, _columns(q, ones=1), k, v, 1.0 / math.sqrt(q.shape[1]))
        return np.asarray(o, np.float32)[:, : q.shape[1]]

    def call(self, kernel: Kernel, q: F32, k: F32, v: F32, scale: float) -> Any:
        """The kernel's own signature: the scale is given, since the default would count the padding
        row."""
        return kernel(q, k, v, softmax_scale=scale)


class SplitCache(TiledCache):
    """For stage 6: as for stage 4, every tile its own split."""

    def call(self, kernel: Kernel, q: F32, k: F32, v: F32, scale: float) -> Any:
        return kernel(q, k, v, k.shape[-1] // TILE, softmax_scale=scale)


class RaggedCache:
    """For stage 5, which takes the length: k and v (layers, 1, Hkv, d, capacity), a batch of one,
    NaN beyond the last key."""

    itemsize = 4

    def __init__(self, config: Config, capacity: int) -> None:
        shape = (config.layers, 1, config.kv_heads, config.d, whole_tiles(capacity))
        self.k, self.v = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        self.k[layer, 0, ..., position], self.v[layer, 0, ..., position] = k, v

    def attend(self, kernel: Kernel, layer: int, n: int, q: F32) -> F32:
        # a kernel for every length would have to be built for every token
        k, v = (x[layer, ..., : whole_tiles(n)] for x in (self.k, self.v))
        return _only(kernel(_columns(q)[None], k, v, np.array([[n]], np.int32)))


class RowsCache(TiledCache):
    """For stage 7, in bf16: as for stage 4, and v lies in memory as (layers, Hkv, capacity, d + 1).
    Raises ValueError where Python has no bfloat16."""

    itemsize = 2

    def __init__(self, config: Config, capacity: int) -> None:
        if not narrow.INSTALLED:
            raise ValueError(f"stage 7's cache is in bf16: {narrow.needed('bfloat16')}")
        super().__init__(config, capacity)
        self.k = self.k.astype(narrow.bfloat16)
        *heads, d, n = self.k.shape
        self.v = np.zeros((*heads, n, d), self.k.dtype).swapaxes(2, 3)

    def call(self, kernel: Kernel, q: F32, k: F32, v: F32, scale: float) -> Any:
        return kernel(q.astype(narrow.bfloat16), k, v.swapaxes(1, 2), softmax_scale=scale)


class PagedCache:
    """For stage 8: k and v (layers, blocks, Hkv, 16, d) in blocks of 16 keys, and a table of one
    sequence's blocks.

    A block is taken from the pool when the first key for it comes, in no order, and the same for
    all layers. What no key has been written to is NaN, and an entry of the table that is not used
    is the number of no block.
    """

    itemsize = 4
    block = 16

    def __init__(self, config: Config, capacity: int) -> None:
        blocks = whole_tiles(capacity) // self.block
        shape = (config.layers, blocks, config.kv_heads, self.block, config.d)
        self.k, self.v = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        self.table = np.full((1, blocks), blocks, np.int32)
        self._free = np.random.default_rng(0).permutation(blocks).tolist()

    def append(self, layer: int, position: int, k: F32, v: F32) -> None:
        entry, place = divmod(position, self.block)
        if self.table[0, entry] == len(self.k[0]):
            self.table[0, entry] = self._free.pop()
        self.k[layer, self.table[0, entry], :, place] = k
        self.v[layer, self.table[0, entry], :, place] = v

    def attend(self, kernel: Kernel, layer: int, n: int, q: F32) -> F32:
        table = self.table[:, : whole_tiles(n) // self.block]
        lengths = np.array([[n]], np.int32)
        return _only(kernel(_columns(q)[None], self.k[layer], self.v[layer], table, lengths))


CACHES: dict[int, Callable[[Config, int], Cache]] = {
    4: TiledCache,
    5: RaggedCache,
    6: SplitCache,
    7: RowsCache,
    8: PagedCache,
}
"""The cache for the kernels of each stage, made from the sizes of a network and the most tokens
that it must hold."""
