"""VectorE: the eight largest values of each partition, their places, and their replacement.

Sources: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (max8, nc_find_index8,
nc_match_replace8); what happens to equal and to missing values: v2.32.0 nki/api/nki/isa/__init__.py
and release-notes/components/nki.rst.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..machine import dtypes
from ..tensors.tensor import Tensor
from .core import VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA

_UINT32 = np.dtype(np.uint32)
INDEX_DTYPES = (np.dtype(np.uint16), _UINT32)
MOST = 16384
"""Elements per partition that these instructions search."""


def _axes(call: Call, operand: Tensor, what: str, most: int) -> None:
    if operand.ndim > most:
        call.fail(
            "rank-limit",
            f"{what} '{operand.label}' has {operand.ndim} axes",
            operand,
            limit=most,
            remedy="Reshape its free axes into fewer.",
        )


def _eight(call: Call, vals: Tensor, data: Tensor) -> None:
    call.tile(vals, "vals")
    _axes(call, vals, "vals", 3)
    call.same_partitions(data, vals)
    call.per_partition(vals, "vals", 8, 8)


def _flat(a: np.ndarray) -> np.ndarray:
    """(p, n) in float32, as the instruction compares."""
    return dtypes.to_fp32(a).reshape(a.shape[0], -1)


@instruction(
    "max8",
    "the 8 largest elements of each partition, in descending order",
    f"{_ISA} max8",
    attrs=("most_axes",),
    hidden=("most_axes",),
)
def MAX8(call: Call) -> Plan:
    """attrs: (most axes of src,): 5 in NKI 0.1, 3 in NKI 0.6. src (p, ...) of 8 to 16384 elements
    per partition -> (p, 8)."""
    src = call.srcs[0]
    call.tile(src, "src")
    _axes(call, src, "src", call.attrs.most_axes)
    call.per_partition(src, "src", 8, MOST)
    shape = (src.meta.partitions, 8)
    call.result(shape, VECTOR)

    def compute(x: np.ndarray) -> np.ndarray:
        rows = _flat(x)
        if rows.shape[1] > 64:
            rows = np.partition(rows, rows.shape[1] - 8, axis=1)[:, -8:]
        return np.ascontiguousarray(np.sort(rows, axis=1)[:, :-9:-1])

    return Plan(
        VECTOR,
        compute,
        shape,
        dtypes.FLOAT32,
        kind="reduce",
        identity=-math.inf,
        axes=tuple(range(1, src.ndim)),
    )


@instruction(
    "nc_find_index8",
    "where each of 8 values per partition occurs first",
    f"{_ISA} nc_find_index8",
    attrs=("most_axes",),
    hidden=("most_axes",),
)
def FIND_INDEX8(call: Call) -> Plan:
    """attrs: (most axes of data,). Sources: data (p, ...), vals (p, 8) -> (p, 8), uint16 or uint32.

    A value that occurs k times in vals names its first k places in data, in ascending order; one
    that data does not have (so often) gets all ones.
    """
    data, vals = call.srcs[:2]
    call.tile(data, "data")
    _axes(call, data, "data", call.attrs.most_axes)
    call.per_partition(data, "data", 8, MOST)
    _eight(call, vals, data)
    wanted = call.dst.dtype if call.dst is not None else call.dtype
    if wanted not in INDEX_DTYPES:
        call.fail(
            "dtype",
            f"the indices would be {dtypes.name(wanted) if wanted is not None else 'of no type'}",
            call.dst,
            limit="uint16 or uint32",
        )
    nothing = np.iinfo(wanted).max
    shape = (data.meta.partitions, 8)
    call.result(shape, VECTOR)

    def compute(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        rows, targets = _flat(x), _flat(v)
        free = np.ones(rows.shape, dtype=bool)
        out = np.full(shape, nothing, dtype=_UINT32)
        for slot in range(8):
            _take(rows, targets, free, out, slot)
        return out

    return Plan(
        VECTOR, compute, shape, kind="reduce", identity=math.nan, axes=tuple(range(1, data.ndim))
    )


def _take(
    rows: np.ndarray, targets: np.ndarray, free: np.ndarray, places: np.ndarray, slot: int
) -> None:
    """Note in `places[:, slot]` where `targets[:, slot]` occurs first among the `free` elements,
    which then are not."""
    equal = (rows == targets[:, slot : slot + 1]) & free
    first = equal.argmax(axis=1)
    found = np.flatnonzero(equal[np.arange(len(rows)), first])
    free[found, first[found]] = False
    places[found, slot] = first[found]


@instruction(
    "nc_match_replace8",
    "each of 8 values per partition replaced, where it occurs first, by a number",
    f"{_ISA} nc_match_replace8",
    attrs=(
        "missing",
        "limited",
    ),
    hidden=(
        "missing",
        "limited",
    ),
)
def MATCH_REPLACE8(call: Call) -> Plan:
    """attrs: (what an index is where nothing matched, whether a third source tells which elements
    are searched).

    Sources: data (p, ...), vals (p, 8), number, and perhaps the searched elements (constant
    booleans). `extra`: the places, (p, 8). Of a value that occurs k times in vals, the first place
    goes to its last slot, and so on upwards.
    """
    missing, limited = call.attrs
    data, vals = call.srcs[:2]
    call.tile(data, "data")
    _axes(call, data, "data", 5)
    call.per_partition(data, "data", 1, MOST)
    _eight(call, vals, data)
    if call.extra is not None:
        call.tile(call.extra, "dst_idx")
        call.same_partitions(data, call.extra)
        call.per_partition(call.extra, "dst_idx", 8, 8)
        if not dtypes.is_integer(call.extra.dtype):
            call.fail(
                "dtype",
                f"dst_idx '{call.extra.label}' is {dtypes.name(call.extra.dtype)}",
                call.extra,
                limit="uint32 or uint16",
            )
    shape = data.meta.shape
    call.result(shape, VECTOR)
    wants_places = call.extra is not None
    if missing < 0:  # all ones, as wide as the places are
        missing = 0 if call.extra is None else np.iinfo(call.extra.dtype).max

    def compute(x: np.ndarray, v: np.ndarray, number: Any, *searched: np.ndarray) -> Any:
        rows, targets = _flat(x), _flat(v)
        free = np.ones(rows.shape, dtype=bool)
        if limited:
            free &= np.broadcast_to(searched[0], shape).reshape(rows.shape)
        before = free.copy()
        places = np.full(targets.shape, missing, dtype=_UINT32)
        for slot in range(7, -1, -1):
            _take(rows, targets, free, places, slot)
        with np.errstate(over="ignore"):
            imm = dtypes.cast(np.full((), number, dtype=np.float32), x.dtype)
        out = np.where((before & ~free).reshape(shape), imm, x)
        return (out, places) if wants_places else out

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> Any:
        # unknown elements of data stay where they are; an unknown value may match anything in its
        # partition
        return (
            flags
            if position == 0
            else flags.any(axis=tuple(range(1, flags.ndim))).reshape(
                (-1,) + (1,) * (len(shape) - 1)
            )
        )

    return Plan(VECTOR, compute, shape, kind="whole", spread=spread)
