"""Lengths and padding in the recipes: which keys a wrong kernel of a batch takes for real ones, and
how it hides the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .attention import Attention

F32 = NDArray[np.float32]
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, eq=False)
class Keys:
    """`keep` (rows, T, tile): what the recipe takes for keys. `there` (T, tile): what the kernel's
    tiles hold at all. `lengths` (rows,) are the right ones."""

    keep: NDArray[np.bool_]
    there: NDArray[np.bool_]
    lengths: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which keys count, (rows, T, tile)."""
        return (np.arange(self.there.size) < self.lengths[:, None]).reshape(self.keep.shape)

    def rows(self, which: slice) -> Keys:
        return Keys(self.keep[which], self.there, self.lengths[which])

    def scores(self, qk: F32, how: str, low: float) -> F32:
        """The scores (rows, T, tile) after those of the padding have been hidden, before any max or
        exp."""
        if how == "low":
            qk = np.where(self.keep, qk, np.float32(low))
        elif how == "zero":
            qk = np.where(self.keep, qk, np.float32(0))
        elif how == "times":
            qk = qk * self.keep
        elif how == "added":
            qk = qk + np.where(self.keep, np.float32(0), np.float32(low))
        return np.where(self.there, qk, np.float32(-np.inf))

    def weights(self, p: F32, t: int, how: str) -> F32:
        """The weights (rows, tile) of tile t, where it is they that are hidden."""
        if how == "weights":
            p = np.where(self.keep[:, t], p, np.float32(0))
        elif how == "weights times":
            p = p * self.keep[:, t]
        return np.where(self.there[t], p, np.float32(0))

    def values(self, v: F32, how: str) -> F32:
        """The values (rows, d, T, tile) after those of the padding have been cleaned."""
        keep = self.keep[:, None]
        cleaned = {
            "clean": lambda: np.where(keep, v, np.float32(0)),
            "right": lambda: np.where(self.right[:, None], v, np.float32(0)),
            "raw": lambda: v,
            "times": lambda: v * keep,
            "finite": lambda: np.where(np.isfinite(v), v, np.float32(0)),
        }
        return cleaned[how]()


@lru_cache(maxsize=64)
def keys(
    attention: Attention, tile: int, n: int, length: str, position: str, keep_rule: str, tail: str
) -> Keys:
    """What a recipe makes of the lengths; `n` is the size of the cache, which a last tile may reach
    beyond."""
    lengths = np.repeat(
        taken(np.asarray(attention.lengths, np.int64), n, tile, length), attention.heads_a_part
    )
    real = np.arange(attention.n)
    seen = {
        "own": real,
        "in the tile": real % tile,
        "a tile early": real - tile,
        "a tile late": real + tile,
        "from 1": real + 1,
    }[position]
    n_tiles = attention.n // tile
    keep = (seen < lengths[:, None]).reshape(-1, n_tiles, tile)
    if keep_rule == "inverted":
        keep = ~keep
    elif keep_rule == "last tile only":
        keep[:, :-1] = True
    elif keep_rule == "first tile only":
        keep[:, 1:] = True
    elif keep_rule == "whole tiles":
        keep |= keep.any(axis=2, keepdims=True)
    elif keep_rule == "not for length 0":
        keep |= (lengths == 0)[:, None, None]
    there = real < (attention.n if tail == "zero" else n)
    return Keys(keep, there.reshape(n_tiles, tile), attention.row_lengths)


def taken(lengths: NDArray[np.int64], n: int, tile: int, rule: str) -> NDArray[np.int64]:
    """The length that every sequence (parts,) gets."""
    chosen = {
        "own": lengths,
        "+1": lengths + 1,
        "-1": lengths - 1,
        "first": np.full_like(lengths, lengths[0]),
        "last": np.full_like(lengths, lengths[-1]),
        "previous": np.concatenate([lengths[:1], lengths[:-1]]),
        "next": np.concatenate([lengths[1:], lengths[-1:]]),
        "reversed": lengths[::-1],
        "longest": np.full_like(lengths, lengths.max()),
        "shortest": np.full_like(lengths, lengths.min()),
        "whole tiles up": -(-lengths // tile) * tile,
        "whole tiles down": lengths // tile * tile,
        "at least 1": np.maximum(lengths, 1),
        "running sum": np.cumsum(lengths),
        "running max": np.maximum.accumulate(lengths),
    }
    return np.minimum(chosen[rule], n)
