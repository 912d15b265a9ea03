"""What a max or a sum leaves out: it shows in which elements of a tensor the instructions read,
whatever the style; of a max in the numbers only where the largest score is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nkisim.execution.tape import Operand, Record
from nkisim.machine.memory import Buffer

MAX, SUM = "maximum", "add"
CAUSES = {MAX: "max of a part of the tile", SUM: "sum of a part of the tile"}
_MUST = {
    MAX: "m must be the largest of all of them, or exp(qk - m) overflows.",
    SUM: "l must be the sum of all of them.",
}


class _Read(NamedTuple):
    """Elements of a tensor that one instruction reads or writes, by their place in it."""

    line: int
    elements: NDArray[np.intp]
    rows: int


def of_a_reduction(run: Any, op: str, unread: bool = True) -> str | None:
    """A sentence if a max, or a sum, is taken of fewer numbers than what is read of the same tensor
    besides, or (`unread`) if some of those that are made are never read; None if neither is so."""
    records = [record for program in run.programs for record in program.records()]
    reductions = [record for record in records if _reduces(record, op)]
    of = {record.srcs[0].buffer for record in reductions}
    made = {record.buffer for record in reductions}
    reduced: dict[Buffer, list[_Read]] = {}
    by_others: dict[Buffer, list[_Read]] = {}
    written: dict[Buffer, list[_Read]] = {}
    for record in records:
        for operand in _on_chip(record):
            if operand.buffer in of or operand.buffer in made:
                into = reduced if _takes(record, op) else by_others
                into.setdefault(operand.buffer, []).append(_read(record, operand))
        if record.buffer in made:
            written.setdefault(record.buffer, []).append(_read(record, record.dst))
    name = "max" if op == MAX else "sum"
    for buffer, reads in reduced.items():
        if more := _beyond(by_others.get(buffer, []), reads):
            return (
                f"The {name} in line {reads[0].line} is taken of {_numbers(reads)} of the "
                f"{_numbers([*reads, more])} numbers in a row that line {more.line} reads: "
                f"{_MUST[op]}"
            )
    for buffer, writes in written.items():
        reads = [*reduced.get(buffer, []), *by_others.get(buffer, [])]
        if unread and reads and (more := _beyond(writes, reads)):
            return (
                f"Line {more.line} makes {len(_all(writes))} numbers, each the {name} of others, "
                f"and of them line {reads[0].line} reads {len(_all(reads))}: {_MUST[op]}"
            )
    return None


def _reduces(record: Record, op: str) -> bool:
    signature = record.signature
    return signature.instruction.name == "tensor_reduce" and signature.shown.get("op") == op


def _takes(record: Record, op: str) -> bool:
    """Whether it takes a max, or a sum, of what it reads, in whatever way."""
    words = (record.signature.instruction.name, *record.signature.shown.values())
    return any((op if op == SUM else "max") in str(word) for word in words)


def _on_chip(record: Record) -> Iterator[Operand]:
    return (operand for operand in record.srcs if operand.meta.space in ("sbuf", "psum"))


def _read(record: Record, operand: Operand) -> _Read:
    places = np.array([operand.offset])
    for size, stride in zip(operand.meta.shape, operand.meta.strides, strict=True):
        places = (places[:, None] + np.arange(size) * stride).reshape(-1)
    return _Read(record.place.line, places, operand.meta.shape[0])


def _all(reads: list[_Read]) -> NDArray[np.intp]:
    return np.unique(np.concatenate([read.elements for read in reads]))


def _numbers(reads: list[_Read]) -> int:
    """How many elements of a row are read."""
    return len(_all(reads)) // max(read.rows for read in reads)


def _beyond(others: list[_Read], reads: list[_Read]) -> _Read | None:
    """The first of the others that takes elements which none of `reads` takes."""
    seen = _all(reads)
    return next((one for one in others if not np.isin(one.elements, seen).all()), None)
