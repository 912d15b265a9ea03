"""The keys of a paged cache in the order in which a kernel took them: from the blocks and positions
that its loads picked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention

Keys = NDArray[np.intp]


class Pool(NamedTuple):
    """The sizes of a pool of blocks: (n_blocks, Hkv, block, d)."""

    blocks: int
    heads: int
    block: int
    d: int


class Picked(NamedTuple):
    """The rows of the pool that one load picked, in the shape of its tile without d: block, head
    and position of each, and whether it was read at all."""

    block: Keys
    head: Keys
    position: Keys
    read: NDArray[np.bool_]


class Order(NamedTuple):
    """The keys, first taken first; how many a load has room for, where the loads do not bring all,
    else 0; and how many keys are taken at once, in this order."""

    keys: Keys
    load: int
    at_once: int


def orders(run: Any, whole: Attention) -> list[Order]:
    """The orders in which a kernel may visit the keys, by the loads of a sequence that bring its
    keys, or most of them: those of a load together, or some positions of every block after
    others. None where no sequence's loads do, or the run did not keep what indices picked."""
    if whole.table is None or whole.lengths is None:
        return []
    loads = [made for made in _loads(run) if made.read.any()]
    for b in np.argsort(-np.asarray(whole.lengths), kind="stable"):
        length = int(whole.lengths[b])
        if length:
            own = [keys for made in loads if (keys := _keys(made, whole, int(b))) is not None]
            window = _most(own, length)
            if window is not None and _overlap(own, window, length):
                return []
            if window is not None:
                brought = sum(int(((keys >= 0) & (keys < length)).sum()) for keys in window)
                short = window[0].size if brought < length else 0
                wide = max(keys.shape[1] if keys.ndim == 2 else 1 for keys in window)
                lanes = window[0].size // wide
                steps = [s for s in range(1, wide) if not wide % s]
                ways = [(wide, False), *((s, back) for s in steps for back in (False, True))]
                filled = [(_filled(window, whole, *way), lanes * way[0]) for way in ways]
                return [Order(keys, short, size) for keys, size in filled if keys is not None]
    return []


