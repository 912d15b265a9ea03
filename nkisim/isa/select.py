"""VectorE: elements chosen from one of two operands, with an optional running maximum.

Sources: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (tensor_copy_predicated,
select_reduce, range_select); v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import CONST
from ..tensors.tensor import Tensor
from . import alu
from .core import TWO_INPUTS, VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import not_both_psum, registers_effect
from .registers import IDLE, REDUCE, RESET, registers_of

# a boolean is stored as uint8
_UNSIGNED = tuple(np.dtype(t) for t in (np.uint8, np.uint16, np.uint32)) + (dtypes.BOOL,)
_SMALL = tuple(np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16)) + (dtypes.BOOL,)
_NOT_SELECTED = (dtypes.tfloat32, dtypes.INT32, np.dtype(np.uint32))
_COMPARISONS = ("equal", "less", "less_equal", "greater", "greater_equal")
FP32_MIN = float(np.finfo(np.float32).min)
"""What range_select writes where the range does not hold."""


def _choice(
    predicate: Tensor, on_true: Tensor, on_false: Tensor, reverse: bool
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The selection, and where it depends on each of its sources; operands are full, one a
    partition, or numbers."""
    shape = predicate.meta.shape
    column = (shape[0],) + (1,) * (len(shape) - 1)
    fit = [
        None if t.meta.space == CONST else shape if t.meta.free == predicate.meta.free else column
        for t in (on_true, on_false)
    ]

    def choose(p: np.ndarray) -> np.ndarray:
        found: np.ndarray = (p == 0) if reverse else (p != 0)
        return found

    def compute(p: np.ndarray, x: Any, y: Any) -> np.ndarray:
        chosen = choose(p)
        values = [np.asarray(v) if f is None else v.reshape(f) for v, f in zip((x, y), fit)]
        if not all(v.dtype.kind in "iub" for v in values):
            # VectorE computes in float32, whatever it reads; integers alone keep all their bits
            values = [dtypes.to_fp32(v) for v in values]
        found: np.ndarray = np.where(chosen, *values)
        return found

    def depends(p: np.ndarray, x: Any, y: Any) -> tuple[Any, ...]:
        chosen = choose(p)
        return True, chosen, ~chosen

    return compute, depends


def _as_large(
    call: Call, predicate: Tensor, operand: Tensor, what: str, *, or_vector: bool
) -> None:
    """`operand` is a number, or a tile with as many elements as the predicate (or one a
    partition)."""
    if operand.meta.space == CONST:
        return
    call.tile(operand, what)
    call.same_partitions(predicate, operand)
    if operand.meta.free != predicate.meta.free and not (or_vector and operand.meta.free == 1):
        call.fail(
            "shape-mismatch",
            f"{what} '{operand.label}' has {operand.meta.free} elements per partition, the "
            f"predicate has {predicate.meta.free}",
            operand,
            limit=predicate.meta.shape,
        )


@instruction(
    "select",
    "elements of one operand or the other, by a predicate tile",
    "assumed: one pass of VectorE, as tensor_copy_predicated; nki.language where",
    pace=TWO_INPUTS,
)
def SELECT(call: Call) -> Plan:
    """attrs: (). Sources: predicate (tile), on_true, on_false (each a tile, a vector or a
    number)."""
    predicate, on_true, on_false = call.srcs[:3]
    call.tile(predicate, "predicate")
    _as_large(call, predicate, on_true, "on_true", or_vector=True)
    _as_large(call, predicate, on_false, "on_false", or_vector=True)
    not_both_psum(call, predicate, on_true)
    call.result(predicate.meta.shape, VECTOR)
    compute, depends = _choice(predicate, on_true, on_false, False)
    return Plan(VECTOR, compute, predicate.meta.shape, depends=depends)


