"""What a page tells of each instruction that it shows, as plain data: lists, numbers and strings,
each thing once."""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np

from ..machine.memory import CONST
from ..timeline import REASONS, Timeline
from .contents import Contents, Preview, hbm_parts, numbered
from .folding import Shown
from .lanes import TABLE_LOAD, band, is_table_load
from .occupancy import held_at, holders
from .palette import ENGINES
from .reading import SPACES, Kind, Reading, file_label
from .tables import brief, size

CONTEXT = 5
"""Lines of the kernel's text shown before and after the current one."""
HOLDERS = 6
"""Tensors named for each memory at each step."""
NEARBY = 40
"""Instructions in the strip around the current one, where they are spread evenly."""


class Pool:
    """Values by number, each once."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def number(self, key: Any, item: Any = None) -> int:
        """The number of `item`, of which `key` (by default itself) is what tells it from others."""
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.items)
            self.items.append(key if item is None else item)
        return found


def collect(reading: Reading, shown: Shown, timeline: Timeline | None) -> dict[str, Any]:
    """The data of a page; `page.js` says what it does with each part."""
    records = shown.records.tolist()
    kinds = Pool()
    steps = [kinds.number(kind.key(), kind) for kind in map(reading.kind_of, records)]
    used: list[Kind] = kinds.items
    files = list(dict.fromkeys(k.filename for k in used))
    data: dict[str, Any] = {
        "total": len(reading),
        "records": records,
        "steps": steps,
        "kinds": [_kind(k, files.index(k.filename)) for k in used],
        "files": [_file(name, {k.line for k in used if k.filename == name}) for name in files],
        "gaps": {str(place): [g.text() for g in gaps] for place, gaps in shown.gaps.items()},
        **_parts(reading, records, used, steps),
        **_memory(reading, records, timeline),
    }
    if reading.run.keep_results:
        data.update(_contents(reading, records, used, steps))
    if timeline is None:
        data["at"] = [round((r + 0.5) / len(reading), 5) for r in records]
        engines = [k.engine for k in used]
        data["lanes"] = [e for e in ENGINES if e in engines]
        data["lane"] = [data["lanes"].index(engines[s]) for s in steps]
        data["rows"], data["slot"] = [1] * len(data["lanes"]), [0] * len(steps)
        data["window"], data["length"] = NEARBY, len(reading)
    else:
        data.update(_times(timeline, records))
    return data


def _kind(kind: Kind, file: int) -> dict[str, Any]:
    def operands(which: tuple[Any, ...]) -> list[list[str]]:
        return [
            [brief(o.name), o.space, " x ".join(map(str, o.shape)), o.dtype]
            for o in which
            if o.space != CONST
        ]

    return {
        "engine": kind.engine,
        "op": kind.op,
        "attrs": kind.attributes(),
        "dst": operands(kind.dst),
        "srcs": operands(kind.srcs),
        "file": file,
        "line": kind.line,
    }


def _file(filename: str, lines: set[int]) -> dict[str, Any]:
    """The lines of a file around those that the kernel executed, as pieces [first line, [text,
    ...]]."""
    text = linecache.getlines(filename)
    wanted = sorted(
        {
            n
            for line in lines
            for n in range(line - CONTEXT, line + CONTEXT + 1)
            if 0 < n <= len(text)
        }
    )
    pieces: list[list[Any]] = []
    for n in wanted:
        if not pieces or pieces[-1][0] + len(pieces[-1][1]) != n:
            pieces.append([n, []])
        pieces[-1][1].append(text[n - 1].rstrip().expandtabs(4))
    return {"name": file_label(filename), "pieces": pieces}


def _memory(reading: Reading, records: list[int], timeline: Timeline | None) -> dict[str, Any]:
    """Bytes per partition in use at each step, and the tensors that hold most of it."""
    out: dict[str, Any] = {
        "capacity": {s: reading.capacity(s) for s in SPACES},
        "unit": reading.unit,
    }
    named = Pool()
    held: dict[str, list[int]] = {space: [] for space in SPACES}
    used: dict[str, list[int]] = {space: [] for space in SPACES}
    for tiles in held_at(reading, timeline, records):
        for space in SPACES:
            mine = sorted(
                ((t, n) for t, n in tiles.items() if reading.tiles[t].space == space),
                key=lambda f: (-reading.tiles[f[0]].partition_bytes * f[1], f[0]),
            )
            used[space].append(sum(reading.tiles[t].partition_bytes * n for t, n in mine))
            words = []
            for number, n in mine[:HOLDERS]:
                tile = reading.tiles[number]
                words.append(
                    (
                        brief(tile.name) + (f" ({n} of them)" if n > 1 else ""),
                        size(tile.partition_bytes * n),
                    )
                )
            if len(mine) > HOLDERS:
                rest = sum(reading.tiles[t].partition_bytes * n for t, n in mine[HOLDERS:])
                words.append((f"{len(mine) - HOLDERS} more", size(rest)))
            held[space].append(named.number(tuple(words)))
    out["holders"] = named.items
    for space in SPACES:
        out[space] = {"used": used[space], "held": held[space]}
    return out


def _parts(
    reading: Reading, records: list[int], used: list[Kind], steps: list[int]
) -> dict[str, Any]:
    """Of tensors in HBM, which part each step touches, by its operands: "from [0, 128] of 64 x
    4096"; "" of other operands."""
    pool = Pool()
    chosen: dict[int, list[str]] = {number: [] for number in records}
    for number, found in numbered(reading.run):
        if number in chosen:
            chosen[number] = hbm_parts(found)

    def numbers(words: list[str], operands: tuple[Any, ...]) -> list[int]:
        return [pool.number(w) for w, o in zip(words, operands, strict=True) if o.space != CONST]

    parts = []
    for record, step in zip(records, steps, strict=True):
        n, kind = len(used[step].dst), used[step]
        parts.append(
            [numbers(chosen[record][:n], kind.dst), numbers(chosen[record][n:], kind.srcs)]
        )
    return {"parts": parts, "partWords": pool.items}


