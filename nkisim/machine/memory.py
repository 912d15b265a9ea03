"""Buffers in HBM, SBUF and PSUM: what is allocated, what has been written, in which scope it may be
used."""

from __future__ import annotations

import math
from types import CodeType
from typing import Any

import numpy as np

from ..rules import source
from . import dtypes
from .cells import Cells
from .values import Queue

HBM, SBUF, PSUM, CONST = "hbm", "sbuf", "psum", "const"
ON_CHIP = (SBUF, PSUM)

# What is known of a buffer's elements.
EMPTY, PARTIAL, FULL, ZERO, SHARED = 0, 1, 2, 3, 4
# ZERO: nl.zeros in PSUM. The first matmul of an accumulation overwrites instead of adding, so no
# instruction is spent on zeros unless something else reads them first. Meanwhile the written-flags
# tell what has been overwritten. SHARED: written in full, by iterations of an affine_range around
# which it was made: see `Cells.owner`.


class Meta:
    """Layout of a view, shared by all views that look alike; the identity is the key of the
    signature cache."""

    __slots__ = (
        "axis",
        "dtype",
        "free",
        "itemsize",
        "nbytes",
        "partitions",
        "pdim",
        "pstart",
        "psum_bytes",
        "psum_partition_bytes",
        "sbuf_bytes",
        "sbuf_partition_bytes",
        "shape",
        "size",
        "space",
        "strides",
        "views",
    )

    def __init__(
        self,
        space: str,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: np.dtype,
        pdim: int,
        pstart: int,
    ) -> None:
        self.space = space
        self.shape = shape
        self.strides = strides
        """In elements."""
        self.dtype = dtype
        self.pdim = pdim
        """Axis on the partitions; 0 for HBM, where it is only the axis that a load puts there."""
        self.pstart = pstart
        size = 1
        for n in shape:
            size *= n
        self.size = size
        self.partitions = shape[pdim] if shape else 1
        self.free = size // self.partitions if self.partitions else 0
        """Elements per partition."""
        self.itemsize = dtype.itemsize
        self.nbytes = size * self.itemsize
        # What a tensor of this layout occupies. Of block axes (before the partition axis) one block
        # counts: the documents do not promise that the blocks of a tensor live at the same time.
        blocks = 1
        for n in shape[:pdim]:
            blocks *= n
        whole, partition = self.nbytes // blocks, self.free * self.itemsize // blocks
        self.sbuf_bytes, self.sbuf_partition_bytes = (whole, partition) if space == SBUF else (0, 0)
        self.psum_bytes, self.psum_partition_bytes = (whole, partition) if space == PSUM else (0, 0)
        self.axis = pdim if space != HBM else -1
        """The partition axis; -1 in HBM."""
        self.views: dict[tuple[Any, ...], tuple[Meta, tuple[Any, ...]]] = {}
        """The layouts of its views by the form of their subscripts (`layout.subscripted`,
        `gridded.form_of_grid`)."""

    @property
    def dense(self) -> bool:
        """Whether its elements lie side by side, each of them once, in whatever order."""
        step = 1
        for stride, n in sorted((s, n) for s, n in zip(self.strides, self.shape) if n > 1):
            if stride != step:
                return False
            step *= n
        return True

    def describe(self) -> str:
        """ "(128, 512) float32 in sbuf"."""
        return f"{self.shape} {dtypes.name(self.dtype)} in {self.space}"


_METAS: dict[tuple[Any, ...], Meta] = {}
"""Every layout there has been: a few hundred bytes each. None may be forgotten, since layouts are
compared by identity."""


def meta_of(
    space: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype,
    pdim: int = 0,
    pstart: int = 0,
) -> Meta:
    """The one `Meta` of this layout; `strides` in elements."""
    key = (space, shape, strides, dtype, pdim, pstart)
    found = _METAS.get(key)
    if found is None:
        found = _METAS[key] = Meta(space, shape, strides, dtype, pdim, pstart)
    return found


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


