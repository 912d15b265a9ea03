"""The state trace step by step: a view that needs no kernel, no network and no library, and that
replays anywhere.

A step is a `<details>` with a picture and the same facts in words. Where scripts run, they become
one slider with buttons; where a viewer strips scripts (an untrusted notebook, a page of static
HTML), the steps open by themselves. The pictures are SVG in data URIs, which such viewers keep, and
follow the reader's light or dark scheme.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nkisim.views import markup

from ..text import DIGITS, number

if TYPE_CHECKING:
    from .trace import Row, Trace

WIDTH, HEIGHT = 640, 300
STYLE = """\
:root{--ink:#1b1f24;--soft:#6a737d;--card:#ffffff;--line:#d0d7de;\
--now:#0b62c4;--bar:#9ec5f0;--old:#e3a008}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--card:#161b22;\
--line:#3d444d;--now:#6cb6ff;
--bar:#1f4b7a;--old:#d4a72c}}
text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:var(--ink)}.soft{fill:var(--soft)}
.axis{stroke:var(--line);stroke-width:1}.now{fill:var(--now)}.bar{fill:var(--bar)}.m{stroke:var(--now);stroke-width:2;
fill:none}.old{fill:var(--old)}"""
SCRIPT = """\
(function(){
var root=document.getElementById("ID");if(!root||root.dataset.ready)return;root.dataset.ready="1";
var steps=Array.prototype.slice.call(root.querySelectorAll("details"));if(steps.length<2)return;
var bar=document.createElement("div"),range=document.createElement("input"),\
said=document.createElement("output");
function button(text,label,by){\
var b=document.createElement("button");b.type="button";b.textContent=text;
b.setAttribute("aria-label",label);b.onclick=function(){go(Number(range.value)+by)};return b}
range.type="range";range.min=0;range.max=steps.length-1;range.value=0;range.style.width="60%";
range.setAttribute("aria-label","step");said.setAttribute("aria-live","polite");
function go(i){i=Math.max(0,Math.min(steps.length-1,i));range.value=i;
steps.forEach(function(s,j){s.open=j===i;s.style.display=j===i?"block":"none"});
said.textContent=" "+(i+1)+" of "+steps.length}
range.oninput=function(){go(Number(range.value))};
root.addEventListener("keydown",function(e){if(e.target===range)return;
if(e.key==="ArrowRight"){go(Number(range.value)+1);e.preventDefault()}
if(e.key==="ArrowLeft"){go(Number(range.value)-1);e.preventDefault()}});
bar.appendChild(button("\\u25c0","previous step",-1));bar.appendChild(range);
bar.appendChild(button("\\u25b6","next step",1));bar.appendChild(said);
root.insertBefore(bar,steps[0]);go(0)})();"""


class Steps:
    """The steps of a trace. Displays itself in a notebook; `.html()` is a whole page, `.save(path)`
    writes it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __repr__(self) -> str:
        return self.trace.text()

    def _repr_html_(self) -> str:
        return self.fragment()

    def fragment(self) -> str:
        """The view as a piece of HTML. Its id is a hash of its content, so the same trace gives the
        same bytes."""
        trace = self.trace
        if not trace.rows:
            return f"<pre>{html.escape(trace.text())}</pre>"
        body = "\n".join(self._step(i, row) for i, row in enumerate(trace.rows))
        name = markup.identity("trace", body)
        caption = html.escape(trace.caption)
        return (
            f'<div id="{name}" role="group" '
            f'aria-label="{caption}">\n<p>{caption}</p>\n{body}\n</div>\n'
            f"<script>{SCRIPT.replace('ID', name)}</script>"
        )

    def html(self) -> str:
        """The view as a page that needs nothing else."""
        style = (
            "body{font-family:system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 "
            "1rem}img{max-width:100%}pre{overflow-x:auto}"
        )
        table = html.escape(self.trace.text())
        return markup.document(
            self.trace.caption,
            style,
            f"{self.fragment()}\n<h2>The whole trace</h2>\n<pre>{table}</pre>",
        )

    def save(self, path: str) -> None:
        """Write the page to a file."""
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(self.html())

    def _step(self, i: int, row: Row) -> str:
        rows = [r for r in self.trace.rows if r.head == row.head]
        words = self._words(row)
        picture = markup.image(_picture(rows, rows.index(row), self.trace), WIDTH, HEIGHT, words)
        title = f"tile {row.tile}, keys {row.first_key}..{row.last_key}"
        if self.trace.n_heads > 1:
            title = f"{row.name}, {title}"
        state = " open" if i == 0 else ""
        return (
            f"<details{state}><summary>{title}</summary>\n"
            f"{picture}\n<p>{html.escape(words)}</p></details>"
        )

    def _words(self, row: Row) -> str:
        """What happens at this tile, in one or two sentences."""
        m_old, m_new, tile_max = (_say(x, 2) for x in (row.m_old, row.m_new, row.tile_max))
        parts = [f"The largest score of this tile is {tile_max}."]
        if row.m_new is not None and row.m_old is not None:
            if row.m_new == row.m_old:
                parts.append(f"m stays {m_new}.")
            else:
                parts.append(f"m goes from {m_old} to {m_new}.")
        if row.alpha is not None:
            kept = (
                ("the old sums are kept") if row.alpha == 1 else "the old sums are multiplied by it"
            )
            parts.append(f"alpha is {_say(row.alpha, 4)}: {kept}.")
        if row.l is not None or row.acc is not None:
            digits = self.trace.digits
            parts.append(
                f"Now l is {_say(row.l, 4, digits)} and |acc| is {_say(row.acc, 3, digits)}."
            )
        return " ".join(parts)


