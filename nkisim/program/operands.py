"""The operands of a program's steps, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..execution.creation import viewed
from ..execution.execution import Execution
from ..execution.steps import NUMBER, PICKED, SENT, STATE, Form, View, array_of
from ..isa.random import GENERATOR
from ..machine.memory import Meta
from ..machine.shapes import ShapeOnly, shape_only
from ..tensors import runtime
from ..tensors.const import Const
from ..tensors.tensor import IndexedTensor, Tensor
from .call import Call

_new: Any = object.__new__


def array_operand(values: Any) -> Tensor:
    """Values among an instruction's operands."""
    made = Const(0)
    made.array = values
    return made


class Operands:
    """The half of a replay that knows what its steps work on."""

    call: Call
    execution: Execution
    whole: list[Tensor]
    """Of each buffer a tensor that covers it."""
    derive: bool
    """Whether the layouts of views are checked."""
    derived: dict[tuple[Meta, Meta, int], Meta]
    flat: dict[int, np.ndarray]
    """The bytes of buffers of which parts were seen."""
    sent: list[Any]
    constants: list[Tensor]

    def view(self, number: int, offset: int, meta: Meta) -> Tensor:
        """A part of a buffer."""
        if number < 0:
            raise IndexError("a buffer that is not there")
        t = self.whole[number]
        if self.derive:
            key = (t.meta, meta, offset)
            found = self.derived.get(key)
            if found is None:
                found = self.derived[key] = viewed(t.buf.meta, meta, offset)
            meta = found
        if t.meta is meta and not offset:
            return t
        array: Any
        if not self.execution.values:
            array = shape_only(meta.shape, self.execution.config.storage(meta.dtype))
        else:
            flat = self.flat.get(number)
            if flat is None:
                if not t.array.flags.c_contiguous:
                    t.array = np.ascontiguousarray(t.array)
                flat = self.flat[number] = t.array.reshape(-1).view(np.uint8)
            stored = self.execution.config.storage(meta.dtype)
            item = stored.itemsize
            strides = tuple([s * item for s in meta.strides])
            array = np.ndarray(meta.shape, stored, flat, offset * item, strides)
        part: Tensor = _new(Tensor)
        part.buf = t.buf
        part.array = array
        part.meta = meta
        part.off = offset
        return part

    def operand(self, number: int, offset: int, meta: Meta, form: Form | None = None) -> Tensor:
        """An operand of an instruction."""
        if number >= 0:
            return self.view(number, offset, meta)
        if number == NUMBER:
            return self.constants[offset]
        if number == PICKED:
            return self.picked(offset, form)
        if number == STATE:
            return GENERATOR
        assert number == SENT
        arrived = array_operand(self.sent[offset])
        arrived.off = offset  # a record tells by it which of the tiles that were sent it is
        return arrived

    def picked(self, number: int, form: Form | None) -> Tensor:
        """Elements picked by indices."""
        pick = self.call.picks[number]
        t = self.view(*pick.base)
        parts: list[Any] = [self.view(*p) if isinstance(p, View) else p for p in pick.parts]
        api, skip = ("nl.device_print", False) if form is None else (form.api, form.skip)
        if pick.kind == "nothing":
            return runtime.nothing(t)
        if pick.kind == "rows":
            index, scale, extent = parts
            return runtime.picked_rows(t, index, scale, extent, api)
        if pick.kind == "columns":
            index, group, count = parts
            return runtime.scattered(t, index, group, count, api)
        if pick.kind == "element":
            index, scale, extent, dim, *shape = parts
            return runtime.at_element(t, index, scale, extent, dim, tuple(shape), api, skip)
        return self._indices(t, pick.parts)

    def _indices(self, t: Tensor, parts: tuple[Any, ...]) -> Tensor:
        """Elements of `t`, whose axes are indexed by tiles, by integers, or by sums of both."""
        arrays: list[Any] = []
        tiles = []
        for tile, added in zip(parts[::2], parts[1::2]):
            more = array_of(added)
            if tile is None:
                arrays.append(more)
                continue
            index = self.view(*tile)
            tiles.append(index)
            if type(index.array) is ShapeOnly:
                shape = np.broadcast_shapes(index.shape, more.shape)
                arrays.append(shape_only(shape, np.dtype(np.int64)))
            else:
                arrays.append(index.array.astype(np.int64) + more)
        grid = np.broadcast_shapes(*[a.shape for a in arrays])
        known = tuple(tiles) if any(p is not None for p in parts[::2]) else None
        recipe = ("indices", t, *parts)
        return IndexedTensor(t, tuple(arrays), grid, known, recipe)