def missed(run: Any, whole: Attention) -> tuple[int, int, int] | None:
    """The first sequence of which a kernel loads less than all keys of its first KV head: which,
    how many it loads, and how many there are; None where there is none, or that is not known."""
    if whole.table is None or whole.lengths is None or not run.traces:
        return None
    loads = list(_loads(run))
    own = [made.read & (made.head == 0) for made in loads]
    read = {
        pair
        for made, alive in zip(loads, own, strict=True)
        for pair in zip(made.block[alive].tolist(), made.position[alive].tolist(), strict=True)
    }
    for b, length in enumerate(map(int, whole.lengths)):
        keys = ((int(whole.table[b, j // whole.block]), j % whole.block) for j in range(length))
        loaded = sum(key in read for key in keys)
        if loaded < length:
            return b, loaded, length
    return None


def _loads(run: Any) -> Iterator[Picked]:
    """The loads from K's pool, which is the first input with four axes."""
    for program in run.programs:
        pools = [b for b in program.buffers if b.role == "input" and len(b.meta.shape) == 4]
        indices = program.tape.indices or {}
        for at, record in program.tape.placed():
            chosen = indices.get(at, {})
            for k, operand in enumerate(record.srcs):
                if pools and operand.buffer is pools[0] and chosen.get(k) is not None:
                    yield _picked(chosen[k], chosen.get(-2), Pool(*pools[0].meta.shape))


def _picked(places: Any, kept: Any, pool: Pool) -> Picked:
    """The rows at these places of a pool, of one head."""
    rows = places[..., 0] // pool.d
    read = np.ones(rows.shape, bool)
    if kept is not None and kept.shape == places.shape:
        read = kept[..., 0]
    head = rows // pool.block % pool.heads
    for axis in range(rows.ndim - 1, 0, -1):  # heads may lie along an axis: the first will do
        heads = np.moveaxis(head, axis, 0)
        alive = np.moveaxis(read, axis, 0)
        if any((x[y] != heads[0][y]).any() for x, y in zip(heads, alive, strict=True)):
            rows, read, head = (np.take(x, 0, axis) for x in (rows, read, head))
    return Picked(rows // (pool.block * pool.heads), head, rows % pool.block, read)


def _keys(made: Picked, whole: Attention, b: int) -> Keys | None:
    """The keys of sequence b that a load brought, in the shape of its tile, -1 where a row was not
    read; None where it brought something else, or another head's."""
    assert whole.table is not None and whole.lengths is not None
    used = -(-int(whole.lengths[b]) // whole.block)
    entry = {int(block): j for j, block in enumerate(whole.table[b, :used])}
    if any(made.head[made.read]) or any(int(x) not in entry for x in made.block[made.read]):
        return None
    keys = np.full(made.read.shape, -1, np.intp)
    first = np.array([entry[int(x)] for x in made.block[made.read]]) * whole.block
    keys[made.read] = first + made.position[made.read]
    return keys


def _most(own: Sequence[Keys], length: int) -> list[Keys] | None:
    """The loads one after another that bring most of the keys that count, each once; of several
    such stretches, as where sequences share blocks, the one that turns round least often. None
    where they bring less than half."""
    parts = [keys[(keys >= 0) & (keys < length)].tolist() for keys in own]
    found: list[tuple[int, int, int, int]] = []
    for start in range(len(own)):
        seen: set[int] = set()
        end = start
        while end < len(own) and len(seen) < length and not seen & set(parts[end]):
            if len(set(parts[end])) < len(parts[end]):
                break
            seen.update(parts[end])
            end += 1
        turns = _turns(own[start:end])
        found.append((-len(seen), turns, start, end))
        if end == len(own) or (len(seen) == length and not turns):
            break  # later stretches are parts of this one, or it cannot be better
    most, _, start, end = min(found, default=(0, 0, 0, 0))
    return list(own[start:end]) if -most > length // 2 else None


def _overlap(own: Sequence[Keys], window: Sequence[Keys], length: int) -> bool:
    """Whether a load brings keys that those of the window brought, and others besides."""
    parts = [{key for key in keys.ravel().tolist() if 0 <= key < length} for keys in own]
    seen = {key for keys in window for key in keys.ravel().tolist()}
    return any(keys & seen and keys - seen for keys in parts)


def _turns(loads: Sequence[Keys]) -> int:
    """How often loads change between going up and going down."""
    signs = np.sign(np.diff([keys.max() for keys in loads]))
    return int((signs[1:] != signs[:-1]).sum())


def _filled(loads: list[Keys], whole: Attention, at_once: int, back: bool) -> Keys | None:
    """The keys of these loads, so many positions of every lane at once, the last first where it
    goes `back`, and where rows were not read those that belong there; then those of loads that read
    nothing, which come first where a kernel goes from the last block to the first."""
    assert whole.table is not None
    steps = _steps(loads)
    if steps is None:
        return None
    lanes = max(len(keys) for keys in loads)
    loads = [_as_long(keys, lanes) for keys in loads]  # the last may be shorter
    size, held = loads[0].size, whole.table.shape[1] * whole.block
    if steps[0] == whole.block:  # a lane holds a block, of which a load may bring some positions
        size = lanes * whole.block
    n = min(-(-held // size) * size, whole.n)
    taken = np.concatenate([_in_steps(_extended(keys, steps), at_once, back) for keys in loads])
    taken = taken[(taken >= 0) & (taken < n)]
    if len(np.unique(taken)) < len(taken):
        return None
    rest = np.setdiff1d(np.arange(n), taken)
    if len(loads) < 2 or loads[0].max() < loads[-1].max():
        return np.concatenate([taken, rest])
    first = np.split(rest, range(len(rest) % size, len(rest), size))
    return np.concatenate([*first[::-1], taken]).astype(np.intp)


def _in_steps(keys: Keys, at_once: int, back: bool) -> Keys:
    """A load's keys in a row, so many positions of every lane after another."""
    if keys.ndim != 2 or keys.shape[1] % at_once:
        return keys.reshape(-1)
    steps = keys.reshape(len(keys), -1, at_once).swapaxes(0, 1)
    return steps[:: -1 if back else 1].reshape(-1)


def _as_long(keys: Keys, lanes: int) -> Keys:
    return np.pad(keys, [(0, lanes - len(keys))] + [(0, 0)] * (keys.ndim - 1), constant_values=-1)


def _steps(loads: Sequence[Keys]) -> list[int] | None:
    """How far a key is from the next along each axis of a load; None where that differs."""
    found = []
    for axis in range(loads[0].ndim):
        steps: set[int] = set()
        for keys in loads:
            if keys.ndim != loads[0].ndim:
                return None
            along = np.moveaxis(keys, axis, 0)
            both = (along[1:] >= 0) & (along[:-1] >= 0)
            steps.update((along[1:] - along[:-1])[both].tolist())
        if len(steps) > 1:
            return None
        found.append(next(iter(steps), 0))
    return found


def _extended(keys: Keys, steps: Sequence[int]) -> Keys:
    """A load's keys with those that belong where a row was not read."""
    places = np.indices(keys.shape)
    own = np.zeros(keys.shape, np.intp)
    for place, step in zip(places, steps, strict=True):
        own += place * step
    known = np.argwhere(keys >= 0)[0]
    made: Keys = keys[tuple(known)] + own - own[tuple(known)]
    return np.where(keys >= 0, keys, made if _moves(keys, steps) else -1)


def _moves(keys: Keys, steps: Sequence[int]) -> bool:
    """Whether the steps are known along every axis that has several keys."""
    return all(step for size, step in zip(keys.shape, steps, strict=True) if size > 1)
