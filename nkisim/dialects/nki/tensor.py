"""NkiTensor: what a kernel of this dialect holds, with its views and queries.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (NkiTensor),
nki/get-started/nki-language-guide.rst (Tensor Values, Tensor Indexing).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execution import running
from ...machine import dtypes
from ...machine.memory import HBM
from ...machine.running import dialect
from ...machine.shapes import ShapeOnly
from ...machine.values import Value
from ...rules import arguments, source
from ...rules.errors import broken
from ...tensors import patterns, reshaping, strided, subscripts
from ...tensors.beyond import BeyondView
from ...tensors.index import DynamicSlice
from ...tensors.rearrange import rearrange
from ...tensors.runtime import RuntimeView
from ...tensors.tensor import Tensor
from .objects import MemoryRegion, NKIObject, VirtualRegister
from .subscripts import RuntimeSlice, SubscriptedTensor
from .targets import needs_trn3

_new: Any = object.__new__


class NkiTensor(SubscriptedTensor, NKIObject):
    """A strided view of a memory, on chip with its partition axis first."""

    __slots__ = ()

    def __init__(self, buf: Any, array: Any, meta: Any, off: Any) -> None:
        kind = type(array)
        self.buf = buf
        self.held = array if kind is Value or kind is ShapeOnly else Value(array)
        self.meta = meta
        self.off = off
        self.runtime = None
        self.tensor_index = None

    def __bool__(self) -> bool:
        """True: `if tensor:` asks whether an optional argument was given. The values are not
        known while the kernel is built, and have no say: a `while` on them would never end."""
        if source.decides_a_loop():
            broken(
                "truth-value",
                f"'{self.label}' is the condition of a loop, which would never end: what a tensor "
                "holds is not known while the kernel is built",
                tensor=self.label,
                got=self.meta.describe(),
                remedy="Load the value into a register (nisa.register_load) and loop with "
                "nl.while_loop.",
            )
        return True

    # -- queries -----------------------------------------------------------------------------------
    @property
    def strides(self) -> tuple[int, ...]:
        """In elements."""
        return self.meta.strides

    @property
    def offset(self) -> int:
        """Of the first element, counted in elements from the start of the memory."""
        return self.off

    @property
    def name(self) -> str:
        """The name given where the tensor was made; for an input, the parameter's."""
        return self.buf.name or ""

    @property
    def buffer(self) -> Any:
        """The memory region: nl.sbuf, nl.psum, nl.private_hbm or nl.shared_hbm."""
        if self.meta.space != HBM:
            return MemoryRegion(self.meta.space)
        if self.buf.role in ("input", "mutable"):  # shared where there are two cores to share them
            execution = running()
            return (
                MemoryRegion.shared_hbm
                if execution is not None and execution.grid == (2,)
                else MemoryRegion.private_hbm
            )
        return MemoryRegion.private_hbm if self.buf.role == "tile" else MemoryRegion.shared_hbm

    def is_contiguous(self) -> bool:
        """Whether the view is dense and row-major; on chip, within each partition."""
        return strided.is_contiguous(self)

    def get_pattern(self) -> list[list[int]]:
        """The view as [[stride, count], ...], as `ap` takes it."""
        return [[s, n] for s, n in zip(self.meta.strides, self.meta.shape)]

    def __setitem__(self, key: Any, value: Any) -> None:
        dialect().assign(self[key], value)

    # -- views -------------------------------------------------------------------------------------
    def slice(self, dim: int, start: int, end: int, step: int = 1) -> Any:
        """Elements `start` to `end` (exclusive) of axis `dim`, in steps of `step`."""
        return strided.slice_axis(self, dim, start, end, step)

    def select(self, dim: int, index: Any) -> Any:
        """One element of axis `dim`, which is left out: number `index`, or a run-time index in a
        tile or register."""
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            key = [slice(None)] * self.ndim
            dim = strided.axis_of(self, dim, "select")
            key[dim] = int(index)  # type: ignore[call-overload]
            return self[tuple(key)]
        if not isinstance(index, (Tensor, VirtualRegister)):
            self._no_subscript(index)
        dim = strided.axis_of(self, dim, "select")
        self._one_index(dim, self.meta.space != HBM)
        runtime = RuntimeView(index, None, self.meta.strides[dim], self.shape[dim], dim, self)
        shape = self.shape[:dim] + self.shape[dim + 1 :] or (1,)
        strides = self.strides[:dim] + self.strides[dim + 1 :] or (1,)
        if self.meta.space != HBM and len(shape) < 2:
            shape, strides = shape + (1,), strides + (1,)
        made = strided.remake(self, shape, strides, self.off, self.meta.pstart)
        made.runtime = runtime  # type: ignore[attr-defined]
        return made

    def vector_select(self, dim: int, vector_offset: Any) -> Any:
        """Rows picked by the tile `vector_offset` (partitions, 1): partition p reads row
        vector_offset[p]."""
        if strided.axis_of(self, dim, "vector_select") != 0:
            broken(
                "indirect-view",
                f"vector_select: axis {dim} of '{self.label}'",
                tensor=self.label,
                limit="axis 0",
            )
        rows = vector_offset.shape[0] if isinstance(vector_offset, Tensor) else 1
        return self._by_vector(
            vector_offset,
            (rows,) + self.shape[1:],
            self.strides,
            self.off,
            0,
        )

    def _by_vector(
        self, index: Any, shape: tuple[int, ...], strides: tuple[int, ...], off: int, dim: int
    ) -> Any:
        if not isinstance(index, Tensor) or index.meta.space != "sbuf":
            broken(
                "memory",
                f"the run-time indices of '{self.label}' are not in SBUF",
                tensor=self.label,
                got=index.meta.describe() if isinstance(index, Tensor) else repr(index)[:80],
                remedy="nl.load the indices into an SBUF tile (partitions, 1).",
            )
        if not dtypes.is_integer(index.dtype):
            broken(
                "dtype",
                f"'{index.label}' is used as indices but holds {dtypes.name(index.dtype)}",
                tensor=index.label,
                limit="integers",
                remedy="Load the indices as nl.int32 or nl.uint32.",
            )
        if self.meta.space != HBM:
            broken(
                "indirect-view",
                f"'{self.label}' lies in {self.meta.space}: a vector of run-time indices picks "
                "rows of HBM tensors",
                tensor=self.label,
                got=self.meta.describe(),
                remedy="On chip use nisa.nc_n_gather, nisa.local_gather or .indirect(index).",
            )
        if self.is_indirect():
            self._one_index(1, False)
        if dim != 0:
            broken(
                "indirect-view",
                f"vector_offset on axis {dim} of '{self.label}'",
                tensor=self.label,
                limit="axis 0",
            )
        made = strided.remake(self, shape, (0,) + strides[1:], off, 0)
        made.runtime = RuntimeView(None, index, self.meta.strides[0], self.shape[0], 0, self)  # type: ignore[attr-defined]
        return made

    def permute(self, dims: tuple[int, ...]) -> Any:
        """The axes in the order `dims`; on chip axis 0 stays first."""
        return strided.permute(self, dims)

    def broadcast(self, dim: int, size: int) -> Any:
        """Axis `dim`, of one element, repeated `size` times; not the partition axis."""
        return strided.broadcast(self, dim, size)

    def expand_dim(self, dim: int) -> Any:
        """A new axis of one element at `dim`; on chip not at 0."""
        return strided.expand(self, dim)

    def expand_dims(self, axis: int) -> Any:
        place = arguments.integer(axis, "expand_dims", "axis")
        return strided.expand(self, place + self.ndim + 1 if place < 0 else place)

    def squeeze_dim(self, dim: int) -> Any:
        """Axis `dim`, of one element, left out."""
        return strided.squeeze_axis(self, dim)

    def reshape_dim(self, dim: int, shape: tuple[int, ...]) -> Any:
        """Axis `dim` split into axes of sizes `shape` (one may be -1)."""
        return reshaping.split(self, dim, shape)

    def flatten_dims(self, start_dim: int, end_dim: int) -> Any:
        """Axes `start_dim` to `end_dim` (inclusive), contiguous in memory, as one."""
        return reshaping.merge(self, start_dim, end_dim)

    def reshape(self, *sizes: Any, shape: Any = None) -> Any:
        """The same elements under another shape (or sizes); on chip axis 0 stays as it is."""
        return reshaping.reshape(self, subscripts.sizes(self, sizes, shape))

    def rearrange(
        self,
        src_pattern: tuple[Any, ...],
        dst_pattern: tuple[Any, ...],
        fixed_sizes: dict[str, int] | None = None,
    ) -> Any:
        """Axes split, reordered and merged by name: t.rearrange(('b', ('h', 'w')), ('b', 'w', 'h'),
        {'h': 4})."""
        return rearrange(self, src_pattern, dst_pattern, fixed_sizes)

    def ap(
        self,
        pattern: Any,
        offset: int | None = None,
        scalar_offset: Any = None,
        vector_offset: Any = None,
        indirect_dim: int = 0,
        dtype: Any = None,
    ) -> Any:
        """An explicit pattern [[stride, count], ...] over the tensor's memory, from the view's
        offset plus `offset`.

        `scalar_offset` (a register, or a tile of one element) or `vector_offset` (an SBUF tile of
        row numbers) adds a run-time index on axis `indirect_dim` of this tensor. A pattern that
        reaches beyond the tensor is refused where it is used.
        """
        wanted = None if dtype is None else dtypes.wanted(dtype, "ap")
        if scalar_offset is not None and vector_offset is not None:
            broken(
                "indirect-view",
                f"ap: '{self.label}' gets both scalar_offset and vector_offset",
                tensor=self.label,
                limit="one of them",
            )
        indirect = scalar_offset is not None or vector_offset is not None
        if indirect and self.is_indirect():
            self._one_index(1, False)
        made: Any = patterns.access(self, pattern, offset, wanted, vector_offset is not None)
        if isinstance(made, BeyondView):
            return made
        made.runtime = None
        if not indirect:
            return made
        dim = strided.axis_of(self, indirect_dim, "ap")
        if vector_offset is not None:
            return made._by_vector_of(self, vector_offset, dim)
        if not isinstance(scalar_offset, (Tensor, VirtualRegister)):
            broken(
                "argument",
                f"ap: scalar_offset of '{self.label}' is {type(scalar_offset).__name__}",
                tensor=self.label,
                got=repr(scalar_offset)[:80],
                limit="a tile of one element, or a register",
                remedy="A number known when the kernel is built goes into offset=.",
            )
        if self.meta.space != HBM and dim == 0:
            self._one_index(0, True)
        scale = self.meta.strides[dim] * self.meta.itemsize // made.meta.itemsize
        made.runtime = RuntimeView(scalar_offset, None, scale, self.shape[dim], dim, self)
        return made

    def _by_vector_of(self, of: NkiTensor, index: Any, dim: int) -> Any:
        """This access pattern with its first axis walked by the run-time rows `index` of the tensor
        `of`."""
        made = of._by_vector(index, of.shape, of.strides, of.off, dim)
        scale = of.meta.strides[0] * of.meta.itemsize // self.meta.itemsize
        extent = made.runtime.extent
        view = strided.remake(self, self.shape, (0,) + self.strides[1:], self.off, 0)
        view.runtime = RuntimeView(None, index, scale, extent, 0, of)  # type: ignore[attr-defined]
        return view

    def view(self, dtype: Any) -> Any:
        """The same bytes read as `dtype`; the last axis grows or shrinks with the ratio of the
        sizes."""
        return reshaping.reinterpret(self, dtypes.wanted(dtype, "view"))

    reinterpret_cast = view

    def indirect(self, index: Any, num_elem: int | None = None) -> Any:
        """Columns picked per group of partitions by a snake of offsets in `index` (P, K); trn3
        only. Shape (P, num_elem)."""
        needs_trn3("NkiTensor.indirect")
        if (
            not isinstance(index, Tensor)
            or index.meta.space != "sbuf"
            or index.shape[0] != self.shape[0]
        ):
            broken(
                "argument",
                f"indirect: the index of '{self.label}' is not an SBUF tile over its partitions",
                tensor=self.label,
                got=index.meta.describe() if isinstance(index, Tensor) else repr(index)[:80],
                limit=f"({self.shape[0]}, K) in sbuf",
            )
        if self.is_indirect():
            self._one_index(1, False)
        # a list of offsets lies in 16 partitions, those of one group; each group has its own
        if num_elem is None:
            count = min(index.size, 16 * index.meta.free)
        else:
            count = arguments.integer(num_elem, "indirect", "num_elem", least=1)
        made = strided.remake(
            self, (self.shape[0], count), (self.strides[0], 0), self.off, self.meta.pstart
        )
        made.tensor_index = (self, index)  # type: ignore[attr-defined]
        return made


def ds(start: Any, size: int) -> Any:
    """`size` elements from `start`, a number or a register: t[:, nl.ds(i * 512, 512)]."""
    if isinstance(start, (VirtualRegister, Tensor)):
        return RuntimeSlice(start, size)
    return DynamicSlice(start, size)
