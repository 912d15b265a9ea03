"""How busy engines and DMA queues are, in columns of time: what the lane chart and the page's
overview draw."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..timeline import REASONS, Timeline
from .palette import ENGINES, engine
from .reading import Reading

TABLE_LOAD = "activation table load"
"""What ScalarE does from `timeline.since` to `timeline.start` before an activation that needs
another table."""


class Lane(NamedTuple):
    """One lane in columns: `share[i]` of the time from `edges[i]` to `edges[i + 1]` it is busy (0
    to 1)."""

    name: str
    edges: NDArray[np.float64]
    share: NDArray[np.float64]
    most: int = 0
    """Of the band of all DMA queues: how many transfers are in flight at one time at most. `share`
    is of so many. 0 for an engine."""
    loads: NDArray[np.float64] | None = None
    """The part of `share` that is loads; the others are stores and copies."""

    @property
    def told(self) -> str:
        """Its mean in words."""
        mean = float(self.share.mean())
        if not self.most:
            return f"{100 * mean:5.1f} % busy"
        return f"{mean * self.most:5.1f} in flight, {self.most} at most"


_QUEUE = re.compile(r"dma (in|out) \d+$")


def band(lane: str) -> str:
    """The row in which a lane is drawn: one for all DMA queues of a core ("nc0 dma" for "nc0 dma in
    3")."""
    return _QUEUE.sub("dma", lane)


def is_load(lane: str) -> bool:
    """Whether the lane is a queue of loads."""
    found = _QUEUE.search(lane)
    return found is not None and found[1] == "in"


def at_one_time(start: NDArray[np.float64], end: NDArray[np.float64]) -> int:
    """How many intervals there are at one time at most."""
    moments = np.concatenate([end, start])
    change = np.repeat([-1, 1], len(start))
    order = np.argsort(moments, kind="stable")  # what ends makes room for what starts
    return int(np.cumsum(change[order]).max(initial=0))


def busy(
    start: NDArray[np.float64], end: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The share of each column that intervals cover which do not overlap one another."""
    order = np.argsort(start, kind="stable")
    start, end = start[order], np.maximum(end[order], start[order])
    done = np.concatenate([[0.0], np.cumsum(end - start)])
    knots = np.empty(2 * len(start))
    knots[0::2], knots[1::2] = start, end
    values = np.empty(2 * len(start))
    values[0::2], values[1::2] = done[:-1], done[1:]
    covered = np.diff(np.interp(edges, knots, values, left=0.0, right=float(done[-1])))
    return np.clip(covered / np.maximum(np.diff(edges), 1e-12), 0.0, 1.0)


def is_table_load(timeline: Timeline) -> NDArray[np.bool_]:
    """Of each record, whether it waited for its own activation table: from `timeline.since`
    to `timeline.start`."""
    found: NDArray[np.bool_] = (timeline.reason == REASONS.index("table load")) & (
        timeline.since < timeline.start
    )
    return found


def table_loads(
    timeline: Timeline, columns: int, cut: NDArray[np.float64] | None = None
) -> dict[str, Lane]:
    """How each lane that loads activation tables is busy with that alone, in columns as in
    `of_timeline`, by its name."""
    loads = is_table_load(timeline)
    length = float(timeline.end.max(initial=0.0)) / 1e3
    out = {}
    for number in np.unique(timeline.lane[loads]):
        mine = loads & (timeline.lane == number)
        since, start = timeline.since[mine] / 1e3, timeline.start[mine] / 1e3
        edges = _columns(columns, length, since, start) if cut is None else cut
        out[timeline.lanes[number]] = Lane(timeline.lanes[number], edges, busy(since, start, edges))
    return out


def _columns(most: int, length: float, *moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """The moments as edges of columns; columns of equal width where they would be more than
    `most`."""
    edges = np.unique(np.concatenate([[0.0, length], *moments]))
    return edges if len(edges) <= most else np.linspace(0.0, length, most + 1)


def of_run(reading: Reading, columns: int) -> list[Lane]:
    """Without a model of time: which engine executes, over instruction numbers."""
    n = len(reading)
    engines = np.array(reading.engines)[reading.pattern]
    edges = np.arange(n + 1.0) if n <= columns else np.linspace(0, n, columns + 1).round()
    counts = np.diff(edges)
    out = []
    for name in [e for e in ENGINES if e in set(engines.tolist())]:
        upto = np.concatenate([[0], np.cumsum(engines == name)])
        out.append(Lane(name, edges, np.diff(upto[edges.astype(np.int64)]) / counts))
    return out


def of_timeline(
    timeline: Timeline, columns: int, cut: NDArray[np.float64] | None = None
) -> list[Lane]:
    """Over modelled microseconds, in columns at `cut` or in at most `columns` of them; the DMA
    queues of a core as one band of transfers in flight."""
    length = float(timeline.end.max(initial=0.0)) / 1e3
    bands: dict[str, list[int]] = {}
    for number, name in enumerate(timeline.lanes):
        if np.any(timeline.lane == number):
            bands.setdefault(band(name), []).append(number)
    out = []
    for name, numbers in bands.items():
        mine = np.isin(timeline.lane, numbers)
        start, end = timeline.start[mine] / 1e3, timeline.busy_end[mine] / 1e3
        edges = _columns(columns, length, start, end) if cut is None else cut
        if engine(name) != "dma":
            out.append(Lane(name, edges, busy(start, end, edges)))
            continue
        most = max(at_one_time(start, end), 1)
        flying = {True: np.zeros(len(edges) - 1), False: np.zeros(len(edges) - 1)}
        for number in numbers:
            those = timeline.lane == number
            flying[is_load(timeline.lanes[number])] += busy(
                timeline.start[those] / 1e3, timeline.busy_end[those] / 1e3, edges
            )
        out.append(
            Lane(name, edges, (flying[True] + flying[False]) / most, most, flying[True] / most)
        )
    return out
