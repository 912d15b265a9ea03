"""Subscripts of tensors: integers, slices, nl.ds, and run-time indices.

Source: aws-neuron-sdk v2.32.0 nki/get-started/nki-language-guide.rst (Tensor Indexing).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...machine.memory import HBM, meta_of
from ...rules import arguments
from ...rules.errors import broken
from ...tensors import strided, subscripts
from ...tensors.index import DynamicSlice
from ...tensors.runtime import RuntimeView
from ...tensors.stored import part
from ...tensors.tensor import Tensor
from .objects import VirtualRegister

_new: Any = object.__new__


class RuntimeSlice:
    """nl.ds(register, size): `size` elements from a start that is known at run time."""

    __slots__ = ("size", "start")

    def __init__(self, start: Any, size: int) -> None:
        self.start = start
        self.size = arguments.integer(size, "nl.ds", "size", least=1)

    def __repr__(self) -> str:
        return f"ds({self.start!r}, {self.size})"


class SubscriptedTensor(Tensor):
    """A tensor that views are taken of by `t[...]`, which are of its own class."""

    __slots__ = ("runtime", "tensor_index")

    runtime: RuntimeView | None
    """The run-time index of the view, if it has one."""
    tensor_index: tuple[Tensor, Tensor] | None
    """The tensor and the tile of offsets of a tensor-indirect view, if it is one."""

    def is_indirect(self) -> bool:
        """Whether the view has a run-time index."""
        return self.runtime is not None or self.tensor_index is not None

    def __getitem__(self, key: Any) -> SubscriptedTensor:
        if key is Ellipsis:
            return self
        if type(key) is tuple and self.runtime is None and self.tensor_index is None:
            found = self._like(key)
            if found is not None:
                return found
        return self._subscript(key)

    def _like(self, key: tuple[Any, ...]) -> SubscriptedTensor | None:
        """The view, if it is plain slices and integers and a view of its form was made before."""
        meta = self.meta
        shape = meta.shape
        if len(key) > len(shape):
            return None
        off, pstart = self.off, meta.pstart
        form: list[Any] = []
        cut: list[Any] = []
        partitions = meta.space != HBM  # whether this axis is the partition axis
        dropped = 0
        for e, n, stride in zip(key, shape, meta.strides):
            kind = type(e)
            if kind is slice:
                start, stop = e.start, e.stop
                if e.step is not None:
                    return None
                start = 0 if start is None else start
                stop = n if stop is None else stop
                if type(start) is not int or type(stop) is not int:
                    return None
                if not 0 <= start < stop <= n:
                    return None
                form.append(stop - start)
                cut.append(e)
            elif kind is int:
                if not 0 <= e < n:
                    return None
                start = e
                form.append(0)
                cut.append(e)
                dropped += 1
            else:
                return None
            if start:
                off += start * stride
                if partitions:
                    pstart += start
            partitions = False
        form.append(pstart)
        form.append("nki")  # views of the other dialect keep other axes
        known = tuple(form)
        found = meta.views.get(known)
        if found is None:
            view = self._subscript(key)
            if view.ndim == len(shape) - dropped:  # no axis taken by number was kept
                meta.views[known] = view.meta, ()
            return view
        made: SubscriptedTensor = _new(type(self))
        made.buf = self.buf
        made.meta = layout = found[0]
        made.off = off
        made.runtime = made.tensor_index = None
        made.held = part(self, layout, tuple(cut))
        return made

    def _subscript(self, key: Any) -> SubscriptedTensor:
        keys = self._spelled_out(key)
        meta = self.meta
        shape, strides = meta.shape, meta.strides
        on_chip = meta.space != HBM
        off, pstart = self.off, meta.pstart
        out_shape: list[int] = []
        out_strides: list[int] = []
        dropped: list[int] = []  # positions in the output of axes taken by number
        runtime = self.runtime
        for dim, n in enumerate(shape):
            e: Any = keys[dim] if dim < len(keys) else slice(None)
            stride = strides[dim]
            if isinstance(e, (VirtualRegister, RuntimeSlice)):
                register, count = (e.start, e.size) if isinstance(e, RuntimeSlice) else (e, 1)
                self._one_index(dim, on_chip)
                runtime = RuntimeView(register, None, stride, n, dim, self)
                start, step, by_number = 0, 1, not isinstance(e, RuntimeSlice)
            else:
                start, count, step, by_number = self._span(dim, e, n)
                by_number = by_number and not (dim == 0 and on_chip)
            if by_number:
                dropped.append(len(out_shape))
            if (
                runtime is not None
                and runtime.vector is not None
                and dim == 0
                and (start, count) != (0, n)
            ):
                strided.free_of_index(self, 0, "subscript")
            if dim == 0 and on_chip:
                pstart += start
                if step > 1 and count > 1:
                    broken(
                        "partition-stride",
                        f"'{self.label}' is sliced with a step along its partition axis",
                        tensor=self.label,
                        got=repr(e),
                        remedy="Step along a free axis; partitions are consecutive.",
                    )
            off += start * stride
            out_shape.append(count)
            out_strides.append(stride * step)
        keep = 2 if on_chip else 1
        for position in dropped[: max(0, len(out_shape) - keep)][::-1]:
            del out_shape[position], out_strides[position]
        new_shape, new_strides = tuple(out_shape), tuple(out_strides)
        layout = meta_of(
            meta.space, new_shape, new_strides, meta.dtype, 0, pstart if on_chip else 0
        )
        made = type(self)(self.buf, self.strided_view(off, new_shape, new_strides), layout, off)
        made.runtime = runtime
        if self.tensor_index is not None:
            broken(
                "indirect-view",
                f"'{self.label}' is picked by tensor indirection and cannot be subscripted again",
                tensor=self.label,
                remedy="Subscript first, then call .indirect(index).",
            )
        return made

    def _spelled_out(self, key: Any) -> tuple[Any, ...]:
        """The subscript as a tuple of at most as many elements as there are axes, without `...`."""
        keys = key if type(key) is tuple else (key,)
        if len(keys) == 1 and type(keys[0]) is list:
            keys = tuple(keys[0])
        ndim = len(self.meta.shape)
        if any(e is Ellipsis for e in keys):
            at = next(i for i, e in enumerate(keys) if e is Ellipsis)
            keys = keys[:at] + (slice(None),) * (ndim - len(keys) + 1) + keys[at + 1 :]
        if len(keys) > ndim:
            subscripts.too_many(self, keys)
        return keys

    def _span(self, dim: int, e: Any, n: int) -> tuple[int, int, int, bool]:
        """Where an element of a subscript begins on an axis of `n`, how many it takes and at which
        step, and whether it is a number, which takes the axis away."""
        kind = type(e)
        if kind is range and len(e):  # nl.affine_range is Python's range here
            e, kind = slice(e[0], e[-1] + (1 if e.step > 0 else -1), e.step), slice
        if kind is int or (
            isinstance(e, (int, np.integer)) and not isinstance(e, (bool, np.bool_))
        ):
            start = int(e)
            if start < -n or start >= n:
                subscripts.bad_int(self, dim, start) if start >= 0 else self._far_back(dim, start)
            return start % n, 1, 1, True
        if kind is slice:
            start, count, step = self._slice(dim, e, n)
            return start, count, step if count > 1 else 1, False
        if kind is not DynamicSlice:
            self._no_subscript(e)
        start, count = e.start, e.size
        if start < 0 or start + count > n or count < 1:
            subscripts.bad_slice(self, dim, start, start + count, None)
        return start, count, 1, False

    def _slice(self, dim: int, e: slice, n: int) -> tuple[int, int, int]:
        start, stop, step = e.start, e.stop, e.step
        step = 1 if step is None else step
        for v in (start, stop, step):
            if v is not None and (not isinstance(v, (int, np.integer)) or isinstance(v, bool)):
                broken(
                    "argument",
                    f"the subscript of '{self.label}' has a bound that is not an integer",
                    tensor=self.label,
                    got=repr(v),
                    remedy="Bounds are integers known when the kernel is built; "
                    "use // instead of /, and "
                    "nl.ds(register, size) for a start that is known at "
                    "run time.",
                )
        start = 0 if start is None else int(start) + n if start < 0 else int(start)
        stop = n if stop is None else int(stop) + n if stop < 0 else int(stop)
        if step < 1 or start < 0 or stop > n or start >= stop:
            subscripts.bad_slice(self, dim, start, stop, None if step == 1 else int(step))
        return start, -(-(stop - start) // int(step)), int(step)

    def _far_back(self, dim: int, index: int) -> None:
        n = self.meta.shape[dim]
        broken(
            "out-of-bounds",
            f"index {index} is out of bounds for axis {dim} of '{self.label}'",
            tensor=self.label,
            got=index,
            limit=f"{-n}..{n - 1} (shape {self.shape})",
        )

    def _one_index(self, dim: int, on_chip: bool) -> None:
        if self.is_indirect():
            broken(
                "indirect-view",
                f"this view of '{self.label}' has a run-time index already",
                tensor=self.label,
                remedy="Use one run-time index a view; compute a combined one, or copy in two "
                "steps.",
            )
        if on_chip and dim == 0:
            broken(
                "indirect-view",
                f"axis 0 of '{self.label}' is its partition axis, which no run-time index selects",
                tensor=self.label,
                got=self.meta.describe(),
                remedy="Select on a free axis, or on a tensor in HBM.",
            )

    def _no_subscript(self, e: Any) -> None:
        broken(
            "argument",
            f"'{self.label}' cannot be subscripted with {type(e).__name__}",
            tensor=self.label,
            got=repr(e)[:80],
            remedy="Use integers, slices, ... and nl.ds; for a run-time "
            "index use "
            ".select(dim, index), .vector_select or .ap.",
        )
