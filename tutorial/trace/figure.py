"""The state trace as a picture: max, alpha, l and |acc| over the tiles, one line per head."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from nkisim.views import chart
from nkisim.views.palette import INK, LIMIT, LINES

from .rows import Row, Table, TraceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


LOST = LIMIT.either
MARKERS = "os^D"
DASHES = ("-", (0, (5, 2)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def draw(trace: Table) -> Figure:
    """A figure of the shown heads, four panels above one another. Raises TraceError if the trace is
    empty.

    It belongs to no backend: save it, or hand it to a notebook.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not trace.rows:
        raise TraceError(f"There is nothing to draw. {trace.missing}")
    with chart.style():
        figure = Figure(figsize=(7.0, 6.4), layout="constrained")
        axes: list[Axes] = list(figure.subplots(4, 1, sharex=True))
        figure.suptitle(trace.caption, fontsize=10)
        lost = False
        for place, head in enumerate(trace.heads):
            rows = [row for row in trace.rows if row.head == head]
            _head(axes, rows, place, rows[0].name if trace.n_heads > 1 and rows else None)
            for row in rows:
                lost = _mark_lost(axes, row) or lost
        _labels(axes, trace)
        figure.align_ylabels(axes)
        marks = Line2D([], [], color=INK.either, marker="o", fillstyle="none", linestyle="none")
        marks.set_label("largest score of the tile")
        named = [*axes[3].get_legend_handles_labels()[0], marks]
        if lost:
            named.append(Line2D([], [], color=LOST, label="NaN or infinite"))
        figure.legend(handles=named, loc="outside lower center", fontsize=8, ncols=5)
    return figure


def _head(axes: list[Axes], rows: list[Row], place: int, label: str | None) -> None:
    """The curves of one head. They may lie on one another: dashes let the lower one through, and
    the marks differ."""
    tiles = [row.tile for row in rows]
    look: dict[str, Any] = {
        "color": LINES[place % len(LINES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 5,
    }
    line = {**look, "linestyle": DASHES[place % len(DASHES)]}
    hollow = {**look, "markersize": 8, "fillstyle": "none", "linestyle": "none"}
    axes[0].plot(tiles, [_finite(row.tile_max) for row in rows], **hollow)
    steps = {**line, "marker": "none"}
    axes[0].step(tiles, [_finite(row.m_new) for row in rows], where="mid", **steps)
    for ax, name in zip(axes[1:], ("alpha", "l", "acc"), strict=True):
        ax.plot(tiles, [_finite(getattr(row, name)) for row in rows], **line, label=label)


def _labels(axes: list[Axes], trace: Table) -> None:
    """The names of the panels, upright, and what stands in an empty one."""
    from matplotlib.ticker import MaxNLocator

    for ax, name in zip(axes, ("m", "alpha", "l", "|acc|"), strict=True):
        # with serifs: else an l is a dash
        ax.set_ylabel(name, rotation=0, ha="right", va="center", family="DejaVu Serif", labelpad=10)
        ax.grid(visible=True)
    if all(row.alpha is None for row in trace.rows):
        middle: dict[str, Any] = {"xycoords": "axes fraction", "ha": "center", "va": "center"}
        axes[1].annotate("none in this trace", (0.5, 0.5), **middle, fontsize=9)
    if all(row.alpha is None or row.alpha <= 1 for row in trace.rows):
        axes[1].set_ylim(-0.05, 1.05)
    axes[3].set_xlabel("KV tile")
    axes[3].xaxis.set_major_locator(MaxNLocator(integer=True))


def show(trace: Table) -> None:
    """Print the table; in a notebook, display the picture after it."""
    print(trace)
    if trace.rows:
        display_figure(draw(trace), trace.text())


def display_figure(figure: Figure, text: str) -> None:
    """In a notebook, display a figure with its text twin; elsewhere do nothing."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import Image, display
    except ImportError:
        return
    if get_ipython() is not None:  # type: ignore[no-untyped-call, unused-ignore]
        image = Image(data=png(figure), alt=text)  # type: ignore[no-untyped-call, unused-ignore]
        display(image)  # type: ignore[no-untyped-call, unused-ignore]


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=96, metadata={"Software": None})
    return file.getvalue()


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan


def _mark_lost(axes: list[Axes], row: Row) -> bool:
    """A red line where a value is NaN or infinite, so that a gap is not taken for missing data;
    whether there is one."""
    lost = False
    for ax, value in zip(axes, (row.m_new, row.alpha, row.l, row.acc), strict=True):
        if value is not None and not math.isfinite(value):
            ax.axvline(row.tile, color=LOST, alpha=0.5, linewidth=1)
            lost = True
    return lost
