"""What a kernel leaves behind while it is recorded: its records, end to end, and what it printed
and wrote to tensors with a name."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from operator import itemgetter
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from ..machine import dtypes
from ..machine.memory import Buffer, Meta
from ..machine.shapes import ShapeOnly
from ..rules import source
from ..tensors.tensor import IndexedTensor, Tensor
from .signature import Signature

SIGNATURE, CODE, LASTI, DST, DST_OFFSET, FIRST = range(6)
SECOND, THIRD, OPERAND = 7, 9, 2
"""Where the entries of a record stand, from its beginning on: its destination's buffer and offset,
then buffer and offset, `OPERAND` entries, of each source (and of a second destination), last of all
the `Share`."""


class Operand(NamedTuple):
    """One tensor of a record: a view of a buffer, or a number."""

    buffer: Buffer
    offset: int
    """Of the view's first element in the buffer, in elements of the view's data type."""
    meta: Meta


class Share(NamedTuple):
    """What a mask, or indices known at run time only, left of an instruction."""

    kept: int
    size: int
    """Elements written, of so many that it names."""
    picks: tuple[Operand, ...] = ()
    """The tiles of indices by which elements were picked."""


class Record(tuple[Any, ...]):
    """One instruction that ran. Its entries stand as on the tape; they are read by name."""

    __slots__ = ()

    signature: Signature = property(itemgetter(0))  # type: ignore[assignment]
    code: CodeType = property(itemgetter(1))  # type: ignore[assignment]
    """With `lasti`: the place in the kernel."""
    lasti: int = property(itemgetter(2))  # type: ignore[assignment]
    buffer: Buffer = property(itemgetter(3))  # type: ignore[assignment]
    """Which it writes."""
    offset: int = property(itemgetter(4))  # type: ignore[assignment]
    share: Share | None = property(itemgetter(-1))  # type: ignore[assignment]
    """What a mask left of it; None for all."""

    @property
    def place(self) -> source.Line:
        """The line of the kernel."""
        return source.line_of(self[1], self[2])

    @property
    def dst(self) -> Operand:
        """What it writes."""
        return Operand(self[3], self[4], self[0].dst)

    @property
    def second(self) -> Operand | None:
        """Its second destination (`reduce_res`), if it has one."""
        meta = self[0].extra
        return None if meta is None else Operand(self[-3], self[-2], meta)

    @property
    def written(self) -> tuple[Operand, ...]:
        """All that it writes."""
        second = self.second
        return (self.dst,) if second is None else (self.dst, second)

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """Of all its operands: the destination's, the sources', the second destination's."""
        return self[3:-1:2]

    @property
    def srcs(self) -> tuple[Operand, ...]:
        """What it reads; of a number the buffer means nothing."""
        return tuple(
            [Operand(self[5 + 2 * k], self[6 + 2 * k], meta) for k, meta in enumerate(self[0].srcs)]
        )

    def moved(self, nbytes: int) -> int:
        """Of `nbytes` that it names, those that it moves: a mask may leave some out."""
        share = self[-1]
        return nbytes if share is None else nbytes * share.kept // share.size

    @property
    def hbm_read(self) -> int:
        """Bytes read from HBM."""
        return self.moved(self[0].read)

    @property
    def hbm_written(self) -> int:
        """Bytes written to HBM."""
        return self.moved(self[0].written)


class Write:
    """One write to a tensor with a name."""

    __slots__ = ("_where", "allocation", "dtype", "index", "line", "value")

    def __init__(
        self,
        value: np.ndarray,
        dtype: str,
        index: int,
        line: int,
        allocation: int,
        where: tuple[Meta, int, np.ndarray | None] | None,
    ) -> None:
        self.value = value
        """The whole tensor after the write; low-precision floats as float32."""
        self.dtype = dtype
        """The tensor's own data type, e.g. "bfloat16"."""
        self.index = index
        """Position of the writing instruction in `run.instructions`."""
        self.line = line
        """Line of the kernel that wrote."""
        self.allocation = allocation
        """Which of the tensors of that name, counted from 0 over the run."""
        self._where = where

    @property
    def region(self) -> np.ndarray | None:
        """Which elements the instruction wrote, as booleans of the tensor's shape; None for all of
        them."""
        if self._where is None:
            return None
        meta, off, keep = self._where
        flags = np.zeros(self.value.shape, dtype=bool)
        np.ndarray(meta.shape, np.bool_, flags, off, meta.strides)[...] = (
            True if keep is None else keep
        )
        return flags

    def __repr__(self) -> str:
        return (
            f"Write(index={self.index}, allocation={self.allocation}, line={self.line}, "
            f"shape={self.value.shape})"
        )


