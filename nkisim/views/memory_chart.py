"""The memory map: how full SBUF and PSUM are over a run, and whose tensors fill them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..program.run import Run
from ..timeline import Timeline
from . import chart, palette
from .occupancy import Curve, curve, holders, unit_of
from .reading import SPACES, Reading
from .tables import bars, brief, clip, count, short, size, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 1000
"""Of the figure: about one a pixel."""
TEXT_COLUMNS = 60
NAMED = 7
"""Owners with their own colour; the others are added up."""


class MemoryChart(chart.Chart):
    """Bytes per partition in use, by owner, over the instructions of a run or over the time of a
    model."""

    def __init__(
        self, run: Run, timeline: Timeline | None = None, reading: Reading | None = None
    ) -> None:
        self.reading = reading if reading is not None else Reading(run, timeline)
        self.timeline = timeline

    @property
    def caption(self) -> str:
        """What is shown, in a line."""
        r = self.reading
        when = "" if self.timeline is None else f"{self.timeline.latency_us:,.2f} us (model), "
        return f"Memory of {r.title()} on {r.target.name}: {when}{count(len(r), 'instruction')}"

    def text(self) -> str:
        """For each memory: the fullest moment, who holds it then, and a coarse bar chart over the
        run."""
        if not len(self.reading):
            return f"{self.caption}."
        return "\n\n".join([self.caption, *(self._text_of(space) for space in SPACES)])

    def _text_of(self, space: str) -> str:
        r = self.reading
        moment, found = holders(r, space, self.timeline)
        peak, capacity = sum(t.partition_bytes * n for t, n in found), r.capacity(space)
        if not peak:
            return f"{space.upper()}: not used."
        where = (
            f"instruction {int(moment)}, line {r.kind_of(int(moment)).line}"
            if self.timeline is None
            else f"{moment:,.3f} us (model)"
        )
        head = (
            f"{space.upper()}: at most {size(peak)} of {size(capacity)} {r.unit} "
            f"({short(100 * peak / capacity)} %), at {where}"
        )
        rows = []
        for tile, n in found[:12]:
            each = f"{n} x " if n > 1 else ""
            rows.append(
                [
                    clip(tile.name, 40),
                    each + "x".join(map(str, tile.shape)),
                    tile.dtype,
                    str(tile.line),
                    size(tile.nbytes * n),
                    size(tile.partition_bytes * n),
                ]
            )
        if len(found) > 12:
            rest = found[12:]
            rows.append(
                [
                    f"{len(rest)} others",
                    "",
                    "",
                    "",
                    size(sum(t.nbytes * n for t, n in rest)),
                    size(sum(t.partition_bytes * n for t, n in rest)),
                ]
            )
        who = table(["held by", "shape", "dtype", "line", "bytes", "per partition"], rows)
        c = curve(r, space, TEXT_COLUMNS, self.timeline)
        return (
            f"{head}\n{_indent(who)}\n  over {self._axis()}:\n  "
            f"|{bars(_even(c, TEXT_COLUMNS), peak)}| to {size(peak)}"
        )

    def _axis(self) -> str:
        if self.timeline is None:
            return f"the instructions 0 to {len(self.reading) - 1}"
        return f"{short(float(self.timeline.end.max(initial=0)) / 1e3)} us (model)"

    def figure(self) -> Figure:
        """Two panels, SBUF and PSUM: areas stacked by owner, and a line at the capacity."""
        from matplotlib.figure import Figure

        if not len(self.reading):
            return chart.empty(self.caption)
        with chart.style():
            figure = Figure(figsize=(8.6, 5.2), layout="constrained")
            axes = figure.subplots(2, 1, sharex=True)
            note = ""
            for ax, space in zip(axes, SPACES, strict=True):
                c = curve(self.reading, space, COLUMNS, self.timeline, named=NAMED)
                _draw(ax, c, space, self.reading)
                if c.folded:
                    note = f"; each of {len(c.total):,} columns shows its fullest moment"
            figure.suptitle(self.caption + note, fontsize=10, x=0.01, ha="left")
            axes[-1].set_xlabel(
                "instruction, in program order" if self.timeline is None else "time, us (model)"
            )
            axes[-1].set_xlim(0, float(c.edges[-1]) or 1.0)
            axes[-1].xaxis.set_major_formatter("{x:,.6g}")
        return figure


def _even(c: Curve, columns: int) -> list[float]:
    """The curve in columns of equal width, the fullest moment of each."""
    edges = np.linspace(0.0, float(c.edges[-1]), columns + 1)
    out = []
    for a, b in itertools.pairwise(edges):
        first = max(int(np.searchsorted(c.edges, a + 1e-9, "right")) - 1, 0)
        last = max(int(np.searchsorted(c.edges, b - 1e-9, "left")), first + 1)
        out.append(float(c.total[first:last].max(initial=0)))
    return out


def _draw(ax: Axes, c: Curve, space: str, reading: Reading) -> None:
    capacity = reading.capacity(space)
    peak = int(c.total.max(initial=0))
    unit, per = unit_of(peak)
    base = np.zeros(len(c.total))
    for i, (name, held) in enumerate(c.owners.items()):
        color = palette.OWNERS[i] if i < NAMED else palette.REST
        top = base + held / per
        ax.fill_between(
            c.edges,
            np.append(base, base[-1:]),
            np.append(top, top[-1:]),
            step="post",
            color=color,
            linewidth=0,
            label=clip(brief(name), 30),
        )
        base = top
    ax.stairs(c.total / per, c.edges, color=palette.INK.either, linewidth=0.8, baseline=None)
    ax.axhline(capacity / per, color=palette.LIMIT.either, linewidth=1.2, linestyle=(0, (5, 2)))
    ax.set_ylabel(f"{unit} per partition")
    ax.set_title(space.upper())
    ax.grid(axis="y")
    words = f"capacity {size(capacity)} {reading.unit}"
    near = peak * 5 >= capacity
    ax.set_ylim(0, (max(capacity, peak) * 1.18 if near else peak * 1.3) / per or 1.0)
    place: dict[str, Any] = {"color": palette.LIMIT.either, "ha": "right", "fontsize": 8}
    if near:
        ax.annotate(
            words,
            (1.0, capacity / per),
            (0, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="bottom",
            **place,
        )
    else:
        above = f", {short(capacity / peak)} times the peak: above this axis" if peak else ""
        ax.annotate(
            words + above,
            (1.0, 1.0),
            (0, 3),
            xycoords="axes fraction",
            textcoords="offset points",
            va="bottom",
            **place,
        )
    if c.owners:
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.2,
            handlelength=1.0,
            handleheight=1.0,
        )
    else:
        ax.annotate("not used", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.split("\n"))
