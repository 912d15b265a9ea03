"""What tiles held while a run executed, small enough for a page: a grid of levels, and the same in
numbers.

The values are those that `nkisim.record(keep_results=True)` kept: what inputs held, and what each
instruction wrote. What an instruction read is put together from the writes before it, buffer by
buffer, so records must be asked for in ascending order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..execution.tape import Record
from ..machine import dtypes
from ..machine.memory import CONST, HBM, Buffer, Meta, meta_of
from ..program.run import Run

LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"
LOST = "/"
"""A cell with a NaN or an infinity in it."""


class Preview(NamedTuple):
    """A tile at one moment."""

    rows: int
    columns: int
    levels: str
    """A character a cell, row by row: its place in LEVELS grows from the smallest cell to the
    largest; or LOST."""
    words: str
    """Smallest, largest and mean value, and the first of them."""


class Contents:
    """The tiles, on chip and of tensors in HBM, that the records `wanted` (ascending) wrote and
    read."""

    def __init__(self, run: Run, wanted: list[int], grid: tuple[int, int]) -> None:
        self.grid = grid
        self._results = run.results
        self._seconds = [second for program in run.programs for second in program.tape.seconds]
        self._records: dict[int, Record] = {}
        self._shadows: dict[int, _Shadow] = {}
        initial = {
            buffer: values
            for program in run.programs
            for buffer, values in program.tape.initial.items()
        }
        chosen = set(wanted)
        for number, record in numbered(run):
            if number in chosen:
                self._records[number] = record
                for read in record.srcs:
                    known = id(read.buffer) in self._shadows
                    if read.meta.space != CONST and not known:
                        shadow = _Shadow(read.buffer, initial.get(read.buffer))
                        self._shadows[id(read.buffer)] = shadow
        shadows = self._shadows
        cores = [core for core, program in enumerate(run.programs) for _ in program.records()]
        for (number, record), core in zip(numbered(run), cores, strict=True):
            both: tuple[list[Any], ...] = (self._results, self._seconds)
            for into, values in zip(record.written, both):
                found = shadows.get(id(into.buffer))
                if found is not None:
                    found.wrote(core, number, into.meta, into.offset, values)
            for read in record.srcs:
                if read.meta.space == HBM and id(read.buffer) in shadows:
                    shadows[id(read.buffer)].touched.add(core)

    def of(self, number: int) -> tuple[list[Preview | None], list[Preview | None]]:
        """What record `number` wrote (by destination) and what it read (by source); None where that
        is not known."""
        record = self._records[number]
        written: list[Preview | None] = [preview(self._results[number], self.grid)]
        if record.second is not None:
            second = self._seconds[number]
            written.append(None if second is None else preview(second, self.grid))
        read: list[Preview | None] = []
        for buffer, offset, meta in record.srcs:
            shadow = self._shadows.get(id(buffer))
            values = None if shadow is None else shadow.before(number, meta, offset)
            # of picked elements: what was written is what was read
            if values is None and _copies(record):
                read.append(written[0])
            else:
                read.append(None if values is None else preview(values, self.grid))
        return written, read


def numbered(run: Run) -> Iterator[tuple[int, Record]]:
    """Each record with its number."""
    return enumerate(run.records())


def hbm_parts(record: Record) -> list[str]:
    """Of each operand of a record that is a part of a tensor in HBM, where it begins, destinations
    first; "" of the others."""
    return [
        "" if meta.space != HBM else _part(buffer.meta, meta, offset)
        for buffer, offset, meta in (*record.written, *record.srcs)
    ]


def _part(tensor: Meta, view: Meta, offset: int) -> str:
    whole = " x ".join(map(str, tensor.shape))
    if not _regular(view) or view.itemsize != tensor.itemsize:
        return f"elements of {whole}"
    if view.size == tensor.size:
        return ""
    return f"from {[int(i) for i in np.unravel_index(offset, tensor.shape)]} of {whole}"


class _Shadow:
    """The values of a buffer, rebuilt from what it held at first and what was written to it."""

    def __init__(self, buffer: Buffer, initial: np.ndarray | None) -> None:
        self.meta = buffer.meta
        self.touched: set[int] = set()
        """The programs that read or write it. Two of them run side by side, in an order that the
        records do not tell."""
        self._writes: list[tuple[int, Meta, int, list[Any]]] = []
        self._done = 0
        self._values = initial
        self._own = False
        """Whether `_values` may be written to."""
        self._known = initial is not None

    def wrote(self, core: int, number: int, meta: Meta, offset: int, values: list[Any]) -> None:
        """Note a write: by record `number`, of `values[number]`."""
        self.touched.add(core)
        self._writes.append((number, meta, offset, values))

    def before(self, number: int, meta: Meta, offset: int) -> np.ndarray | None:
        """The view that record `number` read; None if it cannot be known."""
        if self._writes and len(self.touched) > 1:
            return None
        while self._done < len(self._writes) and self._writes[self._done][0] < number:
            written, where, at, values = self._writes[self._done]
            self._write(where, at, values[written])
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
        return np.ndarray(
            meta.shape, values.dtype, values, offset * step, tuple(s * step for s in meta.strides)
        )

    def _write(self, meta: Meta, offset: int, result: np.ndarray | None) -> None:
        if result is None:  # nobody kept what was written
            self._known = False
            return
        if self._values is None:
            self._values, self._known, self._own = (
                np.zeros(self.meta.shape, result.dtype),
                True,
                True,
            )
        elif not self._own:
            self._values, self._own = self._values.copy(), True
        view = self._view(meta, offset)
        if view is None or view.shape != result.shape:
            self._known = False
            return
        view[...] = result
        if meta.size == self.meta.size:
            self._known = True


def _copies(record: Record) -> bool:
    """Whether a record writes exactly what it reads: a transfer of one source, whole, without a
    cast or an addition."""
    signature, share = record.signature, record.share
    return (
        signature.instruction.name == "dma_copy"
        and len(signature.srcs) == 1
        and not signature.attrs.add
        and signature.srcs[0].shape == signature.dst.shape
        and signature.srcs[0].dtype == signature.dst.dtype
        and (share is None or share.kept == share.size)
    )


def _regular(meta: Meta) -> bool:
    """Whether the layout says where the elements lie (that of elements picked by run-time indices
    does not)."""
    return meta_of(meta.space, meta.shape, meta.strides, meta.dtype, meta.pdim, meta.pstart) is meta


def preview(values: np.ndarray, grid: tuple[int, int]) -> Preview:
    """`values` with the first axis down and the others across, in at most `grid` cells, each the
    mean of its elements."""
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
        numbers = np.where(
            fine, np.rint(np.where(fine, scaled, 0.0) * (len(LEVELS) - 1)), len(LEVELS)
        ).astype(np.int64)
    levels = "".join((LEVELS + LOST)[n] for n in numbers.ravel())
    return Preview(rows, columns, levels, _words(flat))


def _starts(n: int, parts: int) -> np.ndarray:
    return np.arange(parts, dtype=np.int64) * n // parts


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
