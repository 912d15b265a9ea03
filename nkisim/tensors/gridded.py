"""Subscripts made of index grids, or of tiles of run-time indices: which elements they name, by
arithmetic or one by one; and what is refused of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import HBM, meta_of
from ..machine.shapes import ShapeOnly, shape_only
from ..rules.errors import POLICY, broken
from .index import DynamicSlice, Index, RuntimeIndex
from .masks import Mask, broadcast
from .subscripts import FAR, Picked, Strided, bad_int, bad_slice, integers, overhangs, too_many


def explicit(t: Any, key: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """A subscript of slices and integers as an index for each axis, and the shape of what it names.
    Slices may end beyond the tensor; anything else that is wrong is refused."""
    spans: list[tuple[int, int, int] | int] = []
    for dim, n in enumerate(t.meta.shape):
        e = key[dim] if dim < len(key) else slice(None)
        if isinstance(e, DynamicSlice):
            e = slice(e.start, e.start + e.size)
        if isinstance(e, slice):
            start, stop = e.start or 0, n if e.stop is None else e.stop
            start, stop, step = integers(t, key, start, stop, e.step)
            inside = 0 <= start < stop <= n and (step is None or step >= 1)
            if not inside and (stop > n + FAR or not overhangs(start, stop, step)):
                bad_slice(t, dim, start, stop, step)
            spans.append((start, stop, min(step or 1, stop)))
        elif isinstance(e, (int, np.integer)) and not isinstance(e, bool):
            if not 0 <= e < n:
                e = bad_int(t, dim, int(e))
            spans.append((int(e), int(e) + 1, 1) if dim == t.meta.axis else int(e))
        else:
            advanced(t, key, type(None))
    taken = [dim for dim, s in enumerate(spans) if isinstance(s, int)]
    while taken and len(spans) - len(taken) < 2:  # a tile keeps two axes
        last = taken.pop()
        spans[last] = (key[last], key[last] + 1, 1)
    ranges = [np.arange(*s, dtype=np.int64) for s in spans if not isinstance(s, int)]
    indices: list[Any] = []
    for s in spans:
        if isinstance(s, int):
            indices.append(np.int64(s))
        else:
            place = sum(1 for i in indices if i.ndim)
            indices.append(np.arange(*s).reshape((-1,) + (1,) * (len(ranges) - place - 1)))
    return tuple(indices), tuple(len(r) for r in ranges)


def form_of_grid(t: Any, key: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """What subscripts have in common that differ in the numbers added to their grids only: they
    give one layout. None if they are not made of affine grids and integers, one an axis."""
    meta = t.meta
    if len(key) != len(meta.shape):
        return None
    pstart = meta.pstart
    form: list[Any] = ["grid"]
    for dim, e in enumerate(key):
        if type(e) is Index and e.values is None:
            form.append(e.form)
            start = e.start
        elif type(e) is int:
            form.append(None)
            start = e
        else:
            return None
        if dim == meta.axis:
            pstart += start
    form.append(pstart)
    return tuple(form)


def seen(t: Any, key: tuple[Any, ...], form: tuple[Any, ...]) -> Strided | None:
    """The view of a subscript of this form (`form_of_grid`) that is inside the tensor, if one was
    read before."""
    meta = t.meta
    known = meta.views.get(form)
    if known is None:
        return None
    off = t.off
    for e, size, stride, (low, high) in zip(key, meta.shape, meta.strides, known[1]):
        start = e if type(e) is int else e.start
        if start + low < 0 or start + high >= size:
            return None
        off += start * stride
    return Strided(known[0], off)


def advanced(
    t: Any, key: tuple[Any, ...], tile: Any, form: tuple[Any, ...] | None = None
) -> Strided | Picked:
    """Read a subscript with index grids, or with a tile of run-time indices (an instance of
    `tile`). One of the form `form` is remembered."""
    elements: list[Any] = []
    has_slice = False
    indirect = False
    for e in key:
        if e is Ellipsis or isinstance(e, (slice, DynamicSlice)):
            has_slice = True
        elif isinstance(e, (tile, RuntimeIndex)):
            indirect = True
        else:
            _refuse_element(t, e)
        elements.append(e)
    if has_slice:
        broken(
            "mixed-indexing",
            f"the subscript of '{t.label}' mixes slices with index grids",
            tensor=t.label,
            remedy="Use slices on every axis, or index grids (nl.arange) on every axis.",
        )
    if len(elements) > t.ndim:
        too_many(t, key)
    if len(elements) < t.ndim:
        if indirect:
            broken(
                "indirect-index",
                f"'{t.label}' has {t.ndim} axes, the indirect subscript names {len(elements)}",
                tensor=t.label,
                remedy="Name every axis: t[idx[i_p, 0], i_f].",
            )
        elements = _with_whole_axes(t, elements)
    if indirect:
        return _indirect(t, elements, tile)
    grid = broadcast([e.sizes for e in elements if isinstance(e, Index)])
    if len(grid) < 2:
        broken(
            "arange-1d",
            f"'{t.label}' is subscripted with a one-dimensional nl.arange",
            tensor=t.label,
            got=f"a grid of shape {grid}",
            remedy="Write nl.arange(n)[:, None] and nl.arange(m)[None, :].",
        )
    warnings = POLICY.get().warnings
    read = _grid(t, elements, grid)
    if form is not None and type(read) is Strided and POLICY.get().warnings == warnings:
        t.meta.views[form] = read.meta, tuple([_reach(e) for e in elements])
    return read


def _reach(e: Any) -> tuple[int, int]:
    """How far the smallest and the largest value of an index lie from its first."""
    if not isinstance(e, Index):
        return 0, 0
    low, high = e.range()
    return low - e.start, high - e.start


def _refuse_element(t: Any, e: Any) -> None:
    """An element of a subscript is an integer or an index grid; what else is tried has a
    sentence."""
    if isinstance(e, Mask):
        broken(
            "mask",
            f"'{t.label}' is subscripted with a mask",
            tensor=t.label,
            remedy="Pass the condition as mask= of the function.",
        )
    elif isinstance(e, (np.ndarray, list)):
        broken(
            "numpy-on-tile",
            f"'{t.label}' is subscripted with a NumPy array",
            tensor=t.label,
            got=type(e).__name__,
            remedy="Build index grids with nl.arange or nl.mgrid.",
        )
    elif (
        e is None
        or isinstance(e, (float, bool, np.bool_, np.floating, str))
        or not isinstance(e, (int, np.integer, Index))
    ):
        broken(
            "argument",
            f"'{t.label}' cannot be subscripted with {e!r}",
            tensor=t.label,
            got=repr(e),
            remedy="Use integers, slices, nl.ds, nl.arange or nl.mgrid.",
        )


def _with_whole_axes(t: Any, elements: list[Any]) -> list[Any]:
    """The subscript with an element for every axis of `t`."""
    # trailing axes are whole, as dense grid axes after those given
    missing = t.meta.shape[len(elements) :]
    elements = [
        e[(slice(None),) * e.ndim + (None,) * len(missing)] if isinstance(e, Index) else e
        for e in elements
    ]
    for axis, n in enumerate(missing):
        sizes = (n,) + (1,) * (len(missing) - axis - 1)
        elements.append(Index(sizes, (1,) + (0,) * (len(sizes) - 1), 0))
    return elements


def _grid(t: Any, elements: list[Any], grid: tuple[int, ...]) -> Strided | Picked:
    meta = t.meta
    n = len(grid)
    off = t.off
    strides = [0] * n
    pstart = meta.pstart
    on_chip = meta.space != HBM
    for dim, e in enumerate(elements):
        if not isinstance(e, Index):
            e = Index((1,) * n, (0,) * n, int(e))
        low, high = e.range()
        if low < 0 or high >= meta.shape[dim] or not e.affine:
            places = tuple(x.array() if isinstance(x, Index) else np.int64(x) for x in elements)
            recipe = [x for place in places for x in (None, np.asarray(place))]
            return Picked(places, grid, None, tuple(recipe))
        own = (0,) * (n - e.ndim) + e.strides
        off += e.start * meta.strides[dim]
        for axis in range(n):
            strides[axis] += own[axis] * meta.strides[dim]
        if dim == meta.pdim and on_chip:
            pstart += e.start
            moving = [axis for axis in range(n) if own[axis] and grid[axis] > 1]
            if moving not in ([], [0]) or (moving and own[0] != 1):
                broken(
                    "partition-axis",
                    f"the partition axis of '{t.label}' must follow the first grid axis, one by "
                    "one",
                    tensor=t.label,
                    remedy="Index partitions with nl.arange(p)[:, None] and free axes with "
                    "[None, :].",
                )
        elif on_chip and n and own[0] and grid[0] > 1:
            broken(
                "partition-axis",
                f"a free axis of '{t.label}' follows the first grid axis, which is the partition "
                "axis of the tile",
                tensor=t.label,
                remedy="Index partitions with nl.arange(p)[:, None] and free axes with [None, :].",
            )
    if on_chip and grid[0] > 1 and strides[0] == 0:
        broken(
            "partition-axis",
            f"one partition of '{t.label}' is read as {grid[0]} partitions",
            tensor=t.label,
            remedy="Broadcast over partitions with .broadcast_to or nl.broadcast_to.",
        )
    layout = meta_of(meta.space, grid, tuple(strides), meta.dtype, 0, pstart if on_chip else 0)
    return Strided(layout, off)


def _indirect(t: Any, elements: list[Any], tile: Any) -> Picked:
    arrays: list[Any] = []
    recipe: list[Any] = []
    tiles = []
    for axis, e in enumerate(elements):
        added = e if isinstance(e, RuntimeIndex) else None
        if added is not None:
            e = added.tile
        if isinstance(e, tile):
            if t.meta.space == HBM and axis == len(elements) - 1:
                broken(
                    "indirect-index",
                    f"run-time indices on the last (free) axis of '{t.label}'",
                    tensor=t.label,
                    remedy="Run-time indices select rows; keep the free axis an nl.arange.",
                )
            if not dtypes.is_integer(e.dtype):
                broken(
                    "dtype",
                    f"'{e.label}' is used as an index but holds {dtypes.name(e.dtype)}",
                    tensor=e.label,
                    remedy="Load the indices as nl.int32 or nl.uint32.",
                )
            if e.meta.space == HBM:
                broken(
                    "memory",
                    f"'{e.label}' is used as an index but lies in HBM",
                    tensor=e.label,
                    remedy="nl.load the indices into SBUF first.",
                )
            tiles.append(e)
            more = 0 if added is None else added.index
            recipe += [e, more.array() if isinstance(more, Index) else np.asarray(more)]
            if type(e.array) is ShapeOnly:
                more = (
                    () if added is None or not isinstance(added.index, Index) else added.index.sizes
                )
                arrays.append(shape_only(np.broadcast_shapes(e.shape, more), np.dtype(np.int64)))
                continue
            offset = e.array.astype(np.int64)
            arrays.append(offset if added is None else added.values(offset))
        else:
            arrays.append(e.array() if isinstance(e, Index) else np.int64(e))
            recipe += [None, np.asarray(arrays[-1])]
    grid = np.broadcast_shapes(*[a.shape for a in arrays])
    if len(grid) < 2:
        broken(
            "arange-1d",
            f"'{t.label}' is subscripted with a one-dimensional index",
            tensor=t.label,
            remedy="Write t[idx[i_p, 0], i_f] with i_p = nl.arange(p)[:, None].",
        )
    return Picked(tuple(arrays), grid, tuple(tiles), tuple(recipe))