class Printed:
    """One nl.device_print. Of a run without values, `value` is a `ShapeOnly`."""

    __slots__ = ("line", "prefix", "value")

    def __init__(self, prefix: str, value: np.ndarray | ShapeOnly, line: int) -> None:
        self.prefix = prefix
        self.value = value
        self.line = line

    def __iter__(self) -> Iterator[Any]:
        return iter((self.prefix, self.value))

    def __repr__(self) -> str:
        return f"Printed({self.prefix!r}, shape={self.value.shape}, line={self.line})"


class Sent(NamedTuple):
    """A tile that one core laid out for the other."""

    number: int
    """Of the tiles that the cores sent, in order."""
    at: int
    """Where the records begin that come after it."""
    tile: Operand


class Tape:
    """The records of one kernel, end to end, and the values of its tensors with a name.

    One flat list costs less than an object a record, and a million of them are kept: signature,
    code, lasti, destination's buffer and offset, buffer and offset of each source and of the second
    destination where there is one, `Share` or None. Everybody reads it by `records()`; only the
    model of time, which walks it a million records at a time, looks at its entries.
    """

    __slots__ = (
        "entries",
        "indices",
        "initial",
        "named",
        "prints",
        "results",
        "seconds",
        "sent",
        "turns",
    )

    def __init__(self, results: bool) -> None:
        self.entries: list[Any] = []
        self.results: list[np.ndarray] | None = [] if results else None
        """A copy of what each instruction wrote, if asked for."""
        self.seconds: list[np.ndarray | None] = []
        """With `results`, for each of them: a copy of what the instruction wrote to its second
        destination, if it has one."""
        self.initial: dict[Buffer, np.ndarray] = {}
        """With `results`: what the inputs and constants in HBM held when the kernel began."""
        self.named: dict[str, list[Buffer]] = {}
        """The on-chip tensors with a name, in order of allocation, while recording."""
        self.prints: list[Printed] = []
        self.indices: dict[int, dict[int, Any]] | None = None
        """For a dataflow: of each record with operands that indices picked, by the place where it
        begins, of each such source by its position, and of the destination by -1, where in its
        buffer the elements lay; None where that is not known. By -2, what a mask kept."""
        self.turns: list[int] = []
        """Of one of two cores, replayed: where the other went on, as places among the entries."""
        self.sent: list[Sent] = []
        """Of one of two cores, replayed: the tiles that it laid out for the other."""

    def end_turn(self) -> None:
        """From here on the other core runs."""
        self.turns.append(len(self.entries))

    def send(self, number: int, t: Tensor) -> None:
        """The core lays a tile out for the other."""
        self.sent.append(Sent(number, len(self.entries), Operand(t.buf, t.off, t.meta)))

    def length(self) -> int:
        """How many records there are."""
        entries, at, found = self.entries, 0, 0
        end = len(entries)
        while at < end:
            at += entries[at].width
            found += 1
        return found

    def starts(self) -> np.ndarray:
        """Where each record begins among the entries, as integers."""
        entries, at, found = self.entries, 0, array("q")
        end, note = len(entries), found.append
        while at < end:
            note(at)
            at += entries[at].width
        return np.frombuffer(found, np.int64) if found else np.empty(0, np.int64)

    def record(self, start: int) -> Record:
        """The record that begins there."""
        return Record(self.entries[start : start + self.entries[start].width])

    def records(self) -> Iterator[Record]:
        """Each instruction, in order."""
        entries, at = self.entries, 0
        while at < len(entries):
            end = at + entries[at].width
            yield Record(entries[at:end])
            at = end

    def transfers(self) -> Iterator[Record]:
        """Each instruction that reads or writes HBM, in order."""
        entries, at = self.entries, 0
        while at < len(entries):
            signature = entries[at]
            end = at + signature.width
            if signature.read or signature.written:
                yield Record(entries[at:end])
            at = end

    def placed(self) -> Iterator[tuple[int, Record]]:
        """Every record, with the place where it begins among the entries."""
        at = 0
        for record in self.records():
            yield at, record
            at += len(record)

    def add(
        self,
        signature: Signature,
        code: CodeType,
        lasti: int,
        dst: Tensor,
        srcs: tuple[Tensor, ...],
        extra: Tensor | None,
        share: Share | None = None,
        kept: np.ndarray | None = None,
    ) -> None:
        """One record more, of an instruction that has just run; `kept`, if given, is what it wrote
        (default: the values of `dst`)."""
        if extra is None and len(srcs) == 1:
            (a,) = srcs
            self.entries += (signature, code, lasti, dst.buf, dst.off, a.buf, a.off, share)
        elif extra is None and len(srcs) == 2:
            a, b = srcs
            self.entries += (
                signature,
                code,
                lasti,
                dst.buf,
                dst.off,
                a.buf,
                a.off,
                b.buf,
                b.off,
                share,
            )
        else:
            operands = srcs if extra is None else (*srcs, extra)
            where = [x for s in operands for x in (s.buf, s.off)]
            self.entries += (signature, code, lasti, dst.buf, dst.off, *where, share)
        if self.results is not None:
            self.results.append(dst.array.copy() if kept is None else kept)
            known = extra is not None and not isinstance(extra, IndexedTensor)
            self.seconds.append(extra.array.copy() if known else None)  # type: ignore[union-attr]

    def redirect(
        self, at: int, signature: Signature, dst: Tensor, held: bool
    ) -> tuple[CodeType, int]:
        """Let the last record, which begins at `at`, name its new destination, which is its last
        source too if it is `held`; the place of the instruction."""
        entries = self.entries
        entries[at] = signature
        entries[at + 3] = dst.buf
        entries[at + 4] = dst.off
        if held:
            entries[-1:-1] = (dst.buf, dst.off)
        if self.results is not None:
            self.results[-1] = dst.array.copy()
        return entries[at + 1], entries[at + 2]

    def start_of_last(self, sources: int) -> int:
        """Where the last record begins, which is of an instruction with so many sources."""
        return len(self.entries) - 6 - 2 * sources

    def insert(self, before: int, signature: Signature, buf: Buffer, values: Any) -> None:
        """A record of an instruction without sources that fills `buf` with `values`, before the
        last `before` entries (none, or those of one record)."""
        at = len(self.entries) - before
        self.entries[at:at] = (signature, buf.code, buf.lasti, buf, 0, None)
        if self.results is not None:
            number = len(self.results) - (1 if before else 0)
            self.results.insert(number, values.copy())
            self.seconds.insert(number, None)

    def keep_initial(self, buf: Buffer, array: np.ndarray) -> None:
        """Note what an input or a constant holds, if results are kept. The array may be the
        caller's: it is copied."""
        if self.results is not None:
            self.initial[buf] = array.copy()

    def writes(self, name: str, index_base: int = 0, allocation_base: int = 0) -> list[Write]:
        """Every write to the tensors called `name`, in order of execution."""
        numbers = {at: number for number, (at, _) in enumerate(self.placed())}
        found = []
        for allocation, buf in enumerate(self.named.get(name, []), allocation_base):
            dtype = buf.meta.dtype
            for kept, index, code, lasti, where in buf.tracked or ():
                value = kept.array
                if dtypes.is_float(dtype):
                    value = dtypes.to_fp32(value)
                index = numbers.get(index, len(numbers)) + index_base
                found.append(
                    Write(
                        value,
                        dtypes.name(dtype),
                        index,
                        source.line_of(code, lasti).line,
                        allocation,
                        where,
                    )
                )
        return sorted(found, key=lambda w: w.index)
