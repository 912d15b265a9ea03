"""Index grids and masks: affine expressions of nl.arange and nl.mgrid, known before the kernel
runs.

An `Index` is `start + sum(stride[a] * position on grid axis a)` over a grid of `sizes`; it
broadcasts like a NumPy array of that shape, without ever being one. A comparison of two gives a
`Mask` (`masks`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine.counts import size_of
from ..rules import arguments
from ..rules.errors import broken
from .masks import Mask, broadcast

_new: Any = object.__new__


class Index:
    """An affine index over a grid. `values` is set only where // or % made it non-affine."""

    __slots__ = ("form", "sizes", "start", "strides", "values")
    __array_ufunc__ = None

    def __init__(
        self,
        sizes: tuple[int, ...],
        strides: tuple[int, ...],
        start: int,
        values: np.ndarray | None = None,
    ) -> None:
        self.sizes = sizes
        # the step of an axis of one element is never taken, and shall not add to another grid's
        self.strides = tuple([s if n > 1 else 0 for n, s in zip(sizes, strides)])
        self.form = (sizes, self.strides)
        """What grids have in common that differ in their start only."""
        self.start = start
        self.values = values

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def ndim(self) -> int:
        return len(self.sizes)

    @property
    def affine(self) -> bool:
        return self.values is None

    def array(self) -> np.ndarray:
        """The index values, shape `sizes`, int64. Not to be written to."""
        if self.values is not None:
            return np.broadcast_to(self.values, self.sizes)
        axes = [axis for axis, stride in enumerate(self.strides) if stride]
        if len(axes) == 1:  # as most grids are
            n, stride = self.sizes[axes[0]], self.strides[axes[0]]
            if n == size_of(self.sizes):
                end = self.start + n * stride
                line: np.ndarray = np.arange(self.start, end, stride, dtype=np.int64)
                return line.reshape(self.sizes)
        total = np.full(self.sizes, self.start, dtype=np.int64)
        for axis, (size, stride) in enumerate(zip(self.sizes, self.strides)):
            if stride:
                shape = [1] * len(self.sizes)
                shape[axis] = size
                total = total + (np.arange(size, dtype=np.int64) * stride).reshape(shape)
        return total

    def range(self) -> tuple[int, int]:
        """Smallest and largest value."""
        if self.values is not None:
            return int(self.values.min()), int(self.values.max())
        low = high = self.start
        for size, stride in zip(self.sizes, self.strides):
            span = stride * (size - 1)
            low, high = (low + span, high) if span < 0 else (low, high + span)
        return low, high

    def __getitem__(self, key: Any) -> Index:
        keys = key if isinstance(key, tuple) else (key,)
        if (
            any(k is not None and k != slice(None) for k in keys)
            or sum(k is not None for k in keys) > self.ndim
        ):
            broken(
                "arange-1d",
                "an index grid takes only None and ':' in its subscript",
                got=repr(key),
                remedy="Write nl.arange(n)[:, None] for rows and nl.arange(n)[None, :] for "
                "columns; "
                "shift it by adding a number.",
            )
        keys = keys + (slice(None),) * (self.ndim - sum(k is not None for k in keys))
        sizes: list[int] = []
        strides: list[int] = []
        axis = 0
        for k in keys:
            if k is None:
                sizes.append(1)
                strides.append(0)
            else:
                sizes.append(self.sizes[axis])
                strides.append(self.strides[axis])
                axis += 1
        values = None if self.values is None else self.values[key]
        return Index(tuple(sizes), tuple(strides), self.start, values)

    def __setitem__(self, key: Any, value: Any) -> None:
        broken(
            "index-assign",
            "an index grid cannot be assigned to",
            remedy="Make a tile of it with nisa.iota first.",
        )

    def __bool__(self) -> bool:
        broken(
            "index-condition",
            "control flow depends on nl.arange or nl.mgrid",
            remedy="Pass the condition as mask= instead.",
        )
        return False

    def _moved(self, start: int) -> Index:
        """The same affine grid from another start."""
        made: Index = _new(Index)
        made.sizes, made.strides, made.form = self.sizes, self.strides, self.form
        made.start = start
        made.values = None
        return made

    def _combine(self, other: Any, sign: int) -> Index:
        if isinstance(other, (int, np.integer)):
            if self.values is None:
                return self._moved(self.start + sign * int(other))
            values = self.values + sign * int(other)
            return Index(self.sizes, self.strides, self.start + sign * int(other), values)
        if not isinstance(other, Index):
            found: Index = NotImplemented
            return found
        sizes = broadcast([self.sizes, other.sizes])
        if self.values is not None or other.values is not None:
            return _from_values(self.array() + sign * other.array())
        n = len(sizes)
        mine = (0,) * (n - self.ndim) + self.strides
        theirs = (0,) * (n - other.ndim) + other.strides
        strides = tuple(a + sign * b for a, b in zip(mine, theirs))
        return Index(sizes, strides, self.start + sign * other.start)

    def __add__(self, other: Any) -> Index:
        return self._combine(other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Index:
        return self._combine(other, -1)

    def __rsub__(self, other: Any) -> Index:
        return (-self)._combine(other, 1)

    def __neg__(self) -> Index:
        return self * -1

    def __mul__(self, other: Any) -> Index:
        if isinstance(other, Index):
            broken(
                "argument",
                "the product of two index grids is not affine",
                got=f"{self!r} * {other!r}",
                remedy="Multiply a grid by numbers only; add grids to combine axes: i_p * 512 "
                "+ i_f.",
            )
        if not isinstance(other, (int, np.integer)):
            return NotImplemented
        factor = int(other)
        values = None if self.values is None else self.values * factor
        return Index(
            self.sizes, tuple(s * factor for s in self.strides), self.start * factor, values
        )

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Index:
        return _from_values(self.array() // int(other))

    def __mod__(self, other: Any) -> Index:
        return _from_values(self.array() % int(other))

    def _compare(self, other: Any, op: Any) -> Mask:
        if isinstance(other, Index):
            return Mask(op(self.array(), other.array()), affine=self.affine and other.affine)
        if isinstance(other, (int, float, np.integer, np.floating)):
            low, high = self.range()
            first = bool(op(low, other))
            # the same all over the grid
            if op not in (np.equal, np.not_equal) and first == bool(op(high, other)):
                return Mask(np.broadcast_to(np.bool_(first), self.sizes), affine=self.affine)
            return Mask(op(self.array(), other), affine=self.affine)
        broken(
            "mask",
            "a mask compares index expressions with numbers",
            got=type(other).__name__,
            remedy="Masks must be known at compile time: build them from nl.arange, loop "
            "indices and numbers only.",
        )
        raise AssertionError

    def __lt__(self, other: Any) -> Mask:
        return self._compare(other, np.less)

    def __le__(self, other: Any) -> Mask:
        return self._compare(other, np.less_equal)

    def __gt__(self, other: Any) -> Mask:
        return self._compare(other, np.greater)

    def __ge__(self, other: Any) -> Mask:
        return self._compare(other, np.greater_equal)

    def __eq__(self, other: Any) -> Mask:  # type: ignore[override]
        return self._compare(other, np.equal)

    def __ne__(self, other: Any) -> Mask:  # type: ignore[override]
        return self._compare(other, np.not_equal)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Index{self.sizes}(start={self.start}, strides={self.strides})"


def _from_values(values: np.ndarray) -> Index:
    return Index(values.shape, (0,) * values.ndim, 0, values)


class RuntimeIndex:
    """A run-time offset plus an affine index: `offsets[0, j] + nl.arange(n)[None, :]`, one axis of
    a subscript."""

    __slots__ = ("index", "tile")

    def __init__(self, tile: Any, index: Any) -> None:
        self.tile = tile
        """The tile of integers that holds the offset."""
        self.index = index
        """An `Index` or an int."""

    def __add__(self, other: Any) -> RuntimeIndex:
        return (
            RuntimeIndex(self.tile, self.index + other)
            if isinstance(other, (int, np.integer, Index))
            else NotImplemented
        )

    __radd__ = __add__

    def __sub__(self, other: Any) -> RuntimeIndex:
        return (
            RuntimeIndex(self.tile, self.index - other)
            if isinstance(other, (int, np.integer, Index))
            else NotImplemented
        )

    def values(self, offset: np.ndarray) -> np.ndarray:
        """The places, for the value of the offset."""
        found: np.ndarray = offset + (
            self.index.array() if isinstance(self.index, Index) else self.index
        )
        return found


def arange(*args: int) -> Index:
    """nl.arange(stop) or nl.arange(start, stop): consecutive integers for one grid axis."""
    if len(args) not in (1, 2) or not all(isinstance(a, (int, np.integer)) for a in args):
        broken(
            "argument",
            "nl.arange takes (stop) or (start, stop), both integers",
            got=repr(args),
            remedy="For a stride write nl.arange(n) * stride.",
        )
    start, stop = (0, int(args[0])) if len(args) == 1 else (int(args[0]), int(args[1]))
    if stop <= start:
        broken(
            "argument",
            "nl.arange is empty",
            got=f"arange({start}, {stop})",
            remedy="An index grid needs one element.",
        )
    return Index((stop - start,), (1,), start)


class MGrid(tuple[Any, ...]):
    """What nl.mgrid[...] returns: one dense `Index` an axis, also as .p .x .y .z .w."""

    @property
    def p(self) -> Index:
        found: Index = self[0]
        return found

    @property
    def x(self) -> Index:
        found: Index = self[1]
        return found

    @property
    def y(self) -> Index:
        found: Index = self[2]
        return found

    @property
    def z(self) -> Index:
        found: Index = self[3]
        return found

    @property
    def w(self) -> Index:
        found: Index = self[4]
        return found


class _MGridMaker:
    def __getitem__(self, key: Any) -> MGrid:
        keys = key if isinstance(key, tuple) else (key,)
        ranges = []
        for k in keys:
            if not isinstance(k, slice) or k.stop is None or isinstance(k.step, complex):
                broken(
                    "argument",
                    "nl.mgrid takes slices with a stop: nl.mgrid[0:128, 0:512]",
                    got=repr(key),
                )
            bounds = (k.start or 0, k.stop, k.step or 1)
            start, stop, step = (arguments.integer(n, "nl.mgrid", "a bound") for n in bounds)
            ranges.append(range(start, stop, step))
            if not len(ranges[-1]):
                broken(
                    "argument",
                    "nl.mgrid has an empty axis",
                    got=repr(k),
                    remedy="An index grid needs one element.",
                )
        sizes = tuple(len(r) for r in ranges)
        grids = []
        for axis, r in enumerate(ranges):
            strides = tuple(r.step if a == axis else 0 for a in range(len(ranges)))
            grids.append(Index(sizes, strides, r.start))
        return MGrid(grids)


mgrid = _MGridMaker()


class DynamicSlice:
    """nl.ds(start, size): `size` elements from `start`, which may be a loop index."""

    __slots__ = ("size", "start")

    def __init__(self, start: int, size: int) -> None:
        if type(start) is not int or type(size) is not int:
            for value in (start, size):
                if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
                    broken("argument", "nl.ds takes two integers", got=f"ds({start!r}, {size!r})")
            start, size = int(start), int(size)
        self.start = start
        self.size = size

    def __repr__(self) -> str:
        return f"ds({self.start}, {self.size})"


def affine_grid(
    rows: int, pattern: list[tuple[int, int]], offset: int, row_step: int, shape: tuple[int, ...]
) -> np.ndarray:
    """offset + row * row_step + the steps of `pattern` ([(step, count), ...], the last fastest),
    int32 of `shape`."""
    total = np.zeros(1, dtype=np.int64)
    for step, count in pattern:
        total = (total[:, None] + np.arange(count, dtype=np.int64) * step).reshape(-1)
    values = offset + np.arange(rows, dtype=np.int64)[:, None] * row_step + total
    return values.astype(np.int32).reshape(shape)
