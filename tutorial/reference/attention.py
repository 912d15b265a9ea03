"""Attention as it is, whatever layout a stage gives it: the common ground of oracle, trace and
diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attention:
    """q (Hq, d), k (Hkv, d, n), v (Hkv, d, n) and the scale; query head h reads KV head h // G.

    Made by a stage from its own layout (`Stage.attention`). `explicit_scale` says that the caller
    gave the scale.

    A batch is one Attention too: the heads of its `parts` sequences come after one another, and
    sequence b has `lengths[b]` keys; what k and v hold from there on is padding and may be
    anything. `lengths` is None where every key counts.

    `order` says which key each column of k and v holds, where a kernel took the keys in another
    order than that of the cache.

    `splits` says among how many program instances the keys are divided; 0 where they are not. What
    the instances hold is an Attention whose parts are the splits that have keys; part p is split
    `numbers[p]` and begins at key `starts[p]`; where a kernel took its keys in another order,
    `taken` (parts, n) says which.

    `block` is how many keys a block of a paged cache holds; 0 where the keys lie in a row. `table`
    (parts, most) says which block of the pool is block j of a sequence. `load` is how many keys
    each load of a kernel brings, where its loads do not bring all keys; 0 otherwise. `at_once` is
    how many keys of a paged cache are in each tile of this order; 0 where that is not known.
    """

    q: NDArray[Any]
    k: NDArray[Any]
    v: NDArray[Any]
    scale: float
    explicit_scale: bool = False
    lengths: NDArray[Any] | None = None
    parts: int = 1
    part_name: str = "sequence"
    splits: int = 0
    starts: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    order: NDArray[np.intp] | None = None
    taken: NDArray[np.intp] | None = None
    block: int = 0
    table: NDArray[Any] | None = None
    load: int = 0
    at_once: int = 0

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

    @property
    def heads_a_part(self) -> int:
        """Query heads of one sequence."""
        return self.n_q_heads // self.parts

    @cached_property
    def row_lengths(self) -> NDArray[np.int64]:
        """How many keys each row (query head of a sequence) has, (Hq,)."""
        lengths = (
            np.full(self.parts, self.n)
            if self.lengths is None
            else np.asarray(self.lengths, np.int64)
        )
        return np.repeat(lengths, self.heads_a_part)

    @cached_property
    def counts(self) -> NDArray[np.bool_]:
        """Which keys count for which row, (Hq, n)."""
        return self.positions < self.row_lengths[:, None]

    @cached_property
    def positions(self) -> NDArray[np.intp]:
        """Which key each column of k and v holds, (n,)."""
        return np.arange(self.n) if self.order is None else self.order

    @cached_property
    def made(self) -> dict[tuple[str, int], States]:
        """The states of a method that were computed for tiles of a width, where they are small: a
        check asks for the same ones many times."""
        return {}

    def tiles(self, tile: int) -> int | None:
        """How many tiles of `tile` keys there are; None if the last would not be whole, and every
        key counts."""
        return None if self.lengths is None and self.n % tile else -(-self.n // tile)

    def fit(self, tile: int) -> Attention:
        """The same problem with n a multiple of `tile`: a batch gets that much more padding."""
        missing = -self.n % tile
        if not missing or self.lengths is None:
            return self
        k, v = (
            np.pad(x, ((0, 0), (0, 0), (0, missing)), constant_values=0) for x in (self.k, self.v)
        )
        more = np.arange(self.n, self.n + missing)
        order = None if self.order is None else np.concatenate([self.order, more])
        taken = None if self.taken is None else np.pad(self.taken, ((0, 0), (0, missing)), "edge")
        return replace(self, k=k, v=v, order=order, taken=taken)

    def keys_of(self, row: int, columns: slice) -> NDArray[np.intp]:
        """Which keys of the whole cache some columns of k and v hold for a row, in order."""
        if self.taken is not None:
            return np.unique(self.taken[row // self.heads_a_part, columns])
        return np.sort(self.positions[columns]) + self.first_key(row)

    def first_key(self, row: int) -> int:
        """The key at which a row's part begins."""
        return self.starts[row // self.heads_a_part] if self.starts else 0

    def label(self, row: int) -> str:
        """A row's name: "head 3", "sequence 1, head 3"; nothing where there is only one."""
        part, head = divmod(row, self.heads_a_part)
        names = (
            [f"{self.part_name} {self.numbers[part] if self.numbers else part}"]
            if self.parts > 1
            else []
        )
        return ", ".join(names + ([f"head {head}"] if self.heads_a_part > 1 else []))

    def scores(self) -> F64:
        """The scaled scores qk (Hq, n), in float64; -inf where a key does not count."""
        q = self.q.astype(np.float64).reshape(self.n_kv_heads, self.group, self.d)
        with np.errstate(all="ignore"):
            qk = self.scale * (q @ self.k.astype(np.float64)).reshape(self.n_q_heads, self.n)
        return qk if self.lengths is None else np.where(self.counts, qk, -np.inf)

    def values(self) -> F64:
        """V as every query head sees it, (Hq, d, n), in float64; 0 where a key does not count."""
        v = np.repeat(self.v.astype(np.float64), self.group, axis=0)
        return v if self.lengths is None else np.where(self.counts[:, None], v, 0.0)


@dataclass(frozen=True, eq=False)
class States:
    """The running state after every tile: tile_max, m, l are (T, H), acc is (T, H, d).

    As long as a row has seen no key that counts, its m is -inf, its l and acc are 0. What a kernel
    holds there is its own affair: `known` (T, H) leaves these out.
    """

    tile_max: F64
    m: F64
    l: F64
    acc: F64

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.m)


