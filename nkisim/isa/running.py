"""VectorE: reductions that may go on from one instruction to the next, in its registers.

Sources: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (tensor_scalar_reduce); v2.32.0
nki/api/nki/isa/__init__.py (tensor_scalar_cumulative, exponential, and the registers that they
share).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine import dtypes
from ..tensors.tensor import Tensor
from . import alu
from .core import VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import ISA_32 as _ISA_32
from .operands import operators_there, registers_effect, stage, vector_registers
from .registers import IDLE, LOAD_REDUCE, REDUCE, RESET_REDUCE, registers_of

_STARTS = {"add": 0.0, "subtract": 0.0, "multiply": 1.0, "maximum": -math.inf, "minimum": math.inf}
_WIDE = (dtypes.INT32, np.dtype(np.uint32))


def _reducible(
    call: Call, op0: alu.AluOp, reverse0: bool, reduce_op: alu.AluOp, newer: bool
) -> None:
    """The step before the reduction is arithmetic and not reversed; the reduction is one of those
    that the API has."""
    if reverse0:
        call.fail(
            "argument",
            "reverse0 is not supported yet",
            got="reverse0=True",
            limit="reverse0=False",
            remedy="Use nisa.tensor_scalar(..., reverse0=True) and nisa.tensor_reduce.",
        )
    if op0.bitvec:
        call.fail(
            "operator", f"'{op0.name}' is bitwise", got=op0.name, limit="arithmetic operators"
        )
    allowed = ("add", "multiply", "maximum", "minimum") + (() if newer else ("subtract",))
    if reduce_op.name not in allowed:
        call.fail(
            "operator",
            f"'{reduce_op.name}' is not a reduce_op",
            got=reduce_op.name,
            limit="nl.add, nl.multiply, nl.max, nl.min"
            if newer
            else "nl.add, nl.subtract, nl.multiply, nl.max, nl.min",
        )


@instruction(
    "tensor_scalar_reduce",
    "data op operand, and its reduction over all free axes",
    f"{_ISA} tensor_scalar_reduce; {_ISA_32} (reduce_cmd, reduce_init, reduce_res_negate)",
    attrs=(
        "op0",
        "reverse0",
        "reduce_op",
        "reduce_cmd",
        "reduce_res_negate",
    ),
    defaults=(None, False),
)
def TENSOR_SCALAR_REDUCE(call: Call) -> Plan:
    """attrs: (op0, reverse0, reduce operator), and in NKI 0.6 (..., reduce_cmd, whether what is
    read out is negated).

    Sources: data, operand0, and with LOAD_REDUCE what the registers begin with (number or fp32
    vector). `extra`: reduce_res; in NKI 0.6 it may be missing, and the result stays in the
    registers of VectorE.
    """
    op0, reverse0, reduce_op, cmd, negate = call.attrs
    newer = cmd is not None
    cmd = RESET_REDUCE if cmd is None else cmd
    data, operand0 = call.srcs[:2]
    call.tile(data, "data")
    partitions = data.meta.partitions
    call.vector(operand0, partitions, "operand0")
    operators_there(call, op0)
    _reducible(call, op0, reverse0, reduce_op, newer)
    _command(call, cmd)
    begins = _begins(call, 2, cmd, "reduce_init", partitions)
    if call.extra is not None:
        call.vector(call.extra, partitions, "reduce_res")
    reads_out = call.extra is not None
    shape = data.meta.shape
    call.result(shape, VECTOR)
    first = stage(op0, reverse0, partitions, len(shape))
    axes = tuple(range(1, len(shape)))
    rows = slice(data.meta.pstart, data.meta.pstart + partitions)

    def compute(program: Any, x: np.ndarray, o: Any, *init: Any) -> Any:
        out = first(dtypes.to_fp32(x), o)
        kept = (
            out
            if program.active_mask is None
            else np.where(program.active_mask, out, np.float32(reduce_op.identity))
        )
        total = reduce_op.reduce(kept, axis=axes).reshape(partitions, 1)
        if cmd != RESET_REDUCE:
            start = vector_registers(program, rows, cmd, init[0] if begins else 0.0, call.api)
            total = reduce_op.function(start, total)
        registers_of(program, VECTOR).write(rows, total)
        return (out, -total if negate else total) if reads_out else out

    return _accumulating(compute, shape, registers_effect(rows, cmd, call.api), reads_out)


def _accumulating(
    compute: Callable[..., Any],
    shape: tuple[int, ...],
    effect: Callable[[Any], None],
    reads_out: bool,
) -> Plan:
    """An instruction that goes on in the registers, and perhaps reads them out."""
    return Plan(
        VECTOR,
        compute,
        shape,
        dtypes.FLOAT32,
        stateful=True,
        effect=effect,
        cost={"accumulate": reads_out},
    )


def _command(call: Call, cmd: int, idle: bool = False) -> None:
    """The reduce_cmd is one that the instruction has (`idle`: leaving the registers alone too)."""
    if cmd not in (REDUCE, RESET_REDUCE, LOAD_REDUCE) and not (idle and cmd == IDLE):
        call.fail(
            "argument",
            "reduce_cmd is not one that it takes",
            got=cmd,
            limit=f"{'idle, ' if idle else ''}reset_reduce, reduce, load_reduce",
        )


def _begins(
    call: Call, position: int, cmd: int, what: str, partitions: int, only: bool = True
) -> bool:
    """Whether a source tells what the registers begin with: with LOAD_REDUCE, and (`only`) not
    without."""
    given = len(call.srcs) > position
    if given and not only and cmd != LOAD_REDUCE:
        return False
    if given != (cmd == LOAD_REDUCE):
        call.fail(
            "argument",
            f"{what} is missing" if not given else f"{what} is given without load_reduce",
            limit="reduce_cmd.load_reduce with it, any other reduce_cmd without",
        )
    if given:
        call.vector(call.srcs[position], partitions, what)
        call.one_of(call.srcs[position], what, (dtypes.FLOAT32,))
    return given


def _accumulates(call: Call, op0: alu.AluOp, op1: alu.AluOp) -> None:
    """op0 is arithmetic, and op1 an operator with a number to begin from."""
    if op0.bitvec or VECTOR not in op0.engines:
        call.fail(
            "operator", f"op0 '{op0.name}' is not an arithmetic operator of VectorE", got=op0.name
        )
    if op1.name not in _STARTS:
        call.fail(
            "operator",
            f"op1 '{op1.name}' does not accumulate",
            got=op1.name,
            limit=", ".join(_STARTS),
        )


@instruction(
    "tensor_scalar_cumulative",
    "a running reduction of data op number along the free axes",
    f"{_ISA_32} tensor_scalar_cumulative",
    attrs=(
        "op0",
        "reverse0",
        "op1",
        "reduce_cmd",
    ),
)
def TENSOR_SCALAR_CUMULATIVE(call: Call) -> Plan:
    """attrs: (op0, reverse0, op1, reduce_cmd). Sources: src, imm0, and with LOAD_REDUCE imm1
    (numbers or fp32 vectors).

    Each element is op1(op0(element, imm0), the one before); the last one stays in the registers of
    VectorE. An imm1 without LOAD_REDUCE is not used.
    """
    op0, reverse0, op1, cmd = call.attrs
    src, imm0 = call.srcs[:2]
    call.tile(src, "src")
    partitions = src.meta.partitions
    call.vector(imm0, partitions, "imm0")
    call.one_of(imm0, "imm0", (dtypes.FLOAT32,))
    operators_there(call, op0)
    _accumulates(call, op0, op1)
    _command(call, cmd)
    begins = _begins(call, 2, cmd, "imm1", partitions, only=False)
    for t, what in ((src, "src"), (call.dst, "dst")):
        if t is not None and (t.dtype in _WIDE or t.dtype == dtypes.tfloat32):
            call.fail(
                "dtype",
                f"{what} '{t.label}' is {dtypes.name(t.dtype)}",
                t,
                limit="float32, bfloat16, float16, float8, 8- and 16-bit integers",
            )
    shape = src.meta.shape
    call.result(shape, VECTOR)
    first = stage(op0, reverse0, partitions, len(shape))
    rows = slice(src.meta.pstart, src.meta.pstart + partitions)

    def compute(program: Any, x: np.ndarray, o: Any, *init: Any) -> np.ndarray:
        terms = first(dtypes.to_fp32(x), o).reshape(partitions, -1)
        state = vector_registers(
            program, rows, cmd, init[0] if begins else _STARTS[op1.name], call.api
        )[:, 0]
        out = np.empty(terms.shape, dtype=np.float32)
        for i in range(terms.shape[1]):
            state = out[:, i] = op1.function(terms[:, i], state)
        registers_of(program, VECTOR).write(rows, state[:, None])
        return out.reshape(shape)

    return Plan(
        VECTOR,
        compute,
        shape,
        dtypes.FLOAT32,
        kind="scan",
        stateful=True,
        effect=registers_effect(rows, cmd, call.api),
    )


def _sum_fits(call: Call, total: Tensor, partitions: int, cmd: int) -> None:
    """The sums are read to one float per partition, if any are kept."""
    call.vector(total, partitions, "reduce_res")
    call.floating(total, "reduce_res")
    if cmd == IDLE:
        call.fail(
            "argument",
            "reduce_res is given, but reduce_cmd accumulates nothing",
            total,
            got="idle",
            limit="reset_reduce, reduce or load_reduce",
        )


@instruction(
    "exponential",
    "exp(src - maximum), with an optional running sum",
    f"{_ISA_32} exponential",
    attrs=("reduce_cmd",),
    pace=0.25,
)
def EXPONENTIAL(call: Call) -> Plan:
    """attrs: (reduce_cmd,). Sources: src, max_value, and with LOAD_REDUCE what the sum begins with
    (numbers, fp32 vectors).

    `extra`: reduce_res, where the sums of VectorE's registers are read to. NeuronCore-v4 and later.
    """
    (cmd,) = call.attrs
    call.generation(4)
    src, most = call.srcs[:2]
    call.tile(src, "src")
    if src.ndim > 4:
        call.fail("rank-limit", f"src '{src.label}' has {src.ndim} axes", src, limit="4")
    partitions = src.meta.partitions
    call.vector(most, partitions, "max_value")
    call.one_of(most, "max_value", (dtypes.FLOAT32,))
    _command(call, cmd, idle=True)
    begins = _begins(call, 2, cmd, "reduce_init", partitions)
    reads_out = call.extra is not None
    if call.extra is not None:
        _sum_fits(call, call.extra, partitions, cmd)
    shape = src.meta.shape
    call.result(shape, VECTOR)
    if call.dst is not None and call.dst.dtype == np.uint32:
        call.fail("dtype", f"'{call.dst.label}' is uint32", call.dst, limit="any other type")
    column = (partitions,) + (1,) * (len(shape) - 1)
    axes = tuple(range(1, len(shape)))
    rows = slice(src.meta.pstart, src.meta.pstart + partitions)

    def compute(program: Any, x: np.ndarray, m: Any, *init: Any) -> Any:
        out = np.exp(
            dtypes.to_fp32(x) - (m.reshape(column) if isinstance(m, np.ndarray) else np.float32(m))
        )
        registers = registers_of(program, VECTOR)
        if cmd == IDLE:
            registers.forget(rows)
            return out
        total = vector_registers(
            program, rows, cmd, init[0] if begins else 0.0, call.api
        ) + np.add.reduce(out, axis=axes).reshape(partitions, 1)
        registers.write(rows, total)
        return (out, total) if reads_out else out

    effect = registers_effect(rows, cmd, call.api, forgets=cmd == IDLE)
    return _accumulating(compute, shape, effect, reads_out)
