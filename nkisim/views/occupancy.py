"""How full SBUF and PSUM are over a run, and who holds them: the step curves that every drawing of
memory shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..machine.counts import sums_by
from ..timeline import Timeline
from .reading import Reading, Tile


@dataclass
class Curve:
    """A memory over a run, cut into columns. `total[i]` holds from `edges[i]` to `edges[i + 1]`."""

    edges: NDArray[np.float64]
    """Instruction numbers, or modelled microseconds."""
    total: NDArray[np.int64]
    """Bytes per partition."""
    owners: dict[str, NDArray[np.int64]]
    """The same by the name of the tensors, if asked for."""
    folded: int
    """How many changes there were, if a column stands for several of them (it then shows its
    fullest moment); else 0."""


def unit_of(peak: int) -> tuple[str, int]:
    """In what to count a memory of which at most `peak` bytes per partition are in use: the unit,
    and how many bytes it is."""
    return ("B", 1) if peak < 4096 else ("KiB", 1024)


def spans(
    reading: Reading, timeline: Timeline | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """From when until when each use of a tensor lasts, and how long the run is: in instruction
    numbers, or in the microseconds of a model (from the start of the first instruction that touches
    it to the result of the last)."""
    if timeline is None:
        return reading.use_first.astype(float), reading.use_last + 1.0, float(len(reading))
    begin = timeline.start[reading.use_first] / 1e3
    end = np.maximum(begin, timeline.end[reading.use_last] / 1e3)
    return begin, end, float(timeline.end.max(initial=0.0)) / 1e3


def holders(
    reading: Reading, space: str, timeline: Timeline | None
) -> tuple[float, list[tuple[Tile, int]]]:
    """The fullest moment of `space`, and who holds it then, how many alike: most bytes per
    partition first."""
    wanted = np.array([t.space == space for t in reading.tiles], bool)[reading.use_tile]
    begin, end, _ = spans(reading, timeline)
    begin, end = begin[wanted], end[wanted]
    tile = reading.use_tile[wanted]
    sizes = np.array([t.partition_bytes for t in reading.tiles], np.int64)[tile]
    times, totals = _steps(begin, end, sizes)
    moment = float(times[int(np.argmax(totals))])
    numbers, counts = np.unique(tile[(begin <= moment) & (moment < end)], return_counts=True)
    found = [(reading.tiles[t], int(n)) for t, n in zip(numbers, counts, strict=True)]
    return moment, sorted(found, key=lambda f: -f[0].partition_bytes * f[1])


def held_at(
    reading: Reading, timeline: Timeline | None, records: Sequence[int]
) -> list[dict[int, int]]:
    """While each of `records` executes (by the model: when it starts), how many of each of the
    tiles hold memory."""
    begin, end, _ = spans(reading, timeline)
    moments = (
        np.asarray(records, float) + 0.5
        if timeline is None
        else timeline.start[list(records)] / 1e3
    )
    order = np.argsort(moments, kind="stable")
    coming, going = (
        np.argsort(begin, kind="stable").tolist(),
        np.argsort(end, kind="stable").tolist(),
    )
    first, last, tile = begin.tolist(), end.tolist(), reading.use_tile.tolist()
    held: dict[int, int] = {}
    out: list[dict[int, int]] = [{}] * len(records)
    i = j = 0
    for k in order.tolist():
        moment = float(moments[k])
        while i < len(coming) and first[coming[i]] <= moment:
            held[tile[coming[i]]] = held.get(tile[coming[i]], 0) + 1
            i += 1
        while j < len(going) and last[going[j]] <= moment:
            t = tile[going[j]]
            held[t] -= 1
            if not held[t]:
                del held[t]
            j += 1
        out[k] = dict(held)
    return out


def curve(
    reading: Reading, space: str, columns: int, timeline: Timeline | None = None, named: int = 0
) -> Curve:
    """The occupancy of `space` in at most `columns` columns: over instruction numbers, or over the
    time of a model.

    `named`: how many owners to tell apart, those first that hold most at the fullest moment, then
    those that hold most over the run; the others are added up.
    """
    wanted = np.array([t.space == space for t in reading.tiles], bool)[reading.use_tile]
    tile = reading.use_tile[wanted]
    sizes = np.array([t.partition_bytes for t in reading.tiles], np.int64)[tile]
    begin, end, length = spans(reading, timeline)
    begin, end = begin[wanted], end[wanted]
    times, totals = _steps(begin, end, sizes)
    at, edges = times, np.append(times, length)
    folded = 0
    if len(times) > columns:
        folded = len(times)
        edges = np.linspace(0.0, length, columns + 1)
        at = _fullest(times, totals, edges)
    result = Curve(edges, _value_at(times, totals, at), {}, folded)
    if named:
        names: dict[str, int] = {}
        numbers = np.array([names.setdefault(t.name, len(names)) for t in reading.tiles], np.int64)[
            tile
        ]
        fullest = float(times[int(np.argmax(totals))])
        there = (begin <= fullest) & (fullest < end)
        peak = sums_by(numbers, sizes * there, len(names))
        held = sums_by(numbers, sizes * (end - begin), len(names))
        ranked = [
            n
            for n in sorted(names, key=lambda n: (-peak[names[n]], -held[names[n]], n))
            if held[names[n]]
        ]
        alone = named if len(ranked) > named + 1 else len(ranked)
        for name in ranked[:alone]:
            mine = numbers == names[name]
            result.owners[name] = _value_at(*_steps(begin[mine], end[mine], sizes[mine]), at)
        if len(ranked) > alone:
            rest = result.total - np.sum(list(result.owners.values()), axis=0)
            result.owners[f"{len(ranked) - alone} others"] = rest
    return result


def _steps(
    begin: NDArray[np.float64], end: NDArray[np.float64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The moments at which the sum of the sizes held changes, from 0 on, and the sum from each of
    them on."""
    times, at = np.unique(np.concatenate([[0.0], begin, end]), return_inverse=True)
    change = np.zeros(len(times), np.int64)
    np.add.at(change, at[1 : len(begin) + 1], sizes)
    np.subtract.at(change, at[len(begin) + 1 :], sizes)
    return times, np.cumsum(change)


def _value_at(
    times: NDArray[np.float64], totals: NDArray[np.int64], at: NDArray[np.float64]
) -> NDArray[np.int64]:
    return totals[np.searchsorted(times, at, "right") - 1]


def _fullest(
    times: NDArray[np.float64], totals: NDArray[np.int64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A moment of each column at which the sum is largest."""
    all_times = np.concatenate([times, edges[:-1]])
    order = np.argsort(all_times, kind="stable")
    moments = all_times[order]
    values = _value_at(times, totals, moments)
    first = np.searchsorted(moments, edges[:-1], "left")
    last = np.append(first[1:], len(moments))
    return np.array(
        [moments[a + int(np.argmax(values[a:b]))] for a, b in zip(first, last, strict=True)]
    )