def _say(value: float | None, decimals: int, digits: int = DIGITS) -> str:
    return "not known" if value is None else number(value, decimals, digits=digits)


def _picture(rows: Sequence[Row], now: int, trace: Trace) -> str:
    """The tiles' maxima as bars, m as a line up to this tile, and the sums as numbers."""
    shown = [
        v for row in rows for v in (row.tile_max, row.m_new) if v is not None and math.isfinite(v)
    ]
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    span = (high - low) or 1.0
    left, right, top, bottom = 20.0, WIDTH - 20.0, 60.0, 210.0
    slot = (right - left) / len(rows)

    def y(value: float) -> float:
        return bottom - 10 - (bottom - top - 20) * (value - low) / span

    row = rows[now]
    head = f"{row.name}  " if trace.n_heads > 1 else ""
    parts = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="var(--card)"/>',
        f'<text x="20" y="28">{head}tile {row.tile}  keys {row.first_key}..{row.last_key}</text>',
        '<text class="soft" x="20" y="46">bars: largest score of each tile; line: m</text>',
        f'<line class="axis" x1="{left:.1f}" y1="{bottom:.1f}" x2="{right:.1f}" '
        f'y2="{bottom:.1f}"/>',
    ]
    line = []
    for i, r in enumerate(rows):
        x = left + slot * i
        if r.tile_max is not None and math.isfinite(r.tile_max):
            kind = "now" if i == now else "bar"
            parts.append(
                f'<rect class="{kind}" x="{x + 0.15 * slot:.1f}" y="{y(r.tile_max):.1f}" '
                f'width="{0.7 * slot:.1f}" height="{bottom - y(r.tile_max):.1f}"/>'
            )
        if i <= now and r.m_new is not None and math.isfinite(r.m_new):
            line += [f"{x:.1f},{y(r.m_new):.1f}", f"{x + slot:.1f},{y(r.m_new):.1f}"]
    if line:
        parts.append(f'<polyline class="m" points="{" ".join(line)}"/>')
    facts = [
        f"m {_short(row.m_old, 2)} -> {_short(row.m_new, 2)}",
        f"alpha {_short(row.alpha, 4)}",
        f"l {_short(row.l, 4, trace.digits)}",
        f"|acc| {_short(row.acc, 3, trace.digits)}",
    ]
    for i, fact in enumerate(facts):
        parts.append(
            f'<text x="{20 + 310 * (i % 2)}" y="{242 + 26 * (i // 2)}">{html.escape(fact)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>"
    )


def _short(value: float | None, decimals: int, digits: int = DIGITS) -> str:
    return "-" if value is None else number(value, decimals, digits=digits)
