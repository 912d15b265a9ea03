"""Of one instruction: which part of each source a part of its result depends on.

The kind of its plan tells (the same that tells how a mask applies): position by position, a
reduction over axes, a transpose, a contraction. Where it does not, a part depends on all of every
source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..execution.tape import Operand, Record
from ..isa.registers import LOAD_REDUCE, RESET, RESET_REDUCE
from ..machine.memory import CONST
from .boxes import Axis, Box, of_places, whole

_SEEDS = {"set_rng_seed", "rand_set_state"}
_DRAWS = {"rng", "rand", "dropout", "rand_get_state"}


class Elements(NamedTuple):
    """Elements of a buffer, not of a view of it."""

    box: Box


def sources(
    record: Record, part: Box, second: bool, picked: Any
) -> Iterator[tuple[Operand, Box | Elements]]:
    """The operands on which `part` of a destination depends, each with the part of it. `picked`: of
    each operand that indices picked, sources first and the destination last, where its elements
    lay (`execution.masked`)."""
    signature = record.signature
    plan = signature.plan
    plain = not second and picked is None and record.share is None
    if plain and plan.kind != "reduce" and part is whole(signature.dst.shape):
        for operand in record.srcs:  # all of the result depends on all of every source
            if operand.meta.space != CONST:
                yield operand, whole(operand.meta.shape)
        return
    for position, operand in enumerate(record.srcs):
        meta = operand.meta
        if meta.space == CONST:
            continue
        if second:
            box = _rows(meta.shape, part)
        else:
            box = _of(plan, signature, position, meta.shape, part)
        places = None if picked is None else picked.get(position)
        if picked is not None and position in picked:
            yield operand, Elements(_picked(operand, box, places))
        else:
            yield operand, box
    if record.share is not None:
        for operand in record.share.picks:
            yield operand, whole(operand.meta.shape)


def _picked(operand: Operand, box: Box, places: Any) -> Box:
    """Where in its buffer the part `box` of what indices picked lies; all of it where that is not
    known."""
    shape = operand.buffer.meta.shape
    if places is None:
        return whole(shape)
    chosen = places[np.ix_(*[np.asarray(axis) for axis in box])].reshape(-1)
    return of_places(shape, chosen)


def _rows(shape: tuple[int, ...], part: Box) -> Box:
    """The rows of a part, whole."""
    if not shape:
        return ()
    rest = tuple([range(n) for n in shape[1:]])
    return (
        (part[0] if shape[0] >= len(part[0]) and shape[0] > part[0][-1] else range(shape[0])),
    ) + rest


def _of(plan: Any, signature: Any, position: int, shape: tuple[int, ...], part: Box) -> Box:
    """The part of a source of that shape on which a part of the result depends."""
    kind = plan.kind
    result = signature.dst.shape
    if plan.spread is not None:
        return whole(shape)
    if kind == "whole":
        return _contraction(position, shape, part, result)
    if kind == "transpose":
        return _transposed(signature, shape, part, result)
    if kind == "reduce":
        if position:
            return _rows(shape, part) if 0 not in plan.axes else whole(shape)
        return _reduced(shape, part, plan.axes, result)
    if kind == "scan" and position < 2 and part:
        *others, last = part
        part = (*others, range(last[-1] + 1))
        return _beside(shape, part, result) if not others[1:] else _rows(shape, part)
    return _beside(shape, part, result)


def _beside(shape: tuple[int, ...], part: Box, result: tuple[int, ...]) -> Box:
    """Position by position: axes of one element are repeated."""
    if shape == result:
        return part
    if len(shape) == len(result) and all(n in (1, m) for n, m in zip(shape, result)):
        return tuple([p if n == m else range(1) for p, n, m in zip(part, shape, result)])
    mine = [(axis, n) for axis, n in enumerate(shape) if n != 1]
    theirs = [(axis, n) for axis, n in enumerate(result) if n != 1]
    if [n for _, n in mine] == [n for _, n in theirs]:
        box: list[Axis] = [range(n) for n in shape]
        for (axis, _), (other, _) in zip(mine, theirs):
            box[axis] = part[other]
        return tuple(box)
    if shape and result and shape[0] == result[0]:
        return _rows(shape, part)
    return whole(shape)


def _reduced(
    shape: tuple[int, ...], part: Box, axes: tuple[int, ...], result: tuple[int, ...]
) -> Box:
    left = [axis for axis in range(len(shape)) if axis not in axes]
    if len(result) == len(shape):
        return tuple(
            [
                range(n) if axis in axes or result[axis] != n else part[axis]
                for axis, n in enumerate(shape)
            ]
        )
    if [shape[a] for a in left] == list(result):
        known = dict(zip(left, part))
        return tuple([known.get(axis, range(n)) for axis, n in enumerate(shape)])
    return (
        _rows(shape, part) if 0 not in axes and result and result[0] == shape[0] else whole(shape)
    )


def _transposed(signature: Any, shape: tuple[int, ...], part: Box, result: tuple[int, ...]) -> Box:
    order = getattr(signature.attrs, "axes", (1, 0))
    if len(order) == len(shape) == len(result) and tuple(shape[a] for a in order) == result:
        box: list[Any] = [range(n) for n in shape]
        for axis, at in enumerate(order):
            box[at] = part[axis]
        return tuple(box)
    return whole(shape)


def _contraction(position: int, shape: tuple[int, ...], part: Box, result: tuple[int, ...]) -> Box:
    """Of stationary.T @ moving, and what it adds to."""
    if position >= 2:
        return _beside(shape, part, result)
    if len(shape) == 2 and position == 0 and shape[1] == result[0]:
        return range(shape[0]), part[0]
    if position == 1 and shape[1:] == result[1:]:
        return range(shape[0]), *part[1:]
    return whole(shape)


# -- what goes through engines' registers and generators -------------------------------------------
def _engine(record: Record, what: str) -> tuple[str, str]:
    return what, record.signature.engine


def hidden_writes(record: Record) -> list[tuple[str, str]]:
    """The registers and generators that an instruction changes."""
    signature = record.signature
    if not signature.plan.stateful:
        return []
    name = signature.instruction.name
    if name in _SEEDS or name in _DRAWS:
        return [("generator", getattr(signature.attrs, "engine", None) or signature.engine)]
    return [_engine(record, "registers")]


def hidden_reads(record: Record, second: bool) -> list[tuple[str, str]]:
    """The registers and generators on whose contents a result depends."""
    signature = record.signature
    if not signature.plan.stateful:
        return []
    name = signature.instruction.name
    if name in _SEEDS:
        return []
    if name in _DRAWS:
        return hidden_writes(record)
    command = getattr(signature.attrs, "reduce_cmd", None)
    if command in (RESET, RESET_REDUCE, LOAD_REDUCE):
        return []
    return [_engine(record, "registers")]
