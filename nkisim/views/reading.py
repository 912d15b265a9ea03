"""A run as the drawings need it: each record as a number that stands for all records that look
alike, and who holds on-chip memory while it executes. The only place of the views that knows how
records are kept."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..execution.tape import Record
from ..machine import dtypes
from ..machine import target as targets
from ..machine.memory import CONST, PSUM, SBUF, Buffer
from ..machine.target import Target
from ..program.instruction import Operand, operand
from ..program.run import Run
from ..rules import source
from ..timeline import Timeline

SPACES = (SBUF, PSUM)


@dataclass(frozen=True)
class Kind:
    """What all instructions have in common that come from one place of the kernel and look
    alike."""

    engine: str
    op: str
    dst: tuple[Operand, ...]
    srcs: tuple[Operand, ...]
    attrs: tuple[tuple[str, Any], ...]
    filename: str
    line: int
    source: str

    def key(self) -> tuple[Any, ...]:
        """What tells it from another kind, for a reader."""
        return self.engine, self.op, self.dst, self.srcs, repr(self.attrs), self.filename, self.line

    def attributes(self) -> str:
        """The attributes that say something: "op0=subtract, op1=multiply"."""
        said = [
            (n, v) for n, v in self.attrs if v is not None and v is not False and v != () and v != 0
        ]
        return ", ".join(
            f"{n}={v if isinstance(v, (str, int, float, tuple)) else type(v).__name__}"
            for n, v in said
        )

    def text(self) -> str:
        """ "activation p[128, 64] <- x[128, 64]"."""
        targets = ", ".join(f"{o.name}{list(o.shape)}" for o in self.dst)
        sources = ", ".join(f"{o.name}{list(o.shape)}" for o in self.srcs if o.space != CONST)
        return f"{self.op} {targets} <- {sources}" if sources else f"{self.op} {targets}"


class Tile(NamedTuple):
    """What all tensors on chip have in common that one place of the kernel makes."""

    name: str
    space: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    partition_bytes: int
    """Bytes of one partition, by which the capacity is counted."""
    line: int


class Reading:
    """Record i is of the kind `kind_of(i)`, and of the pattern `pattern[i]`, which records share
    that one place of the kernel made with operands of the same shapes; the tensor
    `tiles[use_tile[j]]` held memory from the record `use_first[j]` to the record `use_last[j]`."""

    def __init__(self, run: Run, timeline: Timeline | None = None) -> None:
        self.run = run
        self.target: Target = targets.get(run.target) if timeline is None else timeline.target
        """Whose capacities count: the run's target, or the one that the time is modelled for."""
        self.cores = 1 if timeline is None else timeline.cores
        self.kernels: list[str] = []
        """The names of the kernels that were called, in order."""
        self.tiles: list[Tile] = []
        self.examples: list[Record] = []
        """One record of each kind."""
        self._kinds: dict[int, Kind] = {}
        uses: list[np.ndarray] = [np.empty((3, 0), np.int64)]
        places: dict[tuple[Any, ...], int] = {}
        kinds: list[int] = []
        patterns: list[int] = []
        # by identity, which is cheap to look up; all of it lives as long as the run
        alike: dict[tuple[Any, ...], int] = {}
        shapes: dict[int, tuple[Any, ...]] = {}
        known: dict[tuple[Any, ...], int] = {}
        for program in run.programs:
            base = len(kinds)
            self.kernels.append(getattr(program.kernel_code, "co_name", "kernel"))
            clocks = []
            clock = 0
            for record in program.records():
                signature, code, lasti = record.signature, record.code, record.lasti
                key = (
                    id(signature),
                    id(code),
                    lasti,
                    *[(id(b.code), b.lasti, b.name) for b in record.buffers],
                )
                number = alike.get(key)
                if number is None:
                    number = alike[key] = len(self.examples)
                    self.examples.append(record)
                kinds.append(number)
                shape = shapes.get(id(signature))
                if shape is None:
                    shape = shapes[id(signature)] = (
                        signature.engine,
                        signature.instruction.name,
                        signature.dst.shape,
                        *[m.shape for m in signature.srcs],
                    )
                patterns.append(known.setdefault((shape, id(code), lasti), len(known)))
                # a clock tick is a record, but where a mask kept nothing there is a tick without
                # one
                clock += 1
                made = record.buffer
                if not made.asked and made.first > clock:
                    clock = made.first
                clocks.append(clock)
            uses.append(self._uses(program.buffers, np.asarray(clocks, np.int64), base, places))
        self.pattern = np.asarray(patterns, np.int64)
        self.use_tile, self.use_first, self.use_last = np.concatenate(uses, axis=1)
        self.example = np.asarray(kinds, np.int64)
        """Records with the same number here are of one kind."""
        self.engines = [shape[0] for shape, _, _ in known]
        """The engine of each pattern."""

    def __len__(self) -> int:
        return len(self.example)

    def kind_of(self, record: int) -> Kind:
        """What record `record` is."""
        number = int(self.example[record])
        found = self._kinds.get(number)
        if found is None:
            found = self._kinds[number] = _kind(self.examples[number])
        return found

    def _uses(
        self,
        buffers: list[Buffer],
        clocks: np.ndarray,
        base: int,
        places: dict[tuple[Any, ...], int],
    ) -> np.ndarray:
        """(tile, first record, last record) of each tensor on chip of one call, as rows of
        integers."""
        if not len(clocks):
            return np.empty((3, 0), np.int64)
        tile, first, last = [], [], []
        for b in buffers:
            # the value was never stored, or not on chip
            if b.last < b.first or b.meta.space not in SPACES:
                continue
            key = (id(b.meta), id(b.code), b.lasti, b.name)
            number = places.get(key)
            if number is None:
                number = places[key] = len(self.tiles)
                self.tiles.append(
                    Tile(
                        b.label,
                        b.meta.space,
                        b.meta.shape,
                        _dtype_name(b.meta.dtype),
                        b.nbytes,
                        b.partition_bytes,
                        source.line_of(b.code, b.lasti).line,
                    )
                )
            tile.append(number)
            first.append(b.first)
            last.append(b.last)
        end = len(clocks) - 1
        begin = np.minimum(np.searchsorted(clocks, np.asarray(first, np.int64), "left"), end)
        until = np.maximum(np.searchsorted(clocks, np.asarray(last, np.int64), "right") - 1, begin)
        return np.stack([np.asarray(tile, np.int64), begin + base, until + base])

    # -- memory ------------------------------------------------------------------------------------
    def capacity(self, space: str) -> int:
        """Bytes per partition of `space` on the target; of several cores side by side, together."""
        return self.cores * (
            self.target.sbuf_partition_bytes if space == SBUF else self.target.psum_partition_bytes
        )

    @property
    def unit(self) -> str:
        """By what memory is counted."""
        return (
            "per partition" if self.cores == 1 else f"per partition of {self.cores} cores together"
        )

    def title(self) -> str:
        """The kernels that ran, as a heading: "softmax", "softmax and 2 more calls"."""
        if not self.kernels:
            return "nothing"
        names = list(dict.fromkeys(self.kernels))
        if len(self.kernels) == 1:
            return names[0]
        if len(names) == 1:
            return f"{names[0]}, {len(self.kernels)} calls"
        return (
            f"{names[0]} and {len(self.kernels) - 1} more "
            f"call{'s' if len(self.kernels) > 2 else ''}"
        )


_dtype_name = functools.cache(dtypes.name)


def _kind(record: Record) -> Kind:
    signature, place = record.signature, record.place
    return Kind(
        signature.engine,
        signature.instruction.name,
        tuple(map(operand, record.written)),
        tuple(map(operand, record.srcs)),
        tuple(signature.shown.items()),
        place.filename,
        place.line,
        place.text,
    )


_CELL = re.compile(r"[\\/]ipykernel_\d+[\\/]|^<ipython-input|^<string>$|^<stdin>$")


def file_label(filename: str) -> str:
    """A file's name without its folder, which differs from machine to machine; "notebook cell" for
    one of those."""
    if _CELL.search(filename):
        return "notebook cell" if "ipy" in filename else "typed in"
    return os.path.basename(filename.replace("\\", "/")) or "unknown file"
