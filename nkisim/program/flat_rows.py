"""Rows of an input that indices pick at each call of a flat replay: read row by row, where what is
picked in a row is a view like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..execution.steps import Pattern, Pick, View
from ..machine.memory import HBM, Meta, meta_of


class Rows(NamedTuple):
    """What is picked, as rows of a view."""

    tile: View
    """Of indices..."""
    added: int
    """...and what is added to each of them."""
    meta: Meta
    """All rows there are, as a view of the input."""
    offset: int


def rows_of(pick: Pick, shape: tuple[int, ...]) -> Rows | None:
    """A pick of that shape as rows, one for each place of its first axis; None where it is not of
    that kind."""
    if pick.kind == "rows":
        return _of_a_vector(pick, shape)
    return _of_indices(pick, shape) if pick.kind == "indices" else None


def _of_a_vector(pick: Pick, shape: tuple[int, ...]) -> Rows | None:
    index, scale, extent = pick.parts
    meta, n = pick.base.meta, shape[0]
    # one column of indices, and no step of the view's own from row to row
    plain = index.meta.shape[0] == n == index.meta.size and (n == 1 or not meta.strides[0])
    if not plain or pick.base.offset or scale < 1:
        return None
    rows = meta_of(HBM, (extent, *shape[1:]), (scale, *meta.strides[1:]), meta.dtype)
    return Rows(index, 0, rows, 0)


def _of_indices(pick: Pick, shape: tuple[int, ...]) -> Rows | None:
    base, rank = pick.base, len(shape)
    strides = [0] * rank
    offset = base.offset
    found: tuple[View, int, int] | None = None
    for axis, (tile, pattern) in enumerate(zip(pick.parts[::2], pick.parts[1::2])):
        size, step = base.meta.shape[axis], base.meta.strides[axis]
        if tile is not None:
            down = tile.meta.shape[0] == tile.meta.size == shape[0] and len(tile.meta.shape) == rank
            line = _line(pattern, rank)
            if found is not None or not down or line is None or line.step:
                return None
            found = tile, line.first, axis
            continue
        line = _line(pattern, rank)
        if line is None or line.first < 0 or not 0 <= line.last < size:
            return None
        offset += line.first * step
        strides[line.axis] += line.step * step
    if found is None or strides[0]:
        return None
    tile, added, axis = found
    rows = (base.meta.shape[axis], *shape[1:])
    meta = meta_of(HBM, rows, (base.meta.strides[axis], *strides[1:]), base.meta.dtype)
    return Rows(tile, added, meta, offset)


class _Line(NamedTuple):
    """Indices that grow along one axis of a grid, or along none."""

    first: int
    last: int
    axis: int
    step: int


def _line(pattern: Pattern, rank: int) -> _Line | None:
    """Indices known beforehand, if they are such."""
    if pattern.kind != "affine":
        return None
    first, *steps = pattern.numbers
    grows = [axis for axis, step in enumerate(steps) if step]
    if not grows:
        return _Line(first, first, rank - 1, 0)
    if len(grows) > 1 or len(pattern.shape) != rank:
        return None
    (axis,) = grows
    step = steps[axis]
    return _Line(first, first + (pattern.shape[axis] - 1) * step, axis, step)


def read(
    rows: Rows,
    index: Callable[[], np.ndarray],
    views: list[Any],
    out: np.ndarray,
    leave: Callable[[int], None] | None,
    slow: Callable[[], Any],
) -> Callable[[int], Callable[[], Any]]:
    """A function that makes the call, given the place of the rows among `views`. `leave`: takes
    note of so many bytes left out; None where indices out of bounds are refused, by `slow`."""
    added, extent = rows.added, rows.meta.shape[0]
    nbytes = rows.meta.nbytes // extent

    def make(number: int) -> Callable[[], Any]:
        def gather() -> None:
            at = index().reshape(-1).astype(np.int64) + added
            inside = (at >= 0) & (at < extent)
            if inside.all():
                out[...] = views[number][at]
            elif leave is not None:
                there = np.flatnonzero(inside)
                leave(nbytes * (at.size - there.size))
                out[there] = views[number][at[there]]
            else:
                slow()

        return gather

    return make
