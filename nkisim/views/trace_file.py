"""A trace file for ui.perfetto.dev: the model's schedule in Chrome's trace-event JSON.

The lanes are the threads of one process (Perfetto opens a file with its only process unfolded);
memory in use and HBM bandwidth are counters; arrows lead along the critical path. Timestamps are
microseconds of the model, on a grid of one nanosecond. Source of the format: "Trace Event Format",
the document of the Catapult project (events of phase M, X, C, s and f).
"""

from __future__ import annotations

import gzip
import heapq
import io
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from ..isa.core import DMA
from ..machine.memory import CONST
from ..timeline import REASONS, Timeline
from .lanes import TABLE_LOAD, is_table_load
from .reading import Kind, Reading
from .trace_counters import PID, Event, counters, grid, json_text, us

MANY = 150_000
"""Instructions up to which each tells everything, in about 100 MB. Of more, only the first of each
kind does, the others give their number; there are no arrows, and the counters have `COLUMNS`
columns: a million instructions are then about 100 MB again, which a browser can still open."""
COLUMNS = 10_000
CHUNK = 10_000


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
    """Write the trace of a timeline to a file; compressed by gzip if its name ends in ".gz"."""
    if not str(path).endswith(".gz"):
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces(timeline, len(timeline) > MANY))
        return
    # no name and no time in it: the same bytes each time
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        text = io.TextIOWrapper(packed, encoding="utf-8", newline="\n")
        text.writelines(pieces(timeline))
        text.flush()
        text.detach()


def pieces(timeline: Timeline, fold: bool = False) -> Iterator[str]:
    """The file, an event a line: names first, then every event in order of time. `fold`: what
    repeats is told once."""
    reading = Reading(timeline.run, timeline)
    title = f"{reading.title()} on {timeline.target.name} (model)"
    where = tracks(timeline.lanes)
    about = {"about": "modelled, not measured", "run": title}
    if fold:
        about["folded"] = FOLDED
    yield f'{{"displayTimeUnit":"ns","otherData":{json_text(about)}'
    yield ',"traceEvents":[\n' + ",\n".join(_names(timeline.lanes, where, title))
    events = heapq.merge(
        *counters(timeline, reading, COLUMNS if fold else 10**9),
        _slices(timeline, reading, where, fold),
        _table_loads(timeline, reading, where),
        *([] if fold else [_arrows(timeline, where)]),
        key=itemgetter(0, 1),
    )
    for _, _, text in events:
        yield ",\n" + text
    yield "\n]}\n"


FOLDED = (
    "the instruction that is the first of its kind has all its details, others only their number; "
    'a file whose name ends in ".gz" has everything'
)


