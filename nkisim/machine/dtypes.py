"""NKI data types on NumPy and ml_dtypes: names, promotion, rounding, saturation.

Source: aws-neuron-sdk v2.26.0 `general/nki/api/nki.api.shared.rst` (supported data types, type
promotion). Conversion from a float to an integer type rounds to nearest, ties to even, and
saturates (aws-neuron-sdk v2.32.0 release notes of NKI: what hardware does).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..rules.errors import broken, shown
from . import narrow

bfloat16 = narrow.bfloat16
float8_e4m3 = narrow.float8_e4m3
float8_e4m3fn = narrow.float8_e4m3fn
float8_e5m2 = narrow.float8_e5m2
float8_e8m0fnu = narrow.float8_e8m0fnu

# A 32-bit container whose mantissa is cut to 10 bits; NumPy has no such type, so, like the stub of
# the official package, an opaque four-byte type names it and float32 arrays store it.
tfloat32 = np.dtype("V4")

# Four elements in 32 bits, for the matmul of micro-scaled formats; their bytes are unpacked by the
# instructions only.
float8_e4m3fn_x4 = np.dtype([("float8_e4m3fn_x4", np.uint32)])
float8_e5m2_x4 = np.dtype([("float8_e5m2_x4", np.uint32)])
float4_e2m1fn_x4 = np.dtype([("float4_e2m1fn_x4", np.uint16)])

FLOAT32 = np.dtype(np.float32)
FLOAT16 = np.dtype(np.float16)
INT32 = np.dtype(np.int32)
UINT8 = np.dtype(np.uint8)
BOOL = np.dtype(np.bool_)

FLOATS = (
    FLOAT32,
    tfloat32,
    bfloat16,
    FLOAT16,
    float8_e4m3,
    float8_e5m2,
    float8_e4m3fn,
    float8_e8m0fnu,
)
INTEGERS = tuple(np.dtype(t) for t in (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32))
SUPPORTED = FLOATS + INTEGERS + (BOOL,)
MATMUL_DTYPES = (float8_e4m3, float8_e5m2, bfloat16, FLOAT16, tfloat32, FLOAT32)

_NAMES = {dtype: name for name, dtype in narrow.TYPES.items()} | {
    tfloat32: "tfloat32",
    float8_e4m3fn_x4: "float8_e4m3fn_x4",
    float8_e5m2_x4: "float8_e5m2_x4",
    float4_e2m1fn_x4: "float4_e2m1fn_x4",
}
_BY_NAME = {_NAMES.get(d) or d.name: d for d in SUPPORTED} | {
    "bool_": BOOL,
    "float32r": FLOAT32,
}


@cache
def name(dtype: np.dtype) -> str:
    """The NKI name of `dtype`, e.g. "bfloat16"."""
    return _NAMES.get(dtype) or dtype.name


def resolve(dtype: Any) -> np.dtype:
    """The NumPy dtype meant by anything NKI accepts as one.

    Raises TypeError when NKI has no such type (float64 and int64 above all), and for a type that
    needs a package which is not installed.
    """
    if isinstance(dtype, np.dtype):
        found = dtype
    elif isinstance(dtype, str):
        if dtype not in _BY_NAME:
            raise TypeError(
                f"'{dtype}' is not an NKI data type; these are: {', '.join(sorted(_BY_NAME))}"
            )
        found = _BY_NAME[dtype]
    elif dtype is bool:
        return BOOL
    elif dtype is float or dtype is int:
        raise TypeError(
            f"Python's {dtype.__name__} is not an NKI data type; write nl.float32, nl.int32, ..."
        )
    elif isinstance(dtype, type):
        try:
            found = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"{dtype!r} is not an NKI data type") from None
    else:  # NumPy takes more: whatever has its own dtype, and the numbers of its types
        raise TypeError(f"{dtype!r} is not an NKI data type")
    if found not in _SUPPORTED_SET:
        hint = "; convert with x.astype(np.float32)" if found == np.float64 else ""
        raise TypeError(f"{found} is not an NKI data type{hint}")
    if found in narrow.MISSING:
        raise TypeError(narrow.needed(name(found)))
    return found


def wanted(dtype: Any, api: str) -> np.dtype:
    """`resolve` for an argument of a kernel: what is not a data type breaks the rule "dtype"."""
    try:
        return resolve(dtype)
    except TypeError as error:
        said = str(error)
    broken("dtype", f"{api}: {said}", got=shown(dtype), limit="an NKI data type, e.g. nl.float32")
    raise AssertionError


PACKED = (float8_e4m3fn_x4, float8_e5m2_x4, float4_e2m1fn_x4)
_SUPPORTED_SET = frozenset(SUPPORTED + PACKED)


def storage(dtype: np.dtype) -> np.dtype:
    """The NumPy dtype of the arrays that hold values of `dtype`."""
    return FLOAT32 if dtype == tfloat32 else dtype


def is_float(dtype: np.dtype) -> bool:
    return dtype in FLOATS


def is_integer(dtype: np.dtype) -> bool:
    return dtype in INTEGERS


def _round_tf32(values: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    cut = (rounded & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(values), cut, values).astype(np.float32)


_RANGES: list[Any] = [np.iinfo(d) for d in INTEGERS]
_LIMITS = {r.dtype: (int(r.min), int(r.max)) for r in _RANGES}
_lowest, _highest = np.minimum.reduce, np.maximum.reduce


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`values` rounded to `dtype`, in an array of its storage type (may be `values` itself).

    Float to a narrower float: nearest, ties to even; beyond the range, infinity. Float to integer:
    nearest, ties to even, saturating, NaN to 0. Anything to bool: 1 where not zero. Integer to
    another integer: by way of float32, as VectorE, GpSimdE and the DMA engines cast, saturating.
    """
    if dtype == tfloat32:
        return _round_tf32(values)
    if values.dtype == dtype:
        return values
    if dtype == BOOL:
        found: np.ndarray = values != 0
        return found
    if dtype in INTEGERS and values.dtype != BOOL:
        least, most = _LIMITS[dtype]
        if values.dtype in INTEGERS:
            if values.dtype.itemsize == dtype.itemsize == 4:  # else float32 loses nothing that fits
                return cast(values.astype(np.float32), dtype)
            return np.clip(values.astype(np.int64), least, most).astype(dtype)
        if values.dtype == FLOAT32 and values.size:
            near = np.rint(values)
            # nor is there a NaN
            if _lowest(near, None) >= least and _highest(near, None) < most + 1:
                inside: np.ndarray = near.astype(dtype)
                return inside
        wide = np.nan_to_num(np.rint(values.astype(np.float64)), nan=0.0, posinf=most, neginf=least)
        whole: np.ndarray = np.clip(wide, least, most).astype(dtype)
        return whole
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def as_bits(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`values`, bit for bit, as another integer type of the same width; as they are for any other
    type."""
    if dtype in INTEGERS and values.dtype in INTEGERS and values.dtype.itemsize == dtype.itemsize:
        return values.view(dtype)
    return values


def to_fp32(values: np.ndarray) -> np.ndarray:
    """`values` as the engines see them: float32 (may be `values` itself)."""
    return values if values.dtype == FLOAT32 else values.astype(np.float32)


def of_scalar(value: Any) -> np.dtype:
    """The dtype NKI gives a scalar without one: bool -> uint8, int -> int32, float -> float32.

    A NumPy scalar keeps its own type, except float64 and int64, which NKI does not have.
    """
    if isinstance(value, (bool, np.bool_)):
        return UINT8
    if isinstance(value, np.generic) and value.dtype in _SUPPORTED_SET:
        return value.dtype
    if isinstance(value, (int, np.integer)):
        return INT32
    return FLOAT32


_FLOAT_RANK = {
    float8_e4m3: 0,
    float8_e5m2: 0,
    float8_e4m3fn: 0,
    float8_e8m0fnu: 0,
    bfloat16: 1,
    FLOAT16: 1,
    tfloat32: 2,
    FLOAT32: 3,
}


def promote(a: np.dtype, b: np.dtype) -> np.dtype:
    """The result type of an arithmetic operation on `a` and `b` (NKI type promotion)."""
    if a == b:
        return a
    a, b = (UINT8 if d == BOOL else d for d in (a, b))
    if a == b:
        return a
    a_float, b_float = a in _FLOAT_RANK, b in _FLOAT_RANK
    if a_float != b_float:
        return a if a_float else b
    if a_float:
        rank_a, rank_b = _FLOAT_RANK[a], _FLOAT_RANK[b]
        if rank_a != rank_b:
            return a if rank_a > rank_b else b
        return bfloat16 if rank_a == 0 else FLOAT32  # two fp8 kinds -> bf16; fp16 with bf16 -> fp32
    wide = np.promote_types(a, b)
    return wide if wide.itemsize <= 4 else FLOAT32  # int64 does not exist on the device
