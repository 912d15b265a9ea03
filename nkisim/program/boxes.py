"""Sets of elements of a tensor: along each axis a range, or the places named one by one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..machine.cells import box_of
from ..machine.memory import Meta, contiguous

Axis = range | tuple[int, ...]
"""The places along one axis: a range, or some in ascending order."""
Box = tuple[Axis, ...]


@functools.lru_cache(maxsize=1 << 14)
def whole(shape: tuple[int, ...]) -> Box:
    """All elements."""
    return tuple([range(n) for n in shape])


def common(a: Axis, b: Axis) -> Axis:
    """The places in both."""
    if type(a) is range and type(b) is range:
        if a.step == b.step == 1:
            low, high = (a, b) if a.start <= b.start else (b, a)
            if low.stop >= high.stop:
                return high
            return range(high.start, low.stop if low.stop > high.start else high.start)
        if b.step == 1 or (a.step == b.step and (a.start - b.start) % a.step == 0):
            return _cut(a, b.start, b.stop)
        if a.step == 1:
            return _cut(b, a.start, a.stop)
        if a.step == b.step:
            return range(0)
    if a == b:
        return a
    return tuple(sorted(set(a) & set(b)))


def _cut(a: range, start: int, stop: int) -> range:
    """The places of a range from `start` on and before `stop`."""
    first = a.start + max(0, -(-(start - a.start) // a.step)) * a.step
    return range(first, max(first, min(a.stop, stop)), a.step)


def meet(a: Box, b: Box) -> Box | None:
    """The elements in both; None if there are none."""
    if a == b:
        return a
    out = []
    for x, y in zip(a, b):
        found = x if x is y or x == y else common(x, y)
        if not found:
            return None
        out.append(found)
    return tuple(out)


def without(a: Box, b: Box) -> list[Box]:
    """The elements of `a` that are not in `b`, as boxes."""
    rest: list[Box] = []
    left = list(a)
    for axis, (x, y) in enumerate(zip(a, b)):
        if x is y or x == y:  # nothing is left out along this axis
            continue
        parts: list[Axis]
        if type(x) is range and type(y) is range and x.step == y.step == 1:
            parts = [
                range(x.start, min(x.stop, y.start)),
                range(max(x.start, y.stop), x.stop),
            ]
        elif type(x) is range and type(y) is range and y and common(x, y) == y and x.step == y.step:
            parts = [
                range(x.start, min(x.stop, y.start), x.step),
                range(y[-1] + x.step, x.stop, x.step),
            ]
        else:
            parts = [tuple(sorted(set(x) - set(y)))]
        rest += [(*left[:axis], part, *left[axis + 1 :]) for part in parts if part]
        left[axis] = common(x, y)
        if not left[axis]:
            return [a]
    return rest


@functools.lru_cache(maxsize=1 << 16)
def seen(buffer: Meta, view: Meta, offset: int) -> tuple[Box, tuple[Any, ...] | None]:
    """Which elements of a tensor a view covers; and how: of each axis of the tensor the axis of the
    view that runs along it, where it begins and its step. None where it cannot be told, and then
    the box may be larger than the view."""
    if view is buffer and not offset:
        return whole(buffer.shape), tuple([(axis, 0, 1) for axis in range(len(buffer.shape))])
    if view.itemsize != buffer.itemsize:
        return whole(buffer.shape), None
    shape = buffer.shape
    found = box_of(shape, offset, view.shape, view.strides)
    if found is None:
        return whole(shape), None
    box = tuple([range(a, b, s) for a, b, s in found])
    units = contiguous(shape)
    axes: list[Any] = [(None, r.start, 1) for r in box]
    for axis, (n, s) in enumerate(zip(view.shape, view.strides)):
        if n == 1 or s == 0:
            continue
        at = next((a for a, u in enumerate(units) if u <= s and shape[a] > 1), None)
        if at is None or s % units[at] or axes[at][0] is not None or len(box[at]) != n:
            return box, None
        axes[at] = (axis, box[at].start, s // units[at])
    return box, tuple(axes)


def into_view(box: Box, view: Meta, axes: tuple[Any, ...] | None, all_of_it: Box) -> Box:
    """The elements of a view that lie in `box` of its tensor, which meets it; all where it cannot
    be told. `all_of_it`: the elements of the tensor that the view covers."""
    if axes is None or box is all_of_it or box == all_of_it:
        return whole(view.shape)
    out: list[Axis] = [range(n) for n in view.shape]
    for places, (axis, start, step) in zip(box, axes):
        if axis is None:
            continue
        if type(places) is range and places.step == 1 == step:
            out[axis] = range(places.start - start, places.stop - start)
        elif type(places) is range and places.step == step:
            first = (places.start - start) // step
            out[axis] = range(first, first + len(places))
        else:
            out[axis] = tuple([(p - start) // step for p in places])
    return tuple(out)


_PIECES = 64
"""Into so many pieces a part is cut at most, so that each is a box."""


def from_view(part: Box, buffer: Meta, view: Meta, offset: int, known: Any) -> list[Box]:
    """The elements of a tensor that a part of a view covers, as boxes; `known`: what `seen` says of
    it."""
    box, axes = known
    if axes is not None:
        return [_along(part, box, axes)]
    if view.itemsize != buffer.itemsize:
        return [box]
    found = _walked(part, buffer, view, offset)
    if found is not None:
        return [found]
    for axis in sorted(range(len(part)), key=lambda axis: len(part[axis])):
        if 1 < len(part[axis]) <= _PIECES:
            cut = [(*part[:axis], range(p, p + 1), *part[axis + 1 :]) for p in part[axis]]
            pieces = [_walked(piece, buffer, view, offset) for piece in cut]
            if None not in pieces:
                return [piece for piece in pieces if piece is not None]
    return [box]


def _walked(part: Box, buffer: Meta, view: Meta, offset: int) -> Box | None:
    """A part of a view, if its elements are a box of the tensor."""
    ranges = [p for p in part if isinstance(p, range) and p.step == 1]
    if len(ranges) != len(part):
        return None
    moved = offset + sum(p.start * s for p, s in zip(ranges, view.strides))
    found = box_of(buffer.shape, moved, tuple(map(len, part)), view.strides)
    return None if found is None else tuple([range(a, b, s) for a, b, s in found])


def _along(part: Box, box: Box, axes: tuple[Any, ...]) -> Box:
    """A part of a view whose axes run along axes of the tensor."""
    out = list(box)
    for at, (axis, start, step) in enumerate(axes):
        if axis is None:
            continue
        places = part[axis]
        if type(places) is range:
            last = start + places[-1] * step
            out[at] = range(start + places[0] * step, last + 1, places.step * step)
        else:
            out[at] = tuple([start + p * step for p in places])
    return tuple(out)


def of_places(shape: tuple[int, ...], flat: np.ndarray) -> Box:
    """The smallest box with the elements at these places of a row-major tensor."""
    found = np.unravel_index(np.unique(flat), shape)
    return tuple([_axis(np.unique(places)) for places in found])


def _axis(places: np.ndarray) -> Axis:
    first, last = int(places[0]), int(places[-1])
    if last - first + 1 == len(places):
        return range(first, last + 1)
    step = int(places[1]) - first
    if first + step * (len(places) - 1) == last and (np.diff(places) == step).all():
        return range(first, last + 1, step)
    return tuple(places.tolist())


def reshaped(box: Box, shape: tuple[int, ...], wanted: tuple[int, ...]) -> Box:
    """The same elements of one memory under another shape; more where they are not a box there."""
    if shape == wanted:
        found_box: Box = box
        return found_box
    if all(type(p) is range for p in box):
        units = contiguous(shape)
        offset = sum(p[0] * u for p, u in zip(box, units))
        steps = tuple([p.step * u for p, u in zip(box, units) if type(p) is range])
        found = box_of(wanted, offset, tuple(map(len, box)), steps)
        if found is not None:
            return tuple([range(a, b, s) for a, b, s in found])
    flat = np.ravel_multi_index(np.ix_(*[np.asarray(p) for p in box]), shape).reshape(-1)
    return of_places(wanted, flat)


def merged(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """The same elements in fewer boxes: those that continue one another along an axis are one."""
    found = list(dict.fromkeys(boxes))
    for axis in range(len(found[0]) - 1, -1, -1) if found else ():
        groups: dict[Any, list[Axis]] = {}
        for box in found:
            groups.setdefault((box[:axis], box[axis + 1 :]), []).append(box[axis])
        found = [
            (*before, part, *after)
            for (before, after), parts in groups.items()
            for part in _joined(parts)
        ]
    return tuple(sorted(found, key=lambda box: tuple([(a[0], a[-1]) for a in box])))


def _joined(parts: list[Axis]) -> list[Axis]:
    if len(parts) == 1:
        return parts
    ranges = sorted(
        [p for p in parts if isinstance(p, range) and p.step == 1], key=lambda p: (p.start, p.stop)
    )
    rest = [p for p in parts if not isinstance(p, range) or p.step != 1]
    out: list[Axis] = []
    for p in ranges:
        last = out[-1] if out else None
        if isinstance(last, range) and p.start <= last.stop:
            out[-1] = range(last.start, max(last.stop, p.stop))
        else:
            out.append(p)
    return out + _interleaved(rest)


def _interleaved(parts: list[Axis]) -> list[Axis]:
    """The same places, ranges with a step that fill one another's gaps as one."""
    groups: dict[tuple[int, int], list[int]] = {}
    out: list[Axis] = []
    for p in parts:
        if isinstance(p, range):
            groups.setdefault((p.step, len(p)), []).append(p.start)
        else:
            out.append(p)
    for (step, n), starts in groups.items():
        starts.sort()
        while starts:
            first = starts[0]
            if starts[:step] == list(range(first, first + step)):
                out.append(range(first, first + n * step))
                del starts[:step]
            else:
                out.append(range(first, first + (n - 1) * step + 1, step))
                del starts[0]
    return out
