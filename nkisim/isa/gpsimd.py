"""GpSimdE: index patterns, affine selection, reductions over partitions. It reaches SBUF, never
PSUM.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (iota, affine_select,
tensor_partition_reduce).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import SBUF
from .core import GPSIMD, Call, Plan, instruction
from .operands import integers_only, reduction

_ISA = "aws-neuron-sdk v2.26.0 nki.isa"


@instruction(
    "iota",
    "a tile of affine index values",
    f"{_ISA} iota",
    attrs=("shape",),
    hidden=("shape",),
)
def IOTA(call: Call) -> Plan:
    """attrs: (shape,). Source: the index values as a constant."""
    shape = call.attrs.shape
    if len(shape) < 2:
        call.fail(
            "rank",
            "the index pattern has one axis",
            got=shape,
            limit="at least 2",
            remedy="Write nl.arange(p)[:, None] + nl.arange(n)[None, :].",
        )
    if shape[0] > call.target.partitions:
        call.fail(
            "partition-limit",
            f"the pattern has {shape[0]} partitions",
            got=shape,
            limit=f"{call.target.partitions} partitions",
        )
    call.result(shape, GPSIMD)
    return Plan(GPSIMD, lambda values: values.astype(np.int32), shape)


@instruction(
    "affine_select",
    "where an affine predicate holds the tile, elsewhere a number",
    f"{_ISA} affine_select",
    attrs=(
        "shape",
        "takes_integers",
    ),
    hidden=(
        "shape",
        "takes_integers",
    ),
)
def AFFINE_SELECT(call: Call) -> Plan:
    """attrs: (shape of the predicate, whether 32-bit integers are taken: in NKI 0.6). Sources:
    tile, predicate (constant array), number."""
    tile, predicate = call.srcs[0], call.srcs[1]
    call.tile(tile, "on_true_tile")
    call.memory_of(
        tile,
        (SBUF,),
        "on_true_tile",
        "GpSimdE does not reach PSUM: copy the tile with nisa.tensor_copy.",
    )
    if not call.attrs.takes_integers:
        out = call.dst.dtype if call.dst is not None else call.dtype or tile.dtype
        for dtype, what in ((tile.dtype, f"'{tile.label}'"), (out, "the result")):
            if dtype.itemsize == 4 and not dtypes.is_float(dtype):
                call.fail(
                    "dtype",
                    f"{what} is {dtypes.name(dtype)}",
                    tile,
                    limit="floats, 8- and 16-bit integers",
                    remedy="Copy it to a float32 tile first, or use nl.where.",
                )
    shape = tile.meta.shape
    where_shape = np.shape(predicate.array)
    try:
        fits = np.broadcast_shapes(where_shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        call.fail(
            "shape-mismatch",
            f"the predicate has shape {where_shape}, '{tile.label}' has {shape}",
            tile,
            limit=shape,
            remedy="Build the predicate from index grids of the tile's shape.",
        )
    call.result(shape, GPSIMD)

    kept = call.dst.dtype if call.dst is not None else call.dtype
    # 32-bit integers of one type pass as they are
    exact = tile.dtype.itemsize == 4 and kept == tile.dtype

    def compute(a: np.ndarray, where: np.ndarray, other: Any) -> np.ndarray:
        if exact:
            return np.where(where, a, dtypes.cast(np.full((), other, dtype=np.float32), a.dtype))
        return np.where(where, dtypes.to_fp32(a), np.float32(other))

    return Plan(
        GPSIMD,
        compute,
        shape,
        None if exact else dtypes.FLOAT32,
        depends=lambda a, where, other: (where, False, False),
    )


@instruction(
    "tensor_partition_reduce",
    "a reduction over the partitions",
    f"{_ISA} tensor_partition_reduce",
    attrs=("op",),
)
def TENSOR_PARTITION_REDUCE(call: Call) -> Plan:
    """attrs: (operator,); add, maximum, bitwise_or, bitwise_and, or in NKI 0.6 alu.AVERAGE."""
    op, data = call.attrs.op, call.srcs[0]
    call.tile(data, "data")
    call.memory_of(
        data, (SBUF,), "data", "GpSimdE does not reach PSUM: copy the tile with nisa.tensor_copy."
    )
    if op.name not in ("add", "maximum", "bitwise_or", "bitwise_and", "average"):
        call.fail(
            "operator",
            f"'{op.name}' does not reduce over partitions",
            got=op.name,
            limit="add, max, bitwise_or, bitwise_and",
            remedy="Transpose with nisa.nc_transpose and use nisa.tensor_reduce.",
        )
    if op.bitvec:
        integers_only(call, data)
    shape = (1,) + data.meta.shape[1:]
    call.result(shape, GPSIMD)

    def compute(a: np.ndarray) -> np.ndarray:
        found: np.ndarray = op.reduce(a if op.bitvec else dtypes.to_fp32(a), axis=0, keepdims=True)
        return found

    return reduction(call, GPSIMD, op, compute, shape, (0,))


@instruction(
    "partition_broadcast",
    "one partition repeated over several",
    "assumed: for integer types; floats "
    "broadcast by a matmul with ones (arch guide, alternative uses of the Tensor Engine)",
    attrs=("partitions",),
    hidden=("partitions",),
)
def PARTITION_BROADCAST(call: Call) -> Plan:
    """attrs: (partitions,)."""
    data = call.srcs[0]
    call.tile(data, "operand")
    call.memory_of(
        data,
        (SBUF,),
        "operand",
        "GpSimdE does not reach PSUM: copy the tile with nisa.tensor_copy.",
    )
    shape = (call.attrs.partitions,) + data.meta.shape[1:]
    call.result(shape, GPSIMD)
    return Plan(GPSIMD, lambda a: np.ascontiguousarray(np.broadcast_to(a, shape)), shape)
