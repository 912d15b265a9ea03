"""A page on which one slider moves the picture of a kernel, its timeline and its text together."""

from __future__ import annotations

import html
import json
import linecache
from functools import cache
from importlib import resources
from typing import Any

from nkisim.views import markup

from ..pictures.canvas import INK, INK_IN_THE_DARK, TONES, Picture, plain
from ..pictures.kernel import ENGINES, box_of
from ..pictures.reading import Flow

WIDE, HIGH = 940, 22  # pixels of the timeline, and of one of its bands
LEFT = 80  # where time begins
AROUND = 3  # lines of the text before the first and after the last that ran


def page(picture: Picture, flow: Flow, timeline: Any, title: str) -> str:
    """The page as text: it needs no other file. `timeline` is an `nkisim` timeline of the run that
    `flow` was read from; every time on the page is the model's, in microseconds."""
    boxes = box_of(flow)
    data = {
        "box": [boxes.get(step, -1) for step in flow.order],
        "line": [step.line for step in flow.order],
        "said": [f"{step.op} on {ENGINES[step.engine]}" for step in flow.order],
        "start": [round(float(t) / 1e3, 3) for t in timeline.start],
        "end": [round(float(t) / 1e3, 3) for t in timeline.end],
        "left": LEFT,
        "scale": _scale(timeline),
    }
    given = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    body = (
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(picture.alt)}</p>\n"
        '<div class="bar"><button type="button" id="back" aria-label="previous">&#9664;</button>'
        f'<input type="range" id="at" min="0" max="{len(flow.order) - 1}" value="0" '
        'aria-label="instruction"><button type="button" id="on" aria-label="next">&#9654;</button>'
        '<output id="said" aria-live="polite"></output></div>\n'
        f'<div class="time">{_lanes(flow, timeline)}</div>\n'
        f'<div class="both"><div class="text">{_text(flow)}</div>\n'
        f'<div class="picture">{picture.svg}</div></div>\n'
        f'<script type="application/json" id="data">{given}</script>\n'
        f"<script>{_part('js')}</script>"
    )
    return markup.document(title, _style(), body)


def _scale(timeline: Any) -> float:
    """Pixels of a microsecond."""
    last = max((float(t) for t in timeline.end), default=0.0) / 1e3
    return (WIDE - LEFT - 10) / last if last else 1.0


def _lanes(flow: Flow, timeline: Any) -> str:
    """Each instruction as a bar in the band of its engine, over modelled time."""
    used = [e for e in ENGINES if any(step.engine == e for step in flow.order)]
    scale = _scale(timeline)
    parts = [
        f'<text x="4" y="{HIGH * i + 16}" font-size="13">{ENGINES[engine]}</text>'
        for i, engine in enumerate(used)
    ]
    for i, step in enumerate(flow.order):
        start, end = float(timeline.start[i]) / 1e3, float(timeline.end[i]) / 1e3
        x, wide = LEFT + start * scale, max((end - start) * scale, 1.0)
        y = HIGH * used.index(step.engine) + 4
        parts.append(
            f'<rect data-at="{i}" x="{plain(x)}" y="{y}" width="{plain(wide)}" '
            f'height="{HIGH - 6}" fill="{TONES[step.engine]}" fill-opacity="0.75"/>'
        )
    tall = HIGH * len(used)
    parts.append(
        f'<line id="cursor" y1="0" y2="{tall}" stroke="{TONES["wrong"]}" stroke-width="2"/>'
    )
    total = max((float(t) for t in timeline.end), default=0.0) / 1e3
    parts.append(
        f'<text x="{WIDE - 4}" y="{tall + 16}" font-size="13" text-anchor="end">'
        f"{total:.1f} us (model)</text>"
    )
    return (
        f'<svg viewBox="0 0 {WIDE} {tall + 22}" role="img" aria-label="timeline, by the model">'
        f"{''.join(parts)}</svg>"
    )


def _text(flow: Flow) -> str:
    """The kernel's text around the lines that ran, a line in an element."""
    lines = linecache.getlines(flow.filename)
    ran = [step.line for step in flow.steps if 0 < step.line <= len(lines)]
    if not ran:
        return ""
    first, last = max(min(ran) - AROUND, 1), min(max(ran) + AROUND, len(lines))
    shown = "".join(
        f'<span data-line="{n}"><b>{n:4d}</b> {html.escape(lines[n - 1].rstrip())}\n</span>'
        for n in range(first, last + 1)
    )
    return f"<pre>{shown}</pre>"


def _style() -> str:
    """The page's style, with the colours of the pictures."""
    dark = f"@media (prefers-color-scheme:dark){{:root{{--ink:{INK_IN_THE_DARK}}}}}"
    return f":root{{--ink:{INK};--now:{TONES['wrong']}}}{dark}\n{_part('css')}"


@cache
def _part(kind: str) -> str:
    """The page's script or style."""
    return resources.files(__package__).joinpath(f"kernel_page.{kind}").read_text(encoding="utf-8")
