"""What a view of a buffer holds, and where: its values, its layout, and what a kernel may ask of
them."""

from __future__ import annotations

from operator import getitem
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.dtypes import FLOAT32
from ..machine.memory import Buffer, Meta
from ..machine.shapes import ShapeOnly, shape_only
from ..machine.values import Blank, Value, catch_up
from .operators import PythonOperators

_new: Any = object.__new__


def part(t: Stored, layout: Meta, cut: tuple[Any, ...]) -> Any:
    """What the view `t[cut]` of this layout holds: see `Stored.held`."""
    held = t.held
    if type(held) is ShapeOnly:
        return shape_only(layout.shape, held.dtype)
    found: Value = _new(Value)
    array = held.array
    if array is None:
        found.array = None
        t.buf.queue.append((getitem, found, held, Value(cut)))
    elif type(array) is Blank:
        held.array = array = array.zeros()
        found.array = array[cut]
    else:
        found.array = array[cut]
    return found


class Stored(PythonOperators):
    """A strided view of a buffer, without the ways to make another view of it."""

    __slots__ = ("buf", "held", "meta", "off")

    def __init__(self, buf: Buffer, array: Any, meta: Meta, off: int) -> None:
        self.buf = buf
        self.held: Any
        """The `Value` of its array, which may not have been computed yet; a `ShapeOnly` where a
        kernel runs on shapes alone."""
        self.array = array
        self.meta = meta
        self.off = off
        """Element offset of the first element in the buffer."""

    @property
    def array(self) -> Any:
        """A NumPy view of the values, which it keeps alive; a `ShapeOnly` where a kernel runs on
        shapes alone. Asking for it has all that was put off computed."""
        held = self.held
        if type(held) is not Value:
            return held
        queue = self.buf.queue
        if queue:
            catch_up(queue)
        array = held.array
        if type(array) is Blank:
            array = held.array = array.zeros()
        return array

    @array.setter
    def array(self, array: Any) -> None:
        kind = type(array)
        self.held = array if kind is ShapeOnly or kind is Value else Value(array)

    def present(self) -> None:
        """See that the array of a new tensor is there, or will be once what was put off is done."""
        held = self.held
        if type(held) is Value and type(held.array) is Blank:
            held.array = held.array.zeros()

    def strided_view(self, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """The buffer's values seen by element offset (from its start) and strides."""
        held = self.held
        if type(held) is ShapeOnly:
            return shape_only(shape, held.dtype)
        whole: Any = held.array  # of an array that is there, what will be written does not matter
        if whole is None or type(whole) is Blank:
            whole = self.array
        item_type = whole.dtype
        own = self.buf.meta
        # the storage of every float where none is rounded
        wide = whole.dtype == FLOAT32 and dtypes.is_float(own.dtype)
        size = own.size * (4 if wide else own.itemsize)
        while (whole.nbytes < size or not whole.flags.c_contiguous) and isinstance(
            whole.base, np.ndarray
        ):
            whole = whole.base
        item = item_type.itemsize
        raw = whole.view(np.uint8).reshape(-1) if whole.dtype != np.uint8 else whole.reshape(-1)
        return np.ndarray(shape, item_type, raw, offset * item, tuple(s * item for s in strides))

    def _as(self, layout: Meta, of_array: Any) -> Any:
        """The array of a view with this layout, made by `of_array` where there are values."""
        if type(self.array) is ShapeOnly:
            return shape_only(
                layout.shape,
                dtypes.storage(layout.dtype) if layout.dtype != self.dtype else self.array.dtype,
            )
        return of_array(self.array)

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

    def __repr__(self) -> str:
        return f"<{self.label}: {self.meta.describe()}>"

    __hash__ = object.__hash__
