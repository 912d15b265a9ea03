"""What the subscript of a tensor means: which elements, by arithmetic or one by one; and what is
refused of it.

A tensor is here whatever has a `label`, a layout `meta` and an element offset `off`; views of it
are made in `tensor`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..machine import dtypes
from ..machine.memory import HBM, Meta, meta_of
from ..machine.shapes import ShapeOnly, shape_only
from ..rules import arguments
from ..rules.errors import POLICY, broken, shown
from .index import DynamicSlice, Index, Mask, RuntimeIndex, broadcast

FAR = 2**20
"""How far a slice may end beyond its tensor and still be judged where it is read: a mask can cut
off what is beyond, but no tile is longer."""


class Strided(NamedTuple):
    """A view that a layout describes."""

    meta: Meta
    off: int
    """Element offset of its first element in the buffer."""


class Picked(NamedTuple):
    """Elements named one by one."""

    indices: tuple[Any, ...]
    """An integer or an array of integers for each axis; a `ShapeOnly` where run-time values are not
    computed."""
    grid: tuple[int, ...]
    """The shape of what is picked."""
    tiles: tuple[Any, ...] | None
    """The tiles that hold run-time indices; None for indices known when the kernel is built."""
    recipe: tuple[Any, ...]
    """Of each axis a tile of run-time indices, or None, and the integers added to it."""


def spelled_out(t: Any, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The subscript with `...` written as slices."""
    dots = [i for i, e in enumerate(key) if e is Ellipsis]
    if len(key) - len(dots) > t.ndim:
        too_many(t, key)
    if not dots:
        return key
    whole = (slice(None),)
    rest = tuple(e for e in key[dots[0] + 1 :] if e is not Ellipsis)
    found: tuple[Any, ...] = key[: dots[0]] + whole * (t.ndim - dots[0] - len(rest)) + rest
    return found


def integers(t: Any, key: tuple[Any, ...], *bounds: Any) -> tuple[Any, ...]:
    """The bounds of a slice as Python integers."""
    for b in bounds:
        if b is not None and (
            not isinstance(b, (int, np.integer)) or isinstance(b, (bool, np.bool_))
        ):
            broken(
                "argument",
                f"the subscript of '{t.label}' has a bound that is not an integer",
                tensor=t.label,
                got=shown(key),
                remedy="Bounds are integers known when the kernel is built; use // instead of /.",
            )
            raise AssertionError
    return tuple(None if b is None else int(b) for b in bounds)


def sizes(t: Any, given: tuple[Any, ...], shape: Any) -> tuple[Any, ...]:
    """The shape that `reshape` is given, as one argument, as several, or by name."""
    if (given and shape is not None) or (not given and shape is None):
        broken(
            "argument",
            f"reshape of '{t.label}' takes one shape",
            tensor=t.label,
            got=repr((*given, shape)),
            remedy="Write t.reshape((p, n)).",
        )
    wanted = given if shape is None else (shape,)
    if len(wanted) == 1 and isinstance(wanted[0], (tuple, list)):
        wanted = tuple(wanted[0])
    if all(type(n) is int and -1 <= n < FAR for n in wanted):  # to write the label takes longer
        return wanted
    return arguments.integers(wanted, f"reshape of '{t.label}'", "the shape")


def too_many(t: Any, key: tuple[Any, ...]) -> None:
    """Refuse a subscript with more parts than there are axes."""
    broken(
        "rank-limit",
        f"'{t.label}' has {t.ndim} axes but the subscript names {len(key)}",
        tensor=t.label,
        got=f"{len(key)} subscripts",
        limit=f"{t.ndim} axes, shape {t.shape}",
    )


def bad_int(t: Any, dim: int, index: int) -> int:
    """Refuse `index` on axis `dim`; from the end, where a negative one is only warned about."""
    n = t.meta.shape[dim]
    if index < 0:
        broken(
            "negative-index",
            f"index {index} on axis {dim} of '{t.label}' is negative",
            tensor=t.label,
            got=index,
            limit=f"0..{n - 1}",
            remedy=f"Count from the front: {n} {index} = {n + index}.".replace(f"{n} -", f"{n} - "),
        )
        if index >= -n:
            return int(n + index)
    broken(
        "out-of-bounds",
        f"index {index} is out of bounds for axis {dim} of '{t.label}'",
        tensor=t.label,
        got=index,
        limit=f"0..{n - 1} (shape {t.shape})",
        remedy="Check the loop's trip count and the tile offset.",
    )
    raise AssertionError


def bad_slice(t: Any, dim: int, start: int, stop: int, step: int | None) -> None:
    """Refuse the slice start:stop:step on axis `dim`."""
    n = t.meta.shape[dim]
    got = f"{start}:{stop}" + (f":{step}" if step is not None else "")
    if step is not None and step < 1:
        broken(
            "argument",
            f"slice {got} on axis {dim} of '{t.label}' has a step below 1",
            tensor=t.label,
            got=got,
            remedy="Steps are positive.",
        )
    if start < 0 or stop < 0:
        broken(
            "negative-index",
            f"slice {got} on axis {dim} of '{t.label}' has a negative end",
            tensor=t.label,
            got=got,
            limit=f"0..{n}",
            remedy="Count from the front.",
        )
        if min(start, stop) >= -n:
            return
    if start >= stop and start <= n:
        broken(
            "out-of-bounds",
            f"slice {got} on axis {dim} of '{t.label}' is empty",
            tensor=t.label,
            got=got,
            limit=f"at least one element of 0..{n - 1}",
            remedy="Check the tile size and offset.",
        )
    broken(
        "out-of-bounds",
        f"slice {got} is out of bounds for axis {dim} of '{t.label}'",
        tensor=t.label,
        got=got,
        limit=f"0..{n} (shape {t.shape}); NKI does not clip a slice",
        remedy="Check the trip count, or make the last tile smaller (with index grids: mask=).",
    )


_LARGEST = 1 << 16
"""Elements of the largest access (arch: 64 Ki per partition)."""


def overhangs(start: int, stop: int, step: int | None) -> bool:
    """Whether a slice could be one access of which a mask leaves out what is not there."""
    return 0 <= start < stop <= min(start + _LARGEST, 1 << 31) and (step is None or step >= 1)


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
