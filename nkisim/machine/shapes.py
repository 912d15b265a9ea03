"""Arrays without values: what stands for every array where a kernel runs on shapes alone."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from . import dtypes


class NoValues(ValueError):
    """Values were asked of a run on shapes alone."""


class ShapeOnly:
    """An array of which only the shape and the data type are known. It takes no memory, whatever
    its size.

    Any use of its values raises `NoValues`, a ValueError. Two of one shape and dtype are equal.
    """

    __slots__ = ("shape", "dtype")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        total = 1
        for n in self.shape:
            total *= n
        return total

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that an array with values would take."""
        return self.size * self.dtype.itemsize

    def reshape(self, *shape: Any) -> ShapeOnly:
        """The same number of elements under another shape."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return ShapeOnly(tuple(sizes), self.dtype)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ShapeOnly):
            return self.shape == other.shape and self.dtype == other.dtype
        return (
            self._no_values()
            if isinstance(other, (int, float, np.generic, np.ndarray))
            else NotImplemented
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"<shape {self.shape} {dtypes.name(self.dtype)}, no values>"

    def _no_values(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NoValues(
            f"this array of shape {self.shape}, {dtypes.name(self.dtype)}, has no values: it comes "
            "from a run on shapes alone. Use nkisim.record() without values=False, and arrays as "
            "arguments, to compute."
        )

    __array__ = __array_ufunc__ = __array_function__ = _no_values
    __getitem__ = __setitem__ = __iter__ = __float__ = __int__ = __bool__ = _no_values


def shape(shape: tuple[int, ...] | int, dtype: Any = "float32") -> ShapeOnly:
    """A kernel argument that is a shape and a data type only, for `nkisim.record(values=False)`.

    `nkisim.shape((8, 128, 1_000_000), "bfloat16")`: a NumPy dtype, an nl dtype or its name.
    TypeError for a dtype that NKI does not have, ValueError for a size below 1.
    """
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    for n in sizes:
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
            raise ValueError(f"a shape holds integers of at least 1, got {shape!r}")
    return ShapeOnly(tuple(int(n) for n in sizes), dtypes.resolve(dtype))


_KNOWN: dict[tuple[tuple[int, ...], np.dtype], ShapeOnly] = {}


def shape_only(shape: tuple[int, ...], dtype: np.dtype) -> ShapeOnly:
    """The one `ShapeOnly` of this shape and (NumPy) dtype."""
    key = (shape, dtype)
    found = _KNOWN.get(key)
    if found is None:
        found = _KNOWN[key] = ShapeOnly(shape, dtype)
    return found
