"""The values of tensors, and the work on them that is put off.

What an instruction may do is decided when it runs; what it computes, nobody knows the difference of
until somebody looks. So an instruction checks its rules, notes its record, and leaves a line in a
queue: a function, where its result goes, what it reads. Whoever looks at a tensor's array first has
the queue done, in order, up to its end. A few hundred lines at a time take less than each of them
between the checks of its instruction: the interpreter's own data stays in the host's cache while
rules are checked, and the tiles while they are computed with. A copy of a tile that nobody can
see any more is the tile itself.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

_getrefcount = sys.getrefcount
COPY: Any = np.ndarray.copy


class Blank:
    """In the place of an array: the zeros of a tensor that has not been written, which are made
    when somebody looks at them. A write to the whole of it needs none."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = shape
        self.dtype = dtype

    def zeros(self) -> np.ndarray:
        """The array."""
        return np.zeros(self.shape, self.dtype)


class Value:
    """What a tensor holds: a NumPy array (of a number among operands, the number); None while it is
    still to be computed."""

    __slots__ = ("array",)

    def __init__(self, array: Any = None) -> None:
        self.array = array


Queue = list[tuple[Any, ...]]
"""What has been put off, in order: a function, the `Value` that its result becomes, and those whose
arrays it takes."""

SPENT = Value()
"""Where the result of a function goes that writes to an array given to it."""


class Room:
    """Memory for arrays of one shape that are kept, many side by side. One by one they would lie
    between tiles that come and go, and leave none of their places whole for the next tile."""

    __slots__ = ("block", "used")

    def __init__(self) -> None:
        self.block: np.ndarray = np.empty(0, np.uint8)
        self.used = 0

    def more(self, values: np.ndarray) -> np.ndarray:
        """A larger block, for arrays like `values`."""
        most = max(1, _BLOCK // max(1, values.nbytes))
        count = min(most, max(_FIRST, 2 * len(self.block)))
        self.block = np.empty((count, *values.shape), values.dtype)
        self.used = 0
        return self.block


_BLOCK = 1 << 18
"""Bytes of the largest block; larger arrays have each its own."""
_FIRST = 4
"""Arrays in the first block."""


def keep(values: np.ndarray, room: Room) -> np.ndarray:
    """A copy of the values in a room."""
    block, used = room.block, room.used
    if used == len(block):
        block, used = room.more(values), 0
    room.used = used + 1
    kept: np.ndarray = block[used, ...]
    kept[...] = values
    return kept


def catch_up(queue: Queue) -> None:
    """Do all that has been put off, in order."""
    queue.reverse()
    pop = queue.pop
    a = b = None
    try:
        while queue:
            # a line that is done is forgotten: what only it holds is freed, and used again
            line = pop()
            count = len(line)
            if count == 4:
                function, out, a, b = line
                out.array = function(a.array, b.array)
            elif count == 3:
                function, out, a = line
                if function is COPY and _getrefcount(a) <= _UNSEEN and _own(a.array):
                    out.array = a.array
                else:
                    out.array = function(a.array)
            else:
                function, out, *rest = line
                out.array = function(*[value.array for value in rest])
    finally:
        queue.reverse()
        SPENT.array = None


def _own(array: np.ndarray) -> bool:
    """Whether the array is one by itself, laid out like a new one, that nothing else looks at."""
    return _getrefcount(array) <= _ALONE and array.base is None and bool(array.flags.c_contiguous)


_UNSEEN = _ALONE = 100
"""References to a value that only its line in the queue holds, inside `catch_up`; and to an array
that only its value holds, inside `_own`. Measured, since they depend on the version of Python."""


def _passed_on() -> bool:
    """Whether a copy of an array that nobody sees is the array itself."""
    out, source = Value(), Value(np.zeros(1))
    before = id(source.array)
    line = (COPY, out, source)
    del source
    queue: Queue = [line]
    del line
    catch_up(queue)
    return id(out.array) == before


def _measure() -> None:
    """Find the smallest of both numbers with which what nobody sees is passed on."""
    global _UNSEEN, _ALONE
    for _UNSEEN in range(1, 10):
        if _passed_on():
            break
    for _ALONE in range(1, 10):
        if _passed_on():
            break


_measure()
