"""What the compiler does for a kernel that the documents would refuse: copies that it inserts,
accesses that it rearranges.

Published kernels that run on devices rely on both. A copy is recorded as the compiler's
(`instruction.attrs["by_compiler"]`), counted and timed; each use is told by an advisory rule, which
says what it costs and how to do without.
"""

from __future__ import annotations

import numpy as np

from ...execution.execute import execute
from ...isa.copies import TENSOR_COPY
from ...isa.core import squeeze
from ...machine.memory import CONST, PSUM, SBUF
from ...rules.errors import broken
from ...tensors.tensor import IndexedTensor, Tensor

BY_COMPILER = (None, True)
"""Attributes of a tensor_copy that the kernel did not write: no engine asked for, inserted."""


def in_sbuf(t: Tensor, api: str, what: str) -> Tensor:
    """`t`, copied to SBUF by the compiler if it lies in PSUM, where `api` cannot read it."""
    if t.meta.space != PSUM:
        return t
    broken(
        "inserted-copy",
        f"{api}: {what} '{t.label}' lies in PSUM; the compiler copies it to SBUF",
        tensor=t.label,
        got=t.meta.describe(),
        limit="sbuf",
        remedy="Copy it yourself, once for all its uses: t_sbuf = nisa.tensor_copy(t).",
    )
    return execute(TENSOR_COPY, "compiler", None, (t,), BY_COMPILER, SBUF)


def repeated_to(t: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """A view of `t` that repeats free axes of one element to `shape`; None if `t` does not fit."""
    meta = t.meta
    if meta.space == CONST or isinstance(t, IndexedTensor) or meta.partitions != shape[0]:
        return None
    if meta.free == 1:
        t = t.reshape((shape[0],) + (1,) * (len(shape) - 1))
    elif len(meta.shape) != len(shape) or any(
        n not in (1, m) for n, m in zip(meta.shape, shape, strict=True)
    ):
        return None
    return t.repeated(shape)


def same_free_size(a: Tensor, b: Tensor, api: str) -> tuple[Tensor, Tensor]:
    """Two tiles for tensor_tensor; the smaller of different sizes is read again and again."""
    if (
        a.meta.free == b.meta.free
        or a.meta.partitions != b.meta.partitions
        or len(a.meta.shape) < 2
        or len(b.meta.shape) < 2
    ):
        return a, b
    small, large = (a, b) if a.meta.free < b.meta.free else (b, a)
    view = repeated_to(small, large.meta.shape)
    if view is None:
        return a, b
    broken(
        "rearranged-access",
        f"{api}: '{small.label}' {small.shape} is repeated along the free axis of "
        f"'{large.label}' {large.shape}",
        tensor=small.label,
        got=f"{a.meta.describe()} and {b.meta.describe()}",
        limit="the same number of elements per partition",
        remedy="For one value per partition nisa.tensor_scalar is faster.",
    )
    return (view, large) if small is a else (large, view)


def tile_for_vector(data: Tensor, operand: Tensor, api: str, what: str) -> Tensor | None:
    """The operand of tensor_scalar as a tile of the shape of `data`, where it has more than the one
    element per partition that the instruction takes; None if it has one, or does not fit."""
    meta = operand.meta
    if (
        meta.space == CONST
        or meta.free == 1
        or len(meta.shape) < 2
        or meta.partitions != data.meta.partitions
    ):
        return None
    fits = squeeze(meta.shape) == squeeze(data.meta.shape)
    tile = operand if fits else repeated_to(operand, data.meta.shape)
    if tile is not None:
        broken(
            "rearranged-access",
            f"{api}: {what} '{operand.label}' has {meta.free} elements per partition; the compiler "
            "makes it a tensor_tensor",
            tensor=operand.label,
            got=meta.describe(),
            limit=f"a number, or a tile of shape ({data.meta.partitions}, 1)",
            remedy="Write nisa.tensor_tensor, or slice one column: t[:, 0:1].",
        )
    return tile


def free_axes_in_order(t: Tensor, axis: object, api: str) -> None:
    """Tell of a reduction over axes that are not the last: its elements are read in another
    order."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    if not all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in axes):
        return  # refused by the instruction
    ordered = tuple(sorted({int(a) % t.ndim for a in axes if -t.ndim <= a < t.ndim}))
    if not ordered or ordered[0] == 0 or ordered == tuple(range(t.ndim - len(ordered), t.ndim)):
        return
    broken(
        "rearranged-access",
        f"{api}: axes {ordered} of '{t.label}' are not the last, consecutive axes; the compiler "
        "reads the tile in another order",
        tensor=t.label,
        got=t.meta.describe(),
        limit=f"axes that end with {t.ndim - 1}",
        remedy="Read the free axes in that order yourself, with an index grid; steps of 16 bytes "
        "and more halve VectorE's bandwidth.",
    )