@instruction(
    "tensor_copy_predicated",
    "a tile or number copied to where a predicate tile is not zero",
    f"{_ISA} tensor_copy_predicated",
    attrs=("reverse_pred",),
    pace=TWO_INPUTS,
)
def TENSOR_COPY_PREDICATED(call: Call) -> Plan:
    """attrs: (reverse,). Sources: predicate (uint8/16/32), src (tile of the destination's type, or
    number), destination."""
    predicate, src, held = call.srcs[:3]
    call.tile(predicate, "predicate")
    call.one_of(
        predicate,
        "predicate",
        _UNSIGNED,
        "Compare with dtype=nl.uint8, e.g. nl.less(a, b, dtype=nl.uint8).",
    )
    if src.meta.space != CONST and src.dtype != held.dtype:
        call.fail(
            "dtype",
            f"src is {dtypes.name(src.dtype)}, dst is {dtypes.name(held.dtype)}",
            held,
            got=f"{src.meta.describe()} -> {held.meta.describe()}",
            remedy="Both share one data type.",
        )
    _as_large(call, predicate, src, "src", or_vector=False)
    _as_large(call, predicate, held, "dst", or_vector=False)
    not_both_psum(call, predicate, src)
    call.result(predicate.meta.shape, VECTOR)
    compute, depends = _choice(predicate, src, held, call.attrs.reverse_pred)
    return Plan(VECTOR, compute, predicate.meta.shape, depends=depends)


@instruction(
    "select_reduce",
    "elements of a tile where a predicate tile is not zero, else of a vector; optionally the row "
    "maxima",
    f"{_ISA} select_reduce",
    attrs=(
        "reverse_pred",
        "reduce_cmd",
    ),
    pace=TWO_INPUTS,
)
def SELECT_REDUCE(call: Call) -> Plan:
    """attrs: (reverse, reduce_cmd). Sources: predicate (8- or 16-bit integers), on_true (tile),
    on_false (vector, number).

    `extra`: reduce_res. A reduce_cmd of IDLE with a reduce_res gives the maxima of this instruction
    alone, and leaves the engine's registers unknown, as every IDLE does.
    """
    reverse, cmd = call.attrs
    predicate, on_true, on_false = call.srcs[:3]
    call.tile(predicate, "predicate")
    call.one_of(
        predicate,
        "predicate",
        _SMALL,
        "Make it an nl.uint8 tile, e.g. nl.less(a, b, dtype=nl.uint8).",
    )
    if on_true.meta.space == CONST:
        call.fail("argument", "on_true is a number", limit="a tile of the predicate's shape")
    _as_large(call, predicate, on_true, "on_true", or_vector=False)
    if on_true.dtype in _NOT_SELECTED:
        call.fail(
            "dtype",
            f"on_true '{on_true.label}' is {dtypes.name(on_true.dtype)}",
            on_true,
            limit="any data type but tfloat32, int32 and uint32",
            remedy="Copy it to a float32 tile first.",
        )
    partitions = predicate.meta.partitions
    call.vector(on_false, partitions, "on_false")
    not_both_psum(call, predicate, on_true)
    shape = predicate.meta.shape
    call.result(shape, VECTOR)
    compute, depends = _choice(predicate, on_true, on_false, reverse)
    return _with_maximum(call, compute, depends, shape, cmd, predicate.meta.pstart)


def _bounds_fit(call: Call, bounds: Sequence[Tensor], partitions: int) -> None:
    """Both bounds of a range are fp32 vectors, each with a comparison."""
    op0, op1 = call.attrs[:2]
    for number, (op, bound) in enumerate(zip((op0, op1), bounds)):
        if op.name not in _COMPARISONS:
            call.fail(
                "operator",
                f"comp_op{number} '{op.name}' is not a comparison that it has",
                got=op.name,
                limit=", ".join(_COMPARISONS),
            )
        if bound.meta.space == CONST:
            call.fail(
                "argument",
                f"bound{number} is a number",
                limit=f"an fp32 tile of shape ({partitions}, 1)",
                remedy=f"Make it a tile: nl.full(({partitions}, 1), value, dtype=nl.float32).",
            )
        call.vector(bound, partitions, f"bound{number}")
        call.one_of(bound, f"bound{number}", (dtypes.FLOAT32,), "Load or copy it as nl.float32.")


