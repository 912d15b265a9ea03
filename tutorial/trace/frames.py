"""One tile of a state trace as a picture, and all tiles of a head as a strip of small ones.

A frame has the tile's scores with m across them, and l and |acc| as bars: what was there before
(dashed), what alpha leaves of it, and what the tile added. The first value that differs from the
oracle's is red. Where pictures may move, what was there shrinks to what is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..pictures.canvas import SMALL, WIDTH, Canvas, Picture
from ..reference.text import DIGITS, number
from .rows import Row, Table

PER_LINE = 4  # small frames side by side in a strip
MOST = 16  # frames in a strip
HEIGHT = 330


class Scale:
    """What all frames of one head share: the lowest and highest score, the largest l and |acc|."""

    def __init__(self, rows: Sequence[Row]) -> None:
        heights = [v for row in rows for v in (*row.scores, row.tile_max, row.m_new)]
        shown = [v for v in heights if v is not None and math.isfinite(v)] or [0.0, 1.0]
        self.low, self.high = min(shown), max(shown)
        self.l = _largest(row.l for row in rows)
        self.acc = _largest(row.acc for row in rows)

    def part(self, score: float) -> float:
        """How high a score stands: 0.06 for the lowest, 1 for the highest."""
        span = (self.high - self.low) or 1.0
        return 0.06 + 0.94 * (score - self.low) / span


def as_shown(row: Row, digits: int) -> Row:
    """The row with its numbers as the table rounds them: the last bits of fp32 differ between
    machines, and a picture must not."""

    def seen(value: float | None, decimals: int, digits: int = DIGITS) -> float | None:
        if value is None or not math.isfinite(value):
            return value
        return float(number(value, decimals, digits=digits))

    return replace(
        row,
        tile_max=seen(row.tile_max, 2),
        m_old=seen(row.m_old, 2),
        m_new=seen(row.m_new, 2),
        alpha=seen(row.alpha, 4),
        l=seen(row.l, 4, digits),
        acc=seen(row.acc, 3, digits),
    )


def frame(table: Table, row: Row, words: str) -> Picture:
    """The picture of one row of a trace. `words` is its alternative text."""
    rows = [as_shown(r, table.digits) for r in table.rows if r.head == row.head]
    row = as_shown(row, table.digits)
    now = [r.tile for r in rows].index(row.tile)  # a row with NaN is not equal to itself
    before = rows[now - 1] if now else None
    scale = Scale(rows)
    wrong = table.wrong
    here = wrong is not None and (wrong.head, wrong.tile) == (row.head, row.tile)
    quantity = wrong.quantity if wrong is not None and here else ""
    c = Canvas(HEIGHT)
    head = f"{row.name}, " if table.n_heads > 1 else ""
    c.words(12, 22, f"{head}tile {row.tile}, keys {row.keys}", "bold")
    _scores(c, row, scale, (12.0, 44.0, 330.0, 120.0))
    _max(c, row, scale, (12.0, 44.0, 330.0, 120.0), quantity == "m")
    moves = row.alpha is not None and row.alpha < 1 and before is not None
    y = 196.0
    for name, value, most, old in (
        ("l", row.l, scale.l, before.l if before else None),
        ("|acc|", row.acc, scale.acc, before.acc if before else None),
    ):
        at_fault = quantity == name
        _sum(c, name, (old, row.alpha, value), most, y, moves, at_fault)
        _words(c, name, (old, row.alpha, value), table.digits, y, at_fault)
        y += 60
    c.words(12, HEIGHT - 10, "dashed: before. Orange: what alpha left. Green: new.", size=SMALL)
    return c.picture(words)


def strip(table: Table, head: int) -> Picture:
    """All tiles of one head side by side, each with its scores, m, and l; 16 at most."""
    rows = [as_shown(row, table.digits) for row in table.rows if row.head == head][:MOST]
    scale = Scale(rows)
    wide = (WIDTH - 8) / PER_LINE
    lines = -(-len(rows) // PER_LINE)
    c = Canvas(8 + 112 * lines)
    for i, row in enumerate(rows):
        x, y = 8 + wide * (i % PER_LINE), 8.0 + 112 * (i // PER_LINE)
        area = (x, y + 18, wide - 14, 52.0)
        wrong = table.wrong
        here = wrong is not None and (wrong.head, wrong.tile) == (row.head, row.tile)
        c.words(x, y + 12, f"tile {row.tile}", size=SMALL)
        if row.alpha is not None and row.alpha < 1 and row.tile:
            c.words(x + wide - 14, y + 12, f"x {row.alpha:.2g}", "code", "end", SMALL)
        _scores(c, row, scale, area, f"{row.tile} ")
        _level(c, row.m_new, scale, area, "state", f"{row.tile} m")
        before = rows[i - 1].l if i else None
        parts = _parts(before, row.alpha, row.l)
        if parts is not None and scale.l:
            kept, added = (min(p, scale.l) / scale.l * (wide - 14) for p in parts)
            tone = "wrong" if here else "k"
            c.box(x, y + 80, kept, 12, tone, f"{row.tile} kept")
            c.box(x + kept, y + 80, added, 12, "wrong" if here else "v", f"{row.tile} added")
    changes = [r.tile for r in rows if r.alpha is not None and r.alpha < 1 and r.tile]
    said = f"m rises in tile {_listed(changes)}" if changes else "m stays as tile 0 left it"
    fault = table.wrong
    red = ""
    if fault is not None and fault.head == head:
        red = f" Red, tile {fault.tile}: the first wrong value."
    return c.picture(
        f"{len(rows)} tiles side by side, each with its scores, m as a line, and l as a bar: what "
        f"alpha left (orange) and what the tile added (green): {said}.{red}"
    )


def _scores(
    c: Canvas,
    row: Row,
    scale: Scale,
    area: tuple[float, float, float, float],
    name: str = "",
) -> None:
    """The tile's scores as bars, the largest in another tone."""
    x, y, width, height = area
    scores = row.scores or ((row.tile_max,) if row.tile_max is not None else ())
    slot = width / max(len(scores), 1)
    top = max((s for s in scores if s is not None and math.isfinite(s)), default=None)
    for i, score in enumerate(scores):
        if score is None or not math.isfinite(score):
            continue
        tall = height * scale.part(score)
        tone = "p" if score == top else "state"
        c.box(x + slot * i, y + height - tall, slot - 1, tall, tone, f"{name}score {i}")
    c.arrow(x, y + height, x + width, y + height, "", head=False)
    if not name:
        said = "" if top is None else f", largest {number(top, 2)}"
        c.words(x, y + height + 18, f"scores of the tile{said}", size=SMALL)


