"""The overview picture of a page: which engine works when, and how full SBUF and PSUM are, as an
SVG.

It stands in an <img>, which viewers keep that strip scripts, styles and inline SVG; it follows the
reader's light or dark scheme by itself.
"""

from __future__ import annotations

import html

import numpy as np
from numpy.typing import NDArray

from ..timeline import Timeline
from . import lanes, palette
from .occupancy import Curve, curve
from .reading import SPACES, Reading
from .tables import short, size

WIDTH, LEFT, RIGHT = 960, 92, 16
COLUMNS = 430
LANE, GAP, AREA = 15, 5, 46

STYLE = (
    f":root{{{palette.variables(dark=False)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{palette.variables(dark=True)}}}}}"
    "text{font:12px system-ui,-apple-system,'Segoe "
    "UI',sans-serif;fill:var(--ink)}.s{fill:var(--soft);font-size:11px}"
    "path,rect.b{shape-rendering:crispEdges}.a{stroke:var(--line);stroke-width:1}.b{fill:var(--raised)}"
    ".m{fill:var(--focus);fill-opacity:.55}"
    ".h{stroke:var(--scalar);stroke-width:1.5}"
    ".c{stroke:var(--limit);stroke-width:1.2;stroke-dasharray:5 3}"
)


def svg(reading: Reading, timeline: Timeline | None) -> tuple[str, int]:
    """The picture, WIDTH pixels wide, and its height."""
    shown = (
        lanes.of_timeline(timeline, COLUMNS)
        if timeline is not None
        else lanes.of_run(reading, COLUMNS)
    )
    plot = WIDTH - LEFT - RIGHT
    length = float(shown[0].edges[-1]) if shown else 1.0
    parts = []
    y = 26.0
    title = "which engine executes"
    if timeline is not None:
        title = "busy engines"
        most = [lane.most for lane in shown if lane.most]
        if most:
            title += f"; dma: transfers in flight, {max(most)} at most, stores pale"
    loads = lanes.table_loads(timeline, COLUMNS) if timeline is not None else {}
    if loads:
        title += "; hatched: an activation table is loaded"
        parts.append(
            '<pattern id="h" width="4" height="4" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)">'
            '<path class="h" d="M1 0v4"/></pattern>'
        )
    parts.append(f'<text class="s" x="{LEFT}" y="15">{title}</text>')
    for lane in shown:
        parts += _lane(lane, loads.get(lane.name), length, plot, y)
        y += LANE + GAP
    for space in SPACES:
        c = curve(reading, space, COLUMNS, timeline)
        peak, capacity = int(c.total.max(initial=0)), reading.capacity(space)
        y += 10
        parts += _area(space, c, peak, capacity, length, plot, y)
        y += AREA + 4
    parts += _axis(length, plot, y, timeline is not None)
    height = round(y + 42)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}">'
        f'<style>{STYLE}</style><rect width="{WIDTH}" height="{height}" rx="8" '
        f'fill="var(--card)"/>{"".join(parts)}</svg>',
        height,
    )


def _lane(
    lane: lanes.Lane, load: lanes.Lane | None, length: float, plot: float, y: float
) -> list[str]:
    """The row of one engine; hatched where it loads an activation table."""
    parts = []
    parts.append(
        f'<text x="{LEFT - 8}" y="{y + 12:.0f}" text-anchor="end">{html.escape(lane.name)}</text>'
    )
    parts.append(f'<rect class="b" x="{LEFT}" y="{y:.0f}" width="{plot}" height="{LANE}"/>')
    shares = [(lane.share, "")]
    if lane.loads is not None:  # of transfers, stores pale above the loads
        shares = [(lane.share, ' fill-opacity=".5"'), (lane.loads, "")]
    for share, look in shares:
        parts.append(
            f'<path fill="var(--{palette.engine(lane.name)})"{look} '
            f'd="{_blocks(lane.edges, share, length, plot, y, LANE)}"/>'
        )
    if load is not None:
        parts.append(
            f'<path fill="url(#h)" d="{_blocks(load.edges, load.share, length, plot, y, LANE)}"/>'
        )
    return parts


def _area(
    space: str,
    c: Curve,
    peak: int,
    capacity: int,
    length: float,
    plot: float,
    y: float,
) -> list[str]:
    """How full a memory is, with its capacity where the peak comes near it."""
    parts = []
    top = max(peak * 1.08, capacity if peak * 4 >= capacity else 0) or 1.0
    parts.append(f'<rect class="b" x="{LEFT}" y="{y:.0f}" width="{plot}" height="{AREA}"/>')
    parts.append(f'<path class="m" d="{_blocks(c.edges, c.total / top, length, plot, y, AREA)}"/>')
    if peak * 4 >= capacity:
        at = y + AREA * (1 - capacity / top)
        parts.append(
            f'<line class="c" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
    parts.append(
        f'<text x="{LEFT - 8}" y="{y + AREA / 2 + 4:.0f}" text-anchor="end">{space.upper()}</text>'
    )
    label = (
        "not used" if not peak else size(peak) if peak * 4 < capacity else f"of {size(capacity)}"
    )
    parts.append(
        f'<text class="s" x="{LEFT - 8}" y="{y + 10:.0f}" text-anchor="end">{label}</text>'
    )
    return parts


def _axis(length: float, plot: float, y: float, timed: bool) -> list[str]:
    step = 10 ** np.floor(np.log10(max(length, 1e-6)))
    step = next((step * f for f in (0.1, 0.2, 0.5, 1.0, 2.0) if length / (step * f) <= 8), step)
    if not timed:
        step = max(step, 1.0)
    parts = [
        f'<line class="a" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y + 4:.0f}" y2="{y + 4:.0f}"/>'
    ]
    name = "us (model)" if timed else "instruction"
    parts.append(
        f'<text class="s" x="{WIDTH - RIGHT}" y="{y + 36:.0f}" text-anchor="end">{name}</text>'
    )
    for i in range(int(length / step + 1e-9) + 1):
        x = LEFT + plot * i * step / length
        parts.append(
            f'<line class="a" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 4:.0f}" y2="{y + 8:.0f}"/>'
        )
        label = f"{i * step:,.0f}" if i * step >= 1000 else short(round(i * step, 6))
        parts.append(
            f'<text class="s" x="{x:.1f}" y="{y + 20:.0f}" text-anchor="middle">{label}</text>'
        )
    return parts


def _blocks(
    edges: NDArray[np.float64],
    share: NDArray[np.float64],
    length: float,
    plot: float,
    y: float,
    height: float,
) -> str:
    """A path of upright blocks, neighbours of equal height as one."""
    heights = np.round(2 * share * height) / 2  # in half pixels
    starts = np.flatnonzero(np.concatenate([[True], heights[1:] != heights[:-1]]))
    ends = np.append(starts[1:], len(heights))
    out = []
    for a, b in zip(starts.tolist(), ends.tolist(), strict=True):
        h = float(heights[a])
        if h:
            x0, x1 = (LEFT + plot * float(edges[i]) / (length or 1.0) for i in (a, b))
            out.append(
                f"M{x0:.1f} "
                f"{y + height - h:.1f}h{max(x1 - x0, 0.3):.1f}v{h:.1f}h{-max(x1 - x0, 0.3):.1f}z"
            )
    return "".join(out)
