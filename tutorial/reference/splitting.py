"""Splits of the keys: which tiles each visits, and the merge of their states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .attention import Attention

F32 = NDArray[np.float32]
RIGHT = ("all", "even")
"""The usual ways to deal out tiles: as many as there are tiles per split, rounded up; or sizes that
differ by one at most."""
DEALS = (*RIGHT, "strided")
"""And one more: split s has the tiles s, s + S, s + 2 S, ..."""


@dataclass(frozen=True, eq=False)
class State:
    """What attention over some keys leaves: m (rows, 1), l (rows, 1), acc (rows, d); o = acc / l
    once all keys are in."""

    m: F32
    l: F32
    acc: F32


def identity(rows: int, d: int) -> State:
    """The state of no keys: merged with it, any state stays as it is."""
    return State(
        np.full((rows, 1), -np.inf, np.float32),
        np.zeros((rows, 1), np.float32),
        np.zeros((rows, d), np.float32),
    )


def merged(a: State, b: State) -> State:
    """The state of the keys of both. Associative and commutative, up to rounding; its identity is
    (-inf, 0, 0)."""
    m = np.maximum(a.m, b.m)
    shift = np.where(np.isneginf(m), np.float32(0), m)
    alpha, beta = np.exp(a.m - shift), np.exp(b.m - shift)
    return State(m, a.l * alpha + b.l * beta, a.acc * alpha + b.acc * beta)


def tiles(n_tiles: int, n_splits: int, rule: str = "all") -> list[range]:
    """The tiles of every split, by one of the `DEALS`."""
    up = math.ceil(n_tiles / n_splits)
    ranges = {
        "all": lambda s: range(min(s * up, n_tiles), min((s + 1) * up, n_tiles)),
        "even": lambda s: range(s * n_tiles // n_splits, (s + 1) * n_tiles // n_splits),
        "strided": lambda s: range(s, n_tiles, n_splits),
    }
    return [ranges[rule](s) for s in range(n_splits)]


def held(whole: Attention, keys: Sequence[NDArray[np.intp]]) -> Attention:
    """What the splits hold whose keys these are, in the order in which they take them: one row per
    split with keys and query head."""
    dealt = {s: own for s, own in enumerate(keys) if len(own)}
    most = max(map(len, dealt.values()))
    k, v = (np.zeros((len(dealt), *x.shape[:2], most), np.float32) for x in (whole.k, whole.v))
    taken = np.zeros((len(dealt), most), np.intp)
    for s, own in enumerate(dealt.values()):
        k[s, ..., : len(own)], v[s, ..., : len(own)] = whole.k[..., own], whole.v[..., own]
        taken[s] = np.pad(own, (0, most - len(own)), "edge")
    in_a_row = all((np.diff(own) == 1).all() for own in dealt.values())
    return replace(
        whole,
        q=np.tile(whole.q, (len(dealt), 1)),
        k=k.reshape(-1, whole.d, most),
        v=v.reshape(-1, whole.d, most),
        lengths=np.array([len(own) for own in dealt.values()]),
        parts=len(dealt),
        part_name="split",
        starts=tuple(int(own[0]) for own in dealt.values()),
        numbers=tuple(dealt),
        taken=None if in_a_row else taken,
    )
