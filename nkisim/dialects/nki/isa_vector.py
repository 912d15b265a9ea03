"""nisa on VectorE: operators on tiles.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import remember
from ...isa.vector import RECIPROCAL, SCALAR_TENSOR_TENSOR, TENSOR_SCALAR, TENSOR_TENSOR
from ...machine import dtypes
from ...rules.arguments import flag
from ...rules.errors import broken
from ...tensors.tensor import Tensor
from ..functions import alu_of
from .compute import tensor_tensor_engine
from .enums import engine
from .isa_support import (
    ANY_ENGINE,
    DONE,
    again,
    destination,
    engine_name,
    of_one_size,
    old_dtype,
    operator_operand,
    plain_operand,
    run,
)
from .objects import NkiInstruction
from .support import operand, same_size, tile
from .tensor import NkiTensor

_WIDE_INTEGERS = (dtypes.INT32, np.dtype(np.uint32))
_SCALARS: dict[tuple[Any, Any], tuple[Any, ...]] = {}
"""By the operators that a kernel names, the attributes of tensor_scalar without options."""


def tensor_tensor(
    dst: Any, data1: Any, data2: Any, op: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """dst = data1 op data2 for two tiles of one size, not both in PSUM. Nothing is broadcast."""
    api = "nisa.tensor_tensor"
    key: tuple[Any, ...] = ()
    if (
        type(dst) is type(data1) is type(data2) is NkiTensor
        and engine is ANY_ENGINE
        and not (dst.runtime or data1.runtime or data2.runtime)
        and not (dst.tensor_index or data1.tensor_index or data2.tensor_index)
    ):
        key = (tensor_tensor, op, dst.meta, data1.meta, data2.meta)
        if again(key, api, dst, (data1, data2)):
            return DONE
    into, a = of_one_size(dst, data1, api, "data1")
    b = tile(data2, api, "data2")
    same_size(a, b, api, "data2")
    what = alu_of(op, api)
    runs_on = engine_name(engine, api, "vector", "gpsimd")
    if runs_on is None:
        runs_on = tensor_tensor_engine(what, a, b, into)
    if runs_on is None and into.meta.dtype not in _WIDE_INTEGERS and what.name != "power":
        # only where all three are integers of 32 bits the arithmetic is an integer one
        runs_on = "vector"
    attrs = (what, runs_on, True)
    done = run(TENSOR_TENSOR, api, into, (a, b), attrs)
    if key:
        remember(key, TENSOR_TENSOR, attrs, into.meta, None, (a, b))
    return done


def tensor_scalar(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    reverse0: bool = False,
    op1: Any = None,
    operand1: Any = None,
    reverse1: bool = False,
    engine: Any = engine.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """dst = (data op0 operand0) op1 operand1; operands are numbers or tiles (p, 1); reverse swaps
    an operator's inputs."""
    api = "nisa.tensor_scalar"
    key: tuple[Any, ...] = ()
    usual = reverse0 is reverse1 is False and engine is ANY_ENGINE
    first, second = plain_operand(operand0), plain_operand(operand1)
    if (
        usual
        and type(dst) is type(data) is NkiTensor
        and first is not None
        and (op1 is None) == (operand1 is None) == (second is None)
        and not (dst.runtime or dst.tensor_index or data.runtime or data.tensor_index)
    ):
        given = (data, first) if op1 is None else (data, first, second)
        key = (tensor_scalar, op0, op1, dst.meta, *[t.meta for t in given])
        if again(key, api, dst, given):
            return DONE
    into, t = of_one_size(dst, data, api, "data")
    if reverse0 is reverse1 is False and engine is ANY_ENGINE:
        try:
            attrs = _SCALARS[op0, op1]
        except (KeyError, TypeError):
            other = None if op1 is None else alu_of(op1, api, "op1")
            attrs = (alu_of(op0, api, "op0"), False, other, False, None)
            _SCALARS[op0, op1] = attrs
    else:
        what = alu_of(op0, api, "op0")
        runs_on = engine_name(engine, api, "vector", "scalar", "gpsimd")
        other = None if op1 is None else alu_of(op1, api, "op1")
        flags = flag(reverse0, api, "reverse0"), flag(reverse1, api, "reverse1")
        attrs = (what, flags[0], other, flags[1], runs_on)
    if op1 is None:
        if operand1 is not None:
            broken("argument", f"{api}: operand1 is given without op1", got=repr(operand1)[:80])
        srcs: tuple[Tensor, ...] = (t, operator_operand(api, attrs[0], operand0, "operand0"))
    else:
        srcs = (
            t,
            operator_operand(api, attrs[0], operand0, "operand0"),
            operator_operand(api, attrs[2], operand1, "operand1"),
        )
    done = run(TENSOR_SCALAR, api, into, srcs, attrs)
    if key:
        remember(key, TENSOR_SCALAR, attrs, into.meta, None, srcs)
    return done


def scalar_tensor_tensor(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    op1: Any,
    operand1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
    dtype: Any = None,
) -> NkiInstruction:
    """dst = (data op0 operand0) op1 operand1; operand0 is a number or a tile (p, 1), operand1 a
    tile like data."""
    api = "nisa.scalar_tensor_tensor"
    into, t, other = destination(dst, api), tile(data, api, "data"), tile(operand1, api, "operand1")
    old_dtype(dtype, into, api)
    same_size(into, t, api, "data")
    same_size(t, other, api, "operand1")
    return run(
        SCALAR_TENSOR_TENSOR,
        api,
        into,
        (t, operand(operand0, api, "operand0"), other),
        (
            alu_of(op0, api, "op0"),
            flag(reverse0, api, "reverse0"),
            alu_of(op1, api, "op1"),
            flag(reverse1, api, "reverse1"),
        ),
    )


def reciprocal(dst: Any, data: Any, name: str | None = None) -> NkiInstruction:
    """dst = 1 / data on VectorE."""
    api = "nisa.reciprocal"
    into, t = of_one_size(dst, data, api, "data")
    return run(RECIPROCAL, api, into, (t,))


__all__ = [
    "reciprocal",
    "scalar_tensor_tensor",
    "tensor_scalar",
    "tensor_tensor",
]
