"""nisa on VectorE: reductions and scans.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import remember
from ...isa.reduce import TENSOR_REDUCE
from ...isa.running import TENSOR_SCALAR_REDUCE
from ...isa.scan import TENSOR_TENSOR_SCAN
from ...rules import arguments
from ...rules.arguments import flag
from ...rules.errors import broken
from ...tensors.tensor import Tensor
from ..functions import alu_of
from . import enums
from .enums import reduce_cmd
from .isa_support import (
    DONE,
    again,
    destination,
    of_one_size,
    operator_operand,
    run,
)
from .objects import NkiInstruction
from .support import operand, option, same_size, tile
from .tensor import NkiTensor

_REDUCTIONS: dict[tuple[Any, int], tuple[Any, ...]] = {}
"""By the operator that a kernel names and an axis that is a plain integer, the attributes of
tensor_reduce without options."""


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
    srcs: tuple[Tensor, ...] = (t, operator_operand(api, first, operand0, "operand0"))
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


__all__ = [
    "tensor_reduce",
    "tensor_scalar_reduce",
    "tensor_tensor_scan",
]
