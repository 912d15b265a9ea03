"""The state trace as a picture: max, alpha, l and |acc| over the tiles, a line a head."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .trace import Row, Trace


def draw(trace: Trace) -> Figure:
    """A figure of the shown heads, four panels above one another. Raises TraceError if the trace is empty.

    It belongs to no backend: save it, or hand it to a notebook.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from .trace import TraceError

    if not trace.rows:
        raise TraceError(f"There is nothing to draw. {trace.missing}")
    figure = Figure(figsize=(7.0, 6.4), layout="constrained")
    axes: list[Axes] = list(figure.subplots(4, 1, sharex=True))
    figure.suptitle(trace.caption, fontsize=10)
    for place, head in enumerate(trace.heads):
        rows = [row for row in trace.rows if row.head == head]
        tiles = [row.tile for row in rows]
        label = rows[0].name if trace.n_heads > 1 and rows else None
        color = f"C{place}"
        axes[0].plot(tiles, [_finite(row.tile_max) for row in rows], "o", color=color, alpha=0.5, markersize=4)
        axes[0].step(tiles, [_finite(row.m_new) for row in rows], where="post", color=color, label=label)
        axes[1].plot(tiles, [_finite(row.alpha) for row in rows], "o-", color=color)
        axes[2].plot(tiles, [_finite(row.l) for row in rows], "o-", color=color)
        axes[3].plot(tiles, [_finite(row.acc) for row in rows], "o-", color=color)
        for row in rows:
            _mark_lost(axes, row)
    for ax, name in zip(axes, ("m (line), tile max", "alpha", "l", "|acc|"), strict=True):
        ax.set_ylabel(name)
        ax.grid(alpha=0.3)
    if all(row.alpha is None or row.alpha <= 1 for row in trace.rows):
        axes[1].set_ylim(-0.05, 1.05)
    axes[3].set_xlabel("KV tile")
    axes[3].xaxis.set_major_locator(MaxNLocator(integer=True))
    if trace.n_heads > 1:
        axes[0].legend(fontsize=8, ncols=4)
    return figure


def show(trace: Trace) -> None:
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


def _mark_lost(axes: list[Axes], row: Row) -> None:
    """A red line where a value is NaN or infinite, so that a gap is not taken for missing data."""
    for ax, value in zip(axes, (row.m_new, row.alpha, row.l, row.acc), strict=True):
        if value is not None and not math.isfinite(value):
            ax.axvline(row.tile, color="red", alpha=0.4, linewidth=1)
