"""Integers that are 64 bits wide on every platform.

NumPy's own default integer is as wide as a pointer, and that is 32 bits in a browser (WebAssembly).
`numpy.bincount` takes no wider index there, and `numpy.prod` of a large shape overflows silently.
A test sees to it that neither is called elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sums_by(index: NDArray[Any], weights: NDArray[Any] | None = None, length: int = 0) -> Any:
    """Sum the weights of each index: float64 sums, or int64 counts where there are no weights.

    `index` (n,) are integers from 0 on, of any width; the result has `length` elements, or more if
    an index is larger.
    """
    return np.bincount(index.astype(np.intp), weights, length)


def size_of(shape: Iterable[int]) -> int:
    """The number of elements of a shape, however large; 1 for an empty one."""
    return math.prod(int(extent) for extent in shape)
