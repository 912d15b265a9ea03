"""A number among an instruction's operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.dtypes import FLOAT32
from ..machine.memory import CONST, FULL, Buffer, Meta, Scope, meta_of
from ..machine.values import Value
from .tensor import Tensor

_new: Any = object.__new__
_CONST_META: dict[np.dtype, Meta] = {}
_CONST_BUFFER = Buffer(meta_of(CONST, (), (), FLOAT32), 0, None, 0, FULL, Scope(None), None, False)


class Const(Tensor):
    """A compile-time number among an instruction's operands. `array` is the plain Python number."""

    __slots__ = ()

    def __new__(cls, value: Any) -> Const:
        self: Any = _new(Tensor)  # of the same class as the tiles: see Buffer
        dtype = FLOAT32 if type(value) is float else dtypes.of_scalar(value)
        meta = _CONST_META.get(dtype)
        if meta is None:
            meta = _CONST_META[dtype] = meta_of(CONST, (), (), dtype)
        self.buf = _CONST_BUFFER
        self.held = Value(value.item() if isinstance(value, np.generic) else value)
        self.meta = meta
        self.off = 0
        found: Const = self
        return found


_KNOWN: dict[float, Const] = {}
"""Floats that kernels have used as operands."""
_MOST = 1024


def of_float(value: float) -> Const:
    """`value` as an operand; the one that there is of it."""
    found = _KNOWN.get(value)
    if found is None:
        found = Const(value)
        if len(_KNOWN) < _MOST and value:  # 0.0 and -0.0 would be one key
            _KNOWN[value] = found
    return found


def number(value: Any, dtype: np.dtype) -> Const:
    """A number that counts as of `dtype` where types are promoted."""
    made = Const(value)
    if made.meta.dtype != dtype:
        meta = _CONST_META.get(dtype)
        if meta is None:
            meta = _CONST_META[dtype] = meta_of(CONST, (), (), dtype)
        made.meta = meta
    return made