def _names(lanes: Sequence[str], where: list[int], title: str) -> list[str]:
    out = [
        json_text(
            {"ph": "M", "pid": PID, "tid": 0, "name": "process_name", "args": {"name": title}}
        )
    ]
    for order, (lane, tid) in enumerate(zip(lanes, where, strict=True)):
        out.append(
            json_text(
                {"ph": "M", "pid": PID, "tid": tid, "name": "thread_name", "args": {"name": lane}}
            )
        )
        out.append(
            json_text(
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


class _Said:
    """The texts that all records of a kind share."""

    def __init__(self, timeline: Timeline, reading: Reading) -> None:
        self.timeline = timeline
        self.reading = reading
        self.known: dict[int, tuple[str, str, str]] = {}

    def of(self, record: int, kind: int) -> tuple[str, str, str]:
        """The head of a slice of this kind, its place in the kernel, and what it works on."""
        found = self.known.get(kind)
        if found is None:
            about = self.reading.kind_of(record)
            name = f'"name":{json_text(about.op)},"cat":{json_text(about.engine)},"args":{{'
            found = self.known[kind] = name, *_told(about, self.reading, self.timeline, kind)
        return found


def _slices(timeline: Timeline, reading: Reading, where: list[int], fold: bool) -> Iterator[Event]:
    """A slice an instruction, for as long as it occupies its lane, in order of their starts."""
    said, told = _Said(timeline, reading), set[int]()
    path = np.zeros(len(timeline), bool)
    path[timeline.path] = True
    order = np.argsort(np.rint(timeline.start), kind="stable")
    for at in range(0, len(order), CHUNK):
        mine = order[at : at + CHUNK]
        rows = zip(
            mine.tolist(),
            grid(timeline.start[mine]),
            grid(timeline.busy_end[mine]),
            grid(timeline.end[mine]),
            timeline.lane[mine].tolist(),
            timeline.reason[mine].tolist(),
            timeline.waited_for[mine].tolist(),
            reading.example[mine].tolist(),
            path[mine].tolist(),
            strict=True,
        )
        for i, start, busy, end, lane, reason, waited, kind, critical in rows:
            head, place, what = said.of(i, kind)
            when = (
                f'{{"ph":"X","pid":{PID},"tid":{where[lane]},"ts":{us(start)},'
                f'"dur":{us(max(busy - start, 0))},'
            )
            if fold and kind in told:
                name = head[: head.index(',"cat"')]
                yield start, 1, f'{when}{name},"args":{{"i":{i}}}}}'
                continue
            told.add(kind)
            why = f"{REASONS[reason]}, instruction {waited}" if waited >= 0 else REASONS[reason]
            on_path = ',"on the critical path":"yes"' if critical else ""
            yield (
                start,
                1,
                (
                    f'{when}{head}"instruction":{i},{place},{what},"start decided by":"{why}",'
                    f'"result at, us":{us(end)}{on_path}}}}}'
                ),
            )


def _table_loads(timeline: Timeline, reading: Reading, where: list[int]) -> Iterator[Event]:
    """A slice for each load of an activation table, in order of time."""
    said, path = _Said(timeline, reading), set(timeline.path.tolist())
    loads = np.flatnonzero(is_table_load(timeline))
    for i in loads[np.argsort(np.rint(timeline.since[loads]), kind="stable")].tolist():
        _, place, _ = said.of(i, int(reading.example[i]))
        since, start = grid(timeline.since[[i]])[0], grid(timeline.start[[i]])[0]
        on_path = ',"on the critical path":"yes"' if i in path else ""
        yield (
            since,
            1,
            (
                f'{{"ph":"X","pid":{PID},"tid":{where[timeline.lane[i]]},"ts":{us(since)},'
                f'"dur":{us(start - since)},"name":"{TABLE_LOAD}","cat":"table load",'
                f'"args":{{"for instruction":{i},{place}{on_path}}}}}'
            ),
        )


def _told(kind: Kind, reading: Reading, timeline: Timeline, number: int) -> tuple[str, str]:
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
        example = reading.examples[number]
        what |= {
            "HBM bytes read": example.hbm_read,
            "HBM bytes written": example.hbm_written,
            "contiguous bytes": timeline.cost_of(example.signature).run,
        }
    return json_text({"line": kind.line, "source": kind.source})[1:-1], json_text(what)[1:-1]


def _arrows(timeline: Timeline, where: list[int]) -> Iterator[Event]:
    """An arrow from each instruction of the critical path to the one that it held up, by way of
    that one's table load; in order of time."""
    for number, (from_, leave, to, arrive) in enumerate(_links(timeline)):
        common = f'"cat":"critical path","name":"critical path","id":{number}'
        for phase, order, lane, when in (
            ('"ph":"s"', 2, from_, leave),
            ('"ph":"f","bp":"e"', 3, to, arrive),
        ):
            text = f'{{{phase},{common},"pid":{PID},"tid":{where[lane]},"ts":{us(when)}}}'
            yield when, order, text


def _links(timeline: Timeline) -> Iterator[tuple[int, int, int, int]]:
    """The arrows: from which lane, when, to which lane, when."""
    loads = is_table_load(timeline)
    lane = before = end = -1
    for at in range(0, len(timeline.path), CHUNK):
        mine = timeline.path[at : at + CHUNK]
        rows = zip(
            timeline.lane[mine].tolist(),
            grid(timeline.since[mine]),
            grid(timeline.start[mine]),
            grid(timeline.busy_end[mine]),
            loads[mine].tolist(),
            strict=True,
        )
        for to, since, start, busy, table in rows:
            begin = since if table else start
            if lane >= 0:
                yield lane, min(max(before, end - 1), begin), to, begin
            if table:
                yield to, max(begin, start - 1), to, start
            lane, before, end = to, start, busy
