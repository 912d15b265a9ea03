"""GpSimdE: the places of elements that are not zero, and the largest elements of groups of 16
partitions.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py (nonzero_with_count, topk); how the
results of topk lie: nki/library/api/gpsimd-topk.rst and sparse-attention-indexer-mx-bf16score.rst
(over 16 partitions, as the source does).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..tensors.tensor import Tensor
from .core import GPSIMD, Call, Plan, instruction
from .gather import CORE, in_sbuf
from .operands import ISA_32 as _ISA_32


def first_partitions(t: Tensor) -> np.ndarray | None:
    """Which elements of a destination NONZERO writes, to pass as the mask of the call: the first
    partition of each core of GpSimdE. None for all."""
    written = np.array([(t.meta.pstart + i) % CORE == 0 for i in range(t.meta.partitions)])
    return None if written.all() else written.reshape((-1,) + (1,) * (t.ndim - 1))


@instruction(
    "nonzero_with_count",
    "the places of the elements that are not zero, padding, and their count",
    f"{_ISA_32} nonzero_with_count",
    attrs=(
        "index_offset",
        "padding_val",
    ),
)
def NONZERO(call: Call) -> Plan:
    """attrs: (offset added to the places, padding). src (p, t), fp32 or int32 -> (p, t + 1) int32,
    in partitions 0, 16, ... only: a mask (`first_partitions`) leaves the others as they are.
    NeuronCore-v3 and later.
    """
    offset, padding = call.attrs
    call.generation(3)
    src, dst = call.srcs[0], call.dst
    in_sbuf(call, src, "src")
    call.one_of(src, "src", (dtypes.FLOAT32, dtypes.INT32))
    for value, what in ((offset, "index_offset"), (padding, "padding_val")):
        if not isinstance(value, int) or not -(2**31) <= value < 2**31:
            call.fail("argument", f"{what} is not an int32", got=value)
    if dst is not None:
        in_sbuf(call, dst, "dst")
        call.one_of(dst, "dst", (dtypes.INT32,))
        call.same_partitions(src, dst)
        call.per_partition(dst, "dst", src.meta.free + 1, src.meta.free + 1)
    partitions, free = src.meta.partitions, src.meta.free
    shape = (partitions, free + 1)
    call.result(shape, GPSIMD)
    used = [i for i in range(partitions) if (src.meta.pstart + i) % CORE == 0]

    def compute(x: np.ndarray) -> np.ndarray:
        out = np.zeros(shape, dtype=np.int32)
        rows = x.reshape(partitions, -1)
        for i in used:
            places = np.flatnonzero(rows[i])
            out[i] = padding
            out[i, : len(places)] = places + offset
            out[i, -1] = len(places)
        return out

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> np.ndarray:
        return np.asarray(flags.reshape(partitions, -1).any(axis=1, keepdims=True))

    return Plan(GPSIMD, compute, shape, dtypes.INT32, spread=spread)


def _sizes_to_rank(call: Call, src: Tensor, values: Tensor, places: Tensor) -> None:
    """Whole groups of partitions, n elements in each, of which the destinations hold k."""
    n = call.attrs.n
    partitions = src.meta.partitions
    if partitions % CORE:
        call.fail(
            "dimension-limit",
            f"'{src.label}' has {partitions} partitions",
            src,
            limit=f"a multiple of {CORE}",
        )
    if not isinstance(n, int) or not 8 <= n < 65536:
        call.fail("argument", "n is out of range", got=n, limit="8 to 65535")
    k = values.meta.free
    if not 1 <= k < 32768 or k > n:
        call.fail(
            "element-count",
            f"val_dst '{values.label}' asks for {k} of {n} elements",
            values,
            limit="1 to 32767, and n",
        )
    call.per_partition(places, "idx_dst", k, k)
    call.per_partition(src, "src", -(-n // CORE), max(src.meta.free, -(-n // CORE)))


def _largest(x: np.ndarray, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of the n elements that each group of 16 partitions of `x` holds, ascending, and
    their places: two tiles (p, k), filled down the partitions of a group first."""
    partitions = x.shape[0]
    groups, columns = partitions // CORE, -(-k // CORE)
    lists = x.reshape(groups, CORE, -1).transpose(0, 2, 1).reshape(groups, -1)[:, :n]
    best = np.argsort(lists, axis=1, kind="stable")[:, n - k :]
    found = []
    for what in (np.take_along_axis(lists, best, axis=1), best):
        out = np.zeros((groups, columns * CORE), dtype=what.dtype)
        out[:, :k] = what
        tile = np.zeros((partitions, k), dtype=what.dtype)
        tile[:, :columns] = (
            out.reshape(groups, columns, CORE).transpose(0, 2, 1).reshape(partitions, columns)
        )
        found.append(tile)
    return found[0], found[1].astype(np.uint32)


@instruction(
    "topk",
    "the largest elements of each group of 16 partitions, and their places",
    f"{_ISA_32} topk",
    attrs=("n",),
)
def TOPK(call: Call) -> Plan:
    """attrs: (n,). src (p, x) bf16, whose groups of 16 partitions hold n elements each, down the
    partitions first. dst (p, k) bf16: the k largest in ascending order, `extra` (p, k) uint32:
    their places; both lie as the source does, element j in partition j % 16 and column j // 16 of
    the group. The columns beyond are zero here, undefined on the device.
    """
    (n,) = call.attrs
    src, values, places = call.srcs[0], call.dst, call.extra
    assert values is not None and places is not None
    bf16, uint32 = (dtypes.bfloat16,), (np.dtype(np.uint32),)
    for t, what, allowed in (
        (src, "src", bf16),
        (values, "val_dst", bf16),
        (places, "idx_dst", uint32),
    ):
        in_sbuf(call, t, what)
        call.one_of(t, what, allowed)
    partitions = call.same_partitions(src, values, places)
    k = values.meta.free
    _sizes_to_rank(call, src, values, places)
    shape = (partitions, k)
    call.result(shape, GPSIMD)

    def compute(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _largest(dtypes.to_fp32(x), n, k)

    return Plan(
        GPSIMD,
        compute,
        shape,
        dtypes.FLOAT32,
        spread=lambda position, flags, arrays: flags.any(),
        cost={"elements": n, "k": k},
    )
