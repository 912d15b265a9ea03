"""What the subscript of a tensor means: which elements, by arithmetic or one by one; and what is
refused of it.

A tensor is here whatever has a `label`, a layout `meta` and an element offset `off`; views of it
are made in `tensor`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..machine.memory import Meta
from ..rules import arguments
from ..rules.errors import broken, shown

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
