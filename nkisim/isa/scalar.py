"""ScalarE: activation functions, with scale, bias and a running reduction.

Sources: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (activation, activation_reduce);
v2.32.0 nki/api/nki/isa/__init__.py (activation with a number as bias, activate2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import CONST, PSUM, SBUF
from ..tensors.tensor import Tensor
from . import alu
from .core import SCALAR, Call, Plan, instruction
from .registers import IDLE, REDUCE, RESET, RESET_REDUCE, registers_of

_BIAS_DTYPES = (dtypes.FLOAT32, dtypes.FLOAT16, dtypes.bfloat16)


def _scale_fits(call: Call, scale: Tensor, partitions: int) -> None:
    """A scale that is a tile is one float32 per partition."""
    if scale.meta.space in (SBUF, PSUM) and (
        scale.meta.free != 1 or scale.meta.partitions != partitions
    ):
        call.fail(
            "shape-mismatch",
            f"scale '{scale.label}' is not a vector over the partitions",
            scale,
            limit=f"a number, or a tile of shape ({partitions}, 1)",
            remedy="Scale by a (p, 1) tile.",
        )
    call.vector(scale, partitions, "scale")
    if scale.dtype != dtypes.FLOAT32:
        call.fail(
            "dtype",
            f"scale '{scale.label}' is {dtypes.name(scale.dtype)}",
            scale,
            limit="float32",
            remedy="Copy it to a float32 tile first.",
        )


def _bias_fits(call: Call, bias: Tensor, partitions: int) -> None:
    """The bias is one value per partition, or in NKI 0.6 a number, of a data type that the API
    takes."""
    newer = call.attrs.newer
    if bias.meta.space == CONST and newer:
        call.generation(3)
    elif bias.meta.space == CONST:
        call.fail(
            "dtype",
            "bias is a number",
            limit=f"a tile of shape ({partitions}, 1)",
            remedy=f"Make it a tile: nisa.memset(({partitions}, 1), value, dtype=nl.float32).",
        )
    call.vector(bias, partitions, "bias")
    if bias.dtype == dtypes.tfloat32 or (bias.dtype not in _BIAS_DTYPES and not newer):
        call.fail(
            "dtype",
            f"bias '{bias.label}' is {dtypes.name(bias.dtype)}",
            bias,
            limit="float32, float16 or bfloat16",
            remedy="Copy it to a float32 tile first.",
        )
    if call.attrs.op == "reciprocal" and call.target.nc_version == 2:
        call.fail(
            "argument",
            "activation(nl.reciprocal) takes no bias on NeuronCore-v2",
            bias,
            remedy="Add the bias first, or use nisa.reciprocal.",
        )


def _reduction_there(call: Call) -> None:
    """The reduction that `activation` asks for exists in this API and on this target."""
    reduce_op, cmd, newer = call.attrs.reduce_op, call.attrs.reduce_cmd, call.attrs.newer
    if reduce_op is not None:
        if reduce_op.reduce is None:
            call.fail("operator", f"'{reduce_op.name}' is not a reduction", got=reduce_op.name)
        if newer and reduce_op.name != "add":
            call.fail(
                "operator",
                f"reduce_op '{reduce_op.name}' is not one that it takes",
                got=reduce_op.name,
                limit="nl.add",
                remedy="Reduce with nisa.tensor_reduce, or on trn3 with nisa.activate2.",
            )
        if call.target.nc_version == 2 and reduce_op.name != "add":
            call.fail(
                "operator",
                f"reduce_op '{reduce_op.name}' needs NeuronCore-v3",
                got=f"target {call.target.name}",
                limit="nl.add on NeuronCore-v2",
            )
    elif cmd in (REDUCE, RESET_REDUCE):
        call.fail(
            "argument",
            "reduce_cmd asks for a reduction but reduce_op is missing",
            remedy="Pass reduce_op=nl.add.",
        )


@instruction(
    "activation",
    "f(data * scale + bias), with an optional reduction over the free axes",
    "aws-neuron-sdk v2.26.0 nki.isa activation, activation_reduce",
    attrs=(
        "op",
        "has_scale",
        "has_bias",
        "reduce_op",
        "reduce_cmd",
        "newer",
    ),
    defaults=(False,),
    hidden=(
        "has_scale",
        "has_bias",
        "newer",
    ),
)
def ACTIVATION(call: Call) -> Plan:
    """attrs: (function name, has scale, has bias, reduce operator or None, reduce_cmd), and in NKI
    0.6 (..., True).

    Sources: data, then scale, then bias, as present. `extra`: where the reduction registers are
    read to. In NKI 0.6 the bias may be a number from NeuronCore-v3 on and of any data type but
    tfloat32, and the only reduction is the sum.
    """
    function_name, has_scale, has_bias, reduce_op, cmd, _newer = call.attrs
    rest = list(call.srcs)
    data = rest.pop(0)
    call.tile(data, "data")
    partitions = data.meta.partitions
    if has_scale:
        scale = rest.pop(0)
        if scale.meta.space != CONST:
            _scale_fits(call, scale, partitions)
    if has_bias:
        bias = rest.pop(0)
        _bias_fits(call, bias, partitions)
    _reduction_there(call)
    if call.extra is not None:
        call.vector(call.extra, partitions, "reduce_res")
    shape = data.meta.shape
    call.result(shape, SCALAR)
    function = alu.activation_function(function_name)
    column = (partitions,) + (1,) * (len(shape) - 1)

    value = _activated(function, has_scale, has_bias, column)
    cost = {"accumulate": reduce_op is not None or call.extra is not None}
    if reduce_op is None and call.extra is None and cmd == IDLE:
        if (
            not has_scale
            and not has_bias
            and data.array.dtype == np.float32
            and isinstance(function, np.ufunc)
        ):
            return Plan(SCALAR, function, shape, dtypes.FLOAT32, cost=cost)
        return Plan(SCALAR, value, shape, dtypes.FLOAT32, cost=cost)

    return _accumulating(call, value, reduce_op, cmd, data)


def _activated(
    function: Callable[[np.ndarray], np.ndarray],
    has_scale: bool,
    has_bias: bool,
    column: tuple[int, ...],
) -> Callable[..., np.ndarray]:
    """The step function(data * scale + bias): the operands, as present, are numbers or one value
    per partition, shaped as `column`."""

    def value(a: np.ndarray, *operands: Any) -> np.ndarray:
        x = dtypes.to_fp32(a)
        at = 0
        if has_scale:
            s = operands[0]
            x = x * (s.reshape(column) if isinstance(s, np.ndarray) else np.float32(s))
            at = 1
        if has_bias:
            b = operands[at]
            x = x + (
                dtypes.to_fp32(b).reshape(column) if isinstance(b, np.ndarray) else np.float32(b)
            )
        out = function(x)
        return out.copy() if out is a else out

    return value


def _accumulating(
    call: Call, value: Callable[..., np.ndarray], reduce_op: Any, cmd: int, data: Tensor
) -> Plan:
    """The plan of a function whose results are reduced into the registers of ScalarE, which `extra`
    may read."""
    partitions, shape = data.meta.partitions, data.meta.shape
    start = data.meta.pstart
    rows = slice(start, start + partitions)
    reads_out = call.extra is not None
    free_axes = tuple(range(1, len(shape)))

    def reducing(program: Any, *operands: Any) -> Any:
        out = value(*operands)
        identity = np.float32(0.0 if reduce_op is None else reduce_op.identity)
        registers = registers_of(program, SCALAR)
        if cmd in (RESET, RESET_REDUCE):
            registers.write(rows, identity)
        if cmd in (REDUCE, RESET_REDUCE):
            kept = (
                out if program.active_mask is None else np.where(program.active_mask, out, identity)
            )
            reduced = reduce_op.reduce(kept, axis=free_axes).reshape(partitions, 1)
            registers.write(rows, reduce_op.function(registers.read(rows, call.api), reduced))
        return (out, registers.read(rows, call.api)) if reads_out else out

    def alone(*operands: Any) -> Any:
        out = value(*operands)
        reduced = reduce_op.reduce(out, axis=free_axes).reshape(partitions, 1)
        return out, reduce_op.function(np.float32(reduce_op.identity), reduced)

    def effect(program: Any) -> None:
        registers = registers_of(program, SCALAR)
        if cmd in (RESET, RESET_REDUCE):
            registers.write(rows, 0)
        elif cmd == REDUCE or reads_out:
            registers.read(rows, call.api)

    return Plan(
        SCALAR,
        reducing,
        shape,
        dtypes.FLOAT32,
        stateful=True,
        alone=alone if cmd == RESET_REDUCE and reads_out and reduce_op is not None else None,
        effect=effect,
        cost={"accumulate": reduce_op is not None or reads_out},
    )


_PAIRS = (
    ("multiply", "add"),
    ("multiply", "subtract"),
    ("multiply", None),
    ("add", None),
    ("subtract", None),
    (None, None),
)
"""What activate2 computes before the function; None is nl.bypass."""


def _steps_go_together(call: Call) -> None:
    """What `activate2` computes before the function is one of `_PAIRS`; only a step that is there
    can be reversed."""
    _, op0, reverse0, op1, reverse1, _, _ = call.attrs
    pair = (None if op0 is None else op0.name, None if op1 is None else op1.name)
    if pair not in _PAIRS:
        call.fail(
            "operator",
            f"op0={pair[0] or 'bypass'} and op1={pair[1] or 'bypass'} do not go together",
            got=f"({pair[0] or 'bypass'}, {pair[1] or 'bypass'})",
            limit="(multiply, add), (multiply, subtract), (multiply, bypass), (add, "
            "bypass), (subtract, bypass), "
            "(bypass, bypass)",
        )
    for op, reverse, number in ((op0, reverse0, 0), (op1, reverse1, 1)):
        if reverse and op is None:
            call.fail(
                "argument",
                f"reverse{number} is set, but op{number} is nl.bypass",
                got=f"reverse{number}=True",
            )


def _reduction_of_the_function(call: Call) -> None:
    """The reduction that `activate2` asks for exists, and so does its command."""
    reduce_op, cmd = call.attrs.reduce_op, call.attrs.reduce_cmd
    if reduce_op is not None and reduce_op.name not in (
        "add",
        "maximum",
        "minimum",
        "abs_max",
        "abs_min",
    ):
        call.fail(
            "operator",
            f"reduce_op '{reduce_op.name}' is not one that it takes",
            got=reduce_op.name,
            limit="nl.add, nl.maximum, nl.minimum, nl.abs_max, nl.abs_min",
        )
    if reduce_op is None and cmd in (REDUCE, RESET_REDUCE):
        call.fail(
            "argument",
            "reduce_cmd asks for a reduction but reduce_op is missing",
            remedy="Pass reduce_op=nl.add.",
        )
    if cmd not in (IDLE, RESET, REDUCE, RESET_REDUCE):
        call.fail(
            "argument",
            "reduce_cmd is not one that it takes",
            got=cmd,
            limit="idle, reset, reduce, reset_reduce",
        )


@instruction(
    "activate2",
    "f((data op0 imm0) op1 imm1), with an optional reduction over the free axes",
    "aws-neuron-sdk v2.32.0 nki.isa activate2",
    attrs=("op", "op0", "reverse0", "op1", "reverse1", "reduce_op", "reduce_cmd"),
)
def ACTIVATE2(call: Call) -> Plan:
    """attrs: (function name, or "prelu"; op0 or None for bypass, reverse0; op1 or None, reverse1;
    reduce operator or None, reduce_cmd). Sources: data, imm0, imm1, relu_param (each a number or a
    vector). `extra`: where the registers are read to.

    NeuronCore-v4 and later.
    """
    function_name, op0, reverse0, op1, reverse1, reduce_op, cmd = call.attrs
    call.generation(4)
    data = call.srcs[0]
    call.tile(data, "data")
    partitions = data.meta.partitions
    vectors = []
    for operand, what in zip(call.srcs[1:], ("imm0", "imm1", "relu_param")):
        call.vector(operand, partitions, what)
        if operand.meta.space != CONST and what != "relu_param":
            vectors.append(operand)
    if len(vectors) == 2 and vectors[0].dtype != vectors[1].dtype:
        call.fail(
            "dtype",
            f"imm0 '{vectors[0].label}' and imm1 '{vectors[1].label}' have different data types",
            vectors[1],
            got=f"{dtypes.name(vectors[0].dtype)} and {dtypes.name(vectors[1].dtype)}",
            limit="one data type",
        )
    _steps_go_together(call)
    _reduction_of_the_function(call)
    if call.extra is not None:
        call.vector(call.extra, partitions, "reduce_res")
    shape = data.meta.shape
    call.result(shape, SCALAR)
    column = (partitions,) + (1,) * (len(shape) - 1)
    function = None if function_name == "prelu" else alu.activation_function(function_name)
    value = _two_steps(function, ((op0, reverse0), (op1, reverse1)), column)
    return _accumulating(call, value, reduce_op, cmd, data)


def _two_steps(
    function: Callable[[np.ndarray], np.ndarray] | None,
    steps: tuple[tuple[alu.AluOp | None, bool], ...],
    column: tuple[int, ...],
) -> Callable[..., np.ndarray]:
    """The function (None is prelu) after two steps (operator or None, whether it is reversed), each
    with a number or one value per partition, shaped as `column`."""

    def fit(operand: Any) -> Any:
        return (
            dtypes.to_fp32(operand).reshape(column)
            if isinstance(operand, np.ndarray)
            else np.float32(operand)
        )

    def value(a: np.ndarray, imm0: Any, imm1: Any, param: Any) -> np.ndarray:
        x = dtypes.to_fp32(a)
        for (op, reverse), imm in zip(steps, (imm0, imm1)):
            if op is not None:
                x = op.function(fit(imm), x) if reverse else op.function(x, fit(imm))
        if function is None:
            return np.where(x >= 0, x, fit(param) * x)
        out = function(x)
        return out.copy() if out is a else out

    return value
