"""Rows of an input that indices pick at each call of a flat replay: read row by row, where what is
picked in a row is a view like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..execution.lowering import Pick, View, array_of
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
    base, index, added, first = pick.base, None, 0, 0
    strides = [0] * len(shape)
    offset = base.offset
    tiles, adds = pick.parts[::2], pick.parts[1::2]
    for axis, (tile, pattern) in enumerate(zip(tiles, adds)):
        values = array_of(pattern)
        if tile is not None:
            down = tile.meta.shape[0] == tile.meta.size == shape[0]
            if index is not None or not down or len(tile.meta.shape) != len(shape):
                return None
            if (values != values.reshape(-1)[0]).any():
                return None
            index, added, first = tile, int(values.reshape(-1)[0]), axis
            continue
        line = _line(values, len(shape), base.meta.shape[axis])
        if line is None:
            return None
        start, along, step = line
        offset += start * base.meta.strides[axis]
        strides[along] += step * base.meta.strides[axis]
    if index is None or strides[0]:
        return None
    rows = (base.meta.shape[first], *shape[1:])
    meta = meta_of(HBM, rows, (base.meta.strides[first], *strides[1:]), base.meta.dtype)
    return Rows(index, added, meta, offset)


def _line(values: np.ndarray, rank: int, size: int) -> tuple[int, int, int] | None:
    """Indices known beforehand as (first, axis along which they grow, step), if they are inside an
    axis of `size` elements."""
    if values.min() < 0 or values.max() >= size:
        return None
    first = int(values.reshape(-1)[0])
    if values.size == 1:
        return first, rank - 1, 0
    axes = [axis for axis, n in enumerate(values.shape) if n > 1]
    if len(axes) != 1 or values.ndim != rank:
        return None
    line = values.reshape(-1)
    step = int(line[1] - line[0])
    if (np.diff(line) != step).any():
        return None
    return first, axes[0], step


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
