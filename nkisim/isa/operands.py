"""Rules over operands that instructions of several engines share, and the step `data op
operand`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import CONST, PSUM
from ..tensors.tensor import Tensor
from . import alu
from .core import GPSIMD, VECTOR, Call, Plan
from .registers import REDUCE, registers_of

ISA = "aws-neuron-sdk v2.26.0 nki.isa"
ISA_32 = "aws-neuron-sdk v2.32.0 nki.isa"


def not_both_psum(call: Call, a: Tensor, b: Tensor) -> None:
    """At most one of two tiles that are read at the same time lies in PSUM."""
    if a.meta.space == PSUM and b.meta.space == PSUM:
        call.fail(
            "two-psum-inputs",
            f"'{a.label}' and '{b.label}' are both in PSUM",
            b,
            remedy="Copy one to SBUF first with nisa.tensor_copy.",
        )


def operators_there(call: Call, *ops: alu.AluOp) -> None:
    """The target's generation has all of these operators."""
    for op in ops:
        if call.target.nc_version < op.since:
            call.fail(
                "target",
                f"operator '{op.name}' needs NeuronCore-v{op.since} or later",
                got=f"target {call.target.name}",
                limit="trn3",
                remedy="Choose it with NEURON_PLATFORM_TARGET_OVERRIDE=trn3, "
                "or use nisa.activation.",
            )


def vector_registers(program: Any, rows: slice, cmd: int, start: Any, api: str) -> np.ndarray:
    """What the registers of VectorE begin an accumulation with, (p, 1): `start` unless they are to
    be continued."""
    if cmd == REDUCE:
        return registers_of(program, VECTOR).read(rows, api)
    return np.broadcast_to(np.asarray(start, dtype=np.float32), (rows.stop - rows.start, 1))


def registers_effect(
    rows: slice, cmd: int, api: str, forgets: bool = False
) -> Callable[[Any], None]:
    """What an accumulation in the registers of VectorE checks and sets in a run without values
    (`Plan.effect`)."""

    def effect(program: Any) -> None:
        registers = registers_of(program, VECTOR)
        if cmd == REDUCE:
            registers.read(rows, api)
        registers.write(rows, 0)
        if forgets:
            registers.forget(rows)

    return effect


def integers_only(call: Call, *operands: Tensor) -> None:
    """Bitwise operators take integers, and leave integers."""
    for t in operands:
        if t.meta.space == CONST:
            if isinstance(t.array, float):
                call.fail(
                    "dtype",
                    f"a bitwise operator got the number {t.array}",
                    got=t.array,
                    limit="integers",
                    remedy="Write it as an integer.",
                )
        elif not dtypes.is_integer(t.dtype) and t.dtype != dtypes.BOOL:
            call.fail(
                "dtype",
                f"a bitwise operator got '{t.label}' of {dtypes.name(t.dtype)}",
                t,
                limit="integers",
                remedy="Bitwise operators take integer tiles; for floats use the logical "
                "operators.",
            )
    out = call.dst.dtype if call.dst is not None else call.dtype
    if out is not None and not dtypes.is_integer(out) and out != dtypes.BOOL:
        call.fail(
            "dtype",
            f"the result of a bitwise operator would be {dtypes.name(out)}",
            call.dst,
            got=dtypes.name(out),
            limit="an integer type: it leaves bits, and casts nothing",
            remedy="Take the result as integers and cast it with nisa.tensor_copy.",
        )


def written_as_bits(call: Call, function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`function`, whose results are integers, with results of the destination's type where that is
    as wide: they are written bit for bit."""
    out = call.dst.dtype if call.dst is not None else call.dtype
    if out is None or all(s.dtype == out for s in call.srcs if s.meta.space != CONST):
        return function
    return lambda *arrays: dtypes.as_bits(function(*arrays), out)


def reduction(
    call: Call,
    engine: str,
    op: alu.AluOp,
    compute: Callable[..., np.ndarray],
    shape: tuple[int, ...],
    axes: tuple[int, ...],
) -> Plan:
    """The plan of a reduction by `op`; a bitwise one is of integers and is written bit for bit."""
    identity: float = op.identity
    if op.bitvec:
        identity, compute = int(op.identity), written_as_bits(call, compute)
    return Plan(engine, compute, shape, kind="reduce", identity=identity, axes=axes, bits=op.bitvec)


def no_psum_on_gpsimd(call: Call, engine: str, *operands: Tensor) -> None:
    """If `engine` is GpSimdE, no operand lies in PSUM."""
    if engine != GPSIMD:
        return
    for t in operands:
        if t.meta.space == PSUM:
            call.fail(
                "gpsimd-psum",
                f"'{t.label}' lies in PSUM",
                t,
                limit="sbuf",
                remedy="Copy it to SBUF first, or use nisa.vector_engine.",
            )


def _bits(number: int, dtype: np.dtype) -> Any:
    """A constant of a bitwise operator: of the tile's type if its width is enough, else int32."""
    width = 8 * dtype.itemsize
    return alu.bits(number, dtype if -(1 << width - 1) <= number < 1 << width else dtypes.INT32)


def stage(op: alu.AluOp, reverse: bool, partitions: int, ndim: int) -> Any:
    """One (data op operand) step: the operand is a number or one value per partition."""
    column = (partitions,) + (1,) * (ndim - 1)
    function = op.function

    def step(x: np.ndarray, operand: Any) -> np.ndarray:
        if isinstance(operand, np.ndarray):
            of_one_type = dtypes.as_bits(operand, x.dtype) if op.bitvec else dtypes.to_fp32(operand)
            operand = of_one_type.reshape(column)
        elif op.bitvec:
            operand = _bits(operand, x.dtype)
        else:
            operand = np.float32(operand)
        if op.unary:
            return function(x, operand)
        return function(operand, x) if reverse else function(x, operand)

    return step
