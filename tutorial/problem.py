"""Attention as it is, whatever layout a stage gives it: the common ground of oracle, trace and diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attention:
    """q (Hq, d), k (Hkv, d, n), v (Hkv, d, n) and the scale; query head h reads KV head h // G.

    Made by a stage from its own layout (`Stage.attention`). `explicit_scale` says that the caller gave the scale.
    """

    q: NDArray[Any]
    k: NDArray[Any]
    v: NDArray[Any]
    scale: float
    explicit_scale: bool = False

    @property
    def n_q_heads(self) -> int:
        return int(self.q.shape[0])

    @property
    def n_kv_heads(self) -> int:
        return int(self.k.shape[0])

    @property
    def group(self) -> int:
        """Query heads to a KV head."""
        return self.n_q_heads // self.n_kv_heads

    @property
    def d(self) -> int:
        return int(self.k.shape[1])

    @property
    def n(self) -> int:
        return int(self.k.shape[2])

    def scores(self) -> F64:
        """The scaled scores qk (Hq, n), in float64."""
        q = self.q.astype(np.float64).reshape(self.n_kv_heads, self.group, self.d)
        return self.scale * (q @ self.k.astype(np.float64)).reshape(self.n_q_heads, self.n)

    def values(self) -> F64:
        """V as every query head sees it, (Hq, d, n), in float64."""
        return np.repeat(self.v.astype(np.float64), self.group, axis=0)


@dataclass(frozen=True, eq=False)
class States:
    """The running state after every tile: tile_max, m, l are (T, H), acc is (T, H, d)."""

    tile_max: F64
    m: F64
    l: F64
    acc: F64


def online_states(attention: Attention, tile: int) -> States:
    """What a one-pass kernel holds after each tile: sums relative to the max so far."""
    qk, v = attention.scores(), attention.values()
    n_tiles = attention.n // tile
    tile_max = qk.reshape(-1, n_tiles, tile).max(axis=2).T  # (T, H)
    m = np.maximum.accumulate(tile_max, axis=0)
    l, acc = np.zeros_like(m), np.zeros((*m.shape, attention.d))
    for t in range(n_tiles):
        keys = slice(t * tile, (t + 1) * tile)
        p = np.exp(qk[:, keys] - m[t][:, None])  # (H, tile)
        alpha = np.exp(m[t - 1] - m[t]) if t else np.zeros_like(m[0])
        l[t] = (l[t - 1] * alpha if t else 0.0) + p.sum(axis=1)
        acc[t] = (acc[t - 1] * alpha[:, None] if t else 0.0) + np.einsum("hj,hdj->hd", p, v[:, :, keys])
    return States(tile_max, m, l, acc)


def pass_states(attention: Attention, tile: int) -> States:
    """What a kernel of several passes holds: the sums are relative to the max of all keys."""
    qk, v = attention.scores(), attention.values()
    n_tiles = attention.n // tile
    tile_max = qk.reshape(-1, n_tiles, tile).max(axis=2).T  # (T, H)
    p = np.exp(qk - qk.max(axis=1, keepdims=True)).reshape(-1, n_tiles, tile)
    pv = np.einsum("htj,hdtj->thd", p, v.reshape(*v.shape[:2], n_tiles, tile))
    return States(tile_max, np.maximum.accumulate(tile_max, axis=0), np.cumsum(p.sum(axis=2).T, axis=0),
                  np.cumsum(pv, axis=0))


def not_finite(arrays: Mapping[str, Any]) -> str | None:
    """A sentence about the first NaN or infinity among the arrays, or None."""
    for name, value in arrays.items():
        array = np.asarray(value, dtype=np.float64)
        bad = ~np.isfinite(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0]) if array.ndim else ()
            what = "NaN" if np.isnan(array[where]) else "infinity"
            at = f" at {list(where)}" if where else ""
            return f"{name} holds {what}{at}: attention over it is not a number, so there is nothing to check."
    return None
