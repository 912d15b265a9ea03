"""Views on buffers: slices, index grids, reshapes; and elements picked by explicit indices."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from ..machine import dtypes
from ..machine import layout as layouts
from ..machine.memory import HBM, ON_CHIP, Meta, contiguous, meta_of
from ..machine.shapes import ShapeOnly
from ..rules import arguments
from ..rules.errors import broken
from . import gridded, subscripts
from .index import DynamicSlice
from .masks import Mask
from .operand_mask import MaskedOperand
from .picked import PickedElements
from .stored import Stored, part

_new: Any = object.__new__
_lowest, _highest = np.minimum.reduce, np.maximum.reduce


class Tensor(Stored):
    """A strided view of a buffer. The kernel holds these; instructions read and write them."""

    __slots__ = ()

    def assert_shape(self, shape: tuple[int, ...]) -> Tensor:
        wanted = arguments.sizes(shape, "assert_shape")
        if wanted != self.meta.shape:
            broken(
                "annotation",
                f"'{self.label}' does not have the asserted shape",
                tensor=self.label,
                got=self.meta.shape,
                limit=wanted,
            )
        return self

    # -- views -------------------------------------------------------------------------------------
    def __getitem__(self, key: Any) -> Tensor:  # noqa: C901
        # inline, because kernels take a view for every tile: a call for each element of the
        # subscript would be a sixth of the time of two slices (benchmarks/decode_speed.py)
        if key is Ellipsis:
            return self
        if type(key) is not tuple:
            key = (key,)
        meta = self.meta
        shape = meta.shape
        strides = meta.strides
        if len(key) > len(shape):
            key = subscripts.spelled_out(self, key)
        axis = meta.axis
        pstart = meta.pstart
        off = self.off
        cut: list[Any] = []  # the subscript for NumPy
        form: list[Any] = []  # the same without offsets: see layout.Form
        dim = 0
        for e, size, stride in zip(key, shape, strides):
            kind = type(e)
            if kind is DynamicSlice:
                start = e.start
                n = e.size
                stop = start + n
                if start < 0 or stop > size or n < 1:
                    return self._beyond(key, dim, start, stop, None)
                cut.append(slice(start, stop))
                form.append(n)
            elif kind is slice:
                start, stop, step = e.start, e.stop, e.step
                if start is None:
                    if stop is None and step is None:
                        cut.append(e)
                        form.append(size)
                        dim += 1
                        continue
                    start = 0
                if stop is None:
                    stop = size
                if (
                    type(start) is not int
                    or type(stop) is not int
                    or (type(step) is not int and step is not None)
                ):
                    start, stop, step = subscripts.integers(self, key, start, stop, step)
                    e = slice(start, stop, step)
                if start < 0 or stop > size or start >= stop or (step is not None and step < 1):
                    return self._beyond(key, dim, start, stop, step)
                n = stop - start
                cut.append(e)
                form.append(n if step is None or step == 1 else ((n + step - 1) // step, step))
            elif kind is int or (
                isinstance(e, (int, np.integer)) and not isinstance(e, (bool, np.bool_))
            ):
                start = e if kind is int else int(e)
                if start < 0 or start >= size:
                    start = subscripts.bad_int(self, dim, start)
                if dim == axis:
                    cut.append(slice(start, start + 1))
                    form.append(1)
                else:
                    cut.append(start)
                    form.append(0)
            elif e is Ellipsis:
                return self[subscripts.spelled_out(self, key)]
            else:
                return self._advanced(key)
            if start:
                off += start * stride
                if dim == axis:
                    pstart += start
            dim += 1
        form.append(pstart)
        shape_key = tuple(form)
        try:
            layout, kept = meta.views[shape_key]
        except KeyError:
            layout, kept = self._subscripted(shape_key, key)
        if kept:
            for dim in kept:
                cut[dim] = slice(cut[dim], cut[dim] + 1)
        view: Tensor = _new(Tensor)
        view.buf = self.buf
        view.held = part(self, layout, tuple(cut))
        view.meta = layout
        view.off = off
        return view

    def _subscripted(
        self, form: tuple[Any, ...], key: tuple[Any, ...]
    ) -> tuple[Meta, tuple[int, ...]]:
        """The layout of a view that is seen for the first time."""
        meta = self.meta
        known = layouts.subscripted(meta, form)
        layout = known[0]
        if (
            meta.axis >= 0
            and layout.partitions > 1
            and layout.strides[layout.pdim] != meta.strides[meta.axis]
        ):
            broken(
                "partition-stride",
                f"'{self.label}' is sliced with a step along its partition axis",
                tensor=self.label,
                got=repr(key),
                remedy="Step along a free axis; partitions are consecutive.",
            )
            return known  # a warning, and again the next time
        meta.views[form] = known
        return known

    def _beyond(
        self, key: tuple[Any, ...], dim: int, start: int, stop: int, step: int | None
    ) -> Tensor:
        """A subscript whose slice start:stop:step of axis `dim` is not inside the tensor. One that
        only ends beyond it is told when it is read or written: a mask may leave out what is not
        there."""
        if not subscripts.overhangs(start, stop, step) or self.meta.pdim:
            subscripts.bad_slice(self, dim, start, stop, step)
            n = self.meta.shape[dim]  # a negative end that is only warned about counts from the end
            whole = list(subscripts.spelled_out(self, key))
            whole[dim] = slice(start + n * (start < 0), stop + n * (stop < 0), step)
            return self[tuple(whole)]
        indices, grid = gridded.explicit(self, subscripts.spelled_out(self, key))
        parts = [part for index in indices for part in (None, np.asarray(index))]
        picked = IndexedTensor(self, indices, grid, None, ("indices", self, *parts))
        picked.beyond = (self, dim, start, stop, step)
        return picked

    def _advanced(self, key: tuple[Any, ...]) -> Tensor:
        """A subscript that is not made of slices and numbers alone."""
        if any(type(e) is range for e in key):
            return self[
                tuple(slice(e.start, e.stop, e.step) if type(e) is range else e for e in key)
            ]
        if len(key) == 1 and isinstance(key[0], tuple):
            return self[tuple(key[0])]
        if len(key) == 1 and isinstance(key[0], Mask) and self.meta.space in ON_CHIP:
            return cast(Tensor, MaskedOperand(self, key[0]))  # for a matmul, which looks
        form = gridded.form_of_grid(self, key)
        seen = None if form is None else gridded.seen(self, key, form)
        read = gridded.advanced(self, key, Tensor, form) if seen is None else seen
        if isinstance(read, subscripts.Picked):
            return IndexedTensor(
                self, read.indices, read.grid, read.tiles, ("indices", self, *read.recipe)
            )
        return Tensor(
            self.buf, self.strided_view(read.off, read.meta.shape, read.meta.strides), *read
        )

    def reshape(self, *sizes: Any, shape: Any = None) -> Tensor:
        """The same elements under another shape (or sizes); on chip, the partition axis stays the
        first."""
        wanted = subscripts.sizes(self, sizes, shape)
        known = math.prod(n for n in wanted if n != -1)
        if wanted.count(-1) == 1 and known > 0 and self.size % known == 0:
            wanted = tuple(self.size // known if n == -1 else n for n in wanted)
            known = self.size
        if known != self.size or min(wanted, default=1) < 1:
            broken(
                "shape-mismatch",
                f"'{self.label}' of {self.size} elements cannot take shape {wanted}",
                tensor=self.label,
                got=self.shape,
                limit=wanted,
            )
        pdim = 0
        if self.meta.space != HBM:
            pdim = self.meta.pdim
            before = wanted[:pdim]
            if (
                len(wanted) <= pdim
                or before != self.shape[:pdim]
                or wanted[pdim] != self.shape[pdim]
            ):
                broken(
                    "partition-axis",
                    f"reshape would move data of '{self.label}' across partitions",
                    tensor=self.label,
                    got=f"{self.shape} -> {wanted}",
                    remedy="Keep the partition axis; to move data across partitions use "
                    "nl.transpose or a DMA.",
                )
        strides = layouts.reshaped(self.shape, self.meta.strides, wanted)
        if strides is None:
            broken(
                "shape-mismatch",
                f"the view of '{self.label}' is not contiguous and cannot be reshaped to {wanted}",
                tensor=self.label,
                got=f"{self.shape} with strides {self.meta.strides}",
                remedy="Reshape the whole tensor before slicing it.",
            )
            raise AssertionError
        layout = meta_of(self.meta.space, wanted, strides, self.dtype, pdim, self.meta.pstart)
        return Tensor(self.buf, self.array.reshape(wanted), layout, self.off)

    def unblocked(self) -> Tensor:
        """The view without the block axes of one element that stand before its partition axis."""
        meta = self.meta
        axis = meta.pdim
        if not axis or meta.space == HBM or any(n != 1 for n in meta.shape[:axis]):
            return self
        layout = meta_of(
            meta.space, meta.shape[axis:], meta.strides[axis:], meta.dtype, 0, meta.pstart
        )
        return Tensor(
            self.buf, self._as(layout, lambda a: a.reshape(layout.shape)), layout, self.off
        )

    def expand_dims(self, axis: int) -> Tensor:
        """A view with an axis of one element at `axis`, which may not be the partition axis."""
        axis = arguments.integer(axis, "expand_dims", "axis")
        if not -self.ndim - 1 <= axis <= self.ndim:
            broken(
                "argument",
                f"expand_dims: '{self.label}' has no place {axis} for an axis",
                tensor=self.label,
                got=f"axis {axis}",
                limit=f"0 to {self.ndim}",
            )
        axis = axis + self.ndim + 1 if axis < 0 else axis
        if axis == 0 and self.meta.space != HBM:
            broken(
                "partition-axis",
                f"a new axis cannot come before the partition axis of '{self.label}'",
                tensor=self.label,
                got=f"axis {axis}",
                limit="1 or more",
            )
        return self.reshape(self.shape[:axis] + (1,) + self.shape[axis:])

    def view(self, dtype: Any) -> Tensor:
        """The same bytes read as another dtype of the same width, or of another width along the
        last axis."""
        wanted = dtypes.wanted(dtype, "view")
        known = layouts.retyped(self.meta, self.off, wanted)
        stored = self.array.dtype.itemsize == self.meta.itemsize
        if known is None or not stored:
            broken(
                "dtype",
                f"'{self.label}' cannot be viewed as {dtypes.name(wanted)}",
                tensor=self.label,
                got=f"{self.meta.describe()} with strides {self.meta.strides}",
                remedy="The last axis must be contiguous "
                "and hold a whole number of the new "
                "elements."
                if stored
                else "Values are stored as float32 while "
                "precise_fp is off, so that their bytes cannot be read as another type.",
            )
            raise AssertionError
        layout, off = known
        return Tensor(
            self.buf, self._as(layout, lambda a: a.view(dtypes.storage(wanted))), layout, off
        )

    def repeated(self, shape: tuple[int, ...]) -> Tensor:
        """A view with free axes of one element repeated to `shape`: stride 0, no instruction."""
        layout = layouts.broadcast(self.meta, shape)
        return Tensor(
            self.buf, self._as(layout, lambda a: np.broadcast_to(a, shape)), layout, self.off
        )

    def permuted(self, order: tuple[int, ...]) -> Tensor:
        """A view with the axes in another order; the partition axis must stay where it is."""
        layout = layouts.permuted(self.meta, order)
        return Tensor(self.buf, self._as(layout, lambda a: a.transpose(order)), layout, self.off)


class IndexedTensor(PickedElements, Tensor):
    """Elements picked by explicit indices: run-time rows, non-affine grids, or grids that reach out
    of bounds and need a mask. Bounds are checked when an instruction uses it, under that
    instruction's mask."""

    __slots__ = ("base", "beyond", "indices", "recipe", "rows", "skip", "tiles")

    def __init__(
        self,
        base: Tensor,
        indices: tuple[Any, ...],
        grid: tuple[int, ...],
        tiles: tuple[Any, ...] | None,
        recipe: tuple[Any, ...] = (),
    ) -> None:
        # a separate layout, shared with nothing: the signature cache never knows it
        layout = Meta(base.meta.space, grid, contiguous(grid), base.meta.dtype, 0, 0)
        super().__init__(base.buf, base.array, layout, base.off)
        self.base = base.meta
        self.indices = indices
        self.tiles = tiles
        self.recipe = recipe
        """How the indices come about, for `execution.lowering`: a name, tensors, numbers."""
        self.skip = False
        self.rows = None
        self.beyond = None

    def inside(self) -> np.ndarray:
        """Which positions have all their indices inside the tensor, shape `shape`: the others are
        skipped."""
        self.skip = True
        good = np.ones((1,) * len(self.shape), dtype=bool)
        for n, index in zip(self.base.shape, self.indices):
            if type(index) is ShapeOnly:
                continue
            few = np.asarray(index)
            if not few.size or _lowest(few, None) < 0 or _highest(few, None) >= n:
                good = good & (few >= 0) & (few < n)
        return np.broadcast_to(good, self.shape)

    def __getitem__(self, key: Any) -> Tensor:
        if key is Ellipsis:
            return self
        return self._not_again("subscripted")

    def reshape(self, *sizes: Any, shape: Any = None) -> Tensor:
        return self._not_again("reshaped")

    def view(self, dtype: Any) -> Tensor:
        return self._not_again("viewed as another type")

    def _not_again(self, what: str) -> Tensor:
        self.refuse_slice()
        broken(
            "indirect-index",
            f"elements of '{self.label}' that explicit indices picked cannot be {what}",
            tensor=self.label,
            got=f"a pick of shape {self.shape}",
            remedy="Copy them first: picked = nl.copy(t[i_p, i_f]) on chip, nl.load(t[i_p, "
            "i_f]) from HBM.",
        )
        raise AssertionError
