"""From the writes to a named tensor to series of values: one per head, one value per update.

A tensor may hold one head or all, be made again for every head or started again, be written whole
or in slices. A `Lifetime` is the life of some elements from one start to the next; a series is one
element's, or one row's, updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention

F64 = NDArray[np.float64]
LOW = -1e6  # a max that is at or below this is a start, not a score


@dataclass(eq=False)
class Lifetime:
    """`updates` is (writes, elements), `start` what the elements held before (None: nothing)."""

    coordinates: NDArray[np.intp]  # (elements, axes)
    shape: tuple[int, ...]
    start: F64 | None
    updates: F64
    indices: list[int]  # of the instructions that wrote
    allocation: int


def lifetimes(
    writes: Sequence[Any], name: str, tensor: str, instructions: Sequence[Any], batch: bool = False
) -> list[Lifetime]:
    """The writes to the tensors called `tensor`, which hold the quantity `name` (m, l or acc),
    split where elements start again, in the order of their first update.

    In a batch a sequence may have no keys, and its m stays as low as it starts: there, only a low m
    that follows on a score starts again.
    """
    found: list[Lifetime] = []
    for allocation in sorted({w.allocation for w in writes}):
        own = [w for w in writes if w.allocation == allocation and not _inverts(w, instructions)]
        if not own:
            continue
        shape = own[0].value.shape
        touched = np.stack([_region(w, shape).reshape(-1) for w in own])  # (writes, elements)
        values = np.stack([np.asarray(w.value, np.float64).reshape(-1) for w in own])
        fills = [_is_fill(w, tensor, instructions) for w in own]
        for elements in _alike(touched):
            events = [i for i in range(len(own)) if touched[i, elements[0]]]
            found += _split(events, elements, shape, values, fills, own, name, batch)
    return sorted(found, key=lambda e: e.indices[0])


def _alike(touched: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Groups of elements that the same writes touched; elements that none touched are left out."""
    if touched.all():
        return [np.arange(touched.shape[1])]
    groups: dict[bytes, list[int]] = {}
    for element in range(touched.shape[1]):
        groups.setdefault(touched[:, element].tobytes(), []).append(element)
    return [np.array(group) for group in groups.values() if touched[:, group[0]].any()]


def _split(
    events: list[int],
    elements: NDArray[np.intp],
    shape: tuple[int, ...],
    values: F64,
    fills: list[bool],
    writes: Sequence[Any],
    name: str,
    batch: bool,
) -> list[Lifetime]:
    coordinates = np.stack(np.unravel_index(elements, shape), axis=1)
    found: list[Lifetime] = []
    start: F64 | None = None
    updates: list[int] = []

    def close() -> None:
        if updates:
            found.append(
                Lifetime(
                    coordinates,
                    shape,
                    start,
                    values[updates][:, elements],
                    [writes[i].index for i in updates],
                    writes[0].allocation,
                )
            )

    for i in events:
        value = values[i, elements]
        low = (
            bool(np.all(value <= LOW))
            if name == "m"
            else i == events[0] != events[-1] and bool(np.all(value == 0))
        )
        if low and name == "m" and batch and start is not None and not fills[i]:
            low = bool(updates) and not np.all(values[updates[-1], elements] <= LOW)
        if fills[i] or low:
            close()
            updates = []
            start = value
        else:
            updates.append(i)
    close()
    return found


