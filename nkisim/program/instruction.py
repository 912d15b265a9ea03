"""One instruction that ran, as its reader sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

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
