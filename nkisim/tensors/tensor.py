"""Views on buffers: slices, index grids, reshapes; and the operators that tiles have in the current
dialect."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine import dtypes, memory
from ..machine import layout as layouts
from ..machine.dtypes import FLOAT32
from ..machine.memory import FULL, HBM, Buffer, Meta, contiguous, meta_of
from ..machine.running import dialect, running
from ..machine.shapes import ShapeOnly, shape_only
from ..rules import arguments
from ..rules.errors import broken
from . import refusals, subscripts
from .index import DynamicSlice, box_of_kept

_new: Any = object.__new__
_lowest, _highest = np.minimum.reduce, np.maximum.reduce


class Tensor:
    """A strided view of a buffer. The kernel holds these; instructions read and write them."""

    __slots__ = ("array", "buf", "meta", "off")

    def __init__(self, buf: Buffer, array: Any, meta: Meta, off: int) -> None:
        self.buf = buf
        self.array = array
        """A NumPy view of the values, which it keeps alive; a `ShapeOnly` where a kernel runs on
        shapes alone."""
        self.meta = meta
        self.off = off
        """Element offset of the first element in the buffer."""

    if TYPE_CHECKING:  # the operators are made at the end of this file, all in one way

        def __add__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...

    def strided_view(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """The buffer's values seen by element offset (from its start) and strides."""
        whole: Any = self.array
        if type(whole) is ShapeOnly:
            return shape_only(shape, whole.dtype)
        own = self.buf.meta
        # the storage of every float where none is rounded
        wide = whole.dtype == FLOAT32 and dtypes.is_float(own.dtype)
        size = own.size * (4 if wide else own.itemsize)
        while (whole.nbytes < size or not whole.flags.c_contiguous) and isinstance(
            whole.base, np.ndarray
        ):
            whole = whole.base
        item = self.array.itemsize
        raw = whole.view(np.uint8).reshape(-1) if whole.dtype != np.uint8 else whole.reshape(-1)
        return np.ndarray(
            shape, self.array.dtype, raw, offset * item, tuple(s * item for s in strides)
        )

    # -- what a kernel may ask ---------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        return self.meta.shape

    @property
    def dtype(self) -> np.dtype:
        return self.meta.dtype

    @property
    def ndim(self) -> int:
        return len(self.meta.shape)

    @property
    def itemsize(self) -> int:
        return self.meta.itemsize

    @property
    def size(self) -> int:
        return self.meta.size

    @property
    def buffer(self) -> str:
        """The memory: "hbm", "sbuf" or "psum"."""
        return self.meta.space

    @property
    def label(self) -> str:
        """The tensor's name for messages."""
        return self.buf.label

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
        array = self.array
        view: Tensor = _new(Tensor)
        view.buf = self.buf
        view.array = (
            shape_only(layout.shape, array.dtype) if type(array) is ShapeOnly else array[tuple(cut)]
        )
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
        indices, grid = subscripts.explicit(self, subscripts.spelled_out(self, key))
        picked = IndexedTensor(self, indices, grid, None)
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
        read = subscripts.advanced(self, key, Tensor)
        if isinstance(read, subscripts.Picked):
            return IndexedTensor(self, *read[:3], ("indices", self, *read.recipe))
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

    def _as(self, layout: Meta, of_array: Any) -> Any:
        """The array of a view with this layout, made by `of_array` where there are values."""
        if type(self.array) is ShapeOnly:
            return shape_only(
                layout.shape,
                dtypes.storage(layout.dtype) if layout.dtype != self.dtype else self.array.dtype,
            )
        return of_array(self.array)

    # -- computing, through the dialect in force ---------------------------------------------------
    def __setitem__(self, key: Any, value: Any) -> None:
        kernel = running()
        operators = dialect() if kernel is None else kernel.dialect  # spares a call
        operators.assign(self if key is Ellipsis else self[key], value)

    def broadcast_to(self, shape: Any) -> Tensor:
        found: Tensor = dialect().broadcast_to(self, arguments.sizes(shape, "broadcast_to"))
        return found

    def astype(self, dtype: Any) -> Tensor:
        found: Tensor = dialect().astype(self, dtype)
        return found

    # -- refusals ----------------------------------------------------------------------------------
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if (
            method == "__call__"
            and len(inputs) == 2
            and not kwargs
            and (
                isinstance(inputs[0], np.generic)
                or (isinstance(inputs[0], np.ndarray) and not inputs[0].ndim)
            )
        ):
            reflected = getattr(self, _REFLECTED.get(ufunc.__name__, ""), None)
            # np.float32(2) * tile: NumPy's scalar asks first; the tile's operator answers
            if reflected is not None:
                return reflected(inputs[0])
        return refusals.refuse_numpy(ufunc.__name__, self)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return refusals.refuse_numpy(func.__name__, self)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return refusals.refuse_numpy("array", self)

    def __float__(self) -> float:
        refusals.refuse_numpy("float", self)
        return 0.0

    __int__ = __index__ = __float__

    def __bool__(self) -> bool:
        broken(
            "truth-value",
            f"the truth value of '{self.label}' is asked for while the kernel is built",
            tensor=self.label,
            got=self.meta.describe(),
            remedy="Use nl.where or a mask; to ask whether an argument was given, write 'is "
            "not None'.",
        )
        return False

    def __len__(self) -> int:
        return self.meta.shape[0]

    def __iter__(self) -> Any:
        broken(
            "argument",
            f"'{self.label}' cannot be iterated over",
            tensor=self.label,
            remedy="Loop over tile indices with nl.affine_range and slice the tensor.",
        )

    # No __getattr__: CPython 3.11 reads the attributes of a class that has one four times as
    # slowly, and an instruction reads dozens. `refusals.no_attribute` tells of those that are not
    # there.

    def __repr__(self) -> str:
        return f"<{self.label}: {self.meta.describe()}>"

    __hash__ = object.__hash__


_REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "true_divide": "__rtruediv__",
    "power": "__rpow__",
    "less": "__gt__",
    "greater": "__lt__",
    "less_equal": "__ge__",
    "greater_equal": "__le__",
    "equal": "__eq__",
    "not_equal": "__ne__",
}


def _install_operators() -> None:
    names = {
        "add": "add",
        "sub": "subtract",
        "mul": "multiply",
        "truediv": "divide",
        "pow": "power",
        "and": "bitwise_and",
        "or": "bitwise_or",
        "xor": "bitwise_xor",
        "lshift": "left_shift",
        "rshift": "right_shift",
        "mod": "mod",
        "matmul": "matmul",
        "floordiv": "floor_divide",
    }

    def binary(op: str) -> Any:
        return lambda self, other: dialect().operator(op, self, other)

    def reflected(op: str) -> Any:
        return lambda self, other: dialect().operator(op, other, self)

    def inplace(op: str) -> Any:
        return lambda self, other: dialect().inplace(op, self, other)

    def unary(op: str) -> Any:
        return lambda self: dialect().unary(op, self)

    for short, op in names.items():
        setattr(Tensor, f"__{short}__", binary(op))
        setattr(Tensor, f"__r{short}__", reflected(op))
        setattr(Tensor, f"__i{short}__", inplace(op))
    for short, op in {
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
        "eq": "equal",
        "ne": "not_equal",
    }.items():
        setattr(Tensor, f"__{short}__", binary(op))
    for short, op in {
        "neg": "negative",
        "abs": "abs",
        "invert": "invert",
        "pos": "positive",
    }.items():
        setattr(Tensor, f"__{short}__", unary(op))


_install_operators()


