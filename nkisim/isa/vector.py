"""VectorE: elementwise operators; some of them may run on other engines.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py,
general/nki/api/nki.api.shared.rst.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import CONST
from . import alu
from .core import ASSOCIATIVE, COPIES, GPSIMD, SCALAR, TWO_INPUTS, VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import ISA_32 as _ISA_32
from .operands import (
    integers_only,
    no_psum_on_gpsimd,
    not_both_psum,
    operators_there,
    stage,
    written_as_bits,
)

_WIDE_INTEGERS = (dtypes.INT32, np.dtype(np.uint32))


def _engine_of_two(call: Call, op: alu.AluOp, wanted: str | None, integer: bool) -> str:
    """The engine of an operator on two tiles: VectorE, and for powers and integer arithmetic
    GpSimdE."""
    if op.name == "power" or integer:
        engine: str = wanted or GPSIMD
        if engine != GPSIMD and op.name == "power":
            call.fail("engine", "'power' runs on GpSimdE only", got=engine, limit=GPSIMD)
        return engine
    if wanted not in (None, VECTOR) and not (wanted == GPSIMD and op.name in ("add", "multiply")):
        call.fail(
            "engine",
            f"tensor_tensor with '{op.name}' does not run on the {wanted} engine",
            got=wanted,
            limit="vector (gpsimd for power, add, multiply and integer arithmetic)",
        )
    return wanted or VECTOR


@instruction(
    "tensor_tensor",
    "an operator on two tiles of one shape",
    f"{_ISA} tensor_tensor",
    attrs=(
        "op",
        "engine",
        "newer",
    ),
    defaults=(False,),
    hidden=("engine", "newer"),
    reduces=lambda attrs: attrs.op.name in ASSOCIATIVE,
    pace=TWO_INPUTS,
)
def TENSOR_TENSOR(call: Call) -> Plan:
    """attrs: (operator, engine or None), and in NKI 0.6 (..., True): there GpSimdE has all
    arithmetic operators on integers of 32 bits, not only the three of older versions."""
    op, wanted, newer = call.attrs
    a, b = call.srcs[0], call.srcs[1]
    call.tile(a, "data1")
    call.tile(b, "data2")
    call.same_partitions(a, b)
    operators_there(call, op)
    if op.unary:
        call.fail(
            "operator",
            f"'{op.name}' takes one operand",
            got=op.name,
            remedy="Use nisa.activation or the nl function.",
        )
    if a.meta.free != b.meta.free:
        call.fail(
            "shape-mismatch",
            f"'{a.label}' has {a.meta.free} elements per partition, '{b.label}' has {b.meta.free}",
            b,
            got=f"{a.meta.describe()} and {b.meta.describe()}",
            remedy="To combine a tile with one value per partition use nisa.tensor_scalar.",
        )
    not_both_psum(call, a, b)
    if op.bitvec:
        integers_only(call, a, b)
    out = call.dst.dtype if call.dst is not None else call.dtype
    integer = (
        a.dtype in _WIDE_INTEGERS
        and b.dtype in _WIDE_INTEGERS
        and (out is None or out in _WIDE_INTEGERS)
        and (
            op.name in ("add", "subtract", "multiply")
            or (newer and a.dtype == b.dtype and not op.bitvec and op.name != "power")
        )
    )
    engine = _engine_of_two(call, op, wanted, integer)
    no_psum_on_gpsimd(call, engine, a, b)
    call.result(a.meta.shape, engine)
    shape = a.meta.shape
    reshape = b.meta.shape != shape
    if op.bitvec or (integer and engine == GPSIMD):
        function = op.function

        def on_integers(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            found: np.ndarray = function(x, dtypes.as_bits(y, x.dtype).reshape(shape))
            return found

        return Plan(engine, written_as_bits(call, on_integers), shape, bits=True)
    if a.array.dtype == np.float32 and b.array.dtype == np.float32 and not reshape:
        return Plan(engine, op.function, shape, dtypes.FLOAT32)

    def compute(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        found: np.ndarray = op.function(dtypes.to_fp32(x), dtypes.to_fp32(y).reshape(shape))
        return found

    return Plan(engine, compute, shape, dtypes.FLOAT32)


def _engine_of_scalars(call: Call, ops: list[alu.AluOp]) -> str:
    """The engine that runs these steps with numbers: the one asked for, else VectorE, and GpSimdE
    for what only it has."""
    wanted = call.attrs.engine
    if wanted == SCALAR:
        pair = (ops[0].name, ops[1].name if len(ops) > 1 else None)
        if call.target.nc_version < 3:
            call.fail(
                "engine",
                "ScalarE runs tensor_scalar from NeuronCore-v3 on",
                got=f"target {call.target.name}",
                remedy="Use nisa.activation(nl.copy, data, scale=...) or nisa.vector_engine.",
            )
        if pair not in (("multiply", "add"), ("multiply", None), ("add", None)):
            call.fail(
                "engine",
                f"ScalarE does not run {pair[0]}" + (f" then {pair[1]}" if pair[1] else ""),
                got=str(pair),
                limit="multiply then add, multiply, or add",
                remedy="Use these operators, or leave engine= out: VectorE runs the others.",
            )
        return SCALAR
    if wanted == GPSIMD:
        if any(op.name not in ("rsqrt", "power", "add", "multiply") for op in ops):
            call.fail(
                "engine",
                f"GpSimdE does not run tensor_scalar with {', '.join(op.name for op in ops)}",
                got=wanted,
                limit="rsqrt (and power, add, multiply)",
                remedy="Use these operators, or leave engine= out to let it be chosen.",
            )
        return GPSIMD
    if wanted not in (None, VECTOR):
        call.fail(
            "engine",
            f"tensor_scalar does not run on the {wanted} engine",
            got=wanted,
            limit="vector, scalar, gpsimd",
            remedy="Leave engine= out to let it be chosen.",
        )
    only_gpsimd = [op for op in ops if VECTOR not in op.engines]
    engine = GPSIMD if only_gpsimd and wanted is None else VECTOR
    for op in ops:
        if engine not in op.engines and wanted is None:
            call.fail(
                "engine",
                f"no engine runs both '{ops[0].name}' and '{ops[1].name}'",
                got=f"{ops[0].name}: {', '.join(ops[0].engines)}; "
                f"{ops[1].name}: {', '.join(ops[1].engines)}",
                remedy="Use two instructions, one for each operator.",
            )
        if engine not in op.engines:
            call.fail(
                "engine",
                f"'{op.name}' does not run on the {engine} engine",
                got=op.name,
                limit=", ".join(op.engines),
            )
    return engine


def _plain_steps(call: Call, ops: list[alu.AluOp]) -> bool:
    """Whether the steps are NumPy's own on arrays of float32 with two axes."""
    data = call.srcs[0]
    return (
        data.array.dtype == np.float32
        and data.ndim == 2
        and not any(op.unary for op in ops)
        and not call.attrs.reverse0
        and not call.attrs.reverse1
        and all(
            o.meta.space == CONST or (o.array.dtype == np.float32 and o.ndim == 2)
            for o in call.srcs[1:]
        )
    )


