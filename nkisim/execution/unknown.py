"""Elements that nobody wrote, or that a mask left out: which elements of a result they reach.

Fresh memory holds anything, and a masked instruction leaves the rest of its result as it was.
Kernels compute on such elements (rows of a tile that the last block does not fill, halves that are
overwritten later) and leave them out at the end; the compiler cannot know better, and nothing bad
happens. So an unknown element is no error by itself: it makes the elements that are computed from
it unknown. It is one where it is stored to an output, or where a decision depends on it.

All arrays here are booleans, True where an element is unknown.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..isa.core import Plan
from ..machine.counts import size_of
from ..machine.shapes import NoValues
from ..rules.errors import KernelError, fault


def left_out(api: str, label: str, flags: np.ndarray, why: str) -> KernelError:
    """What is wrong with elements of the tile `label`, those without `flags`, that a mask left
    out."""
    return fault(
        "uninitialized-read",
        f"{api}: '{label}' holds elements that a mask left out, and {why}",
        tensor=label,
        got=f"{flags.size - int(np.count_nonzero(flags))} of {flags.size} elements left out",
        remedy="Pass the same mask= here too, or fill the tile first (nl.full, then a masked "
        "nl.load into it; or nl.where).",
    )


def fit(flags: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The flags of an operand over a result of `shape`: the same elements, one per partition, or a
    broadcast. Where the two are alike in none of these ways, an unknown element reaches all of its
    partition, or of the result."""
    if flags.shape == shape:
        return flags
    size = size_of(shape)
    if flags.size == size:
        return flags.reshape(shape)
    if flags.shape[0] == shape[0] and flags.size == shape[0]:
        return np.broadcast_to(flags.reshape((-1,) + (1,) * (len(shape) - 1)), shape)
    try:
        return np.broadcast_to(flags, shape)
    except ValueError:
        if flags.shape[:1] != shape[:1]:
            return np.full(shape, flags.any())
        rows = np.asarray(flags.reshape(shape[0], -1).any(axis=1))
        return np.broadcast_to(rows.reshape((-1,) + (1,) * (len(shape) - 1)), shape)


def along(flags: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Flags of rows (one per reduction, its axes kept) over a result of `shape`, which may have
    several elements per row."""
    if flags.size == size_of(shape):
        return flags.reshape(shape)
    return np.broadcast_to(flags.reshape(flags.shape[:1] + (1,) * (len(shape) - 1)), shape)


def rows(
    flags: np.ndarray, kept: np.ndarray | None, axes: tuple[int, ...]
) -> tuple[np.ndarray, bool]:
    """Flags of a reduction over `axes` of the elements `kept` (None: all); and whether known
    elements meet unknown ones in it."""
    if kept is not None:
        flags = flags & kept
    some = np.asarray(flags.any(axis=axes, keepdims=True))
    every = np.asarray((flags if kept is None else flags | ~kept).all(axis=axes, keepdims=True))
    return some, bool((some & ~every).any())


class Source(NamedTuple):
    """An operand with unknown elements."""

    label: str
    flags: np.ndarray
    origin: KernelError | None
    """What went wrong where; None if a mask left them out."""


Lost = tuple[np.ndarray | None, "KernelError | None"]
"""The unknown elements of a result, if there are any; and what went wrong where, if it is known."""


def of_result(
    plan: Plan,
    api: str,
    operands: list[Source | None],
    arrays: list[Any],
    shape: tuple[int, ...],
    where: np.ndarray | None,
) -> Lost:
    """The unknown elements of a result of `shape`.

    `operands`: of each source its unknown elements, if it has any; `arrays`: the sources' values;
    `where`: the mask, over the plan's grid.
    """
    if all(s is None for s in operands):
        return None, None
    out = np.zeros(shape, dtype=bool)
    origin: KernelError | None = None
    try:
        depends = plan.depends(*arrays) if plan.depends is not None else None
    except NoValues:
        # a selection by a tile, in a run on shapes alone: taken to leave the unknown elements out
        depends = (False,) * len(arrays)
    for position, operand in enumerate(operands):
        if operand is None:
            continue
        try:
            reached, mixed = _reached(plan, position, operand.flags, arrays, shape, where)
        except NoValues:
            continue
        if depends is not None and plan.spread is None and plan.kind not in ("reduce", "transpose"):
            reached = reached & np.broadcast_to(depends[position], plan.shape).reshape(shape)
        if not reached.any():
            continue
        out |= reached
        origin = origin or operand.origin
        if mixed and origin is None:
            origin = left_out(
                api, operand.label, ~operand.flags, "they are mixed with known ones here"
            )
    return (out, origin) if out.any() else (None, None)


def _reached(
    plan: Plan,
    position: int,
    flags: np.ndarray,
    arrays: list[Any],
    shape: tuple[int, ...],
    where: np.ndarray | None,
) -> tuple[np.ndarray, bool]:
    """Which elements of the result the unknown elements of a source reach, and whether they are
    mixed with known ones on the way. `shape`: of the destination, which may have other axes than
    the plan's result."""
    if plan.spread is not None:
        found = np.broadcast_to(plan.spread(position, flags, arrays), plan.shape)
        return found.reshape(shape), False
    if plan.kind == "reduce":
        some, mixed = rows(flags, where, plan.axes)
        return along(some, shape), mixed
    if plan.kind == "transpose":
        return plan.compute(flags).astype(bool).reshape(shape), False
    # a contraction: stationary columns are rows, moving ones columns
    if plan.kind == "whole" and position < 2:
        columns, mixed = rows(flags, None, (0,))
        if position == 0:
            columns = columns.reshape(-1, *[1] * (len(shape) - 1))
        else:
            columns = columns.reshape(1, *shape[1:])
        return np.broadcast_to(columns, shape), mixed
    reached = fit(flags, shape)
    if plan.kind == "scan":
        reached = np.logical_or.accumulate(reached, axis=-1)
    return reached, False