def _places_exact(call: Call, tile: Tensor) -> None:
    """Places in the free axis are numbers that fp32 holds exactly; elsewhere the least fp32 is
    written."""
    start, other = call.attrs.range_start, call.attrs.fill_value
    if np.float32(other) != np.float32(FP32_MIN):
        call.fail(
            "argument",
            "on_false_value is not the least fp32",
            got=other,
            limit="nl.fp32.min, which the hardware writes",
        )
    if not -(2**24) <= start <= 2**24 - tile.meta.free:
        call.fail(
            "argument",
            "range_start plus the place in the free axis leaves the integers "
            "that fp32 holds exactly",
            got=start,
            limit="from -2**24 to 2**24, with the tile's elements added",
            remedy="Subtract the same number from range_start and from both bounds.",
        )


@instruction(
    "range_select",
    "elements whose place in the free axis lies in a range, else the least fp32; optionally the "
    "row maxima",
    f"{_ISA} range_select",
    attrs=(
        "comp_op0",
        "comp_op1",
        "range_start",
        "reduce_cmd",
        "fill_value",
    ),
    hidden=("fill_value",),
)
def RANGE_SELECT(call: Call) -> Plan:
    """attrs: (comparison 0, comparison 1, start, reduce_cmd, number where the range does not hold).
    Sources: tile of floats, bound0, bound1 (fp32 vectors). `extra`: reduce_res, as in
    SELECT_REDUCE.
    """
    op0, op1, start, cmd, _ = call.attrs
    tile, *bounds = call.srcs[:3]
    call.generation(3)
    call.tile(tile, "on_true_tile")
    call.floating(tile, "on_true_tile")
    partitions = tile.meta.partitions
    _bounds_fit(call, bounds, partitions)
    _places_exact(call, tile)
    shape = tile.meta.shape
    call.result(shape, VECTOR)
    places = (start + np.arange(tile.meta.free, dtype=np.float32)).reshape((1,) + shape[1:])
    column = (partitions,) + (1,) * (len(shape) - 1)

    def holds(b0: np.ndarray, b1: np.ndarray) -> np.ndarray:
        found: np.ndarray = (op0.function(places, b0.reshape(column)) != 0) & (
            op1.function(places, b1.reshape(column)) != 0
        )
        return found

    def compute(x: np.ndarray, b0: np.ndarray, b1: np.ndarray) -> np.ndarray:
        return np.where(holds(b0, b1), dtypes.to_fp32(x), np.float32(FP32_MIN))

    def depends(x: np.ndarray, b0: np.ndarray, b1: np.ndarray) -> tuple[Any, ...]:
        return holds(b0, b1), True, True

    return _with_maximum(call, compute, depends, shape, cmd, tile.meta.pstart)


def _with_maximum(
    call: Call,
    compute: Callable[..., Any],
    depends: Callable[..., Any],
    shape: tuple[int, ...],
    cmd: int,
    pstart: int,
) -> Plan:
    """The plan of a selection that leaves its row maxima in the engine's registers, and in `extra`
    if there is one."""
    partitions = shape[0]
    reads_out = call.extra is not None
    if call.extra is not None:
        call.vector(call.extra, partitions, "reduce_res")
        call.floating(call.extra, "reduce_res")
    if cmd not in range(4):
        call.fail(
            "argument",
            "reduce_cmd is not one that it takes",
            got=cmd,
            limit="idle, reset, reduce, reset_reduce",
        )
    rows = slice(pstart, pstart + partitions)
    axes = tuple(range(1, len(shape)))
    maximum = alu.ALU["maximum"]

    def reducing(program: Any, *operands: Any) -> Any:
        out = compute(*operands)
        registers = registers_of(program, VECTOR)
        if cmd == RESET:
            registers.write(rows, np.float32(maximum.identity))
            return (out, registers.read(rows, call.api)) if reads_out else out
        kept = (
            out
            if program.active_mask is None
            else np.where(program.active_mask, out, np.float32(-np.inf))
        )
        best = np.maximum.reduce(dtypes.to_fp32(kept), axis=axes).reshape(partitions, 1)
        if cmd == REDUCE:
            best = np.maximum(registers.read(rows, call.api), best)
        registers.write(rows, best)
        if cmd == IDLE:
            registers.forget(rows)
        return (out, best) if reads_out else out

    return Plan(
        VECTOR,
        reducing,
        shape,
        stateful=True,
        forgets=cmd == IDLE,
        effect=registers_effect(rows, cmd, call.api, forgets=cmd == IDLE),
        depends=depends,
        cost={"accumulate": reads_out},
    )