class Scope:
    """One iteration of a loop, or the kernel itself. Tiles made in it end with it."""

    __slots__ = ("closed", "parent", "serial")

    def __init__(self, parent: Scope | None, serial: int = 0) -> None:
        self.closed = False
        self.parent = parent
        self.serial = serial
        """Scopes are numbered as they open; those inside an iteration have numbers between its own
        and the next one's."""

    def admits(self, code: CodeType | None, lasti: int) -> bool:
        """Whether the instruction at byte `lasti` of `code` is known to stand where tiles of this
        scope may be used. False: it has to be looked at."""
        return not self.closed


class TextScope(Scope):
    """A scope that only the kernel's text shows (`scopes.Block`). Always "closed", so that every
    use is looked at."""

    __slots__ = ("around", "block", "root")

    def __init__(self, parent: Scope, block: Any) -> None:
        super().__init__(parent, parent.serial)
        self.closed = True
        self.block = block
        self.around = parent
        root = parent
        while root.parent is not None:
            root = root.parent
        self.root = root
        """The kernel's."""

    def admits(self, code: CodeType | None, lasti: int) -> bool:
        block = self.block
        return (
            lasti in block.inside
            and code is block.code
            and not self.around.closed
            and not self.root.closed
        )


_INDICES: dict[tuple[Any, ...], Any] = {}
"""By layout of a tensor, its blocks, layout and offset of a view: the blocks of the view."""
_MOST = 1 << 14


