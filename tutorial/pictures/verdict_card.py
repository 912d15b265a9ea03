"""A verdict as a notebook shows it: the words of the text, with colour, bars and the kernel's line.

Styles stand in the elements: a notebook that is not trusted yet drops style sheets and scripts. No
colour carries a fact alone, and words have the page's own colour, so that they read on a dark page.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import NamedTuple

from nkisim.views.palette import ENGINES, LIMIT

RIGHT, WRONG = ENGINES["scalar"].either, LIMIT.either
OTHER = ENGINES["dma"].either
OVER = ENGINES["vector"].either
LONGEST = 96  # pixels of the longest bar
_QUOTED = re.compile(r" \(line (\d+): (.*)\)(?=[.,;:]? |[.,;:]?$)")
_CELL = "padding:1px 12px 1px 0;text-align:"


class Counter(NamedTuple):
    """One cost of the kernel, counted, beside the least that the stage's method needs."""

    name: str
    yours: int
    minimum: int


class Line(NamedTuple):
    """A line of the kernel: its number and text, and the quantity of the state that it keeps."""

    number: int
    source: str
    quantity: str = ""


def card(
    title: str,
    outcome: str,
    sentence: str,
    where: str,
    counted: str,
    costs: Sequence[Counter],
    notes: Sequence[str],
    line: Line | None,
) -> str:
    """The verdict as a piece of HTML: always the same bytes for the same verdict.

    `title` names the stage, `where` the input family (or is empty), `counted` the target. `line` is
    a line of the kernel; where the sentence quotes one, that is taken.
    """
    tone = {"correct": RIGHT, "wrong": WRONG}.get(outcome, OTHER)
    sentence, quoted = _without_line(sentence)
    line = quoted or line
    parts = [
        f'<p><b style="background-color:{tone};color:#ffffff;padding:2px 8px">{outcome}</b> '
        f"{html.escape(title)}</p>",
        f"<p>{html.escape(sentence)}</p>",
    ]
    if line is not None:
        role = f", which keeps {line.quantity}" if line.quantity else ""
        text = html.escape(line.source.strip())
        parts.append(f"<p>line {line.number}{html.escape(role)}: <code>{text}</code></p>")
    if where:
        parts.append(f"<p>{html.escape(where)}</p>")
    if costs:
        parts.append(_table(counted, costs))
    parts += [f"<p>{html.escape(note)}</p>" for note in notes]
    body = "\n".join(parts)
    return f'<div style="border-left:6px solid {tone};padding-left:12px">\n{body}\n</div>'


def _without_line(sentence: str) -> tuple[str, Line | None]:
    """A sentence without the line that it quotes, and that line."""
    found = _QUOTED.search(sentence)
    if found is None:
        return sentence, None
    return sentence[: found.start()] + sentence[found.end() :], Line(int(found[1]), found[2])


def _table(counted: str, costs: Sequence[Counter]) -> str:
    """The counters, each with a bar beside that of the minimum, each pair to its own scale."""
    head = _cells("th", counted, "yours", "minimum") + f'<th style="{_CELL}left"></th>'
    rows = "\n".join(_row(cost) for cost in costs)
    return (
        f'<div style="overflow-x:auto"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>\n"
        "<p>Bars: yours above, the minimum below; orange where yours is more.</p>"
    )


def _row(cost: Counter) -> str:
    cells = _cells("td", cost.name, f"{cost.yours:,}", f"{cost.minimum:,}")
    most = max(cost.yours, cost.minimum)
    bars, over = "", cost.yours > cost.minimum
    if most:
        bars = _bar(cost.yours / most, OVER if over else RIGHT) + _bar(cost.minimum / most, OTHER)
    ratio = f"{cost.yours / cost.minimum:.3g} times" if over and cost.minimum > 0 else ""
    return (
        f'<tr>{cells}<td style="{_CELL}left">{bars}</td><td style="{_CELL}left">{ratio}</td></tr>'
    )


def _cells(kind: str, name: str, *numbers: str) -> str:
    """Cells of a row: a name, and numbers that end at its right."""
    texts = (("left", name), *(("right", number) for number in numbers))
    return "".join(
        f'<{kind} style="{_CELL}{side}">{html.escape(text)}</{kind}>' for side, text in texts
    )


def _bar(part: float, tone: str) -> str:
    wide = max(round(LONGEST * part), 1) if part else 0
    return f'<div style="background-color:{tone};width:{wide}px;height:6px;margin:1px"></div>'
