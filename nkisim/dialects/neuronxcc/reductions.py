"""nl functions that reduce the free axes of a tile, and those built on them."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from ...execution.conditions import condition, fit
from ...execution.execute import execute
from ...execution.execution import current
from ...isa import alu
from ...isa.reduce import TENSOR_REDUCE
from ...isa.registers import RESET_REDUCE
from ...isa.scalar import ACTIVATION
from ...isa.vector import RECIPROCAL, TENSOR_SCALAR
from ...machine import dtypes
from ...machine.memory import SBUF
from ...rules import arguments
from ...tensors.const import Const
from ...tensors.masks import Mask
from ...tensors.tensor import Tensor
from .elementwise import MULTIPLY, binary, exp, multiply, reciprocal, rsqrt, square, subtract
from .moving import copy
from .support import only, tile, want_dtype


def _scattered(
    t: Tensor, axis: tuple[int, ...]
) -> tuple[Tensor, tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """For free axes that are not the last, consecutive ones: a view with these last, their numbers
    there, the shape with ones in their place, and the order of the view's axes. Access patterns
    take the free axes in any order (programming model, indexing case 3: a pooling window), so that
    it costs nothing. None where no view is needed."""
    axes = tuple(sorted({a % t.ndim for a in axis}))
    if (
        type(t) is not Tensor
        or 0 in axes
        or axes == tuple(builtins.range(t.ndim - len(axes), t.ndim))
    ):
        return None
    order = tuple(a for a in builtins.range(t.ndim) if a not in axes) + axes
    view = t.permuted(order)
    kept = tuple(1 if a in axes else n for a, n in enumerate(t.shape))
    return view, tuple(builtins.range(t.ndim - len(axes), t.ndim)), kept, order


def _mask_in_order(mask: Any, shape: tuple[int, ...], order: tuple[int, ...]) -> Any:
    """A mask over a tile of `shape`, for the view of it with its axes in `order`."""
    if not isinstance(mask, Mask) or mask.where.ndim != len(shape):
        return mask
    return Mask(mask.where.transpose(order), mask.affine, mask.compound)


def _reduction(name: str, op_name: str, boolean: bool = False) -> Callable[..., Tensor]:
    api = f"nl.{name}"
    op = alu.ALU[op_name]

    def function(
        x: Any,
        axis: Any,
        *,
        dtype: Any = None,
        mask: Any = None,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        if kwargs:
            only(kwargs, api)
        if not isinstance(x, Tensor):
            tile(x, api)
        out = (
            (dtypes.BOOL if boolean else None)
            if dtype is None or dtype is bool
            else want_dtype(dtype, api)
        )
        if type(axis) is not int:
            axis = arguments.axes(axis, api)
        if keepdims is not False and keepdims is not True:
            keepdims = arguments.flag(keepdims, api, "keepdims")
        if type(axis) is tuple and len(axis) > 1:
            scattered = _scattered(x, axis)
            if scattered is not None:
                view, last, kept, order = scattered
                mask = _mask_in_order(mask, x.shape, order)
                result = execute(
                    TENSOR_REDUCE, api, None, (view,), (op, last, False, False), SBUF, out, mask
                )
                return result.reshape(kept) if keepdims else result
        return execute(TENSOR_REDUCE, api, None, (x,), (op, axis, False, keepdims), SBUF, out, mask)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name} over the last free axes `axis` (tensor_reduce on VectorE). x: tile (p, ...); a "
        "tile keeps two axes: (p, 1) for a (p, n) tile."
    )
    return function


sum = _reduction("sum", "add")


max = _reduction("max", "maximum")


min = _reduction("min", "minimum")


prod = _reduction("prod", "multiply")


_all = _reduction("all", "logical_and", True)


def all(x: Any, axis: Any, *, dtype: Any = bool, mask: Any = None, **kwargs: Any) -> Tensor:
    """Whether all elements over the last free axes `axis` are not zero, as booleans."""
    return _all(x, axis, dtype=dtype, mask=mask, **kwargs)


def _count(t: Tensor, axis: Any, mask: Any) -> int:
    """How many elements a mean is over. A mask leaves a smaller tile (nki.api.shared, NKI API
    Masking), as long as it keeps equally many of each row that it keeps any of."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    n = 1
    for a in axes:
        n *= t.shape[a]  # the reduction has been made: it is an axis of the tile
    where = condition(mask, "nl.mean")
    if where is None:
        return n
    kept = np.count_nonzero(fit(where, t.shape, "nl.mean"), axis=tuple(axes))
    some = np.unique(kept[kept > 0])
    return int(some[0]) if len(some) == 1 else n