class Buffer:
    """One allocation: who it is, which of its elements are written, when it is in use, where it may
    be used.

    It does not hold the values: the tensors do. So a program can keep every buffer that ever was,
    for its records, while the values of a dead tile are freed.
    """

    # One class for results of instructions and for what the kernel asked for: code that always
    # meets one type reads its attributes several times as fast.
    __slots__ = (
        "asked",
        "cells",
        "code",
        "first",
        "last",
        "lasti",
        "mark",
        "meta",
        "name",
        "owner",
        "placed",
        "queue",
        "role",
        "scope",
        "state",
        "tracked",
    )

    def __init__(
        self,
        meta: Meta,
        first: int,
        code: CodeType | None,
        lasti: int,
        state: int,
        scope: Scope,
        name: str | None = None,
        asked: bool = True,
    ) -> None:
        self.meta = meta
        self.first = self.last = first
        """Index of the instruction that first wrote it (of a tensor in HBM, that made it), and of
        the last that touched it; `last` < `first` while nothing has been written, and once it turns
        out that the value was never stored, because the instruction wrote where it was assigned."""
        self.code = code
        self.lasti = lasti
        self.state = state
        self.scope = scope
        self.asked = asked
        """Whether the kernel asked for it, or it is a kernel argument: such a buffer may be written
        in parts, named and followed. If not, it is the result of an instruction (`execute` makes
        those)."""
        self.name = name
        self.queue: Queue = []
        """What has been put off of the kernel that made it."""
        self.cells: Cells | None = None
        """Which elements have been written, while `state` does not tell; and which scope wrote each
        last, for a tensor written inside an affine_range around which it was made."""
        self.owner: int | None = None
        """The number of the scope that wrote the whole tensor last, for one written inside an
        affine_range around which it was made, while it is not in `cells`."""
        self.tracked: list[tuple[Any, ...]] | None = None
        """Where every write is kept for `run.history(name)`: (`Value`, index, code, lasti, what was
        written); None if it is not."""
        self.placed: tuple[int, int] | None = None
        """Partition and byte at which the kernel placed it; None where that is left to the
        compiler."""
        self.role = "tile"
        """"tile"; "masked": a tile of which a mask left elements out; "input" (a kernel argument),
        "mutable" (one that may be written), "output", or "scattered": an output whose rows were
        chosen at run time; "constant"."""
        self.mark: Any = None
        """Where a walk over the records notes what it knows of this buffer. It means nothing before
        or after the walk."""

    @property
    def label(self) -> str:
        """The tensor's name: given, or the variable it was assigned to, or the line that made
        it."""
        return (
            self.name
            or source.assigned_name(self.code, self.lasti)
            or source.expression_label(self.code, self.lasti)
        )

    @property
    def nbytes(self) -> int:
        """Bytes on chip (of one block where there are block axes)."""
        return self.meta.sbuf_bytes + self.meta.psum_bytes

    @property
    def partition_bytes(self) -> int:
        """Bytes on chip of one partition."""
        return self.meta.sbuf_partition_bytes + self.meta.psum_partition_bytes

    @property
    def owned(self) -> bool:
        """Whether it is noted which scope wrote what."""
        return self.owner is not None or (self.cells is not None and self.cells.owner is not None)

    @property
    def unfollowed(self) -> bool:
        """Whether a write to the whole of it is all that need be known."""
        return self.cells is None and self.owner is None and self.placed is None

    def known(self) -> Cells:
        """`cells`, made where there are none."""
        if self.cells is None:
            written = self.state in (FULL, SHARED)
            self.cells = Cells(self.meta.shape, written, self.meta.itemsize)
            if self.owner is not None:
                self.cells.own()[...] = self.owner
                self.owner = None
        return self.cells

    def index(self, view: Any) -> Any:
        """The subscript for the arrays of `known()` of exactly the elements of a `view`. See
        `Cells.index`."""
        meta = view.meta
        if meta is self.meta:
            return ...
        cells = self.cells or self.known()
        if cells.item != meta.itemsize:
            return cells.index(*self.region(view))
        # the same tensor is made, and written part by part, in each iteration of a loop
        key = (self.meta, cells.grain, meta, view.off)
        found = _INDICES.get(key)
        if found is None:
            found = cells.index(view.off, meta.shape, meta.strides)
            if len(_INDICES) >= _MOST:
                _INDICES.clear()
            if type(found[0]) is not np.ndarray:  # places one by one: many
                _INDICES[self.meta, cells.grain, meta, view.off] = found  # blocks may be smaller
        return found

    def fill(
        self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int
    ) -> None:
        """Note that all elements of a region, of `item` bytes each, have been written."""
        cells = self.known()
        index = cells.index(*self._in_cells(offset, shape, strides, item))
        cells.written[index] = True

    def filled(self) -> None:
        """Note that all elements of the buffer have been written."""
        cells = self.cells
        if cells is None or cells.owner is None:
            self.cells = None
        else:
            cells.written[...] = True

    def flags(
        self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int
    ) -> np.ndarray:
        """The written-flags of a region with elements of `item` bytes, to read and write: one an
        element; or, on one more axis, one for each cell of an element, where cells are smaller."""
        region = self._in_cells(offset, shape, strides, item)
        return self.known().each(*region)

    def written(
        self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int
    ) -> np.ndarray:
        """Whether each element of a region has been written, as a whole."""
        flags = self.flags(offset, shape, strides, item)
        return np.logical_and.reduce(flags, axis=-1) if flags.ndim > len(shape) else flags

    def region(self, view: Any) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """Offset, shape and strides of a `view`, counted in cells of this buffer."""
        meta = view.meta
        return self._in_cells(view.off, meta.shape, meta.strides, meta.itemsize)

    def _in_cells(
        self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int
    ) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """A region of elements of `item` bytes in cells, which are as small as any view's elements
        have been."""
        cells = self.known()
        if item % cells.item:
            cells.finer(math.gcd(item, cells.item))
        ratio = item // cells.item
        if ratio == 1:
            return offset, shape, strides
        return offset * ratio, (*shape, ratio), (*(s * ratio for s in strides), 1)

    def touched(self, view: Any, every: bool = True) -> bool:
        """Whether all elements (or any) of a `view` of this buffer have been written since it was
        made."""
        if self.state in (FULL, SHARED):
            return True
        if self.cells is None:
            return False
        index = self.index(view)
        flags = self.cells.written[index]
        if flags.size == 1:
            return bool(flags.item())
        return bool(flags.all() if every else flags.any())
