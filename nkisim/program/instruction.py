"""One instruction that ran, as its reader sees it."""

from __future__ import annotations

import bisect
import itertools
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from ..execution import tape
from ..machine import dtypes
from ..machine.memory import CONST


class Operand(NamedTuple):
    """One tile or tensor of an instruction."""

    name: str
    space: str
    """"hbm", "sbuf" or "psum"; "const" for a number."""
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Instruction:
    """One instruction that ran."""

    index: int
    engine: str
    """"tensor", "vector", "scalar", "gpsimd" or "dma"."""
    op: str
    """The instruction of the machine, e.g. "nc_matmul", "activation", "dma_copy"."""
    dst: tuple[Operand, ...]
    srcs: tuple[Operand, ...]
    hbm_bytes_read: int
    hbm_bytes_written: int
    filename: str
    line: int
    source: str
    """The stripped source line of the kernel."""
    attrs: dict[str, Any]

    def __str__(self) -> str:
        sources = ", ".join(f"{o.name}{list(o.shape)}" for o in self.srcs if o.space != "const")
        targets = ", ".join(f"{o.name}{list(o.shape)}" for o in self.dst)
        return (
            f"{self.index:5d}  {self.engine:<6} {self.op:<16} {targets} <- {sources}   line "
            f"{self.line}"
        )


def operand(view: tape.Operand) -> Operand:
    """What a reader sees of an operand."""
    name = view.buffer.label if view.meta.space != CONST else "constant"
    return Operand(name, view.meta.space, view.meta.shape, dtypes.name(view.meta.dtype))


def instruction(index: int, record: tape.Record) -> Instruction:
    """What a reader sees of the record at position `index` of a run."""
    signature, place = record.signature, record.place
    return Instruction(
        index,
        signature.engine,
        signature.instruction.name,
        tuple(map(operand, record.written)),
        tuple(map(operand, record.srcs)),
        record.hbm_read,
        record.hbm_written,
        place.filename,
        place.line,
        place.text,
        signature.shown,
    )


KEPT = 20_000
"""Instructions that are kept once all of them have been made; of more, only where they are."""


class Instructions(Sequence[Instruction]):
    """All instructions of a run, in program order. Each is made when it is looked at; what is kept
    of a million is where their records begin."""

    def __init__(self, tapes: Iterable[tape.Tape]) -> None:
        self._tapes = list(tapes)
        self._starts = [t.starts() for t in self._tapes]
        self._ends = list(itertools.accumulate(map(len, self._starts)))
        self._made: list[Instruction] | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Instruction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Instruction]: ...
    def __getitem__(self, index: int | slice) -> Instruction | list[Instruction]:
        if isinstance(index, slice):
            return [self._at(k) for k in range(*index.indices(len(self)))]
        k = operator.index(index)
        if not -len(self) <= k < len(self):
            raise IndexError(f"instruction {k} of a run of {len(self)}")
        return self._at(k % len(self))

    def _at(self, k: int) -> Instruction:
        if self._made is not None:
            return self._made[k]
        program = bisect.bisect_right(self._ends, k)
        before = self._ends[program - 1] if program else 0
        start = int(self._starts[program][k - before])
        return instruction(k, self._tapes[program].record(start))

    def __iter__(self) -> Iterator[Instruction]:
        if self._made is not None:
            return iter(self._made)
        records = itertools.chain.from_iterable(t.records() for t in self._tapes)
        made = itertools.starmap(instruction, enumerate(records))
        if len(self) > KEPT:
            return made
        self._made = list(made)
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Instructions, list)):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Instructions of a run: {len(self)}>"
