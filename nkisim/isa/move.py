"""VectorE and others: moving data between partitions of a quadrant, and within partitions to or
from a run-time offset.

Sources: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (nc_stream_shuffle,
tensor_copy_dynamic_src, tensor_copy_dynamic_dst); v2.32.0 release-notes/components/nki.rst (mask
255 keeps what is in the destination).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine.memory import SBUF
from ..tensors.tensor import IndexedTensor, Tensor
from .core import GPSIMD, SCALAR, VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import no_psum_on_gpsimd

QUADRANT = 32
UNMODIFIED = 255
"""A shuffle mask's value for a partition of the destination that stays as it is."""


def shuffled_partitions(shuffle_mask: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray | None:
    """Which elements of a destination of `shape` a shuffle writes, to pass as the mask of the call;
    None for all."""
    written = np.array([shuffle_mask[i % QUADRANT] != UNMODIFIED for i in range(shape[0])])
    return None if written.all() else written.reshape((-1,) + (1,) * (len(shape) - 1))


def _alike(call: Call, src: Tensor, dst: Tensor) -> None:
    """Source and destination of a shuffle: one data type, as many elements per partition, and a
    start where their quadrants can start."""
    if src.dtype != dst.dtype:
        call.fail(
            "dtype",
            f"'{src.label}' and '{dst.label}' have different data types",
            dst,
            got=f"{src.meta.describe()} -> {dst.meta.describe()}",
            limit="the same on both sides",
        )
    if src.meta.free != dst.meta.free:
        call.fail(
            "shape-mismatch",
            f"'{src.label}' has {src.meta.free} elements per partition, '{dst.label}' has "
            f"{dst.meta.free}",
            dst,
            got=f"{src.meta.describe()} -> {dst.meta.describe()}",
        )
    active = -(-max(src.meta.partitions, dst.meta.partitions) // QUADRANT) * QUADRANT
    starts = (0,) if active > 64 else (0, 64) if active == 64 else (0, 32, 64, 96)
    for t in (src, dst):
        if t.meta.pstart not in starts:
            call.fail(
                "start-partition",
                f"'{t.label}' starts at partition {t.meta.pstart}, with {active} active",
                t,
                limit=f"a start at {', '.join(map(str, starts))}",
            )


@instruction(
    "nc_stream_shuffle",
    "partitions of each quadrant of 32 copied to partitions of that quadrant",
    f"{_ISA} nc_stream_shuffle",
    attrs=("shuffle_mask",),
)
def STREAM_SHUFFLE(call: Call) -> Plan:
    """attrs: (32 integers: which partition of its quadrant each partition copies; 255: none, and a
    mask leaves it out).

    Source and destination: tiles of one data type and as many elements per partition.
    """
    (pattern,) = call.attrs
    src, dst = call.srcs[0], call.dst
    if len(pattern) != QUADRANT or any(v != UNMODIFIED and not 0 <= v < QUADRANT for v in pattern):
        call.fail(
            "argument",
            "shuffle_mask is not 32 partitions of a quadrant",
            got=pattern,
            limit="32 integers of 0..31, or 255 for a partition that stays as it is",
        )
    assert dst is not None
    call.tile(src, "src")
    call.tile(dst, "dst")
    _alike(call, src, dst)
    rows = [
        i // QUADRANT * QUADRANT + pattern[i % QUADRANT]
        if pattern[i % QUADRANT] != UNMODIFIED
        else 0
        for i in range(dst.meta.partitions)
    ]
    if max(rows) >= src.meta.partitions:
        call.fail(
            "out-of-bounds",
            f"shuffle_mask reads partition {max(rows)} of '{src.label}'",
            src,
            limit=f"its {src.meta.partitions} partitions",
            remedy="Read partitions that the source tile has; every quadrant of the "
            "destination reads its own.",
        )
    shape = dst.meta.shape
    call.result(shape, VECTOR)

    def compute(x: np.ndarray) -> np.ndarray:
        return x[rows].reshape(shape)

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> np.ndarray:
        return compute(flags)

    return Plan(VECTOR, compute, shape, spread=spread)


@instruction(
    "tensor_copy_dynamic",
    "a copy from or to an offset within the partitions that is known at run time",
    f"{_ISA} tensor_copy_dynamic_src, tensor_copy_dynamic_dst",
    attrs=("engine",),
    hidden=("engine",),
)
def TENSOR_COPY_DYNAMIC(call: Call) -> Plan:
    """attrs: (engine or None,). Source or destination: a tile, or elements of one that a scalar in
    SBUF picks."""
    engine = call.attrs.engine or VECTOR
    src, dst = call.srcs[0], call.dst
    if engine not in (VECTOR, SCALAR, GPSIMD):
        call.fail(
            "engine",
            f"it does not run on the {engine} engine",
            got=engine,
            limit="vector, scalar, gpsimd",
        )
    call.tile(src, "src")
    no_psum_on_gpsimd(call, engine, src)
    for t, what in ((src, "src"), (dst, "dst")):
        if isinstance(t, IndexedTensor):
            _scalar_offset(call, t, what)
    shape = src.meta.shape
    call.result(shape, engine)
    return Plan(engine, np.ndarray.copy, shape, src.array.dtype, cost={"dynamic": True})


def _scalar_offset(call: Call, t: Tensor, what: str) -> None:
    """The run-time part of a subscript: one scalar in SBUF, on free axes."""
    assert isinstance(t, IndexedTensor)
    for tile in t.tiles or ():
        if tile.meta.space != SBUF:
            call.fail(
                "memory", f"the offset '{tile.label}' lies in {tile.meta.space}", tile, limit="sbuf"
            )
        if tile.meta.size != 1:
            call.fail(
                "indirect-index",
                f"the offset '{tile.label}' of {what} is not a scalar",
                tile,
                limit="one element",
                remedy="Loop over the offsets and copy once for each: t[i_p, offsets[0, j] + i_f].",
            )
    partitions = np.broadcast_to(t.indices[0], t.shape)
    first = partitions.reshape(t.shape[0], -1)
    if (first != first[:, :1]).any() or (np.diff(first[:, 0]) != 1).any():
        call.fail(
            "partition-axis",
            f"the partitions of {what} '{t.label}' are not consecutive, known ones",
            t,
            remedy="Only free axes take a run-time offset: t[i_p, offset + i_f].",
        )
