"""Two cores and one memory: which accesses to HBM have an order.

Each core counts its accesses, and knows up to which count those of the other happened before it: a
vector clock of two entries. The cores learn of one another where they meet (nisa.core_barrier,
nisa.sendrecv). Two accesses to the same elements, one of them a write, of which neither happened
before the other, are a race. Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py
(core_barrier).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..machine.cells import Cells
from ..machine.memory import HBM, Buffer
from ..machine.shapes import ShapeOnly
from ..rules import source
from ..rules.errors import broken
from ..tensors.tensor import IndexedTensor, Tensor

Region = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Offset, shape and strides, in elements of the buffer."""


class Access(NamedTuple):
    """One access of a core."""

    place: source.Line
    what: str
    """"reads" or "writes"."""
    region: Region = (0, (), ())
    values: np.ndarray | None = None
    """What was written, where it is one plain view; None on shapes alone."""
    plain: bool = False
    """Whether it is a write of one plain view."""


class Touched:
    """Of one buffer, the last access of each core to each of its elements, by number."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.writes = (Cells(shape, False), Cells(shape, False))
        self.reads = (Cells(shape, False), Cells(shape, False))
        self.waiting: list[tuple[int, int, Region]] = []
        """Reads before the first write: core, number, region. Most tensors are never written."""
        self.written = False


class Races:
    """The order of the accesses of two cores."""

    def __init__(self) -> None:
        self.accesses: list[Access] = [Access(source.Line("", 0, ""), "")]
        self.known = [0, 0]
        """Of each core, the number up to which the other's accesses happened before it."""
        self.touched: dict[Buffer, Touched] = {}

    @property
    def now(self) -> int:
        """The number of the last access."""
        return len(self.accesses) - 1

    def meet(self, core: int, now: int) -> None:
        """`core` has learned of the other's accesses up to number `now`, in an exchange of tiles or
        at a barrier."""
        self.known[core] = max(self.known[core], now)

    def instruction(self, core: int, api: str, dst: Tensor, srcs: tuple[Tensor, ...]) -> None:
        """Note what an instruction on `core` reads and writes in HBM."""
        for s in srcs:
            if s.meta.space == HBM:
                self._access(core, api, s, False)
        if dst.meta.space == HBM:
            self._access(core, api, dst, True)

    def _access(self, core: int, api: str, t: Tensor, write: bool) -> None:
        region = _region(t)
        if region is None:
            return
        found = self.touched.get(t.buf)
        if found is None:
            found = self.touched[t.buf] = Touched(t.buf.meta.shape)
        self.accesses.append(_noted(t, region, write))
        number = self.now
        if not write and not found.written:
            found.waiting.append((core, number, region))
            return
        if not found.written:
            found.written = True
            for earlier, at, where in found.waiting:
                _mark(found.reads[earlier], where, at)
            found.waiting.clear()
        replicated = self._check(core, api, t, found.writes[1 - core], region, write)
        if write and not replicated:
            self._check(core, api, t, found.reads[1 - core], region, write)
        if replicated:  # whichever was last, it left the same
            _mark(found.writes[1 - core], region, 0)
            number = 0
        _mark((found.writes if write else found.reads)[core], region, number)

    def _check(
        self, core: int, api: str, t: Tensor, cells: Cells, region: Region, write: bool
    ) -> bool:
        """Refuse an access to elements that the other core touched, of which this one does not
        know; whether both wrote the same."""
        index = cells.index(*region)
        owners = cells.own()[index]
        last = int(owners.max())
        if last <= self.known[core]:
            return False
        other = self.accesses[last]
        if write and (owners == last).all() and _agree(other, self.accesses[-1]):
            broken(
                "replicated-write",
                f"{api}: core {core} writes '{t.label}', where core {1 - core} writes the same",
                tensor=t.label,
                got=f"line {other.place.line} on core {1 - core}: {other.place.text}",
                remedy="One of the cores is enough: ask nl.program_id(0), or give each half of it.",
            )
            return True
        verb = "writes" if write else "reads"
        broken(
            "core-race",
            f"{api}: core {core} {verb} '{t.label}', core {1 - core} {other.what} the same "
            "elements, and no barrier is between them",
            tensor=t.label,
            got=f"line {other.place.line} on core {1 - core}: {other.place.text}",
            remedy=f"Let both cores meet in between: nisa.core_barrier({t.label}, (0, 1)); or give "
            "each core its own elements.",
        )
        return False


def _noted(t: Tensor, region: Region, write: bool) -> Access:
    """An access as it is kept; of a write, which has been done, with what it wrote."""
    place = source.here(3)
    if not write:
        return Access(place, "reads", region)
    plain = not isinstance(t, IndexedTensor)
    array = t.array if plain else None
    values = array.copy() if isinstance(array, np.ndarray) else None
    return Access(place, "writes", region, values, plain)


def _agree(one: Access, other: Access) -> bool:
    """Whether two accesses are writes that leave the same bits in the same elements; on shapes
    alone, whether they may be."""
    if not (one.plain and other.plain and one.region == other.region):
        return False
    if one.values is None or other.values is None:
        return True
    return one.values.tobytes() == other.values.tobytes()


def _region(t: Tensor) -> Region | None:
    """The elements of a view in its buffer; of elements picked at run time, the box around them,
    unless they are not known."""
    if not isinstance(t, IndexedTensor):
        return t.buf.region(t)
    if t.unknown or any(type(i) is ShapeOnly for i in t.indices):
        return None
    inside = t.inside()
    if not inside.any():
        return None
    flat = np.full(t.shape, t.off, dtype=np.int64)
    for index, stride in zip(t.indices, t.base.strides):
        flat = flat + np.broadcast_to(index, t.shape) * stride
    picked = np.unique(flat[inside])
    if len(picked) == 1:
        return int(picked[0]), (1,), (1,)
    steps = np.diff(picked)
    if (steps == steps[0]).all():
        return int(picked[0]), (len(picked),), (int(steps[0]),)
    return None if t.tiles else (int(picked[0]), (int(picked[-1] - picked[0]) + 1,), (1,))


def _mark(cells: Cells, region: Region, number: int) -> None:
    index = cells.index(*region)
    cells.own()[index] = number
