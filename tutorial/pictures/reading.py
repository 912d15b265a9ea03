"""A kernel's run as a picture needs it: its instructions, alike ones folded, and how often each
cell of its HBM tensors was read.

The only file of this room that knows how a run is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nkisim.rules import source

MEMORIES = ("hbm", "sbuf", "psum")


class Tile(NamedTuple):
    """A tensor of the kernel; all that one line makes with one name and shape are one tile."""

    name: str
    memory: str
    """"hbm", "sbuf" or "psum"."""
    shape: tuple[int, ...]
    nbytes: int
    partitions: int
    made_at: int
    """The line that makes it."""

    @property
    def called(self) -> str:
        """Its name; of a result that has none, the line that made it."""
        return f"line {self.made_at}" if "(" in self.name else self.name

    @property
    def free(self) -> int:
        """Elements on each partition."""
        return math.prod(self.shape) // max(self.partitions, 1)


class SourceInstruction(NamedTuple):
    """One instruction of the kernel's text, however often its loops ran it."""

    op: str
    engine: str
    line: int
    source: str
    target: Tile
    sources: tuple[Tile, ...]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What it is, whatever its tensors are called: engine, operation, memories and shapes."""
        shapes = tuple((tile.memory, tile.shape) for tile in self.sources)
        return self.engine, self.op, self.target.memory, self.target.shape, shapes


@dataclass(eq=False)
class HbmTensor:
    """A tensor in HBM: how often each of its cells was read and written."""

    name: str
    shape: tuple[int, ...]
    reads: NDArray[np.int64]
    writes: NDArray[np.int64]
    by_index: int = 0
    """Bytes read through indices of which the run did not keep what they picked: their cells are
    not counted."""
    picked: bool = False
    """Whether indices that are known at run time only picked what was read."""


@dataclass(eq=False)
class Flow:
    """`steps` in the order in which they first ran, each with how often it ran; `order` has them
    as they ran, turn by turn. `filename` is that of the kernel's text."""

    steps: dict[SourceInstruction, int] = field(default_factory=dict)
    order: list[SourceInstruction] = field(default_factory=list)
    filename: str = ""
    tensors: list[HbmTensor] = field(default_factory=list)

    def kinds(self) -> Counter[tuple[Any, ...]]:
        """How often each kind of step ran."""
        found: Counter[tuple[Any, ...]] = Counter()
        for step, count in self.steps.items():
            found[step.kind] += count
        return found


def read(run: Any) -> Flow:
    """What a picture needs of an `nkisim.Run`. Cells that run-time indices picked are counted where
    the run kept which those were (`run.traces`)."""
    flow = Flow()
    tiles: dict[int, Tile] = {}
    tensors: dict[int, HbmTensor] = {}
    for record, chosen in _records(run):
        place = record.place
        for k, operand in enumerate(record.srcs):
            _count(tensors, operand, "reads", record, _cells(chosen, k))
        for k, operand in enumerate(record.written):
            _count(tensors, operand, "writes", record, None if k else _cells(chosen, -1))
        sources = [o for o in record.srcs if o.meta.space in MEMORIES]
        step = SourceInstruction(
            record.signature.instruction.name,
            record.signature.engine,
            place.line,
            place.text,
            _tile(tiles, record.dst),
            tuple(dict.fromkeys(_tile(tiles, o) for o in sources)),
        )
        flow.steps[step] = flow.steps.get(step, 0) + 1
        flow.order.append(step)
        flow.filename = flow.filename or place.filename
    flow.tensors = list(tensors.values())
    return flow


def _records(run: Any) -> Iterator[tuple[Any, Mapping[int, Any]]]:
    """Every record, with the elements that indices picked: by operand, -1 for the destination; at
    -2 what a mask left of them."""
    for program in run.programs:
        indices = program.tape.indices or {}
        for at, record in program.tape.placed():
            yield record, indices.get(at, {})


