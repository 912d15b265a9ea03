"""From which elements of which inputs a value comes.

Backward from a write, instruction by instruction: which part of each source the part of the
destination depends on (`program.flows`), and who wrote that part. Exact where views are slices of
axes, in whatever order and split; elsewhere it takes in more, never less. It tells what a value may
depend on: a factor of zero still counts. Of a kernel on two cores it goes through the tiles that
they exchange and the memory that they share, in the order of the replay.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np

from ..execution.tape import Operand, Record, Tape
from ..isa.link import SENDRECV
from ..machine.memory import CONST, Buffer
from ..tensors.masks import box_of_kept
from .boxes import (
    Box,
    from_view,
    into_view,
    meet,
    merged,
    of_places,
    reshaped,
    seen,
    whole,
    without,
)
from .call import Call
from .flows import Elements, hidden_reads, hidden_writes, sources
from .run import Run

Origins = dict[str, tuple[Box, ...]]
"""Of each input by name: boxes of its elements, each a range (or places one by one) per axis."""


class _Write:
    """One write to a buffer: by which instruction, of which elements."""

    __slots__ = ("all", "axes", "box", "full", "number", "operand", "second", "whole")

    def __init__(self, number: int, operand: Operand, second: bool, share: Any) -> None:
        self.number = number
        self.operand = operand
        self.second = second
        self.box, self.axes = seen(operand.buffer.meta, operand.meta, operand.offset)
        self.all = self.box
        """What the view covers; `box` is less where a mask left some out."""
        self.full = share is None and self.axes is not None
        self.whole = whole(operand.meta.shape)

    def masked(self, keep: np.ndarray) -> None:
        """A mask over the view left only `keep`."""
        found = box_of_kept(keep) if self.axes is not None and keep.any() else None
        if found is not None:
            part = tuple([range(a, a + n) for a, n in zip(*found)])
            operand = self.operand
            known = self.all, self.axes  # which run along the tensor's: it is one box
            (self.box,) = from_view(part, operand.buffer.meta, operand.meta, operand.offset, known)
            self.full = True

    def scattered(self, places: Any) -> None:
        """The elements were picked by indices, and lie at these places of the buffer (None: it is
        not known where)."""
        shape = self.operand.buffer.meta.shape
        self.box = whole(shape) if places is None else of_places(shape, places)
        self.all = self.box
        self.axes, self.full = None, False


class Dataflow:
    """The dataflow of a program, or of one replay of it on values (`Program.dataflow`).

    `of(index)` takes the position of an instruction in `program.instructions` and tells on which
    elements of the inputs depend what it writes; `output(k)` the same of an output.
    """

    def __init__(self, calls: Sequence[Call], inputs: Sequence[Any], slots: Any, run: Run) -> None:
        self._calls = calls
        self._names = [i.name for i in inputs]
        self._slots = slots
        self._records: list[Record] = []
        self._writes: dict[Any, list[_Write]] = {}
        self._numbers: dict[Any, list[int]] = {}
        self._inputs: dict[Buffer, tuple[int, int]] = {}
        """Of each input of a kernel: the call, and which of its inputs."""
        self._first: list[int] = []
        self._picked: dict[int, Any] = {}
        self._known: dict[tuple[int, bool], list[tuple[Box, list[_Edge]]]] = {}
        """Of parts of results that have been asked for: on what they depend directly."""
        self._cores = bytearray()
        """On which core each record ran."""
        self._arrived: dict[int, tuple[Operand, int]] = {}
        """Of each record of a tile that came from the other core: what was sent there, and which
        records are not before it."""
        self._order: list[int] = []
        """Of each of `program.instructions`, where the records have it: in the order in which they
        ran, while the instructions are those of one core after those of the other."""
        self._buffers: list[list[Buffer]] = []
        """Of each call."""
        self._returned: list[list[Operand]] = []
        cores = iter(run.programs)
        for at, call in enumerate(calls):
            programs = [next(cores) for _ in range(call.cores)]
            program = programs[0]
            self._first.append(len(self._records))
            self._buffers.append(program.buffers)
            for k, buffer in enumerate(program.buffers[: len(call.given)]):
                self._inputs[buffer] = at, k
            self._index([program.tape for program in programs])
            self._returned.append([_views(program, call, v) for v in call.returned])
        self._first.append(len(self._records))

    def _index(self, tapes: Sequence[Tape]) -> None:
        """Note who writes what, which elements indices picked, and what the cores sent."""
        numbers: list[list[int]] = [[] for _ in tapes]
        received: dict[int, int] = {}
        sent: dict[int, tuple[Operand, int]] = {}
        sending = [deque(tape.sent) for tape in tapes]
        for core, at, record in _in_turns(tapes):
            number = len(self._records)
            self._records.append(record)
            self._cores.append(core)
            numbers[core].append(number)
            while sending[core] and sending[core][0].at <= at:
                one = sending[core].popleft()
                sent[one.number] = one.tile, number
            if record.signature.instruction is SENDRECV:
                received[number] = record.srcs[0].offset
            picked = (tapes[core].indices or {}).get(at)
            if picked is not None:
                self._picked[number] = picked
            for k, operand in enumerate(record.written):
                if operand.meta.space != CONST:
                    write = _Write(number, operand, k == 1, record.share)
                    if k == 0 and picked is not None:
                        if -1 in picked:
                            write.scattered(picked[-1])
                        elif -2 in picked:
                            write.masked(picked[-2])
                    self._note(operand.buffer, write)
            for key in hidden_writes(record):
                self._note((core, *key), None, number)
        for left in sending:
            sent.update({one.number: (one.tile, len(self._records)) for one in left})
        self._arrived.update({number: sent[which] for number, which in received.items()})
        self._order += [number for of_core in numbers for number in of_core]

    def _note(self, key: Any, write: _Write | None, number: int = 0) -> None:
        found = self._writes.get(key)
        if found is None:
            found = self._writes[key] = []
            self._numbers[key] = []
        found.append(write)  # type: ignore[arg-type]
        self._numbers[key].append(number if write is None else write.number)

    # -- questions ---------------------------------------------------------------------------------
    def of(self, index: int, cut: Iterable[str] = ()) -> Origins:
        """On which elements of the inputs depends what instruction `index` writes.

        `cut`: names of on-chip tensors (`name=`) that are not followed to those who wrote them,
        such as a running state: then only what the instruction brings in besides. IndexError where
        there is no such instruction.
        """
        number = self._order[index]
        found = _Found(self, frozenset(cut))
        for k, operand in enumerate(self._records[number].written):
            found.through(number, whole(operand.meta.shape), k == 1)
        return found.origins()

    def output(self, k: int = 0, element: tuple[int, ...] | None = None) -> Origins:
        """On which elements of the inputs depends what the last kernel returns as its output `k`,
        or one element of it. IndexError where there is none."""
        return self._output(len(self._calls) - 1, k, element)

    def _output(self, call: int, k: int, element: tuple[int, ...] | None) -> Origins:
        operand = self._returned[call][k]
        shape = operand.meta.shape
        part = whole(shape) if element is None else tuple([range(i, i + 1) for i in element])
        found = _Found(self, frozenset())
        found.read(operand, part, self._first[call + 1])
        return found.origins()

    def writes(self, name: str) -> list[int]:
        """The instructions that write to the tensors called `name`, in order."""
        places = {number: index for index, number in enumerate(self._order)}
        return sorted(
            {
                places[w.number]
                for key, writes in self._writes.items()
                if isinstance(key, Buffer) and key.name == name
                for w in writes
            }
        )

    # -- one step back -----------------------------------------------------------------------------
    def _edges(self, number: int, part: Box, second: bool) -> list[_Edge]:
        """On what a part of an instruction's result depends directly."""
        known = self._known.setdefault((number, second), [])
        for asked, found in known:
            if asked is part or asked == part:
                return found
        record = self._records[number]
        edges: list[_Edge] = []
        if number in self._arrived:
            tile, before = self._arrived[number]
            edges += self._read(tile, part, before)
            known.append((part, edges))
            return edges
        for operand, box in sources(record, part, second, self._picked.get(number)):
            if isinstance(box, Elements):
                edges += self._need(operand.buffer, box.box, number)
            else:
                edges += self._read(operand, box, number)
        for engine in hidden_reads(record, second):
            key = (self._cores[number], *engine)
            at = bisect_left(self._numbers.get(key, []), number) - 1
            if at >= 0:
                before = self._numbers[key][at]
                shape = self._records[before].dst.meta.shape
                edges.append(_Edge(None, before, whole(shape), False, 0, 0))
                again = self._records[before].signature.extra
                rest = hidden_reads(self._records[before], True)
                if again is not None or rest:
                    shape = shape if again is None else again.shape
                    edges.append(_Edge(None, before, whole(shape), again is not None, 0, 0))
        known.append((part, edges))
        return edges

    def _read(self, operand: Operand, part: Box, before: int) -> list[_Edge]:
        """Who wrote a part of a view, as it is before instruction `before`."""
        buffer, offset, meta = operand
        if meta.space == CONST:
            return []
        known = seen(buffer.meta, meta, offset)
        if part is whole(meta.shape):
            return self._need(buffer, known[0], before)
        boxes = from_view(part, buffer.meta, meta, offset, known)
        return [edge for box in boxes for edge in self._need(buffer, box, before)]

    def _need(self, buffer: Buffer, box: Box, before: int) -> list[_Edge]:
        """Who wrote elements of a buffer, as they are before instruction `before`."""
        edges: list[_Edge] = []
        rest = [box]
        numbers = self._numbers.get(buffer)
        if numbers is not None:
            writes = self._writes[buffer]
            last = bisect_left(numbers, before) - 1
            write = writes[last]
            known = last >= 0 and write.full and write.box is write.all
            if known and (box is write.box or box == write.box):
                return [_Edge(buffer.name, write.number, write.whole, write.second, 0, 0)]
            for at in range(last, -1, -1):
                write = writes[at]
                left: list[Box] = []
                for part in rest:
                    shared = part if part is write.box else meet(part, write.box)
                    if shared is None:
                        left.append(part)
                        continue
                    into = into_view(shared, write.operand.meta, write.axes, write.all)
                    edge = _Edge(buffer.name, write.number, into, write.second, 0, 0)
                    edges.append(edge)
                    if not write.full:
                        left.append(part)
                    elif shared is not part:
                        left += without(part, shared)
                rest = left
                if not rest:
                    return edges
        if buffer in self._inputs:
            call, k = self._inputs[buffer]
            edges += [_Edge(None, -1, part, False, call, k) for part in rest]
        return edges

    @staticmethod
    def mask(boxes: Iterable[Box], shape: tuple[int, ...]) -> np.ndarray:
        """Boxes as booleans of the tensor's shape."""
        out = np.zeros(shape, dtype=bool)
        for box in boxes:
            out[np.ix_(*[np.asarray(axis) for axis in box])] = True
        return out