def _region(write: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    region = write.region
    return np.ones(shape, bool) if region is None else np.asarray(region, bool)


def _is_fill(write: Any, tensor: str, instructions: Sequence[Any]) -> bool:
    """Whether a constant was written."""
    if not 0 <= write.index < len(instructions):
        return False
    instruction = instructions[write.index]
    found: bool = instruction.op == "memset" and instruction.dst[0].name == tensor
    return found


def _inverts(write: Any, instructions: Sequence[Any]) -> bool:
    """Whether 1 / l was written over l, for the division: no update, but what is made of it."""
    if not 0 <= write.index < len(instructions):
        return False
    made = instructions[write.index]
    return bool(made.op == "reciprocal" and made.srcs[0].name == made.dst[0].name)


def scalar_rows(found: Sequence[Lifetime]) -> tuple[list[F64], list[float]]:
    """One series (writes,) and one start an element; a broadcast, the same series in all elements,
    counts once."""
    rows = [e.updates[:, i] for e in found for i in range(e.updates.shape[1])]
    starts = [
        -np.inf if e.start is None else float(e.start[i])
        for e in found
        for i in range(e.updates.shape[1])
    ]
    if len(found) == 1 and all(np.array_equal(rows[0], r, equal_nan=True) for r in rows[1:]):
        return rows[:1], starts[:1]
    return rows, starts


def folded(found: list[Lifetime], name: str, attention: Attention) -> list[Lifetime]:
    """Lifetimes with one element per head where a kernel has its keys on the partitions: m is then
    the same on every lane, and l one sum per lane, or the whole sum on every lane. Left as they are
    where they hold no more elements than heads, there are no more lanes than heads, or m differs
    between lanes."""
    if sum(e.updates.shape[1] for e in found) <= attention.n_q_heads:
        return found
    columns: list[list[NDArray[np.intp]]] = []
    for e in found:
        lanes = len(np.unique(e.coordinates[:, 0]))
        places, of = np.unique(e.coordinates[:, 1:], axis=0, return_inverse=True)
        if lanes <= attention.heads_a_part or lanes * len(places) != len(e.coordinates):
            return found
        columns.append([np.flatnonzero(of.reshape(-1) == c) for c in range(len(places))])
    pairs = [(e, o) for e, own in zip(found, columns, strict=True) for o in own]
    alike = all((e.updates[:, o] == e.updates[:, o[:1]]).all() for e, o in pairs)
    if name == "m" and not alike:
        return found
    most = max(float(e.updates[:, o].sum(axis=1).max()) for e, o in pairs)
    whole = alike and (name == "m" or most > attention.n or _differ(attention))

    def of_lanes(values: F64, own: Sequence[NDArray[np.intp]]) -> F64:
        return np.stack([values[..., o[:1] if whole else o].sum(axis=-1) for o in own], axis=-1)

    return [
        Lifetime(
            e.coordinates[[o[0] for o in own]],
            e.shape,
            None if e.start is None else of_lanes(e.start, own),
            of_lanes(e.updates, own),
            e.indices,
            e.allocation,
        )
        for e, own in zip(found, columns, strict=True)
    ]


def _differ(attention: Attention) -> bool:
    """Whether a head has scores that differ, so that the sums of lanes do."""
    scores = attention.scores()
    known = np.isfinite(scores)
    top = np.where(known, scores, -np.inf).max(axis=1)
    return bool((top > np.where(known, scores, np.inf).min(axis=1)).any())


def as_often(sums: list[Lifetime], maxima: Sequence[Lifetime]) -> list[Lifetime]:
    """The lifetimes of l or acc, those of a tensor joined that fall to one of m where it starts
    again less often: a sum that is cleared in every tile is still that of one head."""
    if len(sums) <= len(maxima):
        return sums
    joined: dict[Any, Lifetime] = {}
    for e in sums:
        first, last = e.indices[0], e.indices[-1]
        apart = [max(m.indices[0] - last, first - m.indices[-1], 0) for m in maxima]
        key = apart.index(min(apart)), e.allocation, e.coordinates.tobytes()
        if key in joined:
            e.updates = np.concatenate([joined[key].updates, e.updates])
            e.indices = [*joined[key].indices, *e.indices]
        joined[key] = e
    return list(joined.values())


def vector_rows(found: Sequence[Lifetime], d: int) -> list[F64]:
    """One series (writes, d) a row; none if no axis has d elements."""
    rows: list[F64] = []
    for lifetime in found:
        axes = [axis for axis, size in enumerate(lifetime.shape) if size == d]
        if not axes:
            return []
        others = np.delete(lifetime.coordinates, axes[-1], axis=1)
        for key in np.unique(others, axis=0):
            own = np.flatnonzero((others == key).all(axis=1))
            own = own[np.argsort(lifetime.coordinates[own, axes[-1]], kind="stable")]
            if len(own) == d:
                rows.append(lifetime.updates[:, own])
    return rows


def align(series: F64, n_tiles: int, early: bool = False) -> tuple[F64, NDArray[np.bool_]]:
    """The last of each tile's updates (T, ...), and for which tiles there is one.

    Updates after the last tile's are left out. A single one among many tiles is the last tile's,
    unless the updates end `early`.
    """
    count, tiles = len(series), np.arange(n_tiles)
    if count >= n_tiles:
        step = count // n_tiles
        return series[step - 1 : step * n_tiles : step], tiles >= 0
    missing = np.full((n_tiles - count, *series.shape[1:]), np.nan)
    if count == 1 and not early:
        return np.concatenate([missing, series]), tiles == n_tiles - 1
    return np.concatenate([series, missing]), tiles < count


def unroll(series: list[F64], n_tiles: int, n_heads: int, want: F64) -> list[F64] | None:
    """The series of all heads (T, ...), where the heads took turns on fewer rows; None if they did
    not.

    Who came when is what fits `want` (T, H, ...) best: head after head, or all heads of a tile;
    neighbouring heads on a row, or heads a stride apart.
    """
    turns = n_heads // max(len(series), 1)
    if (
        len(series) >= n_heads
        or len(series) * turns != n_heads
        or len({len(s) for s in series}) != 1
    ):
        return None
    step, rest = divmod(len(series[0]), n_tiles * turns)
    if rest or not step:
        return None
    taken = np.stack(series)[:, step - 1 :: step]  # (rows, T * turns, ...)
    tail = taken.shape[2:]
    by_head = taken.reshape(len(series), turns, n_tiles, *tail)
    by_tile = taken.reshape(len(series), n_tiles, turns, *tail).swapaxes(1, 2)
    best: tuple[int, list[F64]] | None = None
    for made in (by_head, by_tile):
        for ordered in (made, made.swapaxes(0, 1)):
            heads = ordered.reshape(n_heads, n_tiles, *tail)
            fits = int(close_each(heads, want.swapaxes(0, 1), 2).sum())
            if best is None or fits > best[0]:
                best = fits, list(heads)
    assert best is not None
    return best[1]


def close(got: Any, want: Any) -> bool:
    """Whether two states are the same up to 16-bit rounding; where `want` is NaN, any state is."""
    return bool(close_each(got, np.asarray(want), 0).all())


def close_each(got: Any, want: NDArray[Any], axes: int) -> NDArray[np.bool_]:
    """`close` of each of the states that so many leading axes number. `got` may have more of
    them."""
    rest = tuple(range(axes - want.ndim, 0))
    with np.errstate(all="ignore"):
        largest = np.fmax.reduce(np.abs(want), axis=rest, initial=1e-6, keepdims=True)
        near = (np.abs(got - want) <= 1e-2 * largest) | np.isnan(want)
    return np.asarray(near.all(axis=rest))
