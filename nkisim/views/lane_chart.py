"""The engine lanes: what each engine and DMA queue does when, by the model of time, and what
decides the latency."""

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
LOADING = "░"
"""In the text, a lane that mostly loads an activation table."""
HATCH = "////"
"""In the figure, the loading of an activation table."""


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
            f"  {lane.name.ljust(width)} |{self._cells(lane, loads.get(lane.name))}| "
            f"{100 * lane.share.mean():5.1f} % busy"
            for lane in found
        ]
        low, high = (f"{x:,.2f} us" for x in self.between)
        rows.append(f"  {' ' * width}  {low}{high.rjust(TEXT_COLUMNS - len(low))}  (model)")
        if any(lane.name.endswith(")") for lane in found):
            rows.append(f"  {' ' * width}  (in brackets: of how many queues this is the mean)")
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
        """A lane a row; instructions one by one where there is room, with the critical path
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
            if single and len(names) <= 24:
                figure = Figure(figsize=(9.6, 1.35 + 0.29 * len(names)), layout="constrained")
                ax = figure.subplots()
                if self._single(ax, names, inside):
                    note += ", activation table loads hatched"
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
            ax.set_xlim(*self.between)
            ax.set_xlabel("time, us (model)")
            ax.xaxis.set_major_formatter("{x:,.6g}")
            ax.grid(axis="x")
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            figure.suptitle(f"{self.caption}\n{note}", fontsize=10, x=0.01, ha="left")
        return figure

    def _single(self, ax: Axes, names: list[int], inside: np.ndarray) -> bool:
        """Each instruction as a block; returns whether a table load is among them."""
        t, r = self.timeline, self.reading
        loads = lanes.is_table_load(t)
        span = self.between[1] - self.between[0]
        critical = np.zeros(len(t.start), bool)
        critical[[step.index for step in t.critical_path]] = True
        for row, lane in enumerate(names):
            mine = np.flatnonzero(inside & (t.lane == lane))
            color = palette.shade(t.lanes[lane]).light
            spans = [
                (float(t.start[k]) / 1e3, float(max(t.busy_end[k] - t.start[k], 0.0)) / 1e3)
                for k in mine
            ]
            ax.broken_barh(
                spans,
                (row - 0.34, 0.68),
                facecolor=color,
                edgecolor=palette.CARD.light,
                linewidth=0.4 if len(mine) <= 150 else 0,
            )
            ax.broken_barh(
                [
                    (since, start + width - since)
                    for (start, width), k, since in zip(
                        spans, mine, t.since[mine] / 1e3, strict=True
                    )
                    if critical[k]
                ],
                (row + 0.34, 0.12),
                facecolor=palette.INK.light,
                linewidth=0,
            )
            waits = [
                (float(t.since[k]) / 1e3, float(t.start[k] - t.since[k]) / 1e3)
                for k in mine
                if loads[k]
            ]
            ax.broken_barh(
                waits,
                (row - 0.34, 0.68),
                facecolor="none",
                edgecolor=color,
                hatch=HATCH,
                linewidth=0.8,
            )
            named = [
                (r.kind_of(int(k)).op, "white", "none", where)
                for k, where in zip(mine, spans, strict=True)
            ]
            named += [
                ("table load", palette.INK.light, palette.CARD.light, where) for where in waits
            ]
            for text, ink, behind, (start, width) in named:
                low, high = max(start, self.between[0]), min(start + width, self.between[1])
                if (high - low) / span > 0.0105 * len(text):
                    ax.text(
                        (low + high) / 2,
                        row,
                        text,
                        ha="center",
                        va="center",
                        fontsize=7,
                        color=ink,
                        clip_on=True,
                        bbox={"facecolor": behind, "edgecolor": "none", "pad": 1.0},
                    )
        ax.set_yticks(range(len(names)), [t.lanes[k] for k in names])
        ax.set_ylim(len(names) - 0.4, -0.6)
        return bool(np.any(loads & inside))

    def _folded(self, ax: Axes, found: list[lanes.Lane], loads: dict[str, lanes.Lane]) -> None:
        for row, lane in enumerate(found):
            ax.axhspan(row - 0.4, row + 0.4, color=palette.RAISED.light, linewidth=0)
            ax.stairs(
                row + 0.4 - 0.8 * lane.share,
                lane.edges,
                baseline=row + 0.4,
                fill=True,
                color=palette.shade(lane.name).light,
            )
            if lane.name in loads:
                floor = row + 0.4 - 0.8 * lane.share
                ax.stairs(
                    floor - 0.8 * loads[lane.name].share,
                    lane.edges,
                    baseline=floor,
                    fill=True,
                    facecolor="none",
                    edgecolor=palette.shade(lane.name).light,
                    hatch=HATCH,
                    linewidth=0,
                )
            ax.annotate(
                f"{100 * float(lane.share.mean()):.1f} %",
                (1.0, row),
                (4, 0),
                va="center",
                fontsize=8,
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
            )
        ax.set_yticks(range(len(found)), [lane.name for lane in found])
        ax.set_ylim(len(found) - 0.5, -0.5)
