"""nisa on VectorE: operators on tiles, reductions, scans, copies.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execute import execute, make, remember
from ...execution.execution import current, running
from ...isa.copies import MEMSET, TENSOR_COPY
from ...isa.reduce import TENSOR_REDUCE
from ...isa.running import TENSOR_SCALAR_REDUCE
from ...isa.scan import TENSOR_TENSOR_SCAN
from ...isa.vector import RECIPROCAL, SCALAR_TENSOR_TENSOR, TENSOR_SCALAR, TENSOR_TENSOR
from ...machine import dtypes
from ...machine.memory import SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..functions import alu_of
from .creation import fill
from .creation import make as make_tensor
from .inserted import free_axes_in_order, same_free_size, tile_for_vector
from .isa_support import (
    UNKNOWN,
    dst_of,
    engine,
    engine_name,
)
from .support import only, operand, promoted, static_source, tile, want_dtype

_ANY_ENGINE = (None,)


_TWO_TILES: dict[Any, tuple[Any, ...]] = {}
_SCALARS: dict[tuple[Any, ...], tuple[Any, ...]] = {}
_REDUCTIONS: dict[tuple[Any, ...], tuple[Any, ...]] = {}
"""By the arguments of tensor_tensor, tensor_scalar and tensor_reduce: their attributes
where nothing unusual was asked for."""


def tensor_tensor(
    data1: Any,
    data2: Any,
    op: Any,
    *,
    dtype: Any = None,
    mask: Any = None,
    engine: Any = engine.unknown,
    **kwargs: Any,
) -> Tensor:
    """data1 op data2 for two tiles of one shape, not both in PSUM."""
    api = "nisa.tensor_tensor"
    usual = mask is dtype is None and engine is UNKNOWN and not kwargs
    usual = usual and type(data1) is type(data2) is Tensor
    if usual:
        execution, srcs = running() or current(api), (data1, data2)
        try:
            known = execution.signatures.get((tensor_tensor, op, data1.meta, data2.meta))
        except TypeError:  # no operator has no hash
            known = None
        if known is not None:
            return make(execution, known, api, srcs)
    dst = dst_of(kwargs, api) if kwargs else None
    a = data1 if isinstance(data1, Tensor) else tile(data1, api)
    b = data2 if isinstance(data2, Tensor) else tile(data2, api)
    if dtype is not None:
        out = want_dtype(dtype, api)
    else:
        out = a.meta.dtype if a.meta.dtype is b.meta.dtype else promoted(a, b)
    if engine is UNKNOWN:
        try:
            attrs = _TWO_TILES[op]
        except (KeyError, TypeError):
            attrs = _TWO_TILES[op] = (alu_of(op, api), None)
    else:
        attrs = (alu_of(op, api), engine_name(engine, api))
    if a.meta.free != b.meta.free:
        a, b = same_free_size(a, b, api)
    elif usual:
        made = execute(TENSOR_TENSOR, api, None, srcs, attrs, SBUF, out)
        key = (tensor_tensor, op, a.meta, b.meta)
        remember(key, TENSOR_TENSOR, attrs, SBUF, out, srcs)
        return made
    return execute(TENSOR_TENSOR, api, dst, (a, b), attrs, SBUF, out, mask)


def tensor_scalar(
    data: Any,
    op0: Any,
    operand0: Any,
    reverse0: bool = False,
    op1: Any = None,
    operand1: Any = None,
    reverse1: bool = False,
    *,
    dtype: Any = None,
    mask: Any = None,
    engine: Any = engine.unknown,
    **kwargs: Any,
) -> Tensor:
    """(data op0 operand0) op1 operand1; operands are numbers or tiles (p, 1); reverse swaps an
    operator's inputs."""
    api = "nisa.tensor_scalar"
    dst = dst_of(kwargs, api) if kwargs else None
    if (op1 is None) != (operand1 is None):
        broken(
            "argument",
            f"{api}: op1 and operand1 come together",
            got=f"op1={op1!r}, operand1={operand1!r}"[:80],
            limit="both, or none",
            remedy="Pass both, or leave both out.",
        )
    t = data if isinstance(data, Tensor) else tile(data, api)
    first = operand0 if isinstance(operand0, Tensor) else operand(operand0, api)
    usual = reverse0 is reverse1 is False and engine is UNKNOWN
    plain = usual and mask is dtype is None and not kwargs and dst is None
    key: tuple[Any, ...] = ()
    srcs: tuple[Tensor, ...] = (t, first)
    if plain:
        execution = running() or current(api)
        key = (tensor_scalar, op0, t.meta, first.meta)
        if op1 is not None:
            second = operand1 if isinstance(operand1, Tensor) else operand(operand1, api)
            srcs, key = (t, first, second), (*key, op1, second.meta)
        try:
            known = execution.signatures.get(key)
        except TypeError:  # no operator has no hash
            known = None
        if known is not None:
            return make(execution, known, api, srcs)
    out = None if dtype is None else want_dtype(dtype, api)
    try:
        attrs = _SCALARS[op0, op1] if usual else None
    except (KeyError, TypeError):
        attrs = None
    if attrs is None:
        attrs = (
            alu_of(op0, api, "op0"),
            arguments.flag(reverse0, api, "reverse0"),
            None if op1 is None else alu_of(op1, api, "op1"),
            arguments.flag(reverse1, api, "reverse1"),
            engine_name(engine, api),
        )
        if usual:
            _SCALARS[op0, op1] = attrs
    tiled = None if first.meta.free == 1 else tile_for_vector(t, first, api, "operand0")
    if plain and tiled is None:
        made = execute(TENSOR_SCALAR, api, None, srcs, attrs, SBUF)
        remember(key, TENSOR_SCALAR, attrs, SBUF, None, srcs)
        return made
    if tiled is not None:  # two tiles, and what is left of the instruction
        pair = (tiled, t) if reverse0 else (t, tiled)
        if op1 is None:
            return execute(TENSOR_TENSOR, api, dst, pair, (attrs[0], attrs[4]), SBUF, out, mask)
        middle = (attrs[0], attrs[4])
        t = execute(TENSOR_TENSOR, "compiler", None, pair, middle, SBUF, dtypes.FLOAT32, mask)
        out = out or data.dtype
        op1, operand1, first = None, None, operand(operand1, api)
        attrs = (attrs[2], reverse1, None, False, attrs[4])
    if op1 is None:
        return execute(TENSOR_SCALAR, api, dst, (t, first), attrs, SBUF, out, mask)
    second = operand1 if isinstance(operand1, Tensor) else operand(operand1, api)
    return execute(TENSOR_SCALAR, api, dst, (t, first, second), attrs, SBUF, out, mask)


