"""The DMA engines: copies between HBM and SBUF, with casts, and the (slow) transposing load.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (dma_copy, dma_transpose) and
general/nki/api/nki/language/__init__.py (load, store, load_transpose2d).
"""

from __future__ import annotations

import numpy as np

from ..machine import dtypes
from ..machine.memory import HBM, SBUF
from ..tensors.tensor import IndexedTensor, Tensor
from .core import DMA, Call, Plan, instruction, squeeze
from .operands import written_as_bits


def _endpoint(call: Call, t: Tensor, what: str) -> None:
    """`t` must be a place that a DMA reaches. DMA engines address memory by the byte, so that of
    the rules for tiles only the number of partitions remains: no start partition, no limit of the
    free size. HBM has no partitions: there a tensor may have any number of axes."""
    meta = t.meta
    call.memory_of(
        t,
        (HBM, SBUF),
        what,
        "DMA engines do not reach PSUM: copy the tile to SBUF with nisa.tensor_copy first.",
    )
    if meta.space == SBUF:
        call.tile(t, what, streamed=False)


def _alike(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether two shapes name the same elements: one may have leading axes of one element that the
    other lacks, and free axes of one element do not count. A vector is a column or a row."""
    while len(a) > len(b) and a[0] == 1:
        a = a[1:]
    while len(b) > len(a) and b[0] == 1:
        b = b[1:]
    return squeeze(a) == squeeze(b)


def same_elements(call: Call, src: Tensor, dst: Tensor) -> None:
    """Source and destination of a copy must have one shape, axes of one element aside."""
    if not _alike(dst.meta.shape, src.meta.shape):
        call.fail(
            "dma-element-count",
            f"'{dst.label}' takes shape {dst.meta.shape} ({dst.meta.size} elements), '{src.label}' "
            f"has {src.meta.shape} ({src.meta.size} elements)",
            dst,
            got=f"{src.meta.describe()} -> {dst.meta.describe()}",
            limit="the same shape on both sides",
            remedy="Slice or reshape one side so that both name the same elements; a DMA "
            "does not broadcast.",
        )


@instruction(
    "dma_copy",
    "copy between HBM and SBUF, or inside either, casting if the dtypes differ",
    "aws-neuron-sdk v2.26.0 nki.isa dma_copy, nki.language load and store",
    attrs=(
        "add",
        "by_count",
    ),
    defaults=(False,),
    hidden=("by_count",),
    reduces=lambda attrs: bool(attrs.add),
)
def DMA_COPY(call: Call) -> Plan:
    """attrs: (add, by count). `add` adds to the destination, which is then the second source; `by
    count` (default False) asks only for as many elements on both sides, in row-major order."""
    src, dst = call.srcs[0], call.dst
    by_count = call.attrs.by_count
    _endpoint(call, src, "source")
    shape = src.meta.shape
    if dst is not None:
        _endpoint(call, dst, "destination")
        if not by_count or src.meta.size != dst.meta.size:
            same_elements(call, src, dst)
        shape = dst.meta.shape
    elif call.space == SBUF and src.meta.shape[0] > call.target.partitions:
        call.fail(
            "partition-limit",
            f"the tile loaded from '{src.label}' would have {src.meta.shape[0]} partitions",
            src,
            limit=f"{call.target.partitions} partitions (nl.tile_size.pmax)",
            remedy=f"Load at most {call.target.partitions} rows at a time, in a loop."
            if len(src.meta.shape) > 1
            else "A vector is loaded as a column, one element per partition: take at most "
            f"{call.target.partitions} elements at a time, or load it as a row, "
            "t.reshape((1, n)) or t[i:i + 1, 0:n] instead of t[i].",
        )
    elif call.space == SBUF and len(shape) == 1:
        shape = (*shape, 1)  # a vector is loaded as a column
    if call.attrs.add:

        def compute(a: np.ndarray, held: np.ndarray) -> np.ndarray:
            return (held.astype(np.float32) + a.astype(np.float32)).astype(held.dtype)

        return Plan(DMA, compute, shape, accumulates=isinstance(dst, IndexedTensor))
    # Integers of one width and two signs: bit for bit in NKI 0.1, with which device tests store
    # uint32 of all ones as -1 (neuronx-distributed, test_find_index); by way of float32 in dma_copy
    # of NKI 0.6.
    bits = not by_count
    wanted = call.dtype if dst is None else dst.dtype
    if bits and wanted not in (None, src.dtype) and src.dtype.kind in "iu":
        return Plan(DMA, written_as_bits(call, lambda a: a.reshape(shape).copy()), shape, bits=True)
    if shape != src.meta.shape:
        return Plan(DMA, lambda a: a.reshape(shape).copy(), shape, src.array.dtype, bits=bits)
    return Plan(DMA, np.ndarray.copy, shape, src.array.dtype, bits=bits)


@instruction(
    "dma_transpose",
    "copy from HBM or SBUF with the axes permuted",
    "aws-neuron-sdk v2.26.0 nki.isa dma_transpose, nki.language load_transpose2d",
    attrs=(
        "axes",
        "dge_mode",
    ),
    defaults=(None,),
)
def DMA_TRANSPOSE(call: Call) -> Plan:
    """attrs: (axes: one of (1, 0), (2, 1, 0), (3, 1, 2, 0)), and in NKI 0.6 (..., dge_mode: its
    name)."""
    src = call.srcs[0]
    _endpoint(call, src, "source")
    axes, mode = call.attrs
    if mode is not None:
        _descriptors(call, src, mode)
    shape = tuple(src.meta.shape[a] for a in axes)
    if shape[0] > call.target.partitions:
        call.fail(
            "partition-limit",
            f"the transposed tile of '{src.label}' would have {shape[0]} partitions",
            src,
            limit=f"{call.target.partitions} partitions (nl.tile_size.pmax)",
            remedy="Load and transpose at most 128 columns at a time.",
        )
    dst = call.dst
    if dst is not None:
        _endpoint(call, dst, "destination")
        if squeeze(dst.meta.shape) != squeeze(shape):
            call.fail(
                "dma-element-count",
                f"'{dst.label}' takes shape {dst.meta.shape}, the transposed '{src.label}' has "
                f"{shape}",
                dst,
                got=f"{src.meta.describe()} -> {dst.meta.describe()}",
                limit=shape,
                remedy="Give the destination the shape of the source with its axes exchanged.",
            )

    def compute(a: np.ndarray) -> np.ndarray:
        return a.transpose(axes).copy()

    return Plan(DMA, compute, shape, kind="transpose")


def _descriptors(call: Call, src: Tensor, mode: str) -> None:
    """What the hardware that makes DMA descriptors, and the software that gathers rows, can
    transpose."""
    indirect = isinstance(src, IndexedTensor)
    allowed = ("unknown", "swdge") if indirect else ("unknown", "hwdge")
    if mode not in allowed:
        call.fail(
            "argument",
            f"dge_mode.{mode} does not transpose "
            f"{'rows picked at run time' if indirect else 'directly'}",
            src,
            got=mode,
            limit=", ".join(allowed),
        )
    if indirect:
        call.generation(3)
        _gathered_rows(call, src)
    elif mode == "hwdge":
        call.generation(3)
        _described_rows(call, src)
    else:
        return
    if src.meta.shape[-1] > 128:
        call.fail(
            "dimension-limit",
            f"'{src.label}' has {src.meta.shape[-1]} elements on its last axis",
            src,
            limit="128",
        )
    if src.dtype.itemsize != 2:
        call.fail(
            "dtype",
            f"'{src.label}' is {dtypes.name(src.dtype)}",
            src,
            limit="a data type of 2 bytes",
        )


def _gathered_rows(call: Call, src: Tensor) -> None:
    """The rows that software gathers at run time come in sixteens, and have one long axis."""
    rows = src.meta.shape[0]
    if rows % 16:
        call.fail(
            "dimension-limit", f"'{src.label}' names {rows} rows", src, limit="a multiple of 16"
        )
    if len(src.meta.shape) == 4 and 1 not in src.meta.shape[1:3]:
        call.fail(
            "dimension-limit",
            f"'{src.label}' has shape {src.meta.shape}",
            src,
            limit="axis 1 or 2 of one element",
        )


def _described_rows(call: Call, src: Tensor) -> None:
    """The rows that the hardware's descriptors transpose are sixteen at a time."""
    rows = src.meta.shape[0]
    if len(axes_of := src.meta.shape) == 2 and rows != 16:
        call.fail(
            "dimension-limit",
            f"'{src.label}' has {rows} rows",
            src,
            limit="16 with dge_mode.hwdge",
        )
    if len(axes_of) > 2 and (rows not in (1, 2, 4, 8, 16) or rows * axes_of[-2] % 16):
        call.fail(
            "dimension-limit",
            f"'{src.label}' has shape {axes_of}",
            src,
            limit="1, 2, 4, 8 or 16 rows, and their number times that of axis -2 a multiple of 16",
        )


@instruction(
    "dma_compute",
    "the sum of several tensors, computed on the way by the DMA engines",
    "aws-neuron-sdk v2.32.0 nki.isa dma_compute",
)
def DMA_COMPUTE(call: Call) -> Plan:
    """attrs: (). Sources: 1 to 16 tensors in HBM or SBUF with as many elements as the destination;
    their sum in float32.

    Where explicit indices pick the destination's elements, the sources are the addend and the
    destination, and an element that is picked several times gets all of its addends.
    """
    dst = call.dst
    assert dst is not None
    if not 1 <= len(call.srcs) <= 16:
        call.fail("argument", f"{len(call.srcs)} sources", got=len(call.srcs), limit="1 to 16")
    picks = any(isinstance(t, IndexedTensor) for t in (dst, *call.srcs))
    if picks and len(call.srcs) != 2:
        call.fail(
            "argument",
            f"{len(call.srcs)} sources with run-time indices",
            got=len(call.srcs),
            limit="2: what is added, and what it is added to",
        )
    _endpoint(call, dst, "dst")
    for t in call.srcs:
        _endpoint(call, t, "source")
        if t.meta.size != dst.meta.size:
            call.fail(
                "dma-element-count",
                f"'{t.label}' has {t.meta.size} elements, '{dst.label}' has {dst.meta.size}",
                t,
                got=f"{t.meta.describe()} -> {dst.meta.describe()}",
                limit="as many elements on all sides",
            )
    shape = dst.meta.shape

    def compute(*arrays: np.ndarray) -> np.ndarray:
        total = dtypes.to_fp32(arrays[0]).reshape(shape)
        for a in arrays[1:]:
            total = total + dtypes.to_fp32(a).reshape(shape)
        return total.copy() if len(arrays) == 1 else total

    return Plan(DMA, compute, shape, dtypes.FLOAT32, accumulates=isinstance(dst, IndexedTensor))
