"""A trace file for ui.perfetto.dev: the model's schedule in Chrome's trace-event JSON.

The lanes are threads; memory in use and HBM bandwidth are counters; arrows lead along the critical path. Timestamps are
microseconds of the model, on a grid of one nanosecond.
Source of the format: "Trace Event Format", the document of the Catapult project (events of phase M, X, C, s and f).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..memory import CONST
from .occupancy import curve
from .reading import SPACES, Kind, Reading

if TYPE_CHECKING:
    from ..timeline import Timeline

PID = 1
_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def save(timeline: Timeline, path: str) -> None:
    """Write the trace of a timeline to a file."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for piece in pieces(timeline):
            file.write(piece)


def pieces(timeline: Timeline) -> Iterator[str]:
    """The file, an event a line: names first, then every event in order of time."""
    reading = Reading(timeline.run, timeline)
    title = f"{reading.title()} on {timeline.target.name} (model)"
    events = sorted([*_slices(timeline, reading), *_counters(timeline, reading), *_arrows(timeline)])
    yield '{"displayTimeUnit":"ns","otherData":' + _json({"about": "modelled, not measured", "run": title})
    yield ',"traceEvents":[\n' + ",\n".join(_names(timeline, title))
    for _, _, text in events:
        yield ",\n" + text
    yield "\n]}\n"


def _names(timeline: Timeline, title: str) -> list[str]:
    out = [_json({"ph": "M", "pid": PID, "tid": 0, "name": "process_name", "args": {"name": title}})]
    for k, lane in enumerate(timeline.lanes):
        out.append(_json({"ph": "M", "pid": PID, "tid": k + 1, "name": "thread_name", "args": {"name": lane}}))
        out.append(_json({"ph": "M", "pid": PID, "tid": k + 1, "name": "thread_sort_index", "args": {"sort_index": k}}))
    return out


def _us(ns: int) -> str:
    """Nanoseconds as microseconds, exactly."""
    return f"{ns // 1000}.{ns % 1000:03d}"


def _grid(times: NDArray[np.float64]) -> list[int]:
    return np.rint(times).astype(np.int64).tolist()


def _slices(timeline: Timeline, reading: Reading) -> Iterator[tuple[int, int, str]]:
    """A slice an instruction, for as long as it occupies its lane: (ns, order among equals, event)."""
    from ..timeline import REASONS

    said: dict[int, tuple[str, str]] = {}
    rows = zip(_grid(timeline.start), _grid(timeline.busy_end), _grid(timeline.end), timeline.lane.tolist(),
               timeline.reason.tolist(), timeline.waited_for.tolist(), reading.example.tolist(), strict=True)
    for i, (start, busy, end, lane, reason, waited, example) in enumerate(rows):
        if example not in said:
            said[example] = _head(reading.kind_of(i)), _tail(reading.kind_of(i))
        head, tail = said[example]
        why = f"{REASONS[reason]}, instruction {waited}" if waited >= 0 else REASONS[reason]
        yield start, 1, (f'{{"ph":"X","pid":{PID},"tid":{lane + 1},"ts":{_us(start)},"dur":{_us(max(busy - start, 0))},'
                         f'{head}"instruction":{i},"start decided by":"{why}","result at, us":{_us(end)}'
                         f'{tail}}}}}')


def _head(kind: Kind) -> str:
    return f'"name":{_json(kind.op)},"cat":{_json(kind.engine)},"args":{{'


def _tail(kind: Kind) -> str:
    def operands(which: tuple) -> str:
        return ", ".join(f"{o.name} {'x'.join(map(str, o.shape))} {o.dtype} {o.space}" for o in which if o.space != CONST)

    said = {"writes": operands(kind.dst), "reads": operands(kind.srcs), "line": kind.line, "source": kind.source}
    return "," + _json(said)[1:-1]


def _counters(timeline: Timeline, reading: Reading) -> Iterator[tuple[int, int, str]]:
    """SBUF and PSUM in use, and the rate of HBM traffic while transfers occupy their lanes."""
    for space in SPACES:
        c = curve(reading, space, 10**9, timeline)
        name = f"{space.upper()} in use, KiB a partition (model)"
        yield from _counter(name, _grid(c.edges[:-1] * 1e3), (c.total / 1024).tolist())
    start, end = np.rint(timeline.start), np.rint(timeline.busy_end)
    moved = np.asarray(hbm_bytes(timeline), float)
    there = (moved > 0) & (end > start)
    rate = moved[there] / (end - start)[there]
    times, at = np.unique(np.concatenate([[0.0], start[there], end[there]]), return_inverse=True)
    change = np.zeros(len(times))
    n = len(rate)
    np.add.at(change, at[1:n + 1], rate)
    np.subtract.at(change, at[n + 1:], rate)
    yield from _counter("HBM traffic, GB/s (model)", times.astype(np.int64).tolist(),
                        np.maximum(np.round(np.cumsum(change), 3), 0.0).tolist())


def hbm_bytes(timeline: Timeline) -> list[int]:
    """The HBM bytes that each record moves, in and out."""
    from ..run import _hbm

    return [sum(_hbm(record)) for program in timeline.run.programs for record in program.records()]


def _counter(name: str, times: list[int], values: list[float]) -> Iterator[tuple[int, int, str]]:
    head = f'{{"ph":"C","pid":{PID},"name":{_json(name)},"ts":'
    latest = dict(zip(times, values, strict=True))  # of several changes in one nanosecond the last holds
    before: Any = None
    for ns, value in latest.items():
        if value != before:
            yield ns, 0, f'{head}{_us(ns)},"args":{{"value":{round(value, 3)}}}}}'
        before = value


def _arrows(timeline: Timeline) -> Iterator[tuple[int, int, str]]:
    """An arrow from each instruction of the critical path to the one that it held up."""
    path = [step.index for step in timeline.critical_path]
    start, busy = _grid(timeline.start), _grid(timeline.busy_end)
    for number, (a, b) in enumerate(zip(path[:-1], path[1:], strict=True)):
        leave = min(max(start[a], busy[a] - 1), start[b])
        common = f'"cat":"critical path","name":"critical path","id":{number},"pid":{PID}'
        yield leave, 2, f'{{"ph":"s",{common},"tid":{timeline.lane[a] + 1},"ts":{_us(leave)}}}'
        yield start[b], 3, f'{{"ph":"f","bp":"e",{common},"tid":{timeline.lane[b] + 1},"ts":{_us(start[b])}}}'