def scalar_tensor_tensor(
    *,
    data: Any,
    op0: Any,
    operand0: Any,
    op1: Any,
    operand1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """(data op0 operand0) op1 operand1; operand0 is a number or a tile (p, 1), operand1 a tile like
    data."""
    api = "nisa.scalar_tensor_tensor"
    dst = dst_of(kwargs, api) if kwargs else None
    srcs = (tile(data, api), operand(operand0, api), tile(operand1, api))
    attrs = (
        alu_of(op0, api, "op0"),
        arguments.flag(reverse0, api, "reverse0"),
        alu_of(op1, api, "op1"),
        arguments.flag(reverse1, api, "reverse1"),
    )
    return execute(SCALAR_TENSOR_TENSOR, api, dst, srcs, attrs, SBUF, want_dtype(dtype, api), mask)


def tensor_reduce(
    op: Any,
    data: Any,
    axis: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    negate: bool = False,
    keepdims: bool = False,
    **kwargs: Any,
) -> Tensor:
    """A reduction over the last free axes `axis`. data: tile (p, ...); returns (p, 1) for a (p, n)
    tile."""
    api = "nisa.tensor_reduce"
    dst = dst_of(kwargs, api) if kwargs else None
    t = data if isinstance(data, Tensor) else tile(data, api)
    # 1, 1.0 and True are one key: looked for is what is of the type
    usual = type(axis) is int and type(negate) is type(keepdims) is bool
    plain = usual and mask is dtype is dst is None
    key = (tensor_reduce, op, axis, negate, keepdims, t.meta)
    if plain:
        execution = running() or current(api)
        try:
            known = execution.signatures.get(key)
        except TypeError:  # no operator has no hash
            known = None
        if known is not None:
            return make(execution, known, api, (t,))
    try:
        attrs = _REDUCTIONS[op, axis, negate, keepdims] if usual else None
    except (KeyError, TypeError):
        attrs = None
    if attrs is None:
        where = arguments.axes(axis, api)
        flags = arguments.flag(negate, api, "negate"), arguments.flag(keepdims, api, "keepdims")
        attrs = (alu_of(op, api), where, *flags)
        if usual:
            _REDUCTIONS[op, axis, negate, keepdims] = attrs
    if axis not in (-1, len(t.meta.shape) - 1):
        free_axes_in_order(t, axis, api)
    elif plain:
        made = execute(TENSOR_REDUCE, api, None, (t,), attrs, SBUF)
        remember(key, TENSOR_REDUCE, attrs, SBUF, None, (t,))
        return made
    return execute(
        TENSOR_REDUCE,
        api,
        dst,
        (t,),
        attrs,
        SBUF,
        None if dtype is None else want_dtype(dtype, api),
        mask,
    )


def tensor_scalar_reduce(
    *,
    data: Any,
    op0: Any,
    operand0: Any,
    reduce_op: Any,
    reduce_res: Any,
    reverse0: bool = False,
    dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """data op0 operand0, and its reduction over all free axes into the tile `reduce_res` (p, 1)."""
    api = "nisa.tensor_scalar_reduce"
    dst = dst_of(kwargs, api) if kwargs else None
    attrs = (
        alu_of(op0, api, "op0"),
        arguments.flag(reverse0, api, "reverse0"),
        alu_of(reduce_op, api, "reduce_op"),
    )
    return execute(
        TENSOR_SCALAR_REDUCE,
        api,
        dst,
        (tile(data, api), operand(operand0, api)),
        attrs,
        SBUF,
        want_dtype(dtype, api),
        mask,
        tile(reduce_res, api),
    )


def tensor_tensor_scan(
    data0: Any,
    data1: Any,
    initial: Any,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    *,
    dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """result[:, i] = (data0[:, i] op0 result[:, i - 1]) op1 data1[:, i], starting from
    `initial`."""
    api = "nisa.tensor_tensor_scan"
    dst = dst_of(kwargs, api) if kwargs else None
    a, b = tile(data0, api), tile(data1, api)
    flags = arguments.flag(reverse0, api, "reverse0"), arguments.flag(reverse1, api, "reverse1")
    attrs = (alu_of(op0, api, "op0"), alu_of(op1, api, "op1"), *flags)
    out = promoted(a, b) if dtype is None else want_dtype(dtype, api)
    return execute(
        TENSOR_TENSOR_SCAN, api, dst, (a, b, operand(initial, api)), attrs, SBUF, out, mask
    )


def reciprocal(data: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """1 / data on VectorE."""
    api = "nisa.reciprocal"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(RECIPROCAL, api, dst, (tile(data, api),), (), SBUF, want_dtype(dtype, api), mask)


def tensor_copy(
    src: Any, *, mask: Any = None, dtype: Any = None, engine: Any = engine.unknown, **kwargs: Any
) -> Tensor:
    """A copy of the on-chip tile `src`, in SBUF unless assigned or given `dst=` elsewhere."""
    api = "nisa.tensor_copy"
    usual = mask is dtype is None and engine is UNKNOWN and not kwargs and type(src) is Tensor
    if usual:
        execution = running() or current(api)
        known = execution.signatures.get((tensor_copy, src.meta))
        if known is not None:
            return make(execution, known, api, (src,))
        made = execute(TENSOR_COPY, api, None, (src,), _ANY_ENGINE)
        remember((tensor_copy, src.meta), TENSOR_COPY, _ANY_ENGINE, SBUF, None, (src,))
        return made
    dst = dst_of(kwargs, api) if kwargs else None
    t = src if isinstance(src, Tensor) else tile(src, api)
    if type(t) is not Tensor:
        t = static_source(t, api)
    return execute(
        TENSOR_COPY,
        api,
        dst,
        (t,),
        _ANY_ENGINE if engine is UNKNOWN else (engine_name(engine, api),),
        SBUF,
        want_dtype(dtype, api) if dtype is not None else None,
        mask,
    )


def memset(
    shape: Any,
    value: Any,
    dtype: Any,
    *,
    mask: Any = None,
    engine: Any = engine.unknown,
    **kwargs: Any,
) -> Tensor:
    """An SBUF tile of `shape` (partition axis first) filled with the number `value`."""
    api = "nisa.memset"
    if isinstance(shape, Tensor):
        broken(
            "argument",
            f"{api} takes a shape here, not a tile",
            got=repr(shape),
            remedy="Write t[...] = value, or tile = nisa.memset((p, n), value, dtype=...).",
        )
    only(kwargs, api, "buffer")
    value = arguments.number(value, api, "value")
    t = make_tensor(api, shape, dtype, kwargs.get("buffer"), "", None, {})
    attrs = (t.shape, engine_name(engine, api))
    if mask is not None:
        return execute(MEMSET, api, t, (Const(value),), attrs, SBUF, None, mask)
    return fill(current(api), api, t, value, attrs)
