"""Arithmetic on layouts: what a subscript, a reshape or another data type makes of shape and
strides.

No array is touched here, so that views are the same where there are no values. All strides are in
elements.
"""

from __future__ import annotations

from typing import Any

from .memory import HBM, Meta, meta_of

Form = tuple[Any, ...]
"""A subscript without its offsets: of each axis named, the number of elements (0: the axis is taken
by number and goes), or (number, step); and at the end the first partition of the view."""


def subscripted(meta: Meta, form: Form) -> tuple[Meta, tuple[int, ...]]:
    """The layout of a view, and which of the axes taken by number stay, with one element: a tile
    keeps two axes."""
    on_chip = meta.space != HBM
    pdim = meta.pdim if on_chip else -1
    named = form[:-1]
    ndim = len(meta.shape)
    dropped = [axis for axis, n in enumerate(named) if n == 0]
    kept = []
    if len(named) == ndim:
        while dropped and ndim - len(dropped) < 2:
            kept.append(dropped.pop())
    shape, strides = [], []
    for axis, (size, stride) in enumerate(zip(meta.shape, meta.strides)):
        if axis in dropped:
            continue
        n = named[axis] if axis < len(named) else size
        count, step = n if type(n) is tuple else (n or 1, 1)
        shape.append(count)
        strides.append(stride * step)
    new_pdim = pdim - sum(1 for axis in dropped if axis < pdim) if on_chip else 0
    layout = meta_of(meta.space, tuple(shape), tuple(strides), meta.dtype, new_pdim, form[-1])
    return layout, tuple(sorted(kept))


def reshaped(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The strides of the same elements under the shape `wanted`, of the same size; None if only a
    copy could have it."""
    old = [(n, s) for n, s in zip(shape, strides) if n != 1]
    out: list[int] = []
    at = 0
    i = 0
    while i < len(wanted):
        if wanted[i] == 1:  # an axis of one element: its stride is never used
            out.append(0)
            i += 1
            continue
        have = old[at][0]
        need, start = wanted[i], i
        while have != need:
            if have < need:
                at += 1
                have *= old[at][0]
                if old[at - 1][1] != old[at][0] * old[at][1]:
                    return None
            else:
                i += 1
                need *= wanted[i]
        step = old[at][1]
        group: list[int] = []
        for n in reversed(wanted[start : i + 1]):
            group.append(step)
            step *= n
        out.extend(reversed(group))
        at, i = at + 1, i + 1
    step = 1
    for axis in range(len(wanted) - 1, -1, -1):  # as in a row-major tensor, where there is a choice
        if wanted[axis] == 1:
            out[axis] = step
        step = out[axis] * wanted[axis]
    return tuple(out)


def broadcast(meta: Meta, shape: tuple[int, ...]) -> Meta:
    """The layout with free axes of one element repeated to `shape`: stride 0. Axes are aligned on
    the right."""
    more = len(shape) - len(meta.shape)
    strides = (0,) * more + tuple(
        s if n == wanted else 0 for n, s, wanted in zip(meta.shape, meta.strides, shape[more:])
    )
    return meta_of(meta.space, shape, strides, meta.dtype, meta.pdim, meta.pstart)


def permuted(meta: Meta, order: tuple[int, ...]) -> Meta:
    """The layout with the axes in another order; the partition axis must stay where it is."""
    return meta_of(
        meta.space,
        tuple(meta.shape[a] for a in order),
        tuple(meta.strides[a] for a in order),
        meta.dtype,
        meta.pdim,
        meta.pstart,
    )


def retyped(meta: Meta, off: int, dtype: Any) -> tuple[Meta, int] | None:
    """The layout and offset of the same bytes read as `dtype`; None if the last axis does not allow
    it."""
    have, want = meta.itemsize, dtype.itemsize
    shape, strides = meta.shape, meta.strides
    if have == want:
        return meta_of(meta.space, shape, strides, dtype, meta.pdim, meta.pstart), off
    if shape[-1] != 1 and strides[-1] != 1:
        return None
    if want < have:
        ratio = have // want
        shape = (*shape[:-1], shape[-1] * ratio)
        strides = (*[s * ratio for s in strides[:-1]], 1)
        off *= ratio
    else:
        ratio = want // have
        if (
            shape[-1] % ratio
            or off % ratio
            or any(s % ratio for n, s in zip(shape[:-1], strides) if n > 1)
        ):
            return None
        shape = (*shape[:-1], shape[-1] // ratio)
        strides = (*[s // ratio for s in strides[:-1]], 1)
        off //= ratio
    return meta_of(meta.space, shape, strides, dtype, meta.pdim, meta.pstart), off
