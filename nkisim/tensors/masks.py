"""Masks: predicates over index grids, known when the kernel is built; and the shape that grids have
in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine.counts import size_of
from ..rules import source
from ..rules.errors import broken


def _broadcast_axis(a: int, b: int) -> int:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    broken(
        "shape-mismatch",
        f"index grids of {a} and {b} elements on one axis do not broadcast",
        got=f"{a} and {b}",
        remedy="Give both grids the same size on that axis, or put them on different axes.",
    )
    raise AssertionError


def broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The common shape of index grids, axes aligned on the right as in NumPy."""
    out: tuple[int, ...] = ()
    for shape in shapes:
        n = max(len(out), len(shape))
        left = (1,) * (n - len(out)) + out
        right = (1,) * (n - len(shape)) + shape
        out = tuple(_broadcast_axis(a, b) for a, b in zip(left, right))
    return out


class Mask:
    """A predicate over an index grid, known at compile time. Combine with & and |."""

    __slots__ = ("affine", "compound", "where")
    __array_ufunc__ = None

    def __init__(self, where: np.ndarray, affine: bool = True, compound: bool = False) -> None:
        self.where = where
        self.affine = affine
        self.compound = compound

    @property
    def shape(self) -> tuple[int, ...]:
        return self.where.shape

    def _join(self, other: Any, op: Any) -> Mask:
        if isinstance(other, (bool, np.bool_)):
            return Mask(op(self.where, bool(other)), self.affine, True)
        if not isinstance(other, Mask):
            found: Mask = NotImplemented
            return found
        broadcast([self.where.shape, other.where.shape])
        return Mask(op(self.where, other.where), self.affine and other.affine, True)

    def __and__(self, other: Any) -> Mask:
        return self._join(other, np.logical_and)

    __rand__ = __and__

    def __or__(self, other: Any) -> Mask:
        return self._join(other, np.logical_or)

    __ror__ = __or__

    def __invert__(self) -> Mask:
        return Mask(~self.where, self.affine, True)

    def __bool__(self) -> bool:
        decides = source.decides_a_branch()
        broken(
            "index-condition" if decides else "mask-truth",
            "a mask was used as a truth value",
            remedy="Join masks with & and |, not with 'and' and 'or', and pass them as mask=."
            if decides
            else "Write & for 'and', | for 'or'. As Python has it, 'a and b' is b alone, and "
            "'a or b' is a alone.",
        )
        return True

    def __setitem__(self, key: Any, value: Any) -> None:
        broken(
            "index-assign",
            "a mask cannot be assigned to",
            remedy="Build the mask in one expression.",
        )

    def __repr__(self) -> str:
        return f"Mask{self.where.shape}"


def compact(flags: np.ndarray) -> np.ndarray:
    """The flags without their repetitions: an axis along which all are one and the same, as
    `numpy.broadcast_to` makes it, has one element."""
    if 0 not in flags.strides or not flags.size:
        return flags
    return flags[tuple([slice(0, 1) if s == 0 else slice(None) for s in flags.strides])]


_MOST_RUNS = 8


def copy_where(out: np.ndarray, values: np.ndarray, kept: np.ndarray) -> None:
    """Copy `values` to `out`, of the same shape, where `kept` holds. Of whole rows a few runs are
    copied at once."""
    few = compact(kept)
    if few.ndim > 1 and few.size == len(few) == len(out) and values.shape == out.shape:
        rows = np.flatnonzero(few)
        if not rows.size:
            return
        ends = np.append(np.flatnonzero(np.diff(rows) != 1), rows.size - 1)
        if ends.size <= _MOST_RUNS:
            first = 0
            for last in ends.tolist():
                run = slice(int(rows[first]), int(rows[last]) + 1)
                out[run] = values[run]
                first = last + 1
            return
    np.copyto(out, values, where=kept)


def box_of_kept(kept: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Where the box of the elements that a mask keeps starts, and its shape; None if they are not
    a box."""
    start, shape = [], []
    for axis in range(kept.ndim):
        there = np.flatnonzero(kept.any(axis=tuple(a for a in range(kept.ndim) if a != axis)))
        start.append(int(there[0]) if len(there) else 0)
        shape.append(int(there[-1]) - start[-1] + 1 if len(there) else 0)
    return (tuple(start), tuple(shape)) if int(np.count_nonzero(kept)) == size_of(shape) else None