def _in_turns(tapes: Sequence[Tape]) -> Iterator[tuple[int, int, Record]]:
    """The records of a kernel's cores in the order in which they ran, core 0 first: the core, the
    place among its entries, the record."""
    left = [deque(tape.placed()) for tape in tapes[1:]]
    if not left:
        yield from ((0, at, record) for at, record in tapes[0].placed())
        return
    left.insert(0, deque(tapes[0].placed()))
    turns = [deque(tape.turns) for tape in tapes]
    core = 0
    while any(left):
        end = turns[core].popleft() if turns[core] else None
        while left[core] and (end is None or left[core][0][0] < end):
            yield core, *left[core].popleft()
        core = (core + 1) % len(tapes)


def _views(program: Any, call: Call, view: Any) -> Operand:
    """A returned view of a call's buffers."""
    return Operand(program.numbered[view.buffer], view.offset, view.meta)


class _Edge(NamedTuple):
    """What a result depends on directly: a part of an earlier one, or of an input."""

    name: str | None
    """Of the tensor through which it comes."""
    number: int
    """The instruction that wrote it; -1 for what a kernel is given."""
    part: Box
    second: bool
    call: int
    k: int


class _Found:
    """One search. Instructions are taken from the last to the first, so that all that is asked of
    one is known when its turn comes, and is asked in as few parts as there can be."""

    def __init__(self, flow: Dataflow, cut: frozenset[str]) -> None:
        self.flow = flow
        self.cut = cut
        self.boxes: dict[int, dict[Box, None]] = {}
        self.asked: dict[tuple[int, bool], list[Box]] = {}
        """The parts that are asked for, by instruction and destination."""
        self.waiting: list[tuple[int, bool]] = []
        """The instructions that something is asked of, as a heap of negative numbers."""

    def origins(self) -> Origins:
        """What was found, by input."""
        picked = self.flow._picked
        while self.waiting:
            negative, second = heappop(self.waiting)
            number = -negative
            parts: Sequence[Box] = self.asked.pop((number, second))
            # rows that indices pick lie in smaller boxes one by one
            if len(parts) > 1 and number not in picked:
                parts = merged(parts)
            for part in parts:
                self.through(number, part, second)
        names = self.flow._names
        return {names[slot]: merged(list(boxes)) for slot, boxes in sorted(self.boxes.items())}

    def through(self, number: int, part: Box, second: bool) -> None:
        """Follow a part of what instruction `number` wrote."""
        self.follow(self.flow._edges(number, part, second))

    def read(self, operand: Operand, part: Box, before: int) -> None:
        """Follow a part of a view that is read."""
        self.follow(self.flow._read(operand, part, before))

    def follow(self, edges: Iterable[_Edge]) -> None:
        """Go on where these lead."""
        asked = self.asked
        for name, number, part, second, call, k in edges:
            if name in self.cut:
                continue
            if number < 0:
                self.origin(call, k, part)
                continue
            key = number, second
            parts = asked.get(key)
            if parts is None:
                asked[key] = [part]
                heappush(self.waiting, (-number, second))
            elif parts[-1] is not part:
                parts.append(part)

    def origin(self, call: int, k: int, box: Box) -> None:
        """Follow elements of what a kernel is given."""
        flow = self.flow
        given = flow._calls[call].given[k]
        for earlier in range(call - 1, -1, -1):
            other = flow._calls[earlier]
            end = flow._first[earlier + 1]
            if given.slot in other.into:
                operand = flow._returned[earlier][other.into.index(given.slot)]
                self.read(operand, reshaped(box, given.shape, operand.meta.shape), end)
                return
            for at, g in enumerate(other.given):
                buffer = flow._buffers[earlier][at]
                if g.slot == given.slot and buffer in flow._writes:
                    self.follow(flow._need(buffer, reshaped(box, given.shape, g.shape), end))
                    return
        if given.slot < len(flow._names):
            part = reshaped(box, given.shape, flow._slots[given.slot][0])
            self.boxes.setdefault(given.slot, {})[part] = None
