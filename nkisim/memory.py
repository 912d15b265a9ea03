"""Buffers in HBM, SBUF and PSUM: what is allocated, what has been written, in which scope it may be used."""

from __future__ import annotations

from types import CodeType
from typing import Any

import numpy as np

from . import dtypes, source

HBM, SBUF, PSUM, CONST = "hbm", "sbuf", "psum", "const"
ON_CHIP = (SBUF, PSUM)

# What is known of a buffer's elements.
EMPTY, PARTIAL, FULL, ZERO = 0, 1, 2, 3
# ZERO: nl.zeros in PSUM. The first matmul of an accumulation overwrites instead of adding, so no instruction is
# spent on zeros unless something else touches the tile first.


class Meta:
    """Layout of a view, shared by all views that look alike; the identity is the key of the signature cache."""

    __slots__ = ("space", "shape", "strides", "dtype", "pdim", "pstart", "size", "partitions", "free", "itemsize",
                 "dense", "nbytes")

    def __init__(self, space: str, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, pdim: int,
                 pstart: int) -> None:
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
        """Elements a partition."""
        self.itemsize = dtype.itemsize
        self.nbytes = size * self.itemsize
        self.dense = strides == contiguous(shape)

    def describe(self) -> str:
        """"(128, 512) float32 in sbuf"."""
        return f"{self.shape} {dtypes.name(self.dtype)} in {self.space}"


_METAS: dict[tuple, Meta] = {}


def meta_of(space: str, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, pdim: int = 0,
            pstart: int = 0) -> Meta:
    """The one `Meta` of this layout."""
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

    __slots__ = ("closed", "parent", "loop")

    def __init__(self, parent: Scope | None, loop: Any = None) -> None:
        self.closed = False
        self.parent = parent
        self.loop = loop


class Info:
    """What outlives a buffer's data: who it was, how big, from which event to which it was in use."""

    __slots__ = ("id", "meta", "first", "last", "code", "lasti", "name", "blocks", "elided")

    def __init__(self, id: int, meta: Meta, first: int, code: CodeType | None, lasti: int, name: str | None,
                 blocks: int = 1) -> None:
        self.id = id
        self.meta = meta
        self.first = first
        self.last = first
        self.code = code
        self.lasti = lasti
        self.name = name
        self.blocks = blocks
        self.elided = False

    @property
    def label(self) -> str:
        """The tensor's name: given, or the variable it was assigned to, or what made it."""
        return self.name or source.assigned_name(self.code, self.lasti) or self._unassigned()

    def _unassigned(self) -> str:
        place = source.line_of(self.code, self.lasti)
        return f"the value made at line {place.line}" if place.line else "a tile"

    @property
    def partition_bytes(self) -> int:
        """Bytes a partition; of one block where the tensor has block axes, whose blocks need not live together."""
        return self.meta.free * self.meta.itemsize // self.blocks

    @property
    def nbytes(self) -> int:
        return self.meta.nbytes // self.blocks


class Buffer:
    """One allocation. `array` holds its values, row-major, in the storage dtype."""

    __slots__ = ("id", "info", "array", "state", "mask", "scope", "block", "tracked", "role", "program", "_raw")

    def __init__(self, info: Info, array: np.ndarray, state: int, scope: Scope, block: Any, program: Any) -> None:
        self.id = info.id
        self.info = info
        self.array = array
        self.state = state
        self.mask: np.ndarray | None = None
        """Which elements have been written, while `state` is PARTIAL."""
        self.scope = scope
        self.block = block
        """The source block (a branch, a Python loop) outside of which the tile may not be used, or None."""
        self.tracked = False
        """Whether every write is kept for `run.history(name)`."""
        self.role = "tile"
        """"tile", "input" (a kernel argument) or "output"."""
        self.program = program
        self._raw: np.ndarray | None = None

    @property
    def meta(self) -> Meta:
        return self.info.meta

    def strided(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        """A view of the values by element offset and strides."""
        if self._raw is None:
            self._raw = self.array.reshape(-1).view(np.uint8)
        item = self.array.itemsize
        return np.ndarray(shape, self.array.dtype, self._raw, offset * item, tuple(s * item for s in strides))

    def written(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        """A view of the written-flags, made on first need."""
        if self.mask is None:
            full = self.state in (FULL, ZERO)
            self.mask = np.full(self.array.shape, full, dtype=bool)
        return np.ndarray(shape, np.bool_, self.mask, offset, strides)
