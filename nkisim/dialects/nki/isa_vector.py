"""nisa on VectorE: operators on tiles, reductions, scans, copies, selections.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import remember
from ...isa.copies import MEMSET, TENSOR_COPY
from ...isa.mx import X4
from ...isa.reduce import TENSOR_REDUCE, TENSOR_SCALAR_REDUCE
from ...isa.scan import TENSOR_TENSOR_SCAN
from ...isa.select import SELECT_REDUCE, TENSOR_COPY_PREDICATED
from ...isa.vector import RECIPROCAL, SCALAR_TENSOR_TENSOR, TENSOR_SCALAR, TENSOR_TENSOR
from ...machine import dtypes
from ...rules import arguments
from ...rules.arguments import flag
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..functions import alu_of
from . import enums
from .compute import maximum as _maximum
from .compute import tensor_tensor_engine
from .enums import engine, reduce_cmd
from .isa_support import (
    DONE,
    again,
    destination,
    engine_name,
    number,
    of_one_size,
    old_dtype,
    plain_operand,
    run,
)
from .objects import NkiInstruction
from .support import operand, option, same_size, tile
from .targets import needs_trn2
from .tensor import NkiTensor

_WIDE_INTEGERS = (dtypes.INT32, np.dtype(np.uint32))
_ANY_ENGINE = engine.unknown
_NO_ENGINE = (None,)
_SCALARS: dict[tuple[Any, Any], tuple[Any, ...]] = {}
_REDUCTIONS: dict[tuple[Any, int], tuple[Any, ...]] = {}
"""By the operators that a kernel names, and by the axis where it is a plain integer, the attributes
of tensor_scalar and tensor_reduce without options."""


def tensor_tensor(
    dst: Any, data1: Any, data2: Any, op: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """dst = data1 op data2 for two tiles of one size, not both in PSUM. Nothing is broadcast."""
    api = "nisa.tensor_tensor"
    key: tuple[Any, ...] = ()
    if (
        type(dst) is type(data1) is type(data2) is NkiTensor
        and engine is _ANY_ENGINE
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
    done = run(TENSOR_TENSOR, api, into, (a, b), (what, runs_on))
    if key:
        remember(key, TENSOR_TENSOR, (what, runs_on), into.meta, None, (a, b))
    return done


def _pair(api: str, op: Any, value: Any, what: str) -> Tensor:
    """An operand of `op`: unary operators take None or 0."""
    if value is None and getattr(op, "unary", False):
        return Const(0) if op.bitvec else Const(0.0)
    if value is None:
        broken(
            "argument",
            f"{api}: {what} is missing",
            got="None",
            remedy=f"Pass {what}= a number or a tile (p, 1).",
        )
    return operand(value, api, what)


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
    usual = reverse0 is reverse1 is False and engine is _ANY_ENGINE
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
    if reverse0 is reverse1 is False and engine is _ANY_ENGINE:
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
        srcs: tuple[Tensor, ...] = (t, _pair(api, attrs[0], operand0, "operand0"))
    else:
        srcs = (
            t,
            _pair(api, attrs[0], operand0, "operand0"),
            _pair(api, attrs[2], operand1, "operand1"),
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


def last_axes(t: Tensor, axis: Any, api: str) -> None:
    """The axes of a reduction are the last ones, without a gap."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in axes):
        return  # refused by the instruction
    ordered = tuple(sorted({int(a) % t.ndim for a in axes if -t.ndim <= a < t.ndim}))
    if 0 in ordered or ordered == tuple(range(t.ndim - len(ordered), t.ndim)):
        return
    broken(
        "argument",
        f"{api}: axes {ordered} of '{t.label}' are not the last, consecutive axes",
        tensor=t.label,
        got=t.meta.describe(),
        limit=f"axes that end with {t.ndim - 1}",
        remedy="Read the axes in another order: t.permute(dims).",
    )


