"""What a lowered kernel is made of: the kinds of its steps, and what they refer to.

Steps are four integers each (`kind`, `what`, place, end of their arguments), their arguments
integers too, all in flat lists: a million steps are noted as fast as they are recorded. `what` is
the number of an entry of one of the tables. An operand is two integers: the number of a buffer and
an offset in elements, or a negative number that tells of another kind of operand, and its number.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..isa.core import Instruction
from ..machine.memory import Meta
from ..tensors.masks import box_of_kept

(
    ALLOCATE,
    RUN,
    REDIRECT,
    PRINT,
    ZERO,
    CLEAR,
    MATERIALIZE,
    PLACE,
    OFFER,
    PAUSE,
    RESUME,
    INSTANCE,
    TARGET,
    CORE,
    SEND,
    LOOP,
    NEXT,
    END,
    CONSTANT,
) = range(19)
"""The kinds of steps."""
NUMBER, PICKED, FRESH, SENT, STATE = -1, -2, -3, -4, -5
"""In the place of a buffer's number: a number or array known beforehand, elements picked by indices
that are known at run time, a new tile, what another core sent, the state of a generator."""


class Form(NamedTuple):
    """What calls of an instruction have in common that differ in their operands' places only."""

    instruction: Instruction
    api: str
    attrs: tuple[Any, ...]
    space: str
    dtype: np.dtype | None
    dst: Meta | None
    """None for a new tile."""
    srcs: tuple[Meta, ...]
    extra: Meta | None
    skip: bool
    """Whether indices out of bounds are left out instead of refused."""


class Allocation(NamedTuple):
    """What tensors have in common that the kernel asks for."""

    space: str
    shape: tuple[int, ...]
    dtype: np.dtype
    pdim: int
    pstart: int
    name: str | None


class View(NamedTuple):
    """A part of a buffer."""

    buffer: int
    offset: int
    meta: Meta


class Pattern(NamedTuple):
    """Integers, or booleans, of one shape: affine in their position, a box of True, or neither."""

    shape: tuple[int, ...]
    kind: str
    """"affine": start, then a step per axis; "box": start and length per axis; "values"."""
    numbers: tuple[int, ...]
    values: np.ndarray | None
    dtype: str


class Number(NamedTuple):
    """A number among operands, and the data type as which it counts."""

    value: float
    dtype: np.dtype


class Pick(NamedTuple):
    """Elements picked by indices that are known at run time only, or that reach out of bounds."""

    kind: str
    """"indices", "rows", "columns", "element" or "nothing": see `program.replay`."""
    base: View
    parts: tuple[Any, ...]
    """Views of index tiles, patterns and numbers, as the kind has them."""


def pattern_of(values: np.ndarray) -> Pattern:
    """The shortest description of an array of integers or booleans."""
    shape = values.shape
    name = str(values.dtype)
    if values.dtype == np.bool_:
        box = box_of_kept(values) if values.ndim else None
        if box is not None:
            return Pattern(shape, "box", (*box[0], *box[1]), None, name)
    elif values.dtype.kind in "iu" and values.size:
        first = int(values.reshape(-1)[0])
        steps = [
            int(values[tuple(int(a == axis) for a in range(values.ndim))]) - first if n > 1 else 0
            for axis, n in enumerate(shape)
        ]
        found = Pattern(shape, "affine", (first, *steps), None, name)
        if np.array_equal(array_of(found), values):
            return found
    return Pattern(shape, "values", (), values.copy(), name)


def array_of(pattern: Pattern) -> np.ndarray:
    """The array that a pattern describes."""
    shape, numbers = pattern.shape, pattern.numbers
    if pattern.kind == "values":
        assert pattern.values is not None
        return pattern.values
    if pattern.kind == "box":
        n = len(shape)
        out = np.zeros(shape, dtype=np.bool_)
        out[tuple(slice(a, a + k) for a, k in zip(numbers[:n], numbers[n:]))] = True
        return out
    total = np.full(shape, numbers[0], dtype=np.int64)
    for axis, step in enumerate(numbers[1:]):
        if step:
            line = np.arange(shape[axis], dtype=np.int64) * step
            total += line.reshape((-1,) + (1,) * (len(shape) - axis - 1))
    return total.astype(pattern.dtype)
