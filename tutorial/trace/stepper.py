"""The state trace step by step: a view that needs no kernel, no network and no library, and that
replays anywhere.

First a strip of all tiles, then a step for each: a `<details>` with a picture and the same facts in
words. Where scripts run, the steps become one slider, which the arrow keys move too; where a viewer
strips scripts (a notebook that is not trusted yet, a page of static HTML), the strip is there to
see and the steps open by themselves.
"""

from __future__ import annotations

import html
import math
from functools import cache
from importlib import resources

from nkisim.views import markup

from ..reference.text import DIGITS, number
from . import frames
from .rows import Row, Table


@cache
def _script() -> str:
    """What makes a slider of the steps."""
    return resources.files(__package__).joinpath("steps.js").read_text(encoding="utf-8")


class Steps:
    """The steps of a trace. Displays itself in a notebook; `.html()` is a whole page, `.save(path)`
    writes it."""

    def __init__(self, trace: Table) -> None:
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
        strips = "\n".join(self._strip(head) for head in trace.heads)
        body = "\n".join(self._step(i, row) for i, row in enumerate(trace.rows))
        name = markup.identity("trace", strips + body)
        caption = html.escape(trace.caption)
        return (
            f'<div id="{name}" role="group" aria-label="{caption}">\n<p>{caption}</p>\n{strips}\n'
            f"{body}\n</div>\n<script>{_script().replace('ID', name, 1)}</script>"
        )

    def html(self) -> str:
        """The view as a page that needs nothing else."""
        style = (
            "body{font-family:system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
            "img{max-width:100%}pre{overflow-x:auto}"
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

    def _strip(self, head: int) -> str:
        rows = [row for row in self.trace.rows if row.head == head]
        if len(rows) < 2:
            return ""
        name = f"<p>{html.escape(rows[0].name)}</p>\n" if self.trace.n_heads > 1 else ""
        return name + frames.strip(self.trace, head).image()

    def _step(self, i: int, row: Row) -> str:
        words = self._words(row)
        picture = frames.frame(self.trace, row, words).image()
        title = f"tile {row.tile}, keys {row.keys}"
        if self.trace.n_heads > 1:
            title = f"{row.name}, {title}"
        state = " open" if i == 0 else ""
        return (
            f"<details{state}><summary>{title}</summary>\n"
            f"{picture}\n<p>{_whole(html.escape(words))}</p></details>"
        )

    def _words(self, row: Row) -> str:
        """What happens at this tile, in a few short sentences."""
        digits = self.trace.digits
        m_old, m_new, tile_max = (_say(x, 2) for x in (row.m_old, row.m_new, row.tile_max))
        parts = [f"The largest score of this tile is {tile_max}."]
        if row.m_new is not None and row.m_old is not None:
            if row.m_new == row.m_old:
                parts.append(f"m stays {m_new}.")
            else:
                parts.append(f"m goes from {m_old} to {m_new}.")
        if row.alpha is not None:
            kept = "the old sums are multiplied by it"
            if row.alpha == 1:
                kept = "the old sums are kept"
            elif row.m_old == -math.inf:
                kept = "there is nothing to rescale yet"
            parts.append(f"alpha is {_say(row.alpha, 4)}: {kept}.")
        if row.l is not None or row.acc is not None:
            parts.append(
                f"Now l is {_say(row.l, 4, digits)} and |acc| is {_say(row.acc, 3, digits)}."
            )
        wrong = self.trace.wrong
        if wrong is not None and (wrong.head, wrong.tile) == (row.head, row.tile):
            expected = _say(wrong.expected, 3, digits)
            parts.append(f"Here {wrong.quantity} is wrong for the first time: expected {expected}.")
        return " ".join(parts)


def _whole(text: str) -> str:
    """HTML in which no line ends between the minus and the rest of -inf."""
    return text.replace("-inf", '<span style="white-space:nowrap">-inf</span>')


def _say(value: float | None, decimals: int, digits: int = DIGITS) -> str:
    return "not known" if value is None else number(value, decimals, digits=digits)
