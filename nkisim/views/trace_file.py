"""A trace file for ui.perfetto.dev: the model's schedule in Chrome's trace-event JSON.

The lanes are the threads of one process (Perfetto opens a file with its only process unfolded);
memory in use and HBM bandwidth are counters; arrows lead along the critical path. Timestamps are
microseconds of the model, on a grid of one nanosecond. Source of the format: "Trace Event Format",
the document of the Catapult project (events of phase M, X, C, s and f).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..isa.core import DMA
from ..machine.memory import CONST
from ..timeline import REASONS, Timeline
from .lanes import TABLE_LOAD, is_table_load
from .occupancy import curve, unit_of
from .reading import SPACES, Kind, Reading

PID = 10
"""The process. No thread has its number: Perfetto would call that one the main thread."""
_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def tracks(lanes: Sequence[str]) -> list[int]:
    """The thread of each lane: engines count from 1, DMA queues from 100 (in) and 200 (out), cores
    after the first have the thousands. Perfetto writes this number behind the lane's name: "dma in
    3 103"."""
    found = []
    others: dict[int, int] = {}
    for lane in lanes:
        core = re.match(r"nc(\d+) ", lane)
        base = 1000 * int(core[1]) if core else 0
        queue = re.search(r"dma (in|out) (\d+)$", lane)
        if queue:
            found.append(base + (100 if queue[1] == "in" else 200) + int(queue[2]))
        else:
            others[base] = others.get(base, 0) + 1
            found.append(base + others[base])
    return found


