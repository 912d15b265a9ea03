"""The rows of a state trace, and the table that shows them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from ..reference.text import DIGITS, number

HEADER = "tile  keys       tile max     m_old ->    m_new    alpha          l    |acc|"
LOWEST = -1e30  # a max at or below this is that of no keys
COLUMNS = (
    "head",
    "tile",
    "first_key",
    "last_key",
    "tile_max",
    "m_old",
    "m_new",
    "alpha",
    "l",
    "acc",
)
NAMING = (
    "To see its state, name it where it is made, and update it in place:\n"
    '    m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")\n'
    "    m[...] = m_new\n"
    'and likewise "l" and "acc".'
)


class TraceError(Exception):
    """There is nothing to draw; the text says why."""


@dataclass(frozen=True)
class Row:
    """One tile of one query head. `acc` is the Euclidean norm of the head's row of acc; None is not
    known.

    In a batch the heads are counted on: `head` b Hq + h is head h of sequence b, and `name` says
    so.
    """

    head: int
    tile: int
    first_key: int
    last_key: int
    tile_max: float | None
    m_old: float | None
    m_new: float | None
    alpha: float | None
    l: float | None
    acc: float | None
    name: str = ""
    scores: tuple[float, ...] = ()
    """The tile's scores for pictures; where there are many, each the largest of a few."""
    step: int = 1
    """How far one key is from the next; 0 where that differs."""

    @property
    def keys(self) -> str:
        """The tile's keys: "0..127", "0,8..1016" with a step, "~0..300" for some of these."""
        if self.step == 1 or self.first_key == self.last_key:
            return f"{self.first_key}..{self.last_key}"
        if not self.step:
            return f"~{self.first_key}..{self.last_key}"
        return f"{self.first_key},{self.first_key + self.step}..{self.last_key}"

    def line(self, digits: int = DIGITS) -> str:
        """The row as the table shows it, without its head; l and |acc| with no more than `digits`
        significant digits."""

        def cell(value: float | None, decimals: int, width: int, digits: int = DIGITS) -> str:
            return ("-" if value is None else number(value, decimals, width, digits)).rjust(width)

        return (
            f"{self.tile:4d}  {self.keys:<10}{cell(self.tile_max, 2, 8)}{cell(self.m_old, 2, 12)}"
            f"{cell(self.m_new, 2, 10)}{cell(self.alpha, 4, 10)}{cell(self.l, 4, 11, digits)}"
            f"{cell(self.acc, 3, 9, digits)}"
        )


class Wrong(NamedTuple):
    """The first state that differs from the oracle's: `quantity` is "m", "l" or "|acc|"."""

    head: int
    tile: int
    quantity: str
    expected: float


class Table:
    """The rows of one kernel run, and what the kernel was.

    `heads` are those shown, l and |acc| with `digits` significant digits. `missing` explains an
    empty trace, and `outcome` is that of a kernel that did not run. In a batch every sequence has
    `heads_a_part` heads. `wrong` is the first state that differs from the oracle's.
    """

    def __init__(
        self,
        title: str,
        family: str,
        rows: Sequence[Row],
        n_heads: int,
        target: str = "",
        missing: str = "",
        notes: Sequence[str] = (),
        outcome: str = "",
        digits: int = DIGITS,
        heads_a_part: int = 0,
        wrong: Wrong | None = None,
    ) -> None:
        self.title = title
        self.family = family
        self.all_rows = tuple(rows)
        self.n_heads = n_heads
        self.target = target
        self.missing = missing
        self.notes = tuple(notes)
        self.outcome = outcome
        self.digits = digits
        self.heads_a_part = heads_a_part or n_heads
        self.wrong = wrong
        self.heads = tuple(dict.fromkeys(row.head for row in self.all_rows))[:4]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the shown heads."""
        return tuple(row for row in self.all_rows if row.head in self.heads)

    def only(self, heads: Iterable[int | tuple[int, int]] | int) -> Self:
        """The same trace, showing these query heads; in a batch (or a split), pairs: (sequence,
        head).

        Raises ValueError for a head that is not there.
        """
        chosen = (heads,) if isinstance(heads, int) else tuple(heads)
        wanted = tuple(h if isinstance(h, int) else h[0] * self.heads_a_part + h[1] for h in chosen)
        known = {row.head for row in self.all_rows}
        for head in wanted:
            if self.all_rows and head not in known:
                raise ValueError(f"there is no head {head}; the trace has heads {sorted(known)}")
        made = copy.copy(self)
        made.heads = wanted
        return made

    def to_dict(self) -> dict[str, list[Any]]:
        """The shown rows as columns: head, tile, first_key, last_key, tile_max, m_old, m_new,
        alpha, l, acc."""
        return {name: [getattr(row, name) for row in self.rows] for name in COLUMNS}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def caption(self) -> str:
        return (f"{self.title}, input family: {self.family}") + (
            f", on {self.target} (simulated)" if self.target else ""
        )

    def text(self) -> str:
        """The table: one line per tile, and a block of lines for each head."""
        if not self.all_rows:
            return (
                self.missing
                if self.outcome or not self.n_heads
                else f"{self.caption}\n{self.missing}"
            )
        lines = [self.caption]
        for head in self.heads:
            own = [row for row in self.rows if row.head == head]
            if self.n_heads > 1 and own:
                lines.append(own[0].name)
            lines.append(HEADER)
            lines += [row.line(self.digits) for row in own]
        hidden = self.n_heads - len(self.heads)
        if hidden > 0:
            heads, them = ("head", "it") if hidden == 1 else ("heads", "them")
            lines.append(f"({hidden} more {heads}: .only([...]) shows {them})")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__ = text
