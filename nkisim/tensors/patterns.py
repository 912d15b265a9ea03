"""Explicit access patterns: a view by offset and (step, count) of each axis.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (NkiTensor.ap),
nki/deep-dives/nki-aps.rst.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import HBM
from ..rules import arguments
from ..rules.errors import broken
from .beyond import BeyondView
from .reshaping import retyped
from .strided import remake
from .tensor import Tensor


def _partition_walk(
    t: Tensor,
    pattern: Any,
    pairs: list[tuple[int, int]],
    strides: tuple[int, ...],
    off: int,
    wanted: np.dtype,
) -> int:
    """The first partition of a pattern over an on-chip tensor, whose first pair walks the
    partitions one by one and whose others stay inside one."""
    own = t.buf.meta
    free = own.size // own.shape[0] * own.itemsize // wanted.itemsize
    pstart = off // free
    if strides[0] != free and pairs[0][1] != 1:
        broken(
            "partition-stride",
            f"ap: the first stride of the pattern of '{t.label}' is {strides[0]}",
            tensor=t.label,
            got=repr(pattern),
            limit=f"{free}, the elements of one partition",
            remedy="The first pair walks the partitions one by one.",
        )
    return pstart


def _beyond(
    t: Tensor, pattern: Any, shape: tuple[int, ...], strides: tuple[int, ...], off: int, total: int
) -> BeyondView | None:
    """What stands for a pattern over the `total` elements of `t` that leaves them, or one partition
    of them; None for others."""
    last = off + sum(s * (n - 1) for s, n in zip(strides, shape))
    got = f"offset {off}, pattern {pattern!r}"
    if off < 0 or last >= total:
        return BeyondView(
            f"ap: index {last if off >= 0 else off} is out of bounds for the {total} elements of "
            f"'{t.label}'",
            tensor=t.label,
            got=got,
            limit=f"0..{total - 1}",
            remedy="Offsets and strides count elements of the view's dtype.",
        )
    if t.meta.space == HBM:
        return None
    free = total // t.buf.meta.shape[0]
    inside = off % free + sum(s * (n - 1) for s, n in zip(strides[1:], shape[1:]))
    walks = strides[0] == free or shape[0] == 1  # what does not is refused at once
    if inside < free or not walks:
        return None
    return BeyondView(
        f"ap: index {inside} is out of bounds for a partition of '{t.label}'",
        tensor=t.label,
        got=got,
        limit=f"0..{free - 1} within each partition",
    )


def access(
    t: Tensor,
    pattern: Any,
    offset: int | None,
    dtype: np.dtype | None,
    by_index: bool = False,
) -> Tensor | BeyondView:
    """An explicit pattern of [stride, count] pairs over the tensor's memory, starting at the view's
    own offset. `by_index`: run-time indices take the place of the first stride."""
    wanted = t.dtype if dtype is None else dtype
    ratio = t.meta.itemsize / wanted.itemsize
    pairs = arguments.pairs(pattern, "ap", "pattern")
    if offset is not None:
        offset = arguments.integer(offset, "ap", "offset")
    shape, strides = tuple(n for _, n in pairs), tuple(s for s, _ in pairs)
    if t.off * t.meta.itemsize % wanted.itemsize:
        broken(
            "view-shape",
            f"ap: '{t.label}' starts in the middle of an element of {dtypes.name(wanted)}",
            tensor=t.label,
            got=f"byte {t.off * t.meta.itemsize}",
            limit=f"a multiple of {wanted.itemsize} bytes",
        )
    base = int(t.off * ratio)
    off = base + (0 if offset is None else int(offset))
    total = int(t.buf.meta.nbytes // wanted.itemsize)
    if not pairs or any(n < 1 for n in shape) or any(s < 0 for s in strides):
        broken(
            "view-shape",
            f"ap: the pattern {pattern!r} of '{t.label}' is empty or runs backwards",
            tensor=t.label,
            got=repr(pattern),
            limit="[stride, count] pairs with counts of 1 or more",
        )
    if by_index:
        strides = (0,) + strides[1:]
    beyond = _beyond(t, pattern, shape, strides, off, total)
    if beyond is not None:
        return beyond
    pstart = 0
    if t.meta.space != HBM:
        pstart = _partition_walk(t, pattern, pairs, strides, off, wanted)
    if wanted != t.dtype:
        plain = remake(t, t.shape, t.meta.strides, t.off, t.meta.pstart)
        return retyped(plain, wanted, shape, strides, off, pstart)
    return remake(t, shape, strides, off, pstart)
