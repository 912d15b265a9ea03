"""What tiles held while a run executed, small enough for a page: a grid of levels, and the same in numbers.

The values are those that `nkisim.record(keep_results=True)` kept: what each instruction wrote. What an instruction read is put
together from the writes before it, buffer by buffer, so records must be asked for in ascending order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import dtypes
from ..memory import ON_CHIP, Buffer, Meta, meta_of

if TYPE_CHECKING:
    from ..run import Run

LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"
LOST = "/"
"""A cell with a NaN or an infinity in it."""


class Preview(NamedTuple):
    """A tile at one moment."""

    rows: int
    columns: int
    levels: str
    """A character a cell, row by row: its place in LEVELS grows from the smallest cell to the largest; or LOST."""
    words: str
    """Smallest, largest and mean value, and the first of them."""


class Contents:
    """The tiles that the records `wanted` (ascending) wrote and read."""

    def __init__(self, run: Run, wanted: list[int], grid: tuple[int, int]) -> None:
        self.grid = grid
        self._results = run.results
        self._records: dict[int, tuple] = {}
        self._shadows: dict[int, _Shadow] = {}
        chosen = set(wanted)
        for number, record in _numbered(run):
            if number in chosen:
                self._records[number] = record
                for buffer, meta in _read(record):
                    if meta.space in ON_CHIP:
                        self._shadows.setdefault(id(buffer), _Shadow(buffer))
        shadows = self._shadows
        for number, record in _numbered(run):
            if id(record[3]) in shadows:
                shadows[id(record[3])].writes.append((number, record[0].dst, record[4]))
            if record[0].extra is not None and id(record[-3]) in shadows:
                shadows[id(record[-3])].writes.append((number, None, 0))  # of that one no copy was kept

    def of(self, number: int) -> tuple[list[Preview | None], list[Preview | None]]:
        """What record `number` wrote (by destination) and what it read (by source); None where that is not known."""
        record = self._records[number]
        written: list[Preview | None] = [preview(self._results[number], self.grid)]
        if record[0].extra is not None:
            written.append(None)
        read: list[Preview | None] = []
        for at, (buffer, meta) in enumerate(_read(record)):
            shadow = self._shadows.get(id(buffer))
            values = None if shadow is None else shadow.before(number, meta, record[6 + 2 * at], self._results)
            read.append(None if values is None else preview(values, self.grid))
        return written, read


def _numbered(run: Run) -> Iterator[tuple[int, tuple]]:
    return enumerate(record for program in run.programs for record in program.records())


def _read(record: tuple) -> list[tuple[Buffer, Meta]]:
    return list(zip(record[5:-1:2], record[0].srcs))


class _Shadow:
    """The values of a buffer, rebuilt from what was written to it."""

    def __init__(self, buffer: Buffer) -> None:
        self.meta = buffer.meta
        self.writes: list[tuple[int, Meta | None, int]] = []
        self._done = 0
        self._values: np.ndarray | None = None
        self._known = False

    def before(self, number: int, meta: Meta, offset: int, results: list[np.ndarray]) -> np.ndarray | None:
        """The view that record `number` read; None if it cannot be known."""
        while self._done < len(self.writes) and self.writes[self._done][0] < number:
            self._write(*self.writes[self._done], results)
            self._done += 1
        if self._values is None or not self._known:
            return None
        view = self._view(meta, offset)
        return None if view is None else view.copy()

    def _view(self, meta: Meta, offset: int) -> np.ndarray | None:
        values = self._values
        assert values is not None
        if meta.dtype != self.meta.dtype or not _regular(meta):
            return None
        reach = offset + sum((n - 1) * s for n, s in zip(meta.shape, meta.strides))
        if offset < 0 or reach >= values.size:
            return None
        step = values.itemsize
        return np.ndarray(meta.shape, values.dtype, values, offset * step, tuple(s * step for s in meta.strides))

    def _write(self, number: int, meta: Meta | None, offset: int, results: list[np.ndarray]) -> None:
        if meta is None:
            self._known = False
            return
        result = results[number]
        if self._values is None:
            self._values, self._known = np.zeros(self.meta.shape, result.dtype), True
        view = self._view(meta, offset)
        if view is None or view.shape != result.shape:
            self._known = False
            return
        view[...] = result
        if meta.size == self.meta.size:
            self._known = True


def _regular(meta: Meta) -> bool:
    """Whether the layout says where the elements lie (that of elements picked by run-time indices does not)."""
    return meta_of(meta.space, meta.shape, meta.strides, meta.dtype, meta.pdim, meta.pstart) is meta


def preview(values: np.ndarray, grid: tuple[int, int]) -> Preview:
    """`values` with the first axis down and the others across, in at most `grid` cells, each the mean of its elements."""
    flat: Any = dtypes.to_fp32(values) if values.dtype.kind not in "biu" else values
    flat = flat.reshape(values.shape[0] if values.ndim else 1, -1).astype(np.float64)
    rows, columns = min(grid[0], flat.shape[0]), min(grid[1], flat.shape[1])
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(flat, _starts(flat.shape[0], rows), axis=0)
        sums = np.add.reduceat(sums, _starts(flat.shape[1], columns), axis=1)
        heights = np.diff(np.append(_starts(flat.shape[0], rows), flat.shape[0]))
        widths = np.diff(np.append(_starts(flat.shape[1], columns), flat.shape[1]))
        cells = sums / np.outer(heights, widths)
        fine = np.isfinite(cells)
        low, high = (cells[fine].min(), cells[fine].max()) if fine.any() else (0.0, 0.0)
        scaled = (cells - low) / (high - low) if high > low else np.full(cells.shape, 0.5)
        numbers = np.where(fine, np.rint(np.where(fine, scaled, 0.0) * (len(LEVELS) - 1)), len(LEVELS)).astype(int)
    levels = "".join((LEVELS + LOST)[n] for n in numbers.ravel())
    return Preview(rows, columns, levels, _words(flat))


def _starts(n: int, parts: int) -> np.ndarray:
    return np.arange(parts) * n // parts


def _words(flat: np.ndarray) -> str:
    fine = flat[np.isfinite(flat)]
    lost = flat.size - fine.size
    parts = []
    if flat.size == 1:
        return _number(float(flat[0, 0]))
    if fine.size:
        parts.append(f"{_number(fine.min())} to {_number(fine.max())}, mean {_number(fine.mean())}")
    if lost:
        parts.append(f"{lost:,} of {flat.size:,} not finite")
    first = " ".join(_number(float(v)) for v in flat[0, :4])
    parts.append(f"first row {first}{' ...' if flat.shape[1] > 4 else ''}")
    return "; ".join(parts)


def _number(value: float) -> str:
    """4 significant digits; "nan", "inf", "-inf"; never "-0"."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    text = f"{value:.4g}"
    return "0" if text == "-0" else text
