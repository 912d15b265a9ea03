"""nisa on ScalarE: activation functions.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execute import execute, make, remember
from ...execution.execution import current, running
from ...isa.scalar import ACTIVATION
from ...machine.memory import SBUF
from ...tensors.tensor import Tensor
from ..functions import activation_name, activation_sources, alu_of
from .allocated import needs_bias, places_tiles
from .isa_support import (
    IDLE,
    dst_of,
    option,
    reduce_cmd,
)
from .support import operand, tile, want_dtype

_REDUCE_CMD = reduce_cmd
"""The enumeration, under a name that no parameter has."""


def activation(
    op: Any,
    data: Any,
    *,
    bias: Any = None,
    scale: Any = 1.0,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """op(data * scale + bias) on ScalarE, in float32; optionally reduced into the engine's
    registers.

    data: tile (p, ...). bias: tile (p, 1), fp32/fp16/bf16. scale: number or fp32 tile (p, 1).
    reduce_res: tile (p, 1) to which the registers are read. Returns a tile of the shape of `data`,
    of `dtype` (default: that of `data`).
    """
    if (
        bias is None
        and reduce_op is None
        and reduce_res is None
        and not kwargs
        and isinstance(data, Tensor)
        and type(scale) is float
        and scale == 1.0
        and reduce_cmd is IDLE
    ):
        api = "nisa.activation"
        execution = running() or current(api)
        usual = mask is dtype is None
        try:
            known = execution.signatures.get((activation, op, data.meta)) if usual else None
        except TypeError:  # no function has no hash
            known = None
        if execution.places_tiles:
            needs_bias(api)
        if known is not None:
            return make(execution, known, api, (data,))
        attrs = (activation_name(op, api), False, False, None, 0)
        out = None if dtype is None else want_dtype(dtype, api)
        made = execute(ACTIVATION, api, None, (data,), attrs, SBUF, out, mask)
        if usual:
            remember((activation, op, data.meta), ACTIVATION, attrs, SBUF, None, (data,))
        return made
    return _activation(
        "nisa.activation",
        op,
        data,
        bias,
        scale,
        reduce_op,
        reduce_res,
        option(reduce_cmd, _REDUCE_CMD, "nisa.activation", "reduce_cmd"),
        mask,
        dtype,
        kwargs,
    )


def activation_reduce(
    op: Any,
    data: Any,
    *,
    reduce_op: Any,
    reduce_res: Any,
    bias: Any = None,
    scale: Any = 1.0,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """nisa.activation with the registers reset, reduced into, and read to `reduce_res` (p, 1)."""
    return _activation(
        "nisa.activation_reduce",
        op,
        data,
        bias,
        scale,
        reduce_op,
        reduce_res,
        int(_REDUCE_CMD.reset_reduce),
        mask,
        dtype,
        kwargs,
    )


def _activation(
    api: str,
    op: Any,
    data: Any,
    bias: Any,
    scale: Any,
    reduce_op: Any,
    reduce_res: Any,
    cmd: int,
    mask: Any,
    dtype: Any,
    kwargs: dict[str, Any],
) -> Tensor:
    space = str(kwargs.pop("buffer", None) or SBUF)
    dst = dst_of(kwargs, api) if kwargs else None
    name = activation_name(op, api)
    t = data if isinstance(data, Tensor) else tile(data, api)
    srcs, has_scale, has_bias = activation_sources(t, scale, bias, lambda x, _: operand(x, api))
    if not has_bias and places_tiles():
        needs_bias(api)
    reduction = None if reduce_op is None else alu_of(reduce_op, api, "reduce_op")
    extra = None if reduce_res is None else tile(reduce_res, api)
    return execute(
        ACTIVATION,
        api,
        dst,
        srcs,
        (name, has_scale, has_bias, reduction, cmd),
        space,
        want_dtype(dtype, api) if dtype is not None else None,
        mask,
        extra,
    )
