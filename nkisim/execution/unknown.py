"""Elements that a mask left out: which elements of a result they reach.

A masked instruction leaves the rest of its result as it was, and fresh memory holds anything.
Kernels compute on such tiles without a mask (the compiler cannot know better, and nothing bad
happens) and mask the store again. So an unknown element is no error by itself: it makes the
elements that are computed from it unknown. It is one where it is mixed with known elements into one
result (a sum, a maximum, a contraction), or is stored to HBM.

All arrays here are booleans, True where an element is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..isa.core import Plan
from ..machine.shapes import NoValues
from ..rules.errors import broken


def refuse(api: str, label: str, got: str, why: str) -> None:
    """Report unknown elements of the tile `label` where they do harm."""
    broken(
        "uninitialized-read",
        f"{api}: '{label}' holds elements that a mask left out, and {why}",
        tensor=label,
        got=got,
        remedy="Pass the same mask= here too, or fill the tile first (nl.full, then a masked "
        "nl.load into it; or nl.where).",
    )


def fit(flags: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The flags of an operand over a result of `shape`: the same elements, one a partition, or a
    broadcast."""
    if flags.shape == shape:
        return flags
    size = int(np.prod(shape))
    if flags.size == size:
        return flags.reshape(shape)
    if flags.shape[0] == shape[0] and flags.size == shape[0]:
        return np.broadcast_to(flags.reshape((-1,) + (1,) * (len(shape) - 1)), shape)
    return np.broadcast_to(flags, shape)


def along(flags: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Flags of rows (one a reduction, its axes kept) over a result of `shape`, which may have
    several elements a row."""
    if flags.size == int(np.prod(shape)):
        return flags.reshape(shape)
    return np.broadcast_to(flags.reshape(flags.shape[:1] + (1,) * (len(shape) - 1)), shape)


def rows(
    flags: np.ndarray, kept: np.ndarray | None, axes: tuple[int, ...], mixed: Callable[[], None]
) -> np.ndarray:
    """Flags of a reduction over `axes` of the elements `kept` (None: all); calls `mixed` where
    known meets unknown."""
    if kept is not None:
        flags = flags & kept
    some = np.asarray(flags.any(axis=axes, keepdims=True))
    every = np.asarray((flags if kept is None else flags | ~kept).all(axis=axes, keepdims=True))
    if (some & ~every).any():
        mixed()
    return some


def of_result(
    plan: Plan,
    api: str,
    operands: list[tuple[str, np.ndarray | None]],
    arrays: list[Any],
    shape: tuple[int, ...],
    where: np.ndarray | None,
) -> np.ndarray | None:
    """The unknown elements of a result of `shape`; None if there are none.

    `operands`: label and flags of each source; `arrays`: the sources' values; `where`: the mask,
    over the plan's grid.
    """
    if all(flags is None for _, flags in operands):
        return None

    def mixes(label: str, flags: np.ndarray) -> Callable[[], None]:
        got = f"{int(flags.sum())} of {flags.size} elements left out"
        return lambda: refuse(api, label, got, "they are mixed with known ones here")

    out = np.zeros(shape, dtype=bool)
    try:
        depends = plan.depends(*arrays) if plan.depends is not None else None
    except NoValues:
        # a selection by a tile, in a run on shapes alone: taken to leave the unknown elements out
        depends = (False,) * len(arrays)
    for position, (label, flags) in enumerate(operands):
        if flags is None:
            continue
        if plan.spread is not None:
            try:
                reached = np.broadcast_to(plan.spread(position, flags, arrays), shape)
            except NoValues:
                continue
        elif plan.kind == "reduce":
            reached = along(rows(flags, where, plan.axes, mixes(label, flags)), shape)
        elif plan.kind == "transpose":
            reached = plan.compute(flags).astype(bool)
        elif plan.kind == "whole" and position < 2:
            # a contraction: stationary columns are rows, moving ones columns
            columns = rows(flags, None, (0,), mixes(label, flags))
            reached = np.broadcast_to(
                columns.reshape(-1, *[1] * (len(shape) - 1)) if position == 0 else columns, shape
            )
        else:
            reached = fit(flags, shape)
            if depends is not None:
                reached = reached & depends[position]
            if plan.kind == "scan":
                reached = np.logical_or.accumulate(reached, axis=-1)
        out |= reached
    return out if out.any() else None
