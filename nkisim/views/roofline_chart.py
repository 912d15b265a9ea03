"""The roofline: a kernel's arithmetic for each HBM byte, against what memory and TensorE allow."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from ..timeline import Timeline
from . import chart, palette
from .reading import Reading
from .tables import count, short, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class RooflineChart(chart.Chart):
    """One point for the run, under the roofs of its target. The point is modelled, the roofs are
    published or modelled."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.reading = Reading(timeline.run, timeline)
        self.roofline = timeline.roofline

    @property
    def caption(self) -> str:
        """What is shown, in a line."""
        return f"Roofline of {self.reading.title()} on {self.timeline.target.name} (model)"

    @property
    def verdict(self) -> str:
        """Which roof is above the point, and how far."""
        r = self.roofline
        if not r.hbm_bytes or not r.flops:
            missing = (
                ("moves no HBM byte") if not r.hbm_bytes else "has no matmul: no flop is counted"
            )
            return f"The run {missing}, so it has no place under the roofs."
        roof = min(r.peak_flops, r.intensity * r.achievable_bandwidth)
        side = (
            "left of the knee, under the roof of HBM bandwidth"
            if r.intensity < r.knee
            else ("right of the knee, under the roof of arithmetic")
        )
        return (
            f"At {short(r.intensity)} flop/byte the run is {side}: at most {_flops(roof)}. "
            f"By the model it reaches {short(100 * r.achieved_flops / roof)} % of that."
        )

    def text(self) -> str:
        """The numbers of the picture as a table, and where the run stands."""
        r = self.roofline
        rows = [
            ["arithmetic of the run", f"{r.flops:,.0f}", "flop"],
            ["HBM traffic of the run", f"{r.hbm_bytes:,}", "byte"],
            ["intensity", short(r.intensity), "flop/byte"],
            ["reached (model)", short(r.achieved_flops / 1e12), "Tflop/s"],
            ["HBM bandwidth reached (model)", short(r.achieved_bandwidth / 1e9), "GB/s"],
            ["peak arithmetic, bf16", short(r.peak_flops / 1e12), "Tflop/s"],
            ["peak HBM bandwidth", short(r.peak_bandwidth / 1e9), "GB/s"],
            ["achievable HBM bandwidth", short(r.achievable_bandwidth / 1e9), "GB/s"],
            ["knee, achievable", short(r.knee), "flop/byte"],
        ]
        body = table(["", "value", "unit"], rows).split("\n")
        head = f"{self.caption}: {count(len(self.reading), 'instruction')}"
        return "\n".join([head, "", *body[1:], "", textwrap.fill(self.verdict, 100)])

    def figure(self) -> Figure:
        """flop/s over flop per HBM byte, both logarithmic: the roofs, the knee, the run."""
        from matplotlib.figure import Figure

        r = self.roofline
        x = r.intensity if r.hbm_bytes and r.flops else None
        with chart.style():
            figure = Figure(figsize=(7.4, 4.4), layout="constrained")
            ax = figure.subplots()
            low = 10 ** np.floor(np.log10(min(r.knee, x or r.knee) / 8))
            high = 10 ** np.ceil(np.log10(max(r.knee, x or r.knee) * 4))
            floor = min(r.achievable_bandwidth * low / 2, r.achieved_flops / 4 if x else np.inf)
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.set_xlim(low, high)
            ax.set_ylim(10 ** np.floor(np.log10(floor / 1e12)), r.peak_flops / 1e12 * 4)
            self._roofs(ax, low, high)
            if x is not None:
                self._point(ax, x)
            ax.set_xlabel("arithmetic intensity, flop per HBM byte")
            ax.set_ylabel("Tflop/s (model)")
            ax.grid(which="major")
            figure.suptitle(
                f"{self.caption}\n{textwrap.fill(self.verdict, 108)}", fontsize=9, x=0.01, ha="left"
            )
        return figure

    def _roofs(self, ax: Axes, low: float, high: float) -> None:
        r = self.roofline
        peak = r.peak_flops / 1e12
        x = np.array([low, high])
        roofs = (
            (r.peak_bandwidth, "peak", (0, (5, 2)), palette.SOFT.either, "bottom", 4, "right"),
            (
                r.achievable_bandwidth,
                "achievable",
                "solid",
                palette.FOCUS.either,
                "top",
                -4,
                "left",
            ),
        )
        for bandwidth, name, line, color, va, dy, ha in roofs:
            knee = r.peak_flops / bandwidth
            ax.plot([low, knee], [bandwidth * low / 1e12, peak], linestyle=line, color=color)
            at = float(np.sqrt(low * knee))
            ax.annotate(
                f"{name} HBM bandwidth, {short(bandwidth / 1e9)} GB/s",
                (at, bandwidth * at / 1e12),
                (0, dy),
                textcoords="offset points",
                ha=ha,
                va=va,
                fontsize=8,
                color=color,
            )
        ax.plot(x, [peak, peak], color=palette.LIMIT.either)
        ax.annotate(
            f"peak, {short(peak)} Tflop/s bf16",
            (high, peak),
            (-4, 4),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=palette.LIMIT.either,
        )
        ax.plot(
            [r.knee, r.knee],
            [ax.get_ylim()[0], peak],
            linestyle=":",
            linewidth=1,
            color=palette.SOFT.either,
        )
        ax.annotate(
            f"knee {short(r.knee)}",
            (r.knee, ax.get_ylim()[0]),
            (4, 4),
            textcoords="offset points",
            fontsize=8,
            color=palette.SOFT.either,
        )

    def _point(self, ax: Axes, x: float) -> None:
        y = self.roofline.achieved_flops / 1e12
        roof = min(self.roofline.peak_flops, x * self.roofline.achievable_bandwidth) / 1e12
        ax.plot([x, x], [y, roof], linestyle=":", linewidth=1, color=palette.INK.either)
        ax.plot(
            [x],
            [y],
            "o",
            markersize=8,
            color=palette.INK.either,
            markeredgecolor=palette.CARD.either,
        )
        ax.annotate(
            f"{self.reading.title()}\n{short(x)} flop/byte, {_flops(y * 1e12)} (model)",
            (x, y),
            (9, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )


def _flops(value: float) -> str:
    return f"{short(value / 1e12)} Tflop/s" if value >= 1e12 else f"{short(value / 1e9)} Gflop/s"
