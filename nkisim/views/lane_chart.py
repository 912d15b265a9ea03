"""The engine lanes: what each engine and DMA queue does when, by the model of time, and what decides the latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import chart, lanes, palette
from .reading import Reading
from .tables import bars, clip, count, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..timeline import Timeline

MOST = 1500
"""Instructions drawn one by one; of more, each column of time shows how busy a lane is."""
COLUMNS = 1000
TEXT_COLUMNS = 56
LINES = 8
"""Lines of the kernel named in the text's critical path."""


class LaneChart(chart.Chart):
    """Lanes over modelled time, all of it or the part `between` two moments in microseconds. `quote` says whether the text
    quotes the kernel's lines beside their numbers."""

    def __init__(self, timeline: Timeline, between: tuple[float, float] | None = None, quote: bool = True) -> None:
        self.timeline = timeline
        self.quote = quote
        self.reading = Reading(timeline.run, timeline)
        end = float(timeline.end.max(initial=0.0)) / 1e3
        self.between = (0.0, end) if between is None else (float(between[0]), float(between[1]))
        if not 0 <= self.between[0] < self.between[1] and len(timeline.start):
            raise ValueError(f"between is two moments in microseconds, the first before the second, not {between!r}")

    @property
    def caption(self) -> str:
        """What is shown, in a line."""
        t = self.timeline
        return (f"Lanes of {self.reading.title()} on {t.target.name}: {t.latency_us:,.2f} us (model), "
                f"{count(len(t.start), 'instruction')}")

    def text(self) -> str:
        """Each lane as a bar chart over time, and the critical path by line of the kernel."""
        if not len(self.timeline.start):
            return f"{self.caption}."
        edges = np.linspace(*self.between, TEXT_COLUMNS + 1)
        found = lanes.of_timeline(self.timeline, COLUMNS, edges)
        width = max(len(lane.name) for lane in found)
        rows = [f"  {lane.name.ljust(width)} |{bars(list(lane.share), 1.0)}| {100 * lane.share.mean():5.1f} % busy"
                for lane in found]
        low, high = (f"{x:,.2f} us" for x in self.between)
        rows.append(f"  {' ' * width}  {low}{high.rjust(TEXT_COLUMNS - len(low))}  (model)")
        if any(lane.name.endswith(")") for lane in found):
            rows.append(f"  {' ' * width}  (in brackets: of how many queues this is the mean)")
        return "\n".join([self.caption, "", *rows, "", self._path()])

    def _path(self) -> str:
        """Which lines of the kernel the critical path spends its time in."""
        path = self.timeline.critical_path
        ends = [step.start_ns for step in path[1:]] + [path[-1].end_ns]
        spent: dict[tuple[int, str], list[float]] = {}
        for step, until in zip(path, ends, strict=True):
            spent.setdefault((step.line, step.source), []).append(until - step.start_ns)
        total = sum(map(sum, spent.values())) or 1.0
        ranked = sorted(spent.items(), key=lambda kv: (-round(sum(kv[1]), 3), kv[0]))
        rows = [[str(line), f"{sum(times) / 1e3:,.3f}", f"{100 * sum(times) / total:.1f} %", f"{len(times):,}",
                 clip(text, 60)] for (line, text), times in ranked[:LINES]]
        if len(ranked) > LINES:
            rest = sum(sum(times) for _, times in ranked[LINES:])
            rows.append(["", f"{rest / 1e3:,.3f}", f"{100 * rest / total:.1f} %",
                         f"{sum(len(t) for _, t in ranked[LINES:]):,}", f"{len(ranked) - LINES} more lines"])
        body = table(["line", "us (model)", "share", "steps"], [r[:4] for r in rows], left=0).split("\n")
        words = ["source", *(r[4] for r in rows)] if self.quote else [""] * len(body)
        return "\n".join(["Critical path (model), by line of the kernel:",
                          *(f"  {line.rstrip()}  {said}".rstrip() for line, said in zip(body, words, strict=True))])

    def figure(self) -> Figure:
        """A lane a row; instructions one by one where there is room, with the critical path underlined."""
        from matplotlib.figure import Figure

        t = self.timeline
        if not len(t.start):
            return chart.empty(self.caption)
        inside = (t.end / 1e3 > self.between[0]) & (t.start / 1e3 < self.between[1])
        single = int(inside.sum()) <= MOST
        names = [k for k in range(len(t.lanes)) if np.any(t.lane[inside] == k)]
        note = "critical path underlined"
        with chart.style():
            if single and len(names) <= 24:
                figure = Figure(figsize=(9.6, 1.35 + 0.29 * len(names)), layout="constrained")
                ax = figure.subplots()
                self._single(ax, names, inside)
            else:
                found = lanes.of_timeline(t, COLUMNS, np.linspace(*self.between, COLUMNS + 1))
                figure = Figure(figsize=(9.6, 1.35 + 0.42 * len(found)), layout="constrained")
                ax = figure.subplots()
                self._folded(ax, found)
                note = (f"{int(inside.sum()):,} instructions in {COLUMNS:,} columns of time: a bar is as high as its lane is "
                        "busy")
            ax.set_xlim(*self.between)
            ax.set_xlabel("time, us (model)")
            ax.xaxis.set_major_formatter("{x:,.6g}")
            ax.grid(axis="x")
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            figure.suptitle(f"{self.caption}\n{note}", fontsize=10, x=0.01, ha="left")
        return figure

    def _single(self, ax: Axes, names: list[int], inside: np.ndarray) -> None:
        t, r = self.timeline, self.reading
        span = self.between[1] - self.between[0]
        critical = np.zeros(len(t.start), bool)
        critical[[step.index for step in t.critical_path]] = True
        for row, lane in enumerate(names):
            mine = np.flatnonzero(inside & (t.lane == lane))
            color = palette.shade(t.lanes[lane]).light
            spans = [(float(t.start[k]) / 1e3, float(max(t.busy_end[k] - t.start[k], 0.0)) / 1e3) for k in mine]
            ax.broken_barh(spans, (row - 0.34, 0.68), facecolor=color, edgecolor=palette.CARD.light,
                           linewidth=0.4 if len(t.start) <= 300 else 0)
            ax.broken_barh([s for s, k in zip(spans, mine, strict=True) if critical[k]], (row + 0.34, 0.12),
                           facecolor=palette.INK.light, linewidth=0)
            for (start, width), k in zip(spans, mine, strict=True):
                op = r.kind_of(int(k)).op
                low, high = max(start, self.between[0]), min(start + width, self.between[1])
                if (high - low) / span > 0.0105 * len(op):
                    ax.text((low + high) / 2, row, op, ha="center", va="center", fontsize=7, color="white", clip_on=True)
        ax.set_yticks(range(len(names)), [t.lanes[k] for k in names])
        ax.set_ylim(len(names) - 0.4, -0.6)

    def _folded(self, ax: Axes, found: list[lanes.Lane]) -> None:
        for row, lane in enumerate(found):
            ax.axhspan(row - 0.4, row + 0.4, color=palette.RAISED.light, linewidth=0)
            ax.stairs(row + 0.4 - 0.8 * lane.share, lane.edges, baseline=row + 0.4, fill=True,
                      color=palette.shade(lane.name).light)
            ax.annotate(f"{100 * float(lane.share.mean()):.1f} %", (1.0, row), (4, 0), va="center", fontsize=8,
                        xycoords=("axes fraction", "data"), textcoords="offset points")
        ax.set_yticks(range(len(found)), [lane.name for lane in found])
        ax.set_ylim(len(found) - 0.5, -0.5)