def _max(
    c: Canvas, row: Row, scale: Scale, area: tuple[float, float, float, float], at_fault: bool
) -> None:
    """m as it was (thin) and as it is, with its numbers to the right."""
    right = area[0] + area[2] + 12
    _level(c, row.m_old, scale, area, "", "m_old")
    _level(c, row.m_new, scale, area, "wrong" if at_fault else "q", "m")
    c.words(right, 66, f"m_old {_short(row.m_old, 2)}", "code", size=SMALL)
    c.words(right, 88, f"m_new {_short(row.m_new, 2)}", "code bold", size=SMALL)
    if row.alpha is not None:
        c.words(right, 118, f"alpha {_short(row.alpha, 4)}", "code", size=SMALL)
    if at_fault:
        c.box(right - 4, 132, 118, 22, "wrong", "fault m", "wrong from here", size=SMALL)


def _level(
    c: Canvas,
    value: float | None,
    scale: Scale,
    area: tuple[float, float, float, float],
    tone: str,
    name: str,
) -> None:
    """A line across the scores, at m."""
    if value is None or not math.isfinite(value):
        return
    x, y, width, height = area
    level = y + height * (1 - min(max(scale.part(value), 0.0), 1.0))
    stroke = 2.5 if tone else 1.0
    c.arrow(x, level, x + width, level, tone, head=False, name=name, stroke=stroke)


def _sum(
    c: Canvas,
    name: str,
    numbers: tuple[float | None, float | None, float | None],
    most: float,
    y: float,
    moves: bool,
    at_fault: bool,
) -> None:
    """l or |acc| as a bar: what was there, what alpha leaves of it, and the value now."""
    left, wide = 66.0, 402.0
    c.words(12, y + 14, name, "code bold")
    old, alpha, value = numbers
    if most <= 0 or value is None:
        return

    def px(x: float) -> float:
        return min(x / most, 1.0) * wide if math.isfinite(x) and x > 0 else 0.0

    kept = px((old or 0.0) * (1.0 if alpha is None else alpha))
    now = px(value)
    if at_fault:
        c.box(left, y, max(now, 3.0), 18, "wrong", f"{name} wrong")
    else:
        c.box(left, y, min(kept, now), 18, "k", f"{name} kept")
        c.box(left + min(kept, now), y, max(now - kept, 0.0), 18, "v", f"{name} added")
    if old is not None and px(old) > 0:
        c.box(left, y - 2, px(old), 22, "", f"{name} before", dashed=True)
        if moves and not at_fault:
            c.box(left, y, px(old), 18, "k", f"{name} shrinks", fades_to=alpha)


def _words(
    c: Canvas,
    name: str,
    numbers: tuple[float | None, float | None, float | None],
    digits: int,
    y: float,
    at_fault: bool,
) -> None:
    """The sum of the bar in numbers."""
    old, alpha, value = numbers
    decimals = 4 if name == "l" else 3
    now = _short(value, decimals, digits)
    if at_fault:
        text = f"{now}: wrong from here"
    elif name == "l" and None not in (old, alpha, value):
        assert old is not None and alpha is not None and value is not None
        added = _short(value - alpha * old, decimals, digits)
        text = f"{_short(alpha, 4)} * {_short(old, decimals, digits)} + {added} = {now}"
    else:
        text = now
    c.words(66, y + 36, text, "code", size=SMALL)


def _parts(
    old: float | None, alpha: float | None, value: float | None
) -> tuple[float, float] | None:
    """What alpha leaves of a sum, and what came to it."""
    if value is None or not math.isfinite(value):
        return None
    kept = (old or 0.0) * (1.0 if alpha is None else alpha)
    kept = min(kept, value) if math.isfinite(kept) else 0.0
    return kept, value - kept


def _largest(values: object) -> float:
    """The largest finite one of some values that may be None; 0 if there is none."""
    assert hasattr(values, "__iter__")
    return max((v for v in values if v is not None and math.isfinite(v)), default=0.0)


def _short(value: float | None, decimals: int, digits: int = 5) -> str:
    return "-" if value is None else number(value, decimals, digits=digits)


def _listed(tiles: Sequence[int]) -> str:
    """Tiles as words: "1", "1 and 4", "1, 4 and 6"."""
    texts = [str(t) for t in tiles]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