def mean(
    x: Any, axis: Any, *, dtype: Any = None, mask: Any = None, keepdims: bool = False, **kwargs: Any
) -> Tensor:
    """The mean over the last free axes: a sum and a multiplication."""
    t = tile(x, "nl.mean")
    out = want_dtype(dtype, "nl.mean") or (t.dtype if dtypes.is_float(t.dtype) else dtypes.FLOAT32)
    total = sum(t, axis, dtype=dtypes.FLOAT32, mask=mask, keepdims=keepdims, **kwargs)
    return binary(MULTIPLY, "nl.mean", total, 1.0 / _count(t, axis, mask), None, out)


def var(x: Any, axis: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """The variance over the last free axes: mean, difference, square, mean."""
    only(kwargs, "nl.var")
    t = tile(x, "nl.var")
    return variance(t, axis, want_dtype(dtype, "nl.var") or t.dtype, mask, False)


def variance(t: Tensor, axis: Any, dtype: np.dtype, mask: Any, keepdims: bool) -> Tensor:
    """The lowering of nl.var. `keepdims`: whether the axes stay, with one element each."""
    center = mean(t, axis, dtype=dtypes.FLOAT32, mask=mask, keepdims=True)
    off = subtract(t, center, dtype=dtypes.FLOAT32, mask=mask)
    return mean(square(off, mask=mask), axis, dtype=dtype, mask=mask, keepdims=keepdims)


def softmax(
    x: Any,
    axis: Any,
    *,
    dtype: Any = None,
    compute_dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """exp(x - max) / sum over the last free axes: max, exp with bias and running sum, reciprocal,
    multiply."""
    only(kwargs, "nl.softmax")
    t = tile(x, "nl.softmax")
    api = "nl.softmax"
    given = arguments.axes(axis, api)
    axes = given if isinstance(given, tuple) else (given,)
    out = want_dtype(dtype if dtype is not None else compute_dtype, api) or t.dtype
    fused = tuple(a % t.ndim for a in axes) == tuple(builtins.range(1, t.ndim))
    if not fused or mask is not None:
        shifted = subtract(
            t, max(t, axes, mask=mask, keepdims=True), dtype=dtypes.FLOAT32, mask=mask
        )
        p = exp(shifted, mask=mask)
        return multiply(p, reciprocal(sum(p, axes, mask=mask, keepdims=True)), dtype=out, mask=mask)
    negative_max = execute(
        TENSOR_REDUCE,
        api,
        None,
        (t,),
        (alu.ALU["maximum"], axes, True, False),
        SBUF,
        dtypes.FLOAT32,
    )
    total = current(api).allocate(SBUF, (t.shape[0], 1), dtypes.FLOAT32)
    p = execute(
        ACTIVATION,
        api,
        None,
        (t, negative_max),
        ("exp", False, True, alu.ALU["add"], RESET_REDUCE),
        SBUF,
        dtypes.FLOAT32,
        None,
        total,
    )
    inverse = execute(RECIPROCAL, api, None, (total,))
    return execute(
        TENSOR_SCALAR, api, None, (p, inverse), (MULTIPLY, False, None, False, None), SBUF, out
    )


def rms_norm(
    x: Any,
    w: Any,
    axis: Any,
    n: int,
    epsilon: float = 1e-06,
    *,
    dtype: Any = None,
    compute_dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """x * rsqrt(sum(x * x) / n + epsilon) * w."""
    only(kwargs, "nl.rms_norm")
    t = tile(x, "nl.rms_norm")
    out = want_dtype(dtype if dtype is not None else compute_dtype, "nl.rms_norm") or t.dtype
    total = sum(square(t, dtype=dtypes.FLOAT32, mask=mask), axis, mask=mask, keepdims=True)
    scaled = execute(
        TENSOR_SCALAR,
        "nl.rms_norm",
        None,
        (
            total,
            Const(1.0 / arguments.integer(n, "nl.rms_norm", "n", least=1)),
            Const(arguments.real(epsilon, "nl.rms_norm", "epsilon")),
        ),
        (MULTIPLY, False, alu.ALU["add"], False, None),
    )
    normal = multiply(t, rsqrt(scaled), dtype=dtypes.FLOAT32, mask=mask)
    return (
        multiply(normal, w, dtype=out, mask=mask)
        if w is not None
        else copy(normal, dtype=out, mask=mask)
    )
