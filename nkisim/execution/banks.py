"""Where in PSUM TensorE writes: inside one bank.

A tile in PSUM begins a bank. So the banks of a destination follow from where in its tile it lies,
which no layout tells: each instruction that could miss is looked at again.

Sources: aws-neuron-sdk v2.26.0 general/nki/arch/trainium_inferentia2_arch.rst (Tensor Engine: tile
size; PSUM), general/nki/api/nki/compiler/psum.py (a physical tile); v2.32.0 nki/migration/index.rst
(direct allocation).
"""

from __future__ import annotations

import numpy as np

from ..machine.memory import PSUM, Meta
from ..machine.target import Target
from ..rules.errors import broken
from ..tensors.tensor import IndexedTensor, Tensor


def may_cross_banks(target: Target, meta: Meta) -> bool:
    """Whether a destination of that layout could lie in two banks. It cannot in a tile of one bank,
    whose partitions are at most a bank apart."""
    if meta.space != PSUM:
        return False
    apart = meta.strides[meta.pdim] * meta.itemsize if meta.shape[meta.pdim] > 1 else 0
    return not 0 < apart <= target.psum_bank_bytes


def in_one_bank(target: Target, api: str, dst: Tensor, keep: np.ndarray | None = None) -> None:
    """Refuse a matmul or a transpose that writes to two PSUM banks; `keep`: where its mask lets it
    write."""
    whole = dst.buf.meta
    size = target.psum_bank_bytes
    if whole.psum_partition_bytes <= size:
        return
    reach = _reach(dst, keep)
    if reach is None:
        return
    item = dst.meta.itemsize
    row = whole.strides[whole.pdim] * whole.itemsize
    first, last = (at * item % row for at in reach)
    last += item - 1
    if first // size == last // size:
        return
    broken(
        "matmul-bank",
        f"{api}: the destination '{dst.label}' lies in PSUM banks {first // size} to "
        f"{last // size} of its tile",
        tensor=dst.label,
        got=f"bytes {first} to {last} of each partition of a tile {whole.describe()}",
        limit=f"one bank: {size} bytes ({target.psum_bank_fp32} fp32) per partition",
        remedy=f"Let no result run across a multiple of {target.psum_bank_fp32} fp32 columns: give "
        "each bank its own axis, or take a new tile for each.",
    )


def _reach(dst: Tensor, keep: np.ndarray | None) -> tuple[int, int] | None:
    """The first and the last element that is written of one partition, counted from the beginning
    of the buffer; None if nothing is, or it is not known where."""
    if keep is None and not isinstance(dst, IndexedTensor):
        free = dst.meta.pdim + 1
        spans = [(n - 1) * s for n, s in zip(dst.meta.shape[free:], dst.meta.strides[free:])]
        return dst.off + sum(s for s in spans if s < 0), dst.off + sum(s for s in spans if s > 0)
    places = dst.places() if isinstance(dst, IndexedTensor) else _places(dst)
    if places is None:
        return None
    whole = dst.buf.meta
    row = whole.strides[whole.pdim] * whole.itemsize // dst.meta.itemsize
    written = (places if keep is None else places[np.broadcast_to(keep, places.shape)]) % row
    return (int(written.min()), int(written.max())) if written.size else None


def _places(dst: Tensor) -> np.ndarray:
    """Where in the buffer each element of `dst` lies, counted in elements."""
    total = np.full(dst.meta.shape, dst.off, dtype=np.int64)
    for index, step in zip(np.ix_(*map(np.arange, dst.meta.shape)), dst.meta.strides):
        total += index * step
    return total
