"""ScalarE: activation functions, with scale, bias and a running reduction.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (activation, activation_reduce).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..memory import CONST, PSUM, SBUF
from . import alu
from .core import IDLE, REDUCE, RESET, RESET_REDUCE, SCALAR, Call, Plan, instruction, registers_of

_BIAS_DTYPES = (dtypes.FLOAT32, dtypes.FLOAT16, dtypes.bfloat16)


@instruction("activation", "f(data * scale + bias), with an optional reduction over the free axes",
             "aws-neuron-sdk v2.26.0 nki.isa activation, activation_reduce")
def ACTIVATION(call: Call) -> Plan:
    """attrs: (function name, has scale, has bias, reduce operator or None, reduce_cmd).

    Sources: data, then scale, then bias, as present. `extra`: where the reduction registers are read to.
    """
    function_name, has_scale, has_bias, reduce_op, cmd = call.attrs
    rest = list(call.srcs)
    data = rest.pop(0)
    call.tile(data, "data")
    partitions = data.meta.partitions
    if has_scale:
        scale = rest.pop(0)
        if scale.meta.space != CONST:
            if scale.meta.space in (SBUF, PSUM) and (scale.meta.free != 1 or scale.meta.partitions != partitions):
                call.fail("shape-mismatch", f"scale '{scale.label}' is not a vector over the partitions", scale,
                          limit=f"a number, or a tile of shape ({partitions}, 1)", remedy="Scale by a (p, 1) tile.")
            call.vector(scale, partitions, "scale")
            if scale.dtype != dtypes.FLOAT32:
                call.fail("dtype", f"scale '{scale.label}' is {dtypes.name(scale.dtype)}", scale, limit="float32",
                          remedy="Copy it to a float32 tile first.")
    if has_bias:
        bias = rest.pop(0)
        if bias.meta.space == CONST:
            call.fail("dtype", "bias is a number", limit=f"a tile of shape ({partitions}, 1)",
                      remedy=f"Make it a tile: nisa.memset(({partitions}, 1), value, dtype=nl.float32).")
        call.vector(bias, partitions, "bias")
        if bias.dtype not in _BIAS_DTYPES:
            call.fail("dtype", f"bias '{bias.label}' is {dtypes.name(bias.dtype)}", bias,
                      limit="float32, float16 or bfloat16", remedy="Copy it to a float32 tile first.")
        if function_name == "reciprocal" and call.target.nc_version == 2:
            call.fail("argument", "activation(nl.reciprocal) takes no bias on NeuronCore-v2", bias,
                      remedy="Add the bias first, or use nisa.reciprocal.")
    if reduce_op is not None:
        if reduce_op.reduce is None:
            call.fail("operator", f"'{reduce_op.name}' is no reduction", got=reduce_op.name)
        if call.target.nc_version == 2 and reduce_op.name != "add":
            call.fail("operator", f"reduce_op '{reduce_op.name}' needs NeuronCore-v3", got=f"target {call.target.name}",
                      limit="nl.add on NeuronCore-v2")
    elif cmd in (REDUCE, RESET_REDUCE):
        call.fail("argument", "reduce_cmd asks for a reduction but reduce_op is missing", remedy="Pass reduce_op=nl.add.")
    if call.extra is not None:
        call.vector(call.extra, partitions, "reduce_res")
    shape = data.meta.shape
    call.result(shape, SCALAR)
    function = alu.ACTIVATIONS[function_name]
    column = (partitions,) + (1,) * (len(shape) - 1)

    def value(a: np.ndarray, operands: tuple[Any, ...]) -> np.ndarray:
        x = dtypes.to_fp32(a)
        at = 0
        if has_scale:
            s = operands[0]
            x = x * (s.reshape(column) if isinstance(s, np.ndarray) else np.float32(s))
            at = 1
        if has_bias:
            x = x + dtypes.to_fp32(operands[at]).reshape(column)
        out = function(x)
        return out.copy() if out is a else out

    cost = {"accumulate": reduce_op is not None or call.extra is not None}
    if reduce_op is None and call.extra is None and cmd == IDLE:
        if not has_scale and not has_bias and data.array.dtype == np.float32 and isinstance(function, np.ufunc):
            return Plan(SCALAR, function, shape, dtypes.FLOAT32, cost=cost)
        return Plan(SCALAR, lambda a, *operands: value(a, operands), shape, dtypes.FLOAT32, cost=cost)

    start = data.meta.pstart
    rows = slice(start, start + partitions)
    reads_out = call.extra is not None
    free_axes = tuple(range(1, len(shape)))

    def reducing(program: Any, a: np.ndarray, *operands: Any) -> Any:
        out = value(a, operands)
        identity = np.float32(0.0 if reduce_op is None else reduce_op.identity)
        registers = registers_of(program, SCALAR)
        if cmd in (RESET, RESET_REDUCE):
            registers.write(rows, identity)
        if cmd in (REDUCE, RESET_REDUCE):
            kept = out if program.active_mask is None else np.where(program.active_mask, out, identity)
            reduced = reduce_op.reduce(kept, axis=free_axes).reshape(partitions, 1)
            registers.write(rows, reduce_op.function(registers.read(rows, call.api), reduced))
        return (out, registers.read(rows, call.api)) if reads_out else out

    def effect(program: Any) -> None:
        registers = registers_of(program, SCALAR)
        if cmd in (RESET, RESET_REDUCE):
            registers.write(rows, 0)
        elif cmd == REDUCE or reads_out:
            registers.read(rows, call.api)

    return Plan(SCALAR, reducing, shape, dtypes.FLOAT32, stateful=True, effect=effect, cost=cost)