class IndexedTensor(Tensor):
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
        # a layout of its own, shared with nothing: the signature cache never knows it
        layout = Meta(base.meta.space, grid, contiguous(grid), base.meta.dtype, 0, 0)
        super().__init__(base.buf, base.array, layout, base.off)
        self.base = base.meta
        """The layout of what is picked from."""
        self.indices = indices
        """An integer or an array of integers for each axis; a `ShapeOnly` where run-time values are
        not computed."""
        self.tiles = tiles
        """The index tiles, where the indices are run-time values; None for static grids."""
        self.recipe = recipe
        """How the indices come about, for `execution.lowering`: a name, tensors, numbers."""
        self.skip = False
        """Whether elements out of bounds are left out."""
        self.rows: tuple[np.ndarray, int] | None = None
        """Where a vector of run-time indices picks rows of flat memory: the row of each first place
        of the grid, and how many rows there are."""
        self.beyond: tuple[Any, ...] | None = None
        """Of a slice that ends beyond the tensor: the tensor, the axis, start, stop and step."""

    @property
    def unknown(self) -> bool:
        """Whether the indices are run-time values in a run without values: which elements it picks
        is not known."""
        return self.tiles is not None and type(self.array) is ShapeOnly

    def _check(self, where: np.ndarray | None) -> list[Any]:
        """The indices of each axis over the grid, bounds checked where `where` holds; None for
        run-time indices of a run without values."""
        picked: list[Any] = []
        for dim, index in enumerate(self.indices):
            if type(index) is ShapeOnly:
                picked.append(None)
                continue
            full = np.broadcast_to(index, self.shape)
            n = self.base.shape[dim]
            few = np.asarray(index)  # before it is repeated over the grid
            if few.size and _lowest(few, None) >= 0 and _highest(few, None) < n:
                picked.append(full)
                continue
            bad = (full < 0) | (full >= n)
            if where is not None:
                bad = bad & where
            if bad.any() and self.rows is not None:
                self._no_such_row(full, bad, n)
            if bad.any():
                self.refuse_slice()
                first = int(full[bad][0])
                # of an access pattern over flat memory the offset is told, as the official
                # simulator does
                where_to = f"with size {n}" if len(self.base.shape) == 1 else f"of '{self.label}'"
                broken(
                    "out-of-bounds",
                    f"index {first} is out of bounds for axis {dim} {where_to}",
                    tensor=self.label,
                    got=f"{int(full.min())}..{int(full.max())}",
                    limit=f"0..{n - 1}",
                    remedy="The index is data: let entries that stand for nothing point at an "
                    "element that is there, and "
                    "mask what it brings."
                    if self.tiles
                    else "Pass mask= to leave out what lies beyond the tensor, e.g. "
                    "mask=(i_f < n).",
                )
            picked.append(np.clip(full, 0, n - 1))
        return picked

    def refuse_slice(self) -> None:
        """Refuse a slice that ends beyond the tensor; nothing for other picks."""
        if self.beyond is not None:
            subscripts.bad_slice(*self.beyond)

    def _no_such_row(self, full: np.ndarray, bad: np.ndarray, total: int) -> None:
        """Refuse a run-time row that the tensor does not have; `full`: offsets in its memory."""
        assert self.rows is not None
        rows, extent = self.rows
        row, offset = int(rows[np.argwhere(bad)[0][0]]), int(full[bad][0])
        broken(
            "out-of-bounds",
            f"index {row} is out of bounds for axis 0 of '{self.label}', which has {extent} rows",
            tensor=self.label,
            # of the flat memory too, as the official simulator tells it
            got=f"row {row}; index {offset} is out of bounds for axis 0 with size {total}",
            limit=f"0..{extent - 1}",
            remedy="The index is data: let entries that stand for nothing point at a row that is "
            "there; or leave such rows out with oob_mode=nisa.oob_mode.skip, where a DMA has it.",
        )

    def places(self) -> np.ndarray | None:
        """Where in the buffer the elements lie, shape `shape`, those out of bounds at the edge;
        None in a run without values."""
        if any(type(index) is ShapeOnly for index in self.indices):
            return None
        total = np.full(self.shape, self.off, dtype=np.int64)
        for n, step, index in zip(self.base.shape, self.base.strides, self.indices):
            total += np.clip(index, 0, n - 1) * step
        return total

    def inside(self) -> np.ndarray:
        """Which positions have all their indices inside the tensor, shape `shape`: the others are
        skipped."""
        self.skip = True
        good = np.ones(self.shape, dtype=bool)
        for n, index in zip(self.base.shape, self.indices):
            if type(index) is not ShapeOnly:
                good &= (index >= 0) & (index < n)
        return good

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

    def gather(self, where: np.ndarray | None) -> Any:
        """The values, shape `shape`; anything where `where` is False."""
        picked = self._check(where)
        if type(self.array) is ShapeOnly:
            return shape_only(self.shape, self.array.dtype)
        return self.array[tuple(picked)]

    def written_flags(self, where: np.ndarray | None) -> np.ndarray:
        """Whether each picked element has been written."""
        if self.buf.state in (FULL, memory.ZERO, memory.SHARED):
            return np.ones(self.shape, dtype=bool)
        picked = self._check(where)
        if self.unknown:  # no telling which: any element that is written will do
            return np.full(self.shape, self.buf.state != memory.EMPTY)
        flags: np.ndarray = self._flags()[tuple(picked)]
        return np.logical_and.reduce(flags, axis=-1) if flags.ndim > len(self.shape) else flags

    def scatter(self, values: np.ndarray, where: np.ndarray | None) -> None:
        """Write `values` to the picked elements where `where` holds, and mark them written."""
        picked = self._check(where)
        keep = (
            np.ones(self.shape, dtype=bool) if where is None else np.broadcast_to(where, self.shape)
        )
        buf = self.buf
        chosen: tuple[Any, ...] | None = None
        if type(self.array) is not ShapeOnly:
            chosen = tuple(p[keep] for p in picked)
            self.array[chosen] = np.broadcast_to(values, self.shape)[keep]
        if buf.state in (FULL, memory.SHARED):
            return
        region = None if self.tiles is not None else self._region(picked, keep)
        if self.unknown:  # no telling which: all elements count as written from now on
            buf.fill(0, buf.meta.shape, buf.meta.strides, buf.meta.itemsize)
        elif region is not None:
            buf.fill(*region, self.base.itemsize)
        else:
            self._flags()[tuple(p[keep] for p in picked) if chosen is None else chosen] = True
        buf.state = memory.PARTIAL
        if self.tiles is not None and buf.role == "output":
            buf.role = "scattered"

    def _region(
        self, picked: list[np.ndarray], keep: np.ndarray
    ) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
        """Offset, shape and strides in the buffer of the elements that `keep` leaves, if they are a
        strided region."""
        box = box_of_kept(keep)
        if box is None or 0 in box[1]:
            return None
        start, shape = box
        inner = tuple(slice(a, a + n) for a, n in zip(start, shape))
        flat: Any = sum(
            (p[inner] * s for p, s in zip(picked, self.base.strides)), np.int64(self.off)
        )
        first = (0,) * len(shape)
        strides = tuple(
            int(flat[tuple(int(a == axis) for a in range(len(shape)))] - flat[first])
            if n > 1
            else 0
            for axis, n in enumerate(shape)
        )
        plain = flat[first] + sum(
            np.arange(n).reshape([-1 if a == axis else 1 for a in range(len(shape))]) * s
            for axis, (n, s) in enumerate(zip(shape, strides))
        )
        return (
            (int(flat[first]), shape, strides)
            if np.array_equal(flat, np.broadcast_to(plain, shape))
            else None
        )

    def accumulate(self, values: np.ndarray, where: np.ndarray | None) -> None:
        """Add `values`, in float32, to the picked elements where `where` holds; those picked
        several times get each."""
        picked = self._check(where)
        keep = (
            np.ones(self.shape, dtype=bool) if where is None else np.broadcast_to(where, self.shape)
        )
        if type(self.array) is ShapeOnly:
            return
        flat = np.ravel_multi_index(tuple(p[keep] for p in picked), self.array.shape)
        places, which = np.unique(flat, return_inverse=True)
        at = np.unravel_index(places, self.array.shape)
        sums = dtypes.to_fp32(self.array[at])
        np.add.at(
            sums,
            which.reshape(-1),
            dtypes.to_fp32(np.broadcast_to(values.reshape(self.shape), self.shape)[keep]),
        )
        self.array[at] = dtypes.cast(sums, self.array.dtype)

    def _flags(self) -> np.ndarray:
        base = self.base
        return self.buf.flags(self.off, base.shape, base.strides, base.itemsize)