def _one_or_two_steps(
    call: Call, ops: list[alu.AluOp]
) -> tuple[Callable[..., np.ndarray], np.dtype | None]:
    """What `tensor_scalar` computes, and the dtype of the result where it is always that one."""
    op0, reverse0, op1, reverse1, _ = call.attrs
    data = call.srcs[0]
    partitions, shape = data.meta.partitions, data.meta.shape
    first = stage(op0, reverse0, partitions, len(shape))
    if op0.bitvec:
        second = stage(op1, reverse1, partitions, len(shape)) if op1 else None

        def on_integers(x: np.ndarray, *o: Any) -> np.ndarray:
            found: np.ndarray = second(first(x, o[0]), o[1]) if second else first(x, o[0])
            return found

        return written_as_bits(call, on_integers), None
    plain = _plain_steps(call, ops)
    if op1 is None:
        if plain:
            return op0.function, dtypes.FLOAT32
        return (lambda x, o: first(dtypes.to_fp32(x), o)), dtypes.FLOAT32
    if plain:  # float32 throughout: the numbers are weak scalars, the vectors broadcast
        f, g = op0.function, op1.function
        return (lambda x, o0, o1: g(f(x, o0), o1)), dtypes.FLOAT32
    second = stage(op1, reverse1, partitions, len(shape))

    def compute(x: np.ndarray, o0: Any, o1: Any) -> np.ndarray:
        found: np.ndarray = second(first(dtypes.to_fp32(x), o0), o1)
        return found

    return compute, dtypes.FLOAT32


@instruction(
    "tensor_scalar",
    "(data op0 operand0) op1 operand1, operands being numbers or one value per partition",
    f"{_ISA} tensor_scalar",
    attrs=(
        "op0",
        "reverse0",
        "op1",
        "reverse1",
        "engine",
    ),
    hidden=("engine",),
    reduces=lambda attrs: attrs.op0.name in ASSOCIATIVE and attrs.op1 is None,
    pace=COPIES,
)
def TENSOR_SCALAR(call: Call) -> Plan:
    """attrs: (op0, reverse0, op1 or None, reverse1, engine or None). Sources: data, operand0,
    operand1."""
    op0, _reverse0, op1, _reverse1, _wanted = call.attrs
    data = call.srcs[0]
    call.tile(data, "data")
    partitions = data.meta.partitions
    for number, operand in enumerate(call.srcs[1:]):
        call.vector(operand, partitions, f"operand{number}")
    ops = [op0] if op1 is None else [op0, op1]
    operators_there(call, *ops)
    if len({op.bitvec for op in ops}) > 1:
        call.fail(
            "operator",
            f"'{op0.name}' and '{op1.name}' mix bitwise and arithmetic operators",
            got=f"{op0.name}, {op1.name}",
            remedy="Use two instructions.",
        )
    engine = _engine_of_scalars(call, ops)
    if op0.bitvec:
        integers_only(call, *call.srcs)
    no_psum_on_gpsimd(call, engine, *call.srcs)
    shape = data.meta.shape
    call.result(shape, engine)
    compute, dtype = _one_or_two_steps(call, ops)
    into = _two_steps_into(call, ops)
    return Plan(engine, compute, shape, dtype, into=into, bits=op0.bitvec)


