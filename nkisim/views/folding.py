"""Which instructions of a long run to show: loops are folded to their first iterations and their
last.

Repetition is found in the instructions themselves, not in the kernel's text, so that it does not
matter whether a loop was an nl.affine_range, Python's range or recursion. Periods are tried from
short to long; what repeats becomes one symbol, so that an outer loop shows as a repetition of
symbols.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEAD, TAIL = 2, 1
"""Iterations of a folded loop that are shown: the first two (the first often differs in what it
finds) and the last."""


@dataclass(frozen=True)
class Gap:
    """Instructions that are not shown: `count` of them from `first` on."""

    first: int
    count: int
    iterations: int
    """How many iterations of a loop they are; 0 if they are not a loop's."""
    total: int = 0
    """Iterations of that loop altogether."""

    def text(self) -> str:
        """The gap in words."""
        last = self.first + self.count - 1
        if not self.iterations:
            return f"{self.count:,} instructions ({self.first:,} to {last:,}) are left out"
        return (
            f"iterations {HEAD + 1:,} to {HEAD + self.iterations:,} of {self.total:,} are folded: "
            f"{self.count:,} instructions ({self.first:,} to {last:,}) like those before"
        )


@dataclass
class Shown:
    """The records to show, in order, and what lies between them: `gaps[i]` are those before
    `records[i]`."""

    records: NDArray[np.int64]
    gaps: dict[int, list[Gap]] = field(default_factory=dict)
    sampled: bool = False
    """Whether some were left out that no loop explains."""

    @property
    def hidden(self) -> int:
        """How many instructions are not shown."""
        return sum(gap.count for found in self.gaps.values() for gap in found)


@dataclass
class _Loop:
    """A repetition: the symbols of its iterations, end to end."""

    body: list[int]
    count: int


def choose(kind: NDArray[np.int64], most: int) -> Shown:
    """At most about `most` of the instructions whose kinds are given: all, or loops folded, or of
    those a sample."""
    n = len(kind)
    if n <= most:
        return Shown(np.arange(n))
    symbols, loops = _fold(kind)
    widths: dict[int, int] = {}
    shown: list[int] = []
    gaps: list[tuple[int, Gap]] = []

    def width(symbol: int) -> int:
        if symbol not in loops:
            return 1
        if symbol not in widths:
            loop = loops[symbol]
            widths[symbol] = loop.count * sum(width(s) for s in loop.body)
        return widths[symbol]

    def walk(sequence: list[int], at: int) -> int:
        for symbol in sequence:
            if symbol not in loops:
                shown.append(at)
                at += 1
                continue
            loop = loops[symbol]
            each = width(symbol) // loop.count
            if loop.count <= HEAD + TAIL:
                for _ in range(loop.count):
                    at = walk(loop.body, at)
                continue
            for _ in range(HEAD):
                at = walk(loop.body, at)
            folded = loop.count - HEAD - TAIL
            gaps.append((len(shown), Gap(at, folded * each, folded, loop.count)))
            at = walk(loop.body, at + folded * each)
        return at

    walk(symbols, 0)
    result = Shown(np.asarray(shown, np.int64), _grouped(gaps))
    return result if len(shown) <= most else _thinned(result, n, most)


def _grouped(gaps: list[tuple[int, Gap]]) -> dict[int, list[Gap]]:
    out: dict[int, list[Gap]] = {}
    for place, gap in gaps:
        out.setdefault(place, []).append(gap)
    return out


_LONGEST = 4096
"""Symbols of the longest repetition that is looked for."""


def _fold(kind: NDArray[np.int64]) -> tuple[list[int], dict[int, _Loop]]:
    """`kind` as symbols, of which those in the dictionary are repetitions of other symbols.

    A repetition of period p is where the sequence equals itself shifted by p, for as long as at
    least 2 p symbols, which are three iterations. Each period costs one comparison of arrays.
    """
    sequence = kind.astype(np.int32)
    loops: dict[int, _Loop] = {}
    names: dict[tuple[Any, ...], int] = {}
    fresh = int(kind.max(initial=0)) + 1
    # folding an inner loop makes the outer one short: look at short periods again, but not for ever
    again = 64
    period = 1
    while period <= min(_LONGEST, len(sequence) // 3):
        parts: list[NDArray[np.int32]] = []
        done = 0
        for start, count in _repetitions(sequence, period):
            body = sequence[start : start + period]
            key = (count, body.tobytes())
            symbol = names.get(key)
            if symbol is None:
                symbol = names[key] = fresh
                fresh += 1
                loops[symbol] = _Loop(body.tolist(), count)
            parts += [sequence[done:start], np.array([symbol], np.int32)]
            done = start + count * period
        if parts:
            sequence = np.concatenate([*parts, sequence[done:]])
            again -= 1
        period = 1 if parts and again > 0 else period + 1
    return sequence.tolist(), loops


def _repetitions(sequence: NDArray[np.int32], period: int) -> list[tuple[int, int]]:
    """Where something of length `period` repeats at least three times, and how often; none overlaps
    the one before."""
    differs = np.flatnonzero(sequence[period:] != sequence[:-period])
    edges = np.concatenate([[-1], differs, [len(sequence) - period]])
    lengths = np.diff(edges) - 1
    found: list[tuple[int, int]] = []
    free = 0
    for i in np.flatnonzero(lengths >= 2 * period).tolist():
        start = max(int(edges[i]) + 1, free)
        count = (int(edges[i + 1]) - start) // period + 1
        if count >= 3:
            found.append((start, count))
            free = start + count * period
    return found


def _thinned(shown: Shown, n: int, most: int) -> Shown:
    """Stretches of neighbouring instructions, evenly spread, the first and the last among them."""
    stretch = 20
    blocks = max(most // stretch, 2)
    starts = np.unique(
        np.linspace(0, max(len(shown.records) - stretch, 0), blocks).astype(np.int64)
    )
    chosen = np.unique(np.concatenate([np.arange(s, s + stretch) for s in starts]))
    records = shown.records[chosen[chosen < len(shown.records)]]
    gaps: list[tuple[int, Gap]] = []
    before = -1
    for i, record in enumerate([*records.tolist(), n]):
        if record > before + 1:
            explained = [
                g
                for g in shown.gaps.get(int(np.searchsorted(shown.records, record)), [])
                if (g.first, g.count) == (before + 1, record - before - 1)
            ]
            gaps.append((i, explained[0] if explained else Gap(before + 1, record - before - 1, 0)))
        before = record
    return Shown(records, _grouped(gaps), sampled=True)