def _contents(
    reading: Reading, records: list[int], used: list[Kind], steps: list[int]
) -> dict[str, Any]:
    grid = (16, 32) if len(records) <= 400 else (8, 16)
    contents = Contents(reading.run, records, grid)
    tiles = Pool()

    def numbers(found: list[Preview | None], operands: tuple[Any, ...]) -> list[int]:
        return [
            -1 if p is None else tiles.number(p)
            for p, o in zip(found, operands, strict=False)
            if o.space != CONST
        ]

    before, after = [], []
    for record, step in zip(records, steps, strict=True):
        written, read = contents.of(record)
        after.append(numbers(written, used[step].dst))
        before.append(numbers(read, used[step].srcs))
    return {"tiles": [list(t) for t in tiles.items], "written": after, "read": before}


def _times(timeline: Timeline, records: list[int]) -> dict[str, Any]:
    """The modelled interval of each step in words, what it waited for, and whether it is on the
    critical path."""
    length = float(timeline.end.max(initial=0.0)) or 1.0
    critical = {step.index for step in timeline.critical_path}
    names = [band(lane) for lane in timeline.lanes]
    slots: dict[str, dict[int, int]] = {}
    for k in np.unique(timeline.lane).tolist():  # the queues of a band below one another
        own = slots.setdefault(names[k], {})
        own[k] = len(own)
    used = list(slots)
    loading = is_table_load(timeline)
    words, path, at, spans, loads = [], [], [], [], {}
    for step, r in enumerate(records):
        start, busy, end = (float(a[r]) for a in (timeline.start, timeline.busy_end, timeline.end))
        text = (
            f"{start / 1e3:,.3f} to {busy / 1e3:,.3f} us on {timeline.lanes[int(timeline.lane[r])]}"
        )
        if end > busy:
            text += f", result visible at {end / 1e3:,.3f} us"
        reason, waited = REASONS[int(timeline.reason[r])], int(timeline.waited_for[r])
        text += (
            f"; start decided by: {reason}, instruction {waited:,}"
            if waited >= 0
            else (f"; start decided by: {reason}" if loading[r] else "; nothing to wait for")
        )
        if loading[r]:
            since = float(timeline.since[r])
            text += f"; {TABLE_LOAD} from {since / 1e3:,.3f} to {start / 1e3:,.3f} us"
            loads[str(step)] = [round(since), round(start)]
        words.append(text)
        path.append(int(r in critical))
        at.append(round((start + busy) / 2 / length, 5))
        spans.append([round(start), round(busy)])
    pool = Pool()
    return {
        "times": [pool.number(w) for w in words],
        "timeWords": pool.items,
        "critical": path,
        "at": at,
        "loads": loads,
        "loadName": TABLE_LOAD,
        "spans": spans,
        "lanes": used,
        "lane": [used.index(names[int(timeline.lane[r])]) for r in records],
        "rows": [len(own) for own in slots.values()],
        "slot": [slots[names[k]][k] for k in timeline.lane[records].tolist()],
        "window": NEARBY * length / len(timeline.start),
        "length": length,
    }


def occupied(reading: Reading, space: str, timeline: Timeline | None) -> str:
    """ "at most 2 KiB of 224 KiB per partition"."""
    peak = sum(t.partition_bytes * n for t, n in holders(reading, space, timeline)[1])
    return (
        (f"at most {size(peak)} of {size(reading.capacity(space))} {reading.unit}")
        if peak
        else "not used"
    )