def _two_steps_into(call: Call, ops: list[alu.AluOp]) -> Callable[..., None] | None:
    """What computes both steps in the destination, where they are float32 throughout."""
    if len(ops) < 2 or not _plain_steps(call, ops):
        return None
    f, g = ops[0].function, ops[1].function
    if not isinstance(f, np.ufunc) or not isinstance(g, np.ufunc):
        return None

    def into(x: np.ndarray, o0: Any, o1: Any, out: np.ndarray) -> None:
        g(f(x, o0), o1, out=out)

    return into


@instruction(
    "scalar_tensor_tensor",
    "(data op0 operand0) op1 operand1, operand1 being a tile",
    f"{_ISA} scalar_tensor_tensor; {_ISA_32} (no bitwise operators)",
    attrs=(
        "op0",
        "reverse0",
        "op1",
        "reverse1",
    ),
    pace=TWO_INPUTS,
)
def SCALAR_TENSOR_TENSOR(call: Call) -> Plan:
    """attrs: (op0, reverse0, op1, reverse1). Sources: data, operand0 (number or vector), operand1
    (tile)."""
    op0, reverse0, op1, reverse1 = call.attrs
    data, operand0, operand1 = call.srcs[:3]
    call.tile(data, "data")
    call.tile(operand1, "operand1")
    partitions = call.same_partitions(data, operand1)
    call.vector(operand0, partitions, "operand0")
    if operand1.meta.space == CONST or data.meta.free != operand1.meta.free:
        call.fail(
            "shape-mismatch",
            "operand1 does not have the shape of data",
            operand1,
            limit=data.meta.shape,
            remedy="For a number or one value per partition use nisa.tensor_scalar with op1.",
        )
    not_both_psum(call, data, operand1)
    operators_there(call, op0, op1)
    for op in (op0, op1):
        if op.bitvec or VECTOR not in op.engines:
            call.fail(
                "operator",
                f"'{op.name}' is not an arithmetic operator of VectorE",
                got=op.name,
                limit="arithmetic operators of VectorE: add, subtract, multiply, maximum, "
                "comparisons, ...",
                remedy="Use nisa.tensor_scalar and nisa.tensor_tensor.",
            )
    shape = data.meta.shape
    call.result(shape, VECTOR)
    first = stage(op0, reverse0, partitions, len(shape))

    def compute(x: np.ndarray, o0: Any, y: np.ndarray) -> np.ndarray:
        left = first(dtypes.to_fp32(x), o0)
        right = dtypes.to_fp32(y).reshape(shape)
        found: np.ndarray = op1.function(right, left) if reverse1 else op1.function(left, right)
        return found

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32)


@instruction(
    "reciprocal",
    "1 / data, at VectorE's precision",
    f"{_ISA} reciprocal",
    pace=8.0,
)
def RECIPROCAL(call: Call) -> Plan:
    """attrs: ()."""
    data = call.srcs[0]
    call.tile(data, "data")
    call.result(data.meta.shape, VECTOR)

    def compute(x: np.ndarray) -> np.ndarray:
        return np.float32(1) / dtypes.to_fp32(x)

    return Plan(VECTOR, compute, data.meta.shape, dtypes.FLOAT32)


_ASSUMED = {
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "cos": np.cos,
    "tan": np.tan,
    "mod": np.mod,
    "fmod": np.fmod,
}


@instruction(
    "elementwise",
    "functions of nki.language whose lowering the documents do not give: " + ", ".join(_ASSUMED),
    "assumed: one pass of VectorE",
    attrs=("function",),
    hidden=("function",),
)
def ELEMENTWISE(call: Call) -> Plan:
    """attrs: (function name,). Sources: a tile, and for mod and fmod a tile of its shape or a
    number."""
    data = call.srcs[0]
    call.tile(data, "operand")
    shape = data.meta.shape
    for other in call.srcs[1:]:
        call.tile(other, "operand")
        if other.meta.space != CONST and other.meta.shape != shape:
            call.fail(
                "shape-mismatch",
                f"'{other.label}' does not have the shape of '{data.label}'",
                other,
                limit=shape,
            )
    call.result(shape, VECTOR)
    function = _ASSUMED[call.attrs.function]

    def compute(*operands: Any) -> np.ndarray:
        found: np.ndarray = function(
            *[dtypes.to_fp32(o) if isinstance(o, np.ndarray) else np.float32(o) for o in operands]
        )
        return found

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32)
