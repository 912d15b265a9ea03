"""What all charts share: a text twin, a matplotlib figure in the palette's colours, and how a
notebook shows both."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from . import palette

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Chart:
    """A drawing and the same facts in words: `print(chart)` for the text, `chart.figure()` for a
    matplotlib Figure.

    A notebook shows the picture, with the text as its alternative. `chart.save("x.png")` writes the
    picture, in any format that matplotlib writes.
    """

    def text(self) -> str:
        """The facts as text, the same on every platform."""
        raise NotImplementedError

    def figure(self) -> Figure:
        """The picture. It belongs to no backend: save it, or hand it to a notebook."""
        raise NotImplementedError

    def save(self, path: str) -> None:
        """Write the picture to a file; the ending of its name chooses the format."""
        self.figure().savefig(path)

    def png(self) -> bytes:
        """The picture as a PNG file."""
        file = io.BytesIO()
        self.figure().savefig(file, format="png", dpi=96, metadata={"Software": None})
        return file.getvalue()

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        words = self.text()
        return {"text/plain": words, "image/png": self.png()}, {"image/png": {"alt": words}}


def style() -> AbstractContextManager[None]:
    """matplotlib's settings while a chart is made, whatever style the reader has chosen: no
    background, and colours that read on a light page and on a dark one."""
    import matplotlib

    ink, soft, line, card = (
        c.either for c in (palette.INK, palette.SOFT, palette.LINE, palette.CARD)
    )
    return matplotlib.rc_context(
        {
            "figure.facecolor": card,
            "axes.facecolor": card,
            "savefig.facecolor": card,
            "text.color": ink,
            "axes.labelcolor": ink,
            "axes.edgecolor": line,
            "xtick.color": soft,
            "ytick.color": soft,
            "xtick.labelcolor": ink,
            "ytick.labelcolor": ink,
            "grid.color": line,
            "grid.alpha": 0.6,
            "grid.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": False,
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 9.0,
            "axes.titlesize": 10.0,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9.0,
            "legend.frameon": False,
            "legend.fontsize": 8.0,
            "hatch.linewidth": 0.6,
            "lines.linewidth": 1.4,
            "figure.dpi": 100.0,
            "savefig.bbox": None,
            "text.usetex": False,
            "axes.unicode_minus": False,
        }
    )


def empty(message: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(7.0, 1.2))
        figure.text(0.5, 0.5, message, ha="center", va="center")
    return figure
