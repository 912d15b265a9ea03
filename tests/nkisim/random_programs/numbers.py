"""Data types in float64: rounding, written out, and bounds of error. Nothing of the simulator's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Format(NamedTuple):
    """A floating-point format."""

    digits: int
    """Bits of the mantissa after the point."""
    least: int
    """Exponent of the smallest normal number."""
    largest: float


FLOATS = {
    "float32": Format(23, -126, 3.4028234663852886e38),
    "bfloat16": Format(7, -126, 3.3895313892515355e38),
    "float16": Format(10, -14, 65504.0),
    "float8_e4m3": Format(3, -6, 240.0),
    "float8_e5m2": Format(2, -14, 57344.0),
    "float8_e4m3fn": Format(3, -6, 448.0),
}
INTEGERS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}
SIZES = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "int32": 4,
    "uint32": 4,
    "int16": 2,
    "uint16": 2,
}
"""Bytes of a type; of those that are not here, one."""


def size_of(dtype: str) -> int:
    """Bytes of an element."""
    return SIZES.get(dtype, 1)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` as `dtype` holds them: to nearest, ties to even; integers are cut to their range."""
    if dtype in INTEGERS:
        low, high = INTEGERS[dtype]
        return np.clip(np.rint(values), low, high) + 0.0  # an integer has one zero
    digits, least, largest = FLOATS[dtype]
    exponent = np.floor(np.log2(np.maximum(np.abs(values), 2.0**least)))
    step = 2.0 ** (np.maximum(exponent, least) - digits)
    found = np.rint(values / step) * step
    return np.where(np.abs(found) > largest, np.copysign(np.inf, found), found)


def fits(values: np.ndarray, dtype: str) -> bool:
    """Whether all values lie well inside the range of `dtype`."""
    if dtype in INTEGERS:
        low, high = INTEGERS[dtype]
        return bool((values >= low).all() and (values <= high).all())
    return bool((np.abs(values) < FLOATS[dtype].largest / 4).all())


def last_place(values: np.ndarray, dtype: str) -> np.ndarray:
    """The distance of neighbours in `dtype` around each value."""
    if dtype in INTEGERS:
        return np.ones_like(values)
    digits, least, _ = FLOATS[dtype]
    exponent = np.floor(np.log2(np.maximum(np.abs(values), 2.0**least)))
    return 2.0 ** (exponent - digits)


class Numbers:
    """Values in float64, and how far the simulator's may be from each."""

    __slots__ = ("error", "values")

    def __init__(self, values: np.ndarray, error: np.ndarray | None = None) -> None:
        self.values = values
        self.error = np.zeros(values.shape) if error is None else error

    @property
    def exact(self) -> bool:
        """Whether the simulator must have these very values."""
        return not self.error.any()

    def stored(self, dtype: str) -> Numbers:
        """Rounded as an instruction does: its float32 result to `dtype`."""
        wide = rounded(self.values, "float32") if dtype in FLOATS else self.values
        found = rounded(wide, dtype)
        if self.exact:
            return Numbers(found)
        slack = np.where(self.error > 0, last_place(found, dtype) + self.error * 2.0**-20, 0.0)
        return Numbers(found, self.error + slack)

    def __getitem__(self, key: object) -> Numbers:
        return Numbers(self.values[key], self.error[key])  # type: ignore[index]

    def reshape(self, *shape: int) -> Numbers:
        """The same numbers in another shape; a view where NumPy makes one."""
        return Numbers(self.values.reshape(*shape), self.error.reshape(*shape))


def total(x: Numbers, axes: tuple[int, ...], keep: bool = True) -> Numbers:
    """A sum in float32, in an order that nobody knows."""
    n = int(np.prod([x.values.shape[a] for a in axes]))
    values = x.values.sum(axis=axes, keepdims=keep)
    magnitude = np.abs(x.values).sum(axis=axes, keepdims=keep)
    error = x.error.sum(axis=axes, keepdims=keep)
    if not _sums_exactly(x.values, magnitude):
        error = error + n * 2.0**-23 * magnitude
    return Numbers(values, error)


def product(a: Numbers, b: Numbers) -> Numbers:
    """a.T @ b, in float32, in an order that nobody knows."""
    values = a.values.T @ b.values
    magnitude = np.abs(a.values).T @ np.abs(b.values)
    error = np.abs(a.values).T @ b.error + a.error.T @ (np.abs(b.values) + b.error)
    fine = all(_sums_exactly(x.values, np.abs(x.values), 2**11) for x in (a, b))
    if not fine or magnitude.max() * 2**12 >= 2**24:
        error = error + (a.values.shape[0] + 2) * 2.0**-23 * magnitude
    return Numbers(values, error)


def _sums_exactly(values: np.ndarray, magnitude: np.ndarray, bound: float = 2**24) -> bool:
    """Whether every partial sum of multiples of 1/64 has fewer digits than float32."""
    scaled = values * 64
    return bool((scaled == np.rint(scaled)).all() and (magnitude * 64 < bound).all())
