"""GpSimdE: elements gathered by indices in SBUF, and where segments begin and end.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (local_gather, sequence_bounds)
and general/nki/api/nki/language/__init__.py (gather_flattened); v2.32.0 nki/api/nki/isa/__init__.py
(nc_n_gather).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import SBUF
from ..rules.errors import broken
from ..tensors.tensor import Tensor
from .core import GPSIMD, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import ISA_32 as _ISA_32

CORE = 16
"""Partitions that each of the eight cores of GpSimdE is connected to."""
_UINT16, _UINT32 = np.dtype(np.uint16), np.dtype(np.uint32)


def in_sbuf(call: Call, operand: Tensor, what: str) -> None:
    """`operand` must be a tile in SBUF."""
    call.memory_of(
        operand, (SBUF,), what, "GpSimdE does not reach PSUM: copy the tile with nisa.tensor_copy."
    )
    call.tile(operand, what)


def _inside(api: str, places: np.ndarray, elements: int) -> np.ndarray:
    """The places as integers, all of them within a partition of `elements`."""
    wide = np.asarray(places).astype(np.int64)
    if wide.size and wide.max() >= elements:
        broken(
            "out-of-bounds",
            f"{api}: index {int(wide.max())} lies beyond the tile it selects from",
            got=int(wide.max()),
            limit=f"0..{elements - 1}, the elements of one partition",
            remedy="What such an index reads is undefined on the device: keep the indices inside.",
        )
    return wide


def _indices_a_core(call: Call, src: Tensor, index: Tensor) -> tuple[int, int]:
    """How many indices a group of 16 partitions lists, and how many of them are used."""
    elements, valid = call.attrs
    partitions = src.meta.partitions
    if partitions % CORE:
        call.fail(
            "dimension-limit",
            f"'{src.label}' has {partitions} partitions",
            src,
            limit=f"a multiple of {CORE}",
            remedy="Each core of GpSimdE gathers from 16 partitions.",
        )
    call.one_of(index, "index", (_UINT16,), "Load or copy the indices as nl.uint16.")
    if elements not in (1, 2, 4, 8, 16, 32):
        call.fail(
            "argument",
            "num_elem_per_idx is not one that it takes",
            got=elements,
            limit="1, 2, 4, 8, 16 or 32",
        )
    listed = CORE * index.meta.free
    count = listed if valid is None else valid
    if not 1 <= count <= min(listed, 4096):
        call.fail(
            "argument",
            f"{count} indices per core",
            index,
            limit=f"1..{min(listed, 4096)}: the group lists {listed}, and 4096 is the most",
            remedy="Gather in several calls, or pass num_valid_indices.",
        )
    return listed, count


def _no_cast(call: Call, src: Tensor) -> None:
    """The result has the data type of the source."""
    result_dtype = call.dst.dtype if call.dst is not None else call.dtype
    if result_dtype is not None and result_dtype != src.dtype:
        call.fail(
            "dtype",
            f"it does not cast '{src.label}'",
            src,
            got=f"{dtypes.name(src.dtype)} -> {dtypes.name(result_dtype)}",
            limit="the same data type",
        )


@instruction(
    "local_gather",
    "elements of each partition at places that its group of 16 partitions lists",
    f"{_ISA} local_gather",
    attrs=(
        "num_elem_per_idx",
        "num_valid_indices",
    ),
)
def LOCAL_GATHER(call: Call) -> Plan:
    """attrs: (elements read at each index, indices per core or None for all). Sources: src_buffer
    (p, ...), index (p, m) uint16.

    The indices of a group are read down the partitions first. Result: (p, m, 16, elements) with all
    indices, else (p, indices, elements), of the data type of src_buffer.
    """
    elements = call.attrs.num_elem_per_idx
    src, index = call.srcs[:2]
    in_sbuf(call, src, "src_buffer")
    in_sbuf(call, index, "index")
    partitions = call.same_partitions(src, index)
    listed, count = _indices_a_core(call, src, index)
    _no_cast(call, src)
    shape = (
        (partitions,) + index.meta.shape[1:] + (CORE, elements)
        if count == listed
        else (partitions, count, elements)
    )
    call.result(shape, GPSIMD)

    def take(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        rows = x.reshape(partitions // CORE, CORE, -1)
        lists = (
            np.asarray(places)
            .reshape(partitions // CORE, CORE, -1)
            .transpose(0, 2, 1)
            .reshape(partitions // CORE, -1)[:, :count]
        )
        wide = _inside(call.api, lists, rows.shape[2] - elements + 1)[:, None, :, None] + np.arange(
            elements
        )
        groups, lanes = (
            np.arange(rows.shape[0])[:, None, None, None],
            np.arange(CORE)[None, :, None, None],
        )
        found: np.ndarray = rows[groups, lanes, wide].reshape(shape)
        return found

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> Any:
        return take(flags, arrays[1]) if position == 0 else flags.any()

    return Plan(
        GPSIMD,
        take,
        shape,
        src.array.dtype,
        kind="whole",
        spread=spread,
        cost={"indices": count, "elements": elements},
        refuses=True,
    )


@instruction(
    "nc_n_gather",
    "elements of each partition at places that the partition lists",
    f"{_ISA_32} nc_n_gather; v2.26.0 nki.language gather_flattened",
    attrs=("casts",),
    hidden=("casts",),
)
def N_GATHER(call: Call) -> Plan:
    """attrs: (whether the result may be cast,). Sources: data (p, ...), indices (p, ...) uint32 ->
    the shape of indices."""
    data, indices = call.srcs[:2]
    for t, what in ((data, "data"), (indices, "indices")):
        in_sbuf(call, t, what)
        if t.ndim > 4:
            call.fail("rank-limit", f"{what} '{t.label}' has {t.ndim} axes", t, limit="2, 3 or 4")
    partitions = call.same_partitions(data, indices)
    call.one_of(indices, "indices", (_UINT32,), "Load or copy the indices as nl.uint32.")
    result_dtype = call.dst.dtype if call.dst is not None else call.dtype
    if not call.attrs.casts and result_dtype is not None and result_dtype != data.dtype:
        call.fail(
            "dtype",
            f"it does not cast '{data.label}'",
            data,
            got=f"{dtypes.name(data.dtype)} -> {dtypes.name(result_dtype)}",
            limit="the same data type",
        )
    shape = indices.meta.shape
    call.result(shape, GPSIMD)

    def take(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        rows = x.reshape(partitions, -1)
        wide = _inside(call.api, places.reshape(partitions, -1), rows.shape[1])
        return np.take_along_axis(rows, wide, axis=1).reshape(shape)

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> Any:
        return take(flags, arrays[1]) if position == 0 else flags

    return Plan(
        GPSIMD,
        take,
        shape,
        data.array.dtype,
        kind="whole",
        spread=spread,
        cost={"indices": indices.meta.free},
        refuses=True,
    )


@instruction(
    "sequence_bounds",
    "for each element where its segment begins and ends",
    f"{_ISA} sequence_bounds",
)
def SEQUENCE_BOUNDS(call: Call) -> Plan:
    """attrs: (). segment_ids (1, n), fp32 or int32, 0 for padding -> (1, 2, n): first place, last
    place + 1.

    Padding gets n and -1.
    """
    ids = call.srcs[0]
    in_sbuf(call, ids, "segment_ids")
    if ids.meta.partitions != 1:
        call.fail(
            "dimension-limit",
            f"segment_ids '{ids.label}' has {ids.meta.partitions} partitions",
            ids,
            limit="1",
            remedy="Lay the segment ids along the free axis: shape (1, n).",
        )
    allowed = (dtypes.FLOAT32, dtypes.INT32)
    call.one_of(ids, "segment_ids", allowed)
    result_dtype = call.dst.dtype if call.dst is not None else call.dtype
    if result_dtype is not None and result_dtype not in allowed:
        call.fail(
            "dtype",
            f"the bounds would be {dtypes.name(result_dtype)}",
            call.dst,
            limit="float32 or int32",
        )
    n = ids.meta.free
    shape = (1, 2, n)
    call.result(shape, GPSIMD)

    def compute(x: np.ndarray) -> np.ndarray:
        row = x.reshape(-1)
        if (row < 0).any() or (row != np.rint(row)).any():
            bad = row[(row < 0) | (row != np.rint(row))][0]
            broken(
                "argument",
                f"{call.api}: segment ids are integers from 0 on",
                got=bad,
                remedy="Number the segments from 1; 0 is padding.",
            )
        place = np.arange(n)
        new = np.concatenate(([True], row[1:] != row[:-1]))
        first = np.maximum.accumulate(np.where(new, place, 0))
        last = np.minimum.accumulate(
            np.where(np.concatenate((new[1:], [True])), place + 1, n)[::-1]
        )[::-1]
        return np.stack([np.where(row == 0, n, first), np.where(row == 0, -1, last)])[None].astype(
            np.int32
        )

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> Any:
        return flags.any()

    return Plan(GPSIMD, compute, shape, kind="whole", spread=spread, refuses=True)
