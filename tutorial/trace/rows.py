"""The rows of a state trace, and how one is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..text import DIGITS, number

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

    def line(self, digits: int = DIGITS) -> str:
        """The row as the table shows it, without its head; l and |acc| with no more than `digits`
        significant digits."""
        keys = f"{self.first_key}..{self.last_key}"

        def cell(value: float | None, decimals: int, width: int, digits: int = DIGITS) -> str:
            return ("-" if value is None else number(value, decimals, width, digits)).rjust(width)

        return (
            f"{self.tile:4d}  {keys:<10}{cell(self.tile_max, 2, 8)}"
            f"{cell(self.m_old, 2, 12)}{cell(self.m_new, 2, 10)}{cell(self.alpha, 4, 10)}"
            f"{cell(self.l, 4, 11, digits)}{cell(self.acc, 3, 9, digits)}"
        )


class Table(Protocol):
    """What a picture of a trace needs of it."""

    @property
    def rows(self) -> tuple[Row, ...]: ...

    @property
    def caption(self) -> str: ...

    def text(self) -> str: ...

    heads: tuple[int, ...]
    n_heads: int
    missing: str
    digits: int
