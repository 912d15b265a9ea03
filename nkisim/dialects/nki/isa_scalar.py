"""nisa on ScalarE: activation functions.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execute import remember
from ...isa.registers import IDLE
from ...isa.scalar import ACTIVATION
from ...machine.memory import CONST
from ...rules.errors import broken
from ...tensors.tensor import Tensor
from ..functions import activation_name, activation_sources, alu_of
from . import enums
from .enums import reduce_cmd
from .isa_support import DONE, again, destination, of_one_size, run
from .objects import NkiInstruction
from .support import operand, option
from .targets import needs_trn2
from .tensor import NkiTensor

_IDLE = reduce_cmd.idle


def _activate(
    api: str,
    dst: Any,
    op: Any,
    data: Any,
    bias: Any,
    scale: Any,
    reduce_op: Any,
    reduce_res: Any,
    cmd: int,
) -> NkiInstruction:
    plain = bias is reduce_op is reduce_res is None and type(scale) is float and scale == 1.0
    key: tuple[Any, ...] = ()
    if (
        plain
        and type(dst) is type(data) is NkiTensor
        and not (dst.runtime or dst.tensor_index or data.runtime or data.tensor_index)
    ):
        key = (activation, op, cmd, dst.meta, data.meta)
        if again(key, api, dst, (data,)):
            return DONE
    into, t = of_one_size(dst, data, api, "data")
    name = activation_name(op, api)
    if plain:
        plainly = ("sin_table" if name == "sin" else name, False, False, None, cmd, True)
        done = run(ACTIVATION, api, into, (t,), plainly)
        if key:
            remember(key, ACTIVATION, plainly, into.meta, None, (t,))
        return done

    def read(value: Any, what: str) -> Tensor:
        return operand(float(value) if isinstance(value, int) else value, api, what)

    srcs, has_scale, has_bias = activation_sources(t, scale, bias, read)
    if has_bias and srcs[-1].meta.space == CONST:
        needs_trn2(f"{api} with a number as bias")
    reduction = None if reduce_op is None else alu_of(reduce_op, api, "reduce_op")
    extra = None if reduce_res is None else destination(reduce_res, api, "reduce_res")
    # ScalarE's sine is a polynomial that is right from -pi to pi only
    attrs = (
        "sin_table" if name == "sin" else name,
        has_scale,
        has_bias,
        reduction,
        cmd,
        True,
    )
    return run(ACTIVATION, api, into, srcs, attrs, extra)


def activation(
    dst: Any,
    op: Any,
    data: Any,
    bias: Any = None,
    scale: Any = 1.0,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    name: str | None = None,
) -> NkiInstruction:
    """dst = op(data * scale + bias) on ScalarE, in float32; optionally reduced into the engine's
    registers.

    bias: number (trn2 and later) or tile (p, 1). scale: number or fp32 tile (p, 1). reduce_res:
    tile (p, 1) to which the registers are read.
    """
    api = "nisa.activation"
    if reduce_cmd is _IDLE:
        return _activate(api, dst, op, data, bias, scale, reduce_op, reduce_res, IDLE)
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    if cmd is enums.reduce_cmd.load_reduce:
        broken(
            "argument",
            f"{api} has no load_reduce",
            got="reduce_cmd.load_reduce",
            limit="idle, reset, reduce, reset_reduce",
        )
    return _activate(api, dst, op, data, bias, scale, reduce_op, reduce_res, cmd.value)


def activation_reduce(
    dst: Any,
    op: Any,
    data: Any,
    reduce_op: Any,
    reduce_res: Any,
    bias: Any = None,
    scale: Any = 1.0,
    name: str | None = None,
) -> NkiInstruction:
    """nisa.activation with the registers reset, reduced into, and read to `reduce_res` (p, 1)
    unless that is None."""
    return _activate(
        "nisa.activation_reduce",
        dst,
        op,
        data,
        bias,
        scale,
        reduce_op,
        reduce_res,
        enums.reduce_cmd.reset_reduce.value,
    )


__all__ = ["activation", "activation_reduce"]
