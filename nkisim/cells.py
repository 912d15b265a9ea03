"""One value an element of a tensor, kept for blocks of elements that have always been treated alike.

Whether an element has been written, and which loop iteration wrote it, is asked of tensors of gigabytes; but a kernel
writes them tile by tile. So the tensor is cut into equal blocks, one cell each, as large as the regions named so far
allow: along each axis the block length is the greatest common divisor of all bounds seen. What is said of a region is
exact, always: a region that is no box of whole blocks makes the blocks smaller, down to one element.
"""

from __future__ import annotations

import functools
from math import gcd

import numpy as np

Box = tuple[tuple[int, int, int], ...]
"""Of each axis (start, stop, step): the elements start, start + step, ... below stop."""


@functools.lru_cache(maxsize=16384)
def box_of(whole: tuple[int, ...], off: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Box | None:
    """Which box of a row-major tensor of shape `whole` a strided view of it covers; None if it is no box.

    `off` and `strides` in elements. Order and repetition of elements do not matter (transposed, stride 0).
    """
    axes = sorted(((s, n) for n, s in zip(shape, strides) if n > 1 and s), reverse=True)
    runs: list[list[int]] = []  # axes that together walk through memory in equal steps are one: [step, length]
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


class Cells:
    """A value an element of a row-major tensor of `shape`, all of them `value` at first."""

    __slots__ = ("shape", "grain", "array")

    def __init__(self, shape: tuple[int, ...], dtype: type, value: int) -> None:
        self.shape = shape
        self.grain = shape
        """Elements of one block, along each axis."""
        self.array: np.ndarray = np.full((1,) * len(shape), value, dtype=dtype)
        """The cells. Test and fill them; their number says nothing."""

    def view(self, off: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        """A writable view of the cells of exactly the elements of a region (element offset, shape, strides)."""
        box = box_of(self.shape, off, shape, strides)
        if box is None:
            return self.each(off, shape, strides)
        grain = self.grain
        index = []
        for (start, stop, step), g in zip(box, grain):
            if step != 1 != g or start % g or stop % g:
                self._refine(tuple(gcd(g, a, b) if s == 1 else 1 for (a, b, s), g in zip(box, grain)))
                return self.view(off, shape, strides)
            index.append(slice(start // g, stop // g, step))
        return self.array[tuple(index)]

    def each(self, off: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        """A writable view of one cell an element, of the region's shape."""
        self._refine((1,) * len(self.shape))
        item = self.array.itemsize
        return np.ndarray(shape, self.array.dtype, self.array, off * item, tuple(s * item for s in strides))

    def _refine(self, grain: tuple[int, ...]) -> None:
        for axis, (old, new) in enumerate(zip(self.grain, grain)):
            if old != new:
                self.array = self.array.repeat(old // new, axis)
        self.grain = grain
