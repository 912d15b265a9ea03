"""The keys that a kernel read, in their order: from its loads of K."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..reference import splitting
from ..reference.attention import Attention
from . import blocks

Keys = NDArray[np.intp]


class Load(NamedTuple):
    """One load of K: the program instance that made it, the KV head (of all sequences) and the
    keys."""

    instance: int
    head: int
    keys: Keys


def loads(run: Any, name: str, d: int, n: int) -> list[Load]:
    """The loads of the HBM tensor `name`, (..., d, n), in order; those that read several heads
    count for each."""
    found: list[Load] = []
    before = 0
    for program in run.programs:
        for at, record in program.tape.placed():
            for buffer, offset, meta in record.srcs if record.signature.read else ():
                if meta.space == "hbm" and buffer.label == name and buffer.role == "input":
                    started = int(np.searchsorted(program.instances, at, side="right"))
                    heads, keys = _read(offset, meta.shape, meta.strides, d, n)
                    found += [Load(before + started - 1, head, keys) for head in heads]
        before += max(len(program.instances), 1)
    return found


@lru_cache(maxsize=4096)
def _read(
    first: int, shape: tuple[int, ...], strides: tuple[int, ...], d: int, n: int
) -> tuple[list[int], Keys]:
    """The heads and the keys of one view, whose axes step from key to key, from row to row of a
    head, or from head to head. Kept, as the cases of a check read alike."""
    keys = np.array([first % n])
    heads = np.array([first // (d * n)])
    for size, stride in zip(shape, strides, strict=True):
        steps = np.arange(size) * stride
        if stride % (d * n) == 0:
            heads = (heads[:, None] + steps // (d * n)).reshape(-1)
        elif stride % n:
            keys = (keys[:, None] + steps).reshape(-1)
    keys = np.unique(keys)
    keys.flags.writeable = False
    return np.unique(heads).tolist(), keys


def tiles(made: Sequence[Load], n: int) -> list[Keys] | None:
    """The keys of each load of one head, until all are read; None where heads differ or some keys
    are not read once."""
    orders = [_until(n, own) for own in _of_heads(made)]
    if not orders or any(not _same(orders[0], other) for other in orders[1:]):
        return None
    return orders[0] if complete(orders[0], n) else None


def _of_heads(made: Sequence[Load]) -> list[list[Keys]]:
    """The keys of each load of a head, a list for every head, that of the first load first."""
    by_head: dict[int, list[Keys]] = {}
    for load in made:
        by_head.setdefault(load.head, []).append(load.keys)
    return list(by_head.values())


def _until(n: int, own: Sequence[Keys]) -> list[Keys]:
    """The first loads, until they have so many keys."""
    before = np.cumsum([0, *map(len, own)])
    return [keys for keys, have in zip(own, before, strict=False) if have < n]


def together(made: Sequence[Load]) -> bool:
    """Whether the loads come back to a head after those of another one, for keys that it has not
    read before: then the heads do not come one after another, and each must have its own state."""
    first = dict.fromkeys((load.head, int(load.keys[0])) for load in made if not load.instance)
    heads = [head for head, _ in first]
    turns = [head for head, before in zip(heads, [None, *heads], strict=False) if head != before]
    return len(turns) > len(set(turns))


def dealt(made: Sequence[Load], n: int) -> list[list[Keys]] | None:
    """The tiles of each program instance, by the loads of the first KV head; None where a key is
    not read once."""
    instances = [load.instance for load in made]
    if not instances:
        return None
    found: list[list[Keys]] = [[] for _ in range(max(instances) + 1)]
    for load in made:
        if load.head == made[0].head:
            found[load.instance].append(load.keys)
    return found if complete([keys for own in found for keys in own], n) else None


def complete(order: Sequence[Keys], n: int) -> bool:
    """Whether every key is there once."""
    return bool(
        np.array_equal(np.sort(np.concatenate([*order, np.zeros(0, np.intp)])), np.arange(n))
    )


def _same(a: Sequence[Keys], b: Sequence[Keys]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def as_read(run: Any, whole: Attention, views: Sequence[Attention]) -> list[Attention | None]:
    """The views of a problem with the keys in the order in which a kernel took them, the likeliest
    first; None where that order is unknown.

    A kernel shows its order by its loads of K. Loads of unequal width are followed only where the
    last is the narrow one.
    """
    if run is None:
        return list(views)
    if whole.block:
        found = blocks.orders(run, whole)
        if not found:
            return [None, whole]  # it read other blocks, or nobody kept which
        straight = np.arange(whole.n)
        return [
            replace(
                whole if np.array_equal(keys, straight) else _taken(whole, keys),
                load=load,
                at_once=at_once,
            )
            for keys, load, at_once in found
        ]
    made = loads(run, _k_name(run, whole), whole.d, whole.n)
    if whole.splits:
        parts = dealt(made, whole.n)
        if parts is None or len(parts) > whole.splits or len(parts) < len(views[0].numbers):
            return list(views)
        keys = [np.concatenate([*own, np.zeros(0, np.intp)]) for own in parts]
        return [splitting.held(whole, keys), *views]
    order = tiles(made, whole.n)
    if order is None:
        return _of_some(whole, made, views) if made else list(views)
    again = [load.keys for load in made if load.head == made[0].head]
    passes = [again[i : i + len(order)] for i in range(0, len(again), len(order))]
    if any(complete(own, whole.n) and not _same(own, order) for own in passes):
        return [None]  # the passes take them in different orders
    taken, width = np.concatenate(order), len(order[0])
    even = len({len(keys) for keys in order[:-1]}) < 2 and len(order[-1]) <= width
    if even and whole.n % width and whole.lengths is None:
        whole = replace(whole, lengths=np.full(whole.parts, whole.n))  # the last tile is narrower
        views = [whole]
    if np.array_equal(taken, np.arange(whole.n)):
        return list(views)
    return [_taken(whole, taken) if even else None]


def _of_some(
    whole: Attention, made: Sequence[Load], views: Sequence[Attention]
) -> list[Attention | None]:
    """The views where the loads do not bring every key once. Tiles of equal width come in their
    order, and the keys of no load after them; else the order is unknown, unless a view fits all the
    same: what was read twice may have been masked."""
    own, *others = _of_heads(made)
    seen: set[int] = set()
    once: list[Keys] = []
    for keys in own:
        if seen & set(keys.tolist()):
            break
        seen |= set(keys.tolist())
        once.append(keys)
    again = [keys for _ in range(len(own) // len(once)) for keys in once]
    alike = all(_same(again, other) for other in (own, *others))
    if not alike or len({len(keys) for keys in once}) > 1:
        return [None, *views]
    rest = np.setdiff1d(np.arange(whole.n), np.concatenate(once))
    taken = np.concatenate([*once, rest])
    return list(views) if np.array_equal(taken, np.arange(whole.n)) else [_taken(whole, taken)]


def _taken(whole: Attention, order: Keys) -> Attention:
    return replace(whole, k=whole.k[..., order], v=whole.v[..., order], order=order)


def _k_name(run: Any, attention: Attention) -> str:
    """What the kernel calls K: its first input of K's shape."""
    shape = (attention.d, attention.n)
    for program in run.programs:
        for buffer in program.buffers:
            if buffer.role == "input" and tuple(buffer.meta.shape[-2:]) == shape:
                return str(buffer.label)
    return ""