def tensor_reduce(
    dst: Any,
    op: Any,
    data: Any,
    axis: Any,
    negate: bool = False,
    keepdims: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """A reduction of `data` over its last free axes `axis`, into dst."""
    api = "nisa.tensor_reduce"
    flags = negate is False and (keepdims is True or keepdims is False)
    key: tuple[Any, ...] = ()
    if (
        type(dst) is type(data) is NkiTensor
        and flags
        and type(axis) is int
        and not (dst.runtime or dst.tensor_index or data.runtime or data.tensor_index)
    ):
        key = (tensor_reduce, op, axis, keepdims, dst.meta, data.meta)
        if again(key, api, dst, (data,)):
            return DONE
    into, t = destination(dst, api), tile(data, api, "data")
    if flags and type(axis) is int and axis == len(t.meta.shape) - 1:
        try:
            attrs = _REDUCTIONS[op, axis][keepdims]
        except (KeyError, TypeError):
            what = alu_of(op, api)
            _REDUCTIONS[op, axis] = (what, axis, False, False), (what, axis, False, True)
            attrs = _REDUCTIONS[op, axis][keepdims]
        done = run(TENSOR_REDUCE, api, into, (t,), attrs)
        if key:
            remember(key, TENSOR_REDUCE, attrs, into.meta, None, (t,))
        return done
    axes = arguments.axes(axis, api)
    last_axes(t, axes, api)
    return run(
        TENSOR_REDUCE,
        api,
        into,
        (t,),
        (alu_of(op, api), axes, flag(negate, api, "negate"), flag(keepdims, api, "keepdims")),
    )


def tensor_tensor_scan(
    dst: Any,
    data0: Any,
    data1: Any,
    initial: Any,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst[:, i] = (data0[:, i] op0 dst[:, i - 1]) op1 data1[:, i], starting from `initial`, a
    number or a tile (p, 1)."""
    api = "nisa.tensor_tensor_scan"
    into, a, b = destination(dst, api), tile(data0, api, "data0"), tile(data1, api, "data1")
    same_size(into, a, api, "data0")
    same_size(a, b, api, "data1")
    return run(
        TENSOR_TENSOR_SCAN,
        api,
        into,
        (a, b, operand(initial, api, "initial")),
        (
            alu_of(op0, api, "op0"),
            alu_of(op1, api, "op1"),
            flag(reverse0, api, "reverse0"),
            flag(reverse1, api, "reverse1"),
        ),
    )


def tensor_scalar_reduce(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    reduce_op: Any,
    reduce_res: Any = None,
    reverse0: bool = False,
    reduce_cmd: Any = reduce_cmd.reset_reduce,
    reduce_init: Any = None,
    reduce_res_negate: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = data op0 operand0, and its reduction over all free axes into the tile `reduce_res` (p,
    1)."""
    api = "nisa.tensor_scalar_reduce"
    into, t = of_one_size(dst, data, api, "data")
    first = alu_of(op0, api, "op0")
    extra = None if reduce_res is None else destination(reduce_res, api, "reduce_res")
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    srcs: tuple[Tensor, ...] = (t, _pair(api, first, operand0, "operand0"))
    if reduce_init is not None:
        srcs += (
            operand(
                float(reduce_init) if isinstance(reduce_init, int) else reduce_init,
                api,
                "reduce_init",
            ),
        )
    return run(
        TENSOR_SCALAR_REDUCE,
        api,
        into,
        srcs,
        (
            first,
            flag(reverse0, api, "reverse0"),
            alu_of(reduce_op, api, "reduce_op"),
            cmd.value,
            flag(reduce_res_negate, api, "reduce_res_negate"),
        ),
        extra,
    )


def reciprocal(dst: Any, data: Any, name: str | None = None) -> NkiInstruction:
    """dst = 1 / data on VectorE."""
    api = "nisa.reciprocal"
    into, t = of_one_size(dst, data, api, "data")
    return run(RECIPROCAL, api, into, (t,))


def tensor_copy(
    dst: Any, src: Any, engine: Any = engine.unknown, name: str | None = None, dtype: Any = None
) -> NkiInstruction:
    """dst = src, two tiles of one size on chip. `dtype` is of older versions, and says what dst
    has."""
    api = "nisa.tensor_copy"
    key: tuple[Any, ...] = ()
    if dtype is not None:
        old_dtype(dtype, destination(dst, api), api)
    elif (
        type(dst) is type(src) is NkiTensor
        and engine is _ANY_ENGINE
        and not (dst.runtime or dst.tensor_index or src.runtime or src.tensor_index)
    ):
        key = (tensor_copy, dst.meta, src.meta)
        if again(key, api, dst, (src,)):
            return DONE
    into, t = of_one_size(dst, src, api, "src")
    if engine is _ANY_ENGINE:
        done = run(TENSOR_COPY, api, into, (t,), _NO_ENGINE)
        if key:
            remember(key, TENSOR_COPY, _NO_ENGINE, into.meta, None, (t,))
        return done
    wanted = engine_name(engine, api, "vector", "scalar", "gpsimd")
    if wanted == "scalar":
        needs_trn2(f"{api} on ScalarE")
    return run(TENSOR_COPY, api, into, (t,), (wanted,))


def memset(
    dst: Any, value: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """Fill dst with the number `value`, which has the type of dst: an integer for integers; a whole
    float is taken with a warning."""
    api = "nisa.memset"
    into = destination(dst, api)
    plain = number(value, api, "value")
    if into.dtype in X4:
        if plain != 0:
            broken(
                "dtype",
                f"{api}: '{into.label}' holds packed elements",
                tensor=into.label,
                got=repr(value),
                limit="0",
            )
        into, plain = into.view(np.dtype(f"u{into.dtype.itemsize}")), 0
    if dtypes.is_integer(into.dtype) and isinstance(plain, float):
        whole = plain.is_integer()
        broken(
            "memset-type" if whole else "dtype",
            f"{api}: the value {plain} is not {dtypes.name(into.dtype)}",
            tensor=into.label,
            got=repr(value),
            limit=f"an integer for {dtypes.name(into.dtype)}",
            remedy=f"Write value={int(plain)}." if whole else "Make the tile with a float dtype.",
        )
        plain = int(plain) if whole else plain
    return run(
        MEMSET,
        api,
        into,
        (Const(plain),),
        (into.shape, engine_name(engine, api, "vector", "gpsimd")),
    )


def tensor_copy_predicated(
    dst: Any, src: Any, predicate: Any, reverse_pred: bool = False, name: str | None = None
) -> NkiInstruction:
    """Where the integer tile `predicate` is not zero, dst takes src (a tile or a number); elsewhere
    it stays."""
    api = "nisa.tensor_copy_predicated"
    into, p, s = destination(dst, api), tile(predicate, api, "predicate"), operand(src, api, "src")
    same_size(into, p, api, "predicate")
    same_size(into, s, api, "src")
    return run(
        TENSOR_COPY_PREDICATED, api, into, (p, s, into), (flag(reverse_pred, api, "reverse_pred"),)
    )


def select_reduce(
    dst: Any,
    predicate: Any,
    on_true: Any,
    on_false: Any,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    reduce_op: Any = _maximum,
    reverse_pred: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true where the integer tile `predicate` is not zero, else on_false (a number or a
    tile (p, 1)).

    reduce_res: a float tile (p, 1) for the row maxima.
    """
    api = "nisa.select_reduce"
    into, p, a = (
        destination(dst, api),
        tile(predicate, api, "predicate"),
        tile(on_true, api, "on_true"),
    )
    b = operand(on_false, api, "on_false")
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    if alu_of(reduce_op, api, "reduce_op").name != "maximum":
        broken(
            "operator",
            f"{api}: reduce_op",
            got=getattr(reduce_op, "__name__", repr(reduce_op)),
            limit="nl.maximum",
        )
    same_size(into, p, api, "predicate")
    same_size(into, a, api, "on_true")
    extra = None if reduce_res is None else destination(reduce_res, api, "reduce_res")
    return run(
        SELECT_REDUCE,
        api,
        into,
        (p, a, b),
        (flag(reverse_pred, api, "reverse_pred"), cmd.value),
        extra,
    )


__all__ = [
    "memset",
    "reciprocal",
    "scalar_tensor_tensor",
    "select_reduce",
    "tensor_copy",
    "tensor_copy_predicated",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_reduce",
    "tensor_tensor",
    "tensor_tensor_scan",
]
