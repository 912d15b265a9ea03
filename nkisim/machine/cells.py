"""What is known of each element of a tensor, kept for blocks of elements that have always been
treated alike.

Whether an element has been written, and which loop iteration wrote it, is asked of tensors of
gigabytes; but a kernel writes them tile by tile. So the tensor is cut into equal blocks, one cell
each, as large as the regions named so far allow: along each axis the block length is the greatest
common divisor of all bounds seen. What is said of a region is exact, always: a region that is not a
box of whole blocks makes the blocks smaller, down to one element.
"""

from __future__ import annotations

import functools
from math import gcd
from typing import Any

import numpy as np

Box = tuple[tuple[int, int, int], ...]
"""Of each axis (start, stop, step): the elements start, start + step, ... below stop."""


@functools.lru_cache(maxsize=4096)
def _steps(
    whole: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[int, int, int], ...] | None:
    """Of each axis of a row-major tensor, last axis first, its size and the number and step of the
    elements that a view takes along it; None if an axis of the view does not run along one of the
    tensor's."""
    taken: dict[int, tuple[int, int]] = {}
    units = [1]
    for size in reversed(whole):
        units.append(units[-1] * size)
    for n, s in zip(shape, strides):
        if n == 1 or s == 0:
            continue
        axis = next((a for a in range(len(whole)) if units[a] <= s < units[a + 1]), None)
        if axis is None or s % units[axis] or axis in taken:
            return None
        taken[axis] = n, s // units[axis]
    return tuple((size, *taken.get(axis, (1, 1))) for axis, size in enumerate(reversed(whole)))


def box_of(
    whole: tuple[int, ...], off: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Box | None:
    """Which box of a row-major tensor of shape `whole` a strided view of it covers; None if it is
    not a box.

    `off` and `strides` in elements. Order and repetition of elements do not matter (transposed,
    stride 0).
    """
    steps = _steps(whole, shape, strides)
    if steps is not None:
        found = []
        rest = off
        for size, count, step in steps:
            rest, start = divmod(rest, size)
            stop = start + (count - 1) * step + 1
            if stop > size:
                break
            found.append((start, stop, step))
        else:
            return tuple(reversed(found))
    return _merged_box(whole, off, shape, strides)


def _merged_box(
    whole: tuple[int, ...], off: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> Box | None:
    """`box_of` for views whose axes were split or merged."""
    axes = sorted(((s, n) for n, s in zip(shape, strides) if n > 1 and s), reverse=True)
    # axes that together walk through memory in equal steps are one: [step, length]
    runs: list[list[int]] = []
    for s, n in axes:
        if s < 0:
            return None
        if runs and runs[-1][0] == s * n:
            runs[-1] = [s, n * runs[-1][1]]
        else:
            runs.append([s, n])
    box: list[tuple[int, int, int]] = []
    unit = 1
    rest = off
    for size in reversed(whole):
        start = rest % size
        rest //= size
        count = step = 1
        if runs and runs[-1][0] < unit * size:
            s, n = runs[-1]
            if s % unit:
                return None
            step = s // unit
            count = (size - start + step - 1) // step  # as far as this axis goes
            if n <= count:
                count = n
                runs.pop()
            elif start or size % step or n % count:
                return None  # it goes on in the next row, but not from its start
            else:
                runs[-1] = [unit * size, n // count]
        box.append((start, start + (count - 1) * step + 1, step))
        unit *= size
    return tuple(reversed(box)) if not runs else None


_GRAINS: dict[tuple[tuple[int, ...], int], tuple[int, ...]] = {}
"""How finely tensors of a shape and element size were cut before. A kernel makes the same tensor
again in each iteration, and cuts it alike: a new one begins with these blocks."""
_FEW = 256
"""Blocks that a new tensor may begin with, at most; and known shapes, times 64."""


class Cells:
    """Of each element of a row-major tensor of `shape` whether it has been written, and by whom."""

    __slots__ = ("grain", "item", "owner", "shape", "written")

    def __init__(self, shape: tuple[int, ...], written: bool, item: int = 1) -> None:
        self.shape = shape
        self.item = item
        """Bytes of an element."""
        known = _GRAINS.get((shape, item))
        self.grain = shape[::-1] if known is None else known
        """Elements of one block along each axis, last axis first."""
        blocks = (1,) * len(shape)
        if known is not None:
            blocks = tuple([n // g for n, g in zip(shape, known[::-1])])
        self.written: np.ndarray = (np.ones if written else np.zeros)(blocks, np.bool_)
        """Whether each block has been written."""
        self.owner: np.ndarray | None = None
        """The number of the scope that wrote each block last, 0 if none did; None until `own` is
        called."""

    def own(self) -> np.ndarray:
        """`owner`, kept from now on."""
        if self.owner is None:
            self.owner = np.zeros(self.written.shape, dtype=np.int64)
        return self.owner

    def finer(self, item: int) -> None:
        """Count in elements of `item` bytes from now on, of which the old ones hold several."""
        ratio = self.item // item
        self.shape = (*self.shape[:-1], self.shape[-1] * ratio)
        self.grain = (self.grain[0] * ratio, *self.grain[1:])
        self.item = item

    def index(self, off: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """The subscript for `written` and `owner` of exactly the elements of a region (element
        offset, shape, strides).

        The call may make the blocks smaller and replace the two arrays: take them after it, and use
        the index before the next.
        """
        steps = _steps(self.shape, shape, strides)
        if steps is None:
            return self._refined(off, shape, strides)
        index: list[int | slice] = []
        rest = off
        for (size, count, step), g in zip(steps, self.grain):
            start = rest % size
            rest //= size
            if g == 1:
                stop = start + (count - 1) * step + 1
                if stop > size:
                    break
                index.append(start if count == 1 else slice(start, stop, step))
            elif step == 1 and not start % g and not count % g and start + count <= size:
                start //= g
                index.append(start if count == g else slice(start, start + count // g))
            else:
                break
        else:
            index.reverse()
            return tuple(index)
        return self._refined(off, shape, strides)

    def _refined(self, off: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
        """`index` of a region that is not made of whole blocks: these are made smaller."""
        box = box_of(self.shape, off, shape, strides)
        if box is None:
            self._refine((1,) * len(self.shape))
            places = off + sum(
                np.arange(n).reshape((-1,) + (1,) * (len(shape) - axis - 1)) * s
                for axis, (n, s) in enumerate(zip(shape, strides))
            )
            return np.unravel_index(np.ravel(places), self.shape)
        box = box[::-1]
        grain = tuple(
            gcd(g, start, stop) if step == 1 else 1
            for (start, stop, step), g in zip(box, self.grain)
        )
        self._refine(grain)
        index: list[int | slice] = []
        for (start, stop, step), g in zip(box, grain):
            first, last = start // g, (stop - 1) // g
            index.append(first if first == last else slice(first, last + 1, step))
        return tuple(index[::-1])

    def each(self, off: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        """A writable view of `written` with one flag an element, of the region's shape."""
        self._refine((1,) * len(self.shape))
        return np.ndarray(shape, np.bool_, self.written, off, strides)

    def _refine(self, grain: tuple[int, ...]) -> None:
        for axis, (old, new) in enumerate(zip(self.grain, grain), 1):
            if old != new:
                self.written = self.written.repeat(old // new, -axis)
                if self.owner is not None:
                    self.owner = self.owner.repeat(old // new, -axis)
        if grain != self.grain and self.written.size <= _FEW and len(_GRAINS) < 64 * _FEW:
            _GRAINS[self.shape, self.item] = grain
        self.grain = grain