def _cells(chosen: Mapping[int, Any], operand: int) -> NDArray[np.int64] | None:
    """Where in its tensor the elements of an operand lie that indices picked; None where none
    did, or where it is not known."""
    places, kept = chosen.get(operand), chosen.get(-2)
    if places is None:
        return None
    if kept is not None and kept.shape == places.shape:
        places = places[kept]
    found: NDArray[np.int64] = places.reshape(-1)
    return found


def by_line(flow: Flow) -> dict[SourceInstruction, int]:
    """The steps with those of one line taken together: the last of them, with all that the line
    reads and does not make itself; the operation says how many there are."""
    groups: dict[int, list[SourceInstruction]] = {}
    for step in flow.steps:
        groups.setdefault(step.line, []).append(step)
    found = {}
    for steps in groups.values():
        last = steps[-1]
        made = {step.target for step in steps[:-1]}
        sources = dict.fromkeys(tile for step in steps for tile in step.sources)
        read_ones = tuple(tile for tile in sources if tile not in made)
        op = last.op if len(steps) == 1 else f"{len(steps)} steps to {last.op}"
        counts = max(flow.steps[step] for step in steps)
        found[last._replace(op=op, sources=read_ones)] = counts
    return found


def _tile(tiles: dict[int, Tile], operand: Any) -> Tile:
    """The tile of an operand: that of its whole buffer."""
    buffer = operand.buffer
    found = tiles.get(id(buffer))
    if found is None:
        meta = buffer.meta
        line = 0 if buffer.code is None else source.line_of(buffer.code, buffer.lasti).line
        found = Tile(buffer.label, meta.space, meta.shape, meta.nbytes, meta.partitions, line)
        tiles[id(buffer)] = found
    return found


def _count(
    tensors: dict[int, HbmTensor],
    operand: Any,
    what: str,
    record: Any,
    places: NDArray[np.int64] | None,
) -> None:
    """Count the cells of an HBM tensor that an operand covers, or that were picked of it."""
    buffer, meta = operand.buffer, operand.meta
    if meta.space != "hbm":
        return
    found = tensors.get(id(buffer))
    if found is None:
        size = math.prod(buffer.meta.shape)
        zeros = np.zeros((2, size), np.int64)
        found = HbmTensor(buffer.label, buffer.meta.shape, zeros[0], zeros[1])
        tensors[id(buffer)] = found
    cells = found.reads if what == "reads" else found.writes
    by_index = record.share is not None and record.share.picks
    if places is not None:
        np.add.at(cells, places, 1)
        found.picked = found.picked or bool(by_index)
        return
    if by_index:
        found.by_index += record.moved(meta.nbytes) if what == "reads" else 0
        return
    if meta.itemsize != buffer.meta.itemsize:
        return  # the same bytes as another type: rare, and not worth a drawing
    last = operand.offset + sum((n - 1) * step for n, step in zip(meta.shape, meta.strides))
    if last >= cells.size:
        return  # a mask keeps it inside, and the run did not keep which elements that left
    strides = tuple(step * cells.itemsize for step in meta.strides)
    view = np.lib.stride_tricks.as_strided(cells[operand.offset :], meta.shape, strides)
    view += 1


def planes(tensor: HbmTensor) -> list[NDArray[np.int64]]:
    """The reads of a tensor as planes of its last two axes, one for each of the leading ones; of
    blocks (block, head, key, d) that indices picked one plane, a row per head and a column per
    block."""
    shape = tensor.shape if len(tensor.shape) > 1 else (1, *tensor.shape)
    cells = tensor.reads if tensor.reads.any() or tensor.by_index else tensor.writes
    if tensor.picked and len(shape) > 2:
        blocks = cells.reshape(shape[0], math.prod(shape[1:-2]), -1)
        return [blocks.max(axis=2).T]
    return list(cells.reshape(-1, *shape[-2:]))


def coarse(plane: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    """A plane in at most so many rows and columns, each the largest count of its part."""
    bands = np.array_split(plane, min(rows, plane.shape[0]), 0)
    parts = [np.array_split(band, min(columns, plane.shape[1]), 1) for band in bands]
    return np.array([[int(part.max()) for part in row] for row in parts], np.int64)
