"""The DMA engines: copies between HBM and SBUF, with casts, and the (slow) transposing load.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (dma_copy, dma_transpose) and
general/nki/api/nki/language/__init__.py (load, store, load_transpose2d).
"""

from __future__ import annotations

import numpy as np

from ..memory import HBM, SBUF
from ..tensor import IndexedTensor, Tensor
from .core import DMA, Call, Plan, instruction, squeeze


def _endpoint(call: Call, t: Tensor, what: str, flat: bool = False) -> None:
    """`t` must be a place that a DMA reaches. DMA engines address memory by the byte, so that of the rules for tiles
    only the number of partitions remains: no start partition, no limit of the free size. `flat`: one axis will do in HBM."""
    meta = t.meta
    call.memory_of(t, (HBM, SBUF), what, "DMA engines do not reach PSUM: copy the tile to SBUF with "
                   "nisa.tensor_copy first.")
    if len(meta.shape) < 2 and not (flat and meta.space == HBM):
        call.fail("rank", f"{what} '{t.label}' has {len(meta.shape)} axis", t,
                  limit="at least 2: partitions and a free axis",
                  remedy="Give it both axes: t.reshape((1, n)), or t[i:i + 1, 0:n] instead of t[i].")
    if meta.space == SBUF:
        call.tile(t, what, streamed=False)


def same_elements(call: Call, src: Tensor, dst: Tensor) -> None:
    """Source and destination of a copy must have one shape, axes of one element aside."""
    if squeeze(dst.meta.shape) != squeeze(src.meta.shape):
        call.fail("dma-element-count", f"'{dst.label}' takes shape {dst.meta.shape} ({dst.meta.size} elements), "
                  f"'{src.label}' has {src.meta.shape} ({src.meta.size} elements)", dst,
                  got=f"{src.meta.describe()} -> {dst.meta.describe()}",
                  limit="the same shape on both sides",
                  remedy="Slice or reshape one side so that both name the same elements; a DMA does not broadcast.")


@instruction("dma_copy", "copy between HBM and SBUF, or inside either, casting if the dtypes differ",
             "aws-neuron-sdk v2.26.0 nki.isa dma_copy, nki.language load and store")
def DMA_COPY(call: Call) -> Plan:
    """attrs: (add, by count). `add` adds to the destination, which is then the second source; `by count` (default False)
    asks only for as many elements on both sides, in row-major order."""
    src, dst = call.srcs[0], call.dst
    by_count = len(call.attrs) > 1 and call.attrs[1]
    _endpoint(call, src, "source", by_count)
    shape = src.meta.shape
    if dst is not None:
        _endpoint(call, dst, "destination", by_count)
        if not by_count or src.meta.size != dst.meta.size:
            same_elements(call, src, dst)
        shape = dst.meta.shape
    elif call.space == SBUF and src.meta.shape[0] > call.target.partitions:
        call.fail("partition-limit", f"the tile loaded from '{src.label}' would have {src.meta.shape[0]} partitions",
                  src, limit=f"{call.target.partitions} partitions (nl.tile_size.pmax)",
                  remedy=f"Load at most {call.target.partitions} rows at a time, in a loop.")
    if call.attrs[0]:
        def compute(a: np.ndarray, held: np.ndarray) -> np.ndarray:
            return (held.astype(np.float32) + a.astype(np.float32)).astype(held.dtype)
        return Plan(DMA, compute, shape, accumulates=isinstance(dst, IndexedTensor))
    if shape != src.meta.shape:
        return Plan(DMA, lambda a: a.reshape(shape).copy(), shape, src.array.dtype)
    return Plan(DMA, np.ndarray.copy, shape, src.array.dtype)


@instruction("dma_transpose", "copy from HBM or SBUF with the axes permuted",
             "aws-neuron-sdk v2.26.0 nki.isa dma_transpose, nki.language load_transpose2d")
def DMA_TRANSPOSE(call: Call) -> Plan:
    """attrs: (axes,), one of (1, 0), (2, 1, 0), (3, 1, 2, 0)."""
    src = call.srcs[0]
    _endpoint(call, src, "source")
    axes = call.attrs[0]
    shape = tuple(src.meta.shape[a] for a in axes)
    if shape[0] > call.target.partitions:
        call.fail("partition-limit", f"the transposed tile of '{src.label}' would have {shape[0]} partitions", src,
                  limit=f"{call.target.partitions} partitions (nl.tile_size.pmax)",
                  remedy="Load and transpose at most 128 columns at a time.")
    dst = call.dst
    if dst is not None:
        _endpoint(call, dst, "destination")
        if squeeze(dst.meta.shape) != squeeze(shape):
            call.fail("dma-element-count", f"'{dst.label}' takes shape {dst.meta.shape}, the transposed '{src.label}' has "
                      f"{shape}", dst, got=f"{src.meta.describe()} -> {dst.meta.describe()}", limit=shape,
                      remedy="Give the destination the shape of the source with its axes exchanged.")

    def compute(a: np.ndarray) -> np.ndarray:
        return a.transpose(axes).copy()

    return Plan(DMA, compute, shape, kind="transpose")