MOST_KEPT = 1 << 20
"""Bytes of the states that are kept with a problem."""


def _kept(
    method: str, compute: Callable[[Attention, int], States], attention: Attention, tile: int
) -> States:
    key = (method, tile)
    if key in attention.made:
        return attention.made[key]
    states = compute(attention.fit(tile), tile)
    if states.acc.nbytes <= MOST_KEPT:
        for array in (states.tile_max, states.m, states.l, states.acc):
            array.flags.writeable = False
        attention.made[key] = states
    return states


def online_states(attention: Attention, tile: int) -> States:
    """What a one-pass kernel holds after each tile: sums relative to the max so far."""
    return _kept("online", _online, attention, tile)


def _online(attention: Attention, tile: int) -> States:
    qk, v = attention.scores(), attention.values()
    n_tiles = attention.n // tile
    tile_max = qk.reshape(-1, n_tiles, tile).max(axis=2).T  # (T, H)
    m = np.maximum.accumulate(tile_max, axis=0)
    l, acc = np.zeros_like(m), np.zeros((*m.shape, attention.d))
    for t in range(n_tiles):
        keys = slice(t * tile, (t + 1) * tile)
        shift = _finite(m[t])
        p = np.exp(qk[:, keys] - shift[:, None])  # (H, tile)
        alpha = np.exp(m[t - 1] - shift) if t else np.zeros_like(m[0])
        l[t] = (l[t - 1] * alpha if t else 0.0) + p.sum(axis=1)
        acc[t] = (acc[t - 1] * alpha[:, None] if t else 0.0) + np.einsum(
            "hj,hdj->hd", p, v[:, :, keys]
        )
    return States(tile_max, m, l, acc)


def _finite(m: F64) -> F64:
    """m, and 0 where it is -inf: exp(-inf - 0) is the weight 0 of a key that does not count."""
    return np.where(np.isneginf(m), 0.0, m)


def pass_states(attention: Attention, tile: int) -> States:
    """What a kernel of several passes holds: the sums are relative to the max of all keys."""
    return _kept("passes", _in_passes, attention, tile)


def _in_passes(attention: Attention, tile: int) -> States:
    qk, v = attention.scores(), attention.values()
    n_tiles = attention.n // tile
    tile_max = qk.reshape(-1, n_tiles, tile).max(axis=2).T  # (T, H)
    p = np.exp(qk - _finite(qk.max(axis=1, keepdims=True))).reshape(-1, n_tiles, tile)
    pv = np.einsum("htj,hdtj->thd", p, v.reshape(*v.shape[:2], n_tiles, tile))
    return States(
        tile_max,
        np.maximum.accumulate(tile_max, axis=0),
        np.cumsum(p.sum(axis=2).T, axis=0),
        np.cumsum(pv, axis=0),
    )


def not_finite(arrays: Mapping[str, Any]) -> str | None:
    """A sentence about the first NaN or infinity among the arrays, or None."""
    for name, value in arrays.items():
        array = np.asarray(value, dtype=np.float64)
        bad = ~np.isfinite(array)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0]) if array.ndim else ()
            what = "NaN" if np.isnan(array[where]) else "infinity"
            at = f" at {list(where)}" if where else ""
            return (
                f"{name} holds {what}{at}: attention over it is not a number, so there is "
                "nothing to check."
            )
    return None
