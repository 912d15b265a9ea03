"""How full SBUF and PSUM are over a run, and who holds them: the step curves that every drawing of memory shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .reading import Reading

if TYPE_CHECKING:
    from ..timeline import Timeline


@dataclass
class Curve:
    """A memory over a run, cut into columns. `total[i]` holds from `edges[i]` to `edges[i + 1]`."""

    edges: NDArray[np.float64]
    """Instruction numbers, or modelled microseconds."""
    total: NDArray[np.int64]
    """Bytes a partition."""
    owners: dict[str, NDArray[np.int64]]
    """The same by the name of the tensors, the largest first."""
    folded: int
    """How many changes there were, if a column stands for several of them (it then shows its fullest moment); else 0."""


def curve(reading: Reading, space: str, columns: int, timeline: Timeline | None = None) -> Curve:
    """The occupancy of `space` in at most `columns` columns: over instruction numbers, or over the time of a model."""
    wanted = np.array([t.space == space for t in reading.tiles], bool)[reading.use_tile]
    tile = reading.use_tile[wanted]
    sizes = np.array([t.partition_bytes for t in reading.tiles], np.int64)[tile]
    if timeline is None:
        begin, end = reading.use_first[wanted].astype(float), reading.use_last[wanted] + 1.0
        length = float(len(reading))
    else:
        begin, end = timeline.start[reading.use_first[wanted]] / 1e3, timeline.end[reading.use_last[wanted]] / 1e3
        end = np.maximum(begin, end)
        length = float(timeline.end.max(initial=0.0)) / 1e3
    times, totals = _steps(begin, end, sizes)
    at, edges = times, np.append(times, length)
    folded = 0
    if len(times) > columns:
        folded = len(times)
        edges = np.linspace(0.0, length, columns + 1)
        at = _fullest(times, totals, edges)
    names: dict[str, list[int]] = {}
    for number, t in enumerate(reading.tiles):
        if t.space == space:
            names.setdefault(t.name, []).append(number)
    owners = {}
    for name, numbers in names.items():
        mine = np.isin(tile, numbers)
        owners[name] = _value_at(*_steps(begin[mine], end[mine], sizes[mine]), at)
    ranked = dict(sorted(owners.items(), key=lambda kv: (-int(kv[1].max(initial=0)), -int(kv[1].sum()), kv[0])))
    return Curve(edges, _value_at(times, totals, at), ranked, folded)


def largest(owners: dict[str, NDArray[np.int64]], most: int) -> dict[str, NDArray[np.int64]]:
    """The `most` largest owners, the others added up as "N others"."""
    if len(owners) <= most + 1:
        return owners
    names = list(owners)
    rest = np.sum([owners[name] for name in names[most:]], axis=0)
    return {**{name: owners[name] for name in names[:most]}, f"{len(names) - most} others": rest}


def _steps(begin: NDArray[np.float64], end: NDArray[np.float64],
           sizes: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The moments at which the sum of the sizes held changes, from 0 on, and the sum from each of them on."""
    times, at = np.unique(np.concatenate([[0.0], begin, end]), return_inverse=True)
    change = np.zeros(len(times), np.int64)
    np.add.at(change, at[1:len(begin) + 1], sizes)
    np.subtract.at(change, at[len(begin) + 1:], sizes)
    return times, np.cumsum(change)


def _value_at(times: NDArray[np.float64], totals: NDArray[np.int64], at: NDArray[np.float64]) -> NDArray[np.int64]:
    return totals[np.searchsorted(times, at, "right") - 1]


def _fullest(times: NDArray[np.float64], totals: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """A moment of each column at which the sum is largest."""
    all_times = np.concatenate([times, edges[:-1]])
    order = np.argsort(all_times, kind="stable")
    moments = all_times[order]
    values = _value_at(times, totals, moments)
    first = np.searchsorted(moments, edges[:-1], "left")
    last = np.append(first[1:], len(moments))
    return np.array([moments[a + int(np.argmax(values[a:b]))] for a, b in zip(first, last, strict=True)])