def save(timeline: Timeline, path: str) -> None:
    """Write the trace of a timeline to a file."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for piece in pieces(timeline):
            file.write(piece)


def pieces(timeline: Timeline) -> Iterator[str]:
    """The file, an event a line: names first, then every event in order of time."""
    reading = Reading(timeline.run, timeline)
    title = f"{reading.title()} on {timeline.target.name} (model)"
    where = tracks(timeline.lanes)
    events = sorted(
        [
            *_slices(timeline, reading, where),
            *_counters(timeline, reading),
            *_arrows(timeline, where),
        ]
    )
    yield '{"displayTimeUnit":"ns","otherData":' + _json(
        {"about": "modelled, not measured", "run": title}
    )
    yield ',"traceEvents":[\n' + ",\n".join(_names(timeline.lanes, where, title))
    for _, _, text in events:
        yield ",\n" + text
    yield "\n]}\n"


def _names(lanes: Sequence[str], where: list[int], title: str) -> list[str]:
    out = [
        _json({"ph": "M", "pid": PID, "tid": 0, "name": "process_name", "args": {"name": title}})
    ]
    for order, (lane, tid) in enumerate(zip(lanes, where, strict=True)):
        out.append(
            _json(
                {"ph": "M", "pid": PID, "tid": tid, "name": "thread_name", "args": {"name": lane}}
            )
        )
        out.append(
            _json(
                {
                    "ph": "M",
                    "pid": PID,
                    "tid": tid,
                    "name": "thread_sort_index",
                    "args": {"sort_index": order},
                }
            )
        )
    return out


def _us(ns: int) -> str:
    """Nanoseconds as microseconds, exactly."""
    return f"{ns // 1000}.{ns % 1000:03d}"


def _grid(times: NDArray[np.float64]) -> list[int]:
    found: list[int] = np.rint(times).astype(np.int64).tolist()
    return found


def _slices(
    timeline: Timeline, reading: Reading, where: list[int]
) -> Iterator[tuple[int, int, str]]:
    """A slice an instruction, for as long as it occupies its lane, and one a table load: (ns, order
    among equals, event)."""
    said: dict[tuple[int, int, int], tuple[str, str, str]] = {}
    critical = {step.index for step in timeline.critical_path}
    rows = zip(
        _grid(timeline.start),
        _grid(timeline.busy_end),
        _grid(timeline.end),
        timeline.lane.tolist(),
        timeline.reason.tolist(),
        timeline.waited_for.tolist(),
        reading.example.tolist(),
        _grid(timeline.since),
        is_table_load(timeline).tolist(),
        hbm_bytes(timeline),
        strict=True,
    )
    for i, (
        start,
        busy,
        end,
        lane,
        reason,
        waited,
        example,
        since,
        loads,
        (read, written),
    ) in enumerate(rows):
        key = (example, read, written)
        if key not in said:
            kind = reading.kind_of(i)
            name = f'"name":{_json(kind.op)},"cat":{_json(kind.engine)},"args":{{'
            said[key] = name, *_told(kind, read, written, timeline, i)
        head, place, what = said[key]
        at = f'{{"ph":"X","pid":{PID},"tid":{where[lane]},"ts":'
        why = f"{REASONS[reason]}, instruction {waited}" if waited >= 0 else REASONS[reason]
        path = ',"on the critical path":"yes"' if i in critical else ""
        if loads:
            yield (
                since,
                1,
                (
                    f'{at}{_us(since)},"dur":{_us(start - since)},"name":"{TABLE_LOAD}",'
                    f'"cat":"table load","args":{{"for instruction":{i},{place}{path}}}}}'
                ),
            )
        yield (
            start,
            1,
            (
                f'{at}{_us(start)},"dur":{_us(max(busy - start, 0))},{head}"instruction":{i},'
                f'{place},{what},"start decided by":"{why}","result at, us":{_us(end)}{path}}}}}'
            ),
        )


def _told(kind: Kind, read: int, written: int, timeline: Timeline, record: int) -> tuple[str, str]:
    """The arguments that all records of a kind share: the place in the kernel, and what it works
    on."""

    def operands(which: tuple[Any, ...]) -> str:
        return ", ".join(
            f"{o.name} {'x'.join(map(str, o.shape))} {o.dtype} {o.space}"
            for o in which
            if o.space != CONST
        )

    what: dict[str, Any] = {"writes": operands(kind.dst), "reads": operands(kind.srcs)}
    if attributes := kind.attributes():
        what["attributes"] = attributes
    if kind.engine == DMA:
        what |= {
            "HBM bytes read": read,
            "HBM bytes written": written,
            "contiguous bytes": timeline.cost_of(timeline.record(record)[0]).run,
        }
    return _json({"line": kind.line, "source": kind.source})[1:-1], _json(what)[1:-1]


def _counters(timeline: Timeline, reading: Reading) -> Iterator[tuple[int, int, str]]:
    """SBUF and PSUM in use, and the rate of HBM traffic while data moves."""
    for space in SPACES:
        c = curve(reading, space, 10**9, timeline)
        unit, per = unit_of(int(c.total.max(initial=0)))
        many = "" if reading.cores == 1 else f" of {reading.cores} cores"
        yield from _counter(
            f"{space.upper()} in use",
            f"({unit} per partition{many})",
            _grid(c.edges[:-1] * 1e3),
            (c.total / per).tolist(),
        )
    times, rate = hbm_rate(timeline)
    yield from _counter("HBM traffic (model)", "GB/s", _grid(times), np.round(rate, 3).tolist())


def hbm_bytes(timeline: Timeline) -> list[tuple[int, int]]:
    """The HBM bytes that each record reads, and writes."""
    return [(r.hbm_read, r.hbm_written) for r in timeline.run.records()]


def hbm_rate(timeline: Timeline) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """GB/s of HBM traffic from each moment (ns) on.

    A transfer waits in its queue until its turn comes, and its data moves in the last part of the
    time for which it occupies the queue. The model gives bandwidth away in the order of the
    program, so a store's part may lie over a load's: what is then more than the engines reach
    together has moved before.
    """
    moved = np.asarray(hbm_bytes(timeline), float).reshape(-1, 2).sum(axis=1)
    mine = np.flatnonzero(moved)
    timing, cores = timeline.timing, timeline.cores
    shared = max(1.0, 2 * timing.dma_bandwidth / timing.hbm_stack) if cores > 1 else 1.0
    costs = [timeline.cost_of(timeline.record(int(k))[0]) for k in mine]
    # less than 1 where a mask left elements out
    part = moved[mine] / np.array([c.hbm for c in costs], float)
    end = np.rint(timeline.busy_end[mine])
    takes = np.maximum(np.array([c.latency for c in costs]) * part * shared, 1.0)
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


def _counter(
    name: str, unit: str, times: list[int], values: list[float]
) -> Iterator[tuple[int, int, str]]:
    """Perfetto puts the unit behind the name."""
    head = f'{{"ph":"C","pid":{PID},"name":{_json(name)},"ts":'
    # of several changes in one nanosecond the last holds
    latest = dict(zip(times, values, strict=True))
    before: Any = None
    for ns, value in latest.items():
        if value != before:
            yield ns, 0, f'{head}{_us(ns)},"args":{{{_json(unit)}:{round(value, 3)}}}}}'
        before = value


def _arrows(timeline: Timeline, where: list[int]) -> Iterator[tuple[int, int, str]]:
    """An arrow from each instruction of the critical path to the one that it held up, by way of
    that one's table load."""
    path = [step.index for step in timeline.critical_path]
    start, busy, since = _grid(timeline.start), _grid(timeline.busy_end), _grid(timeline.since)
    loads = is_table_load(timeline)
    links: list[tuple[int, int, int, int]] = []  # (from lane, when, to lane, when)
    for a, b in zip([-1, *path[:-1]], path, strict=True):
        begin = since[b] if loads[b] else start[b]
        if a >= 0:
            links.append(
                (
                    int(timeline.lane[a]),
                    min(max(start[a], busy[a] - 1), begin),
                    int(timeline.lane[b]),
                    begin,
                )
            )
        if loads[b]:
            links.append(
                (int(timeline.lane[b]), max(begin, start[b] - 1), int(timeline.lane[b]), start[b])
            )
    for number, (from_, leave, to, arrive) in enumerate(links):
        common = f'"cat":"critical path","name":"critical path","id":{number}'
        for phase, order, lane, when in (
            ('"ph":"s"', 2, from_, leave),
            ('"ph":"f","bp":"e"', 3, to, arrive),
        ):
            yield (
                when,
                order,
                f'{{{phase},{common},"pid":{PID},"tid":{where[lane]},"ts":{_us(when)}}}',
            )
