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

    __slots__ = ("dtype", "shape")

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
        """Bytes per element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that an array with values would take."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def reshape(self, *shape: Any) -> ShapeOnly:
        """The same number of elements under another shape."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return ShapeOnly(tuple(sizes), self.dtype)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ShapeOnly):
            return self.shape == other.shape and self.dtype == other.dtype
        found: bool = (
            self._no_values()
            if isinstance(other, (int, float, np.generic, np.ndarray))
            else NotImplemented
        )
        return found

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

    def _arithmetic(self, *args: Any) -> NoReturn:
        self._no_values()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _arithmetic
    __rtruediv__ = __matmul__ = __rmatmul__ = __neg__ = __pow__ = __floordiv__ = __mod__ = (
        _arithmetic
    )
    __lt__ = __le__ = __gt__ = __ge__ = __abs__ = _arithmetic
    __array__ = __array_ufunc__ = __array_function__ = _no_values
    __getitem__ = __setitem__ = __iter__ = __float__ = __int__ = __bool__ = _no_values


class Symbol(ShapeOnly):
    """An array of which only the shape is known, and where it comes from: an argument of a function
    that is lowered, or the output of a kernel that it called. Reshaping keeps the origin."""

    __slots__ = ("origin",)

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, origin: int) -> None:
        super().__init__(shape, dtype)
        self.origin = origin

    def reshape(self, *shape: Any) -> Symbol:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        known = 1
        for n in sizes:
            known *= n if n != -1 else 1
        wanted = tuple(self.size // known if n == -1 else int(n) for n in sizes)
        total = 1
        for n in wanted:
            total *= n
        if total != self.size:
            raise ValueError(f"an array of shape {self.shape} cannot take the shape {wanted}")
        return Symbol(wanted, self.dtype, self.origin)

    def _no_values(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NoValues(
            f"the values of an array of shape {self.shape} are asked for between two kernels, or "
            "before the first: a function is lowered without values. Let kernels compute, and only "
            "reshape what goes from one to the next."
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
_MOST = 1 << 16


def shape_only(shape: tuple[int, ...], dtype: np.dtype) -> ShapeOnly:
    """The one `ShapeOnly` of this shape and (NumPy) dtype."""
    key = (shape, dtype)
    found = _KNOWN.get(key)
    if found is None:
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        found = _KNOWN[key] = ShapeOnly(shape, dtype)
    return found
