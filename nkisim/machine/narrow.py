"""The data types that NumPy lacks: bfloat16 and the 8-bit floats, from the package ml_dtypes.

Where ml_dtypes is not installed (some browsers' Pythons have none) each is an opaque type of the
same width, which can be named and compared, and no array of it is ever made: `resolve` in `dtypes`
refuses it with a sentence. Everything in 32 bits and float16 works without.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ml_dtypes: Any
try:
    import ml_dtypes
except ModuleNotFoundError:
    ml_dtypes = None

INSTALLED = ml_dtypes is not None


def _named(name: str, bits: Any) -> np.dtype:
    return np.dtype([(name, bits)] if ml_dtypes is None else getattr(ml_dtypes, name))


bfloat16 = _named("bfloat16", np.uint16)
float8_e4m3 = _named("float8_e4m3", np.uint8)
float8_e5m2 = _named("float8_e5m2", np.uint8)
float8_e4m3fn = _named("float8_e4m3fn", np.uint8)
float8_e8m0fnu = _named("float8_e8m0fnu", np.uint8)

TYPES = {
    "bfloat16": bfloat16,
    "float8_e4m3": float8_e4m3,
    "float8_e5m2": float8_e5m2,
    "float8_e4m3fn": float8_e4m3fn,
    "float8_e8m0fnu": float8_e8m0fnu,
}
MISSING = frozenset() if INSTALLED else frozenset(TYPES.values())
"""The types that can be named here and not used."""


def needed(name: str) -> str:
    """The sentence about a type that is missing here."""
    return f"{name} needs the Python package ml_dtypes, which is not installed here"


def rounded_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 values rounded to bfloat16, nearest and ties to even, and kept in float32.

    It needs no ml_dtypes: bfloat16 is the upper half of a float32.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    cut = (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isfinite(values), cut, values).astype(np.float32)


def finfo(dtype: np.dtype) -> Any:
    """Limits of a floating-point type, as numpy.finfo."""
    return np.finfo(dtype) if ml_dtypes is None else ml_dtypes.finfo(dtype)
