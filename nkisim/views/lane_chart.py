"""The engine lanes: what each engine and DMA queue does when, by the model of time, and what
decides the latency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..timeline import Timeline
from . import chart, lanes, palette
from .reading import Reading
from .tables import bars, clip, count, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 1500
"""Instructions drawn one by one; of more, each column of time shows how busy a lane is."""
COLUMNS = 1000
TEXT_COLUMNS = 56
LINES = 8
"""Lines of the kernel named in the text's critical path."""
LOADING = "░"
"""In the text, a lane that mostly loads an activation table."""
HATCH = "////"
"""In the figure, the loading of an activation table."""
PALE = 0.5
"""In the figure, how opaque stores and copies are, beside loads."""


class LaneChart(chart.Chart):
    """Lanes over modelled time, all of it or the part `between` two moments in microseconds.
    `quote` says whether the text quotes the kernel's lines beside their numbers."""

    def __init__(
        self, timeline: Timeline, between: tuple[float, float] | None = None, quote: bool = True
    ) -> None:
        self.timeline = timeline
        self.quote = quote
        self.reading = Reading(timeline.run, timeline)
        end = float(timeline.end.max(initial=0.0)) / 1e3
        self.between = (0.0, end) if between is None else (float(between[0]), float(between[1]))
        if not 0 <= self.between[0] < self.between[1] and len(timeline.start):
            raise ValueError(
                "between is two moments in microseconds, the first before the "
                f"second, not {between!r}"
            )

    @property
    def caption(self) -> str:
        """What is shown, in a line."""
        t = self.timeline
        return (
            f"Lanes of {self.reading.title()} on {t.target.name}: {t.latency_us:,.2f} us (model), "
            f"{count(len(t.start), 'instruction')}"
        )

    def text(self) -> str:
        """Each lane as a bar chart over time, and the critical path by line of the kernel."""
        if not len(self.timeline.start):
            return f"{self.caption}."
        edges = np.linspace(*self.between, TEXT_COLUMNS + 1)
        found = lanes.of_timeline(self.timeline, COLUMNS, edges)
        width = max(len(lane.name) for lane in found)
        loads = lanes.table_loads(self.timeline, COLUMNS, edges)
        rows = [
            f"  {lane.name.ljust(width)} |{self._cells(lane, loads.get(lane.name))}| {lane.told}"
            for lane in found
        ]
        low, high = (f"{x:,.2f} us" for x in self.between)
        rows.append(f"  {' ' * width}  {low}{high.rjust(TEXT_COLUMNS - len(low))}  (model)")
        if any(lane.most for lane in found):
            rows.append(f"  {' ' * width}  (dma: transfers in flight; full where they are most)")
        if any(LOADING in row for row in rows):
            rows.append(f"  {' ' * width}  ({LOADING} ScalarE loads an activation table)")
        return "\n".join([self.caption, "", *rows, "", self._path()])

    @staticmethod
    def _cells(lane: lanes.Lane, loads: lanes.Lane | None) -> str:
        """A lane as a bar chart, in which `loads` is marked where it is most of what happens."""
        drawn = bars(list(lane.share), 1.0)
        if loads is None:
            return drawn
        return "".join(
            LOADING if load > max(share, 0.25) else bar
            for bar, share, load in zip(drawn, lane.share, loads.share, strict=True)
        )

    def _path(self) -> str:
        """Which lines of the kernel the critical path spends its time in; loading a table counts
        for the line that needs it."""
        spent: dict[tuple[int, str], list[float]] = {}
        for step in self.timeline.critical_path:
            spent.setdefault((step.line, step.source), []).append(step.on_path_ns)
        total = sum(map(sum, spent.values())) or 1.0
        ranked = sorted(spent.items(), key=lambda kv: (-round(sum(kv[1]), 3), kv[0]))
        rows = [
            [
                str(line),
                f"{sum(times) / 1e3:,.3f}",
                f"{100 * sum(times) / total:.1f} %",
                f"{len(times):,}",
                clip(text, 60),
            ]
            for (line, text), times in ranked[:LINES]
        ]
        if len(ranked) > LINES:
            rest = sum(sum(times) for _, times in ranked[LINES:])
            rows.append(
                [
                    "",
                    f"{rest / 1e3:,.3f}",
                    f"{100 * rest / total:.1f} %",
                    f"{sum(len(t) for _, t in ranked[LINES:]):,}",
                    f"{len(ranked) - LINES} more lines",
                ]
            )
        body = table(["line", "us (model)", "share", "steps"], [r[:4] for r in rows], left=0).split(
            "\n"
        )
        words = ["source", *(r[4] for r in rows)] if self.quote else [""] * len(body)
        return "\n".join(
            [
                "Critical path (model), by line of the kernel:",
                *(
                    f"  {line.rstrip()}  {said}".rstrip()
                    for line, said in zip(body, words, strict=True)
                ),
            ]
        )

    def figure(self) -> Figure:
        """One row per lane; instructions one by one where there is room, with the critical path
        underlined and the loading of an activation table as a hatched block before the activation
        that waits for it."""
        from matplotlib.figure import Figure

        t = self.timeline
        if not len(t.start):
            return chart.empty(self.caption)
        inside = (t.end / 1e3 > self.between[0]) & (t.since / 1e3 < self.between[1])
        single = int(inside.sum()) <= MOST
        names = [k for k in range(len(t.lanes)) if np.any(t.lane[inside] == k)]
        note = "critical path underlined"
        with chart.style():
            bands = _bands(t.lanes, names)
            if single and len(bands) <= 24:
                tall = bands[-1].top + bands[-1].height
                figure = Figure(figsize=(9.6, 1.35 + 0.29 * tall), layout="constrained")
                ax = figure.subplots()
                if self._single(ax, bands, inside):
                    note += ", activation table loads hatched"
                if any(len(b.lanes) > 1 for b in bands):
                    note += "; dma: one row per queue, stores pale"
            else:
                edges = np.linspace(*self.between, COLUMNS + 1)
                found = lanes.of_timeline(t, COLUMNS, edges)
                figure = Figure(figsize=(9.6, 1.35 + 0.42 * len(found)), layout="constrained")
                ax = figure.subplots()
                loads = lanes.table_loads(t, COLUMNS, edges)
                self._folded(ax, found, loads)
                note = (
                    f"{int(inside.sum()):,} instructions in {COLUMNS:,} columns of time: a bar is "
                    "as high as its lane is busy"
                )
                if any(load.share.any() for load in loads.values()):
                    note += "; activation table loads hatched"
                if any(lane.most for lane in found):
                    note += "\ndma: transfers in flight, stores pale"
            ax.set_xlim(*self.between)
            ax.set_xlabel("time, us (model)")
            ax.xaxis.set_major_formatter("{x:,.6g}")
            ax.grid(axis="x")
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            figure.suptitle(f"{self.caption}\n{note}", fontsize=10, x=0.01, ha="left")
        return figure

    def _single(self, ax: Axes, bands: list[_Band], inside: np.ndarray) -> bool:
        """Each instruction as a block; returns whether a table load is among them."""
        t = self.timeline
        loads = lanes.is_table_load(t)
        critical = np.zeros(len(t.start), bool)
        critical[[step.index for step in t.critical_path]] = True
        for band in bands:
            part = (band.height - 0.2) / len(band.lanes)
            for place, lane in enumerate(band.lanes):
                mine = np.flatnonzero(inside & (t.lane == lane))
                middle = band.top + 0.1 + part * (place + 0.5)
                self._blocks(ax, lane, mine, middle, part, critical)
                waits = self._waits(ax, lane, mine[loads[mine]], middle, part)
                self._named(ax, mine, waits, middle, part)
        ax.set_yticks([b.top + b.height / 2 for b in bands], [b.name for b in bands])
        ax.set_ylim(bands[-1].top + bands[-1].height + 0.1, -0.1)
        return bool(np.any(loads & inside))

    def _spans(self, mine: np.ndarray) -> list[tuple[float, float]]:
        """Start and length of instructions, in microseconds."""
        t = self.timeline
        busy = np.maximum(t.busy_end[mine] - t.start[mine], 0.0)
        return list(zip((t.start[mine] / 1e3).tolist(), (busy / 1e3).tolist()))

    def _blocks(
        self,
        ax: Axes,
        lane: int,
        mine: np.ndarray,
        middle: float,
        part: float,
        critical: np.ndarray,
    ) -> None:
        """The instructions of one lane, those of the critical path underlined."""
        t, spans = self.timeline, self._spans(mine)
        ax.broken_barh(
            spans,
            (middle - 0.42 * part, 0.84 * part),
            facecolor=palette.shade(t.lanes[lane]).either,
            edgecolor=palette.CARD.either,
            linewidth=0.4 if len(mine) <= 150 else 0,
            alpha=PALE if _pale(t.lanes[lane]) else None,
        )
        since = (t.since[mine] / 1e3).tolist()
        path = [
            (begin, start + width - begin)
            for begin, (start, width), k in zip(since, spans, mine)
            if critical[k]
        ]
        foot = (middle + 0.42 * part, 0.15 * part)
        ax.broken_barh(path, foot, facecolor=palette.INK.either, linewidth=0)

    def _waits(
        self, ax: Axes, lane: int, mine: np.ndarray, middle: float, part: float
    ) -> list[tuple[float, float]]:
        """The loads of activation tables before these instructions, drawn and told."""
        t = self.timeline
        since, start = t.since[mine] / 1e3, t.start[mine] / 1e3
        waits = list(zip(since.tolist(), (start - since).tolist()))
        ax.broken_barh(
            waits,
            (middle - 0.42 * part, 0.84 * part),
            facecolor="none",
            edgecolor=palette.shade(t.lanes[lane]).either,
            hatch=HATCH,
            linewidth=0.8,
            alpha=PALE,  # so that its name can be read on it
        )
        return waits

    def _named(
        self,
        ax: Axes,
        mine: np.ndarray,
        waits: list[tuple[float, float]],
        middle: float,
        part: float,
    ) -> None:
        """Words on the blocks that have room for them."""
        if part < 0.5:
            return
        low, high = self.between
        named = [
            (self.reading.kind_of(int(k)).op, "white", where)
            for k, where in zip(mine, self._spans(mine))
        ]
        named += [("table load", palette.INK.either, where) for where in waits]
        for text, ink, (start, width) in named:
            left, right = max(start, low), min(start + width, high)
            if (right - left) / (high - low) > 0.0105 * len(text):
                ax.text(
                    (left + right) / 2,
                    middle,
                    text,
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=ink,
                    clip_on=True,
                )

    def _folded(self, ax: Axes, found: list[lanes.Lane], loads: dict[str, lanes.Lane]) -> None:
        for row, lane in enumerate(found):
            ax.axhspan(row - 0.4, row + 0.4, color=palette.RAISED.either, linewidth=0)
            floor, colour = row + 0.4, palette.shade(lane.name).either
            top = floor - 0.8 * lane.share
            if lane.loads is not None:  # loads below, the others upon them
                upto = floor - 0.8 * lane.loads
                ax.stairs(top, lane.edges, baseline=upto, fill=True, color=colour, alpha=PALE)
                ax.stairs(upto, lane.edges, baseline=floor, fill=True, color=colour)
            else:
                ax.stairs(top, lane.edges, baseline=floor, fill=True, color=colour)
            if lane.name in loads:
                ax.stairs(
                    top - 0.8 * loads[lane.name].share,
                    lane.edges,
                    baseline=top,
                    fill=True,
                    facecolor="none",
                    edgecolor=colour,
                    hatch=HATCH,
                    linewidth=0,
                )
            mean = float(lane.share.mean())
            ax.annotate(
                f"{mean * lane.most:.1f} of {lane.most}" if lane.most else f"{100 * mean:.1f} %",
                (1.0, row),
                (4, 0),
                va="center",
                fontsize=8,
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
            )
        ax.set_yticks(range(len(found)), [lane.name for lane in found])
        ax.set_ylim(len(found) - 0.5, -0.5)


def _pale(lane: str) -> bool:
    """Whether it is a DMA queue of something else than loads."""
    return palette.engine(lane) == "dma" and not lanes.is_load(lane)


class _Band(NamedTuple):
    """A row of the chart: an engine, or all DMA queues of a core."""

    name: str
    lanes: list[int]
    top: float
    height: float


def _bands(names: Sequence[str], used: Sequence[int]) -> list[_Band]:
    """The rows for these lanes: the DMA queues of a core share one, which is taller, up to a
    point."""
    found: dict[str, list[int]] = {}
    for lane in used:
        found.setdefault(lanes.band(names[lane]), []).append(lane)
    bands, top = [], 0.0
    for name, own in found.items():
        height = min(max(1.0, 0.25 * len(own)), 3.0)
        label = f"{name} ({len(own)})" if len(own) > 1 else name
        bands.append(_Band(label, own, top, height))
        top += height
    return bands
