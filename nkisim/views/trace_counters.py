"""The counters of a trace file: memory in use, and the rate of HBM traffic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..timeline import Timeline
from .occupancy import curve, unit_of
from .reading import SPACES, Reading

PID = 10
"""The process. No thread has its number: Perfetto would call that one the main thread."""
Event = tuple[int, int, str]
"""When (ns), its order among equals, its text."""
json_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def us(ns: int) -> str:
    """Nanoseconds as microseconds, exactly."""
    return f"{ns // 1000}.{ns % 1000:03d}"


def grid(times: NDArray[np.float64]) -> list[int]:
    """Times in whole nanoseconds."""
    found: list[int] = np.rint(times).astype(np.int64).tolist()
    return found


def counters(timeline: Timeline, reading: Reading, columns: int) -> list[Iterator[Event]]:
    """SBUF and PSUM in use, and the rate of HBM traffic while data moves: each in order of time, in
    at most so many columns."""
    found = []
    for space in SPACES:
        c = curve(reading, space, columns, timeline)
        unit, per = unit_of(int(c.total.max(initial=0)))
        many = "" if reading.cores == 1 else f" of {reading.cores} cores"
        found.append(
            _counter(
                f"{space.upper()} in use",
                f"({unit} per partition{many})",
                grid(c.edges[:-1] * 1e3),
                (c.total / per).tolist(),
            )
        )
    times, rate = _in_columns(*hbm_rate(timeline, reading), columns)
    found.append(_counter("HBM traffic (model)", "GB/s", grid(times), np.round(rate, 3).tolist()))
    return found


def _in_columns(
    times: NDArray[np.float64], rate: NDArray[np.float64], columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean rate of at most so many columns of time."""
    if len(times) <= columns:
        return times, rate
    edges = np.linspace(0.0, times[-1], columns)
    moved = np.concatenate([[0.0], np.cumsum(np.diff(times) * rate[:-1])])
    mean = np.diff(np.interp(edges, times, moved)) / np.diff(edges)
    return edges, np.append(mean, rate[-1])


def hbm_bytes(reading: Reading) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The HBM bytes that each record reads, and writes. All of one kind move alike: a record that a
    mask makes special has its own signature."""
    read = np.array([record.hbm_read for record in reading.examples], np.int64)
    written = np.array([record.hbm_written for record in reading.examples], np.int64)
    return read[reading.example], written[reading.example]


def hbm_rate(
    timeline: Timeline, reading: Reading
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """GB/s of HBM traffic from each moment (ns) on.

    A transfer waits in its queue until its turn comes, and its data moves in the last part of the
    time for which it occupies the queue. The model gives bandwidth away in the order of the
    program, so a store's part may lie over a load's: what is then more than the engines reach
    together has moved before.
    """
    read, written = hbm_bytes(reading)
    moved = (read + written).astype(np.float64)
    mine = np.flatnonzero(moved)
    timing, cores = timeline.timing, timeline.cores
    shared = max(1.0, 2 * timing.dma_bandwidth / timing.hbm_stack) if cores > 1 else 1.0
    moves = [record.hbm_read + record.hbm_written > 0 for record in reading.examples]
    costs = [
        timeline.cost_of(record.signature) if moved else None
        for record, moved in zip(reading.examples, moves, strict=True)
    ]
    kind = reading.example[mine]
    hbm = np.array([0 if c is None else c.hbm for c in costs], float)[kind]
    alone = np.array([0.0 if c is None else c.latency for c in costs])[kind]
    part = moved[mine] / hbm  # less than 1 where a mask left elements out
    end = np.rint(timeline.busy_end[mine])
    takes = np.maximum(alone * part * shared, 1.0)
    start = np.maximum(np.minimum(np.rint(end - takes), end - 1), 0.0)
    rate = moved[mine] / np.maximum(end - start, 1.0)
    times, at = np.unique(np.concatenate([[0.0], start, end]), return_inverse=True)
    change = np.zeros(len(times))
    n = len(rate)
    np.add.at(change, at[1 : n + 1], rate)
    np.subtract.at(change, at[n + 1 :], rate)
    return _capped(times, np.maximum(np.cumsum(change), 0.0), cores * timing.dma_bandwidth / shared)


def _capped(
    times: NDArray[np.float64], rate: NDArray[np.float64], most: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same total at no more than `most` at a time: what is too much is moved to before."""
    out: list[tuple[float, float]] = []  # from the end to the beginning
    owed = 0.0
    until = float(times[-1])
    for begin, asked in zip(times[::-1].tolist(), rate[::-1].tolist(), strict=True):
        spare = (most - asked) * (until - begin)
        if owed == 0.0 and asked <= most:
            out.append((begin, asked))
        elif owed > spare:
            owed -= spare
            out.append((begin, most))
        else:
            middle = until - owed / (most - asked)
            out += [(middle, most), (begin, asked)]
            owed = 0.0
        until = begin
    out.reverse()
    if owed and len(out) > 1:  # no time before the first
        out[0] = (out[0][0], out[0][1] + owed / (out[1][0] - out[0][0]))
    return np.array([t for t, _ in out]), np.array([r for _, r in out])


def _counter(name: str, unit: str, times: list[int], values: list[float]) -> Iterator[Event]:
    """Perfetto puts the unit behind the name."""
    head = f'{{"ph":"C","pid":{PID},"name":{json_text(name)},"ts":'
    # of several changes in one nanosecond the last holds
    latest = dict(zip(times, values, strict=True))
    before: Any = None
    for ns, value in latest.items():
        if value != before:
            yield ns, 0, f'{head}{us(ns)},"args":{{{json_text(unit)}:{round(value, 3)}}}}}'
        before = value
