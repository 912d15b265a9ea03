"""Views whose place an index decides that is read at run time: rows, columns and single elements.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (NkiTensor),
nki/deep-dives/nki-aps.rst.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..machine.memory import HBM, meta_of
from ..machine.running import running
from ..machine.shapes import shape_only
from ..rules.errors import broken
from .reshaping import reshape
from .tensor import IndexedTensor, Tensor

_INT64 = np.dtype(np.int64)


class Register(Protocol):
    """A scalar of the device that a view may be indexed by."""

    known: bool
    """Whether it has a value that this run knows."""

    def read(self, api: str) -> int:
        """Its value."""


class RuntimeView:
    """What a run-time index adds to a view: which index, and how far one step of it moves.

    The index is read when an instruction uses the view, not when the view is made.
    """

    __slots__ = ("dim", "extent", "of", "scalar", "scale", "vector")

    def __init__(
        self,
        scalar: Register | Tensor | None,
        vector: Tensor | None,
        scale: int,
        extent: int,
        dim: int,
        of: Tensor,
    ) -> None:
        self.scalar = scalar
        self.vector = vector
        self.scale = scale
        """Elements from one index to the next."""
        self.extent = extent
        """Indices there are along the axis."""
        self.dim = dim
        self.of = of
        """The tensor that was indexed."""


class ResolvedView(Tensor):
    """A view with an offset that is read from a tile, in a run on shapes alone, where it
    counts as 0."""

    __slots__ = ("recipe", "skip")

    recipe: tuple[Any, ...]
    """How the offset comes about: see `IndexedTensor.recipe`."""
    skip: bool


# -- run-time indices ------------------------------------------------------------------------------
def _element(t: Tensor, api: str) -> int:
    """The one integer that the tensor `t` holds; 0 in a run without values."""
    kernel = running()
    assert kernel is not None
    if t.size != 1:
        broken(
            "argument",
            f"{api}: the run-time index '{t.label}' has {t.size} elements",
            tensor=t.label,
            got=t.shape,
            limit="one element",
        )
    t = resolve(t, api)
    kernel.check_read(t, api, decides=True)
    t.buf.last = kernel.clock + 1
    return int(t.array.reshape(-1)[0]) if kernel.values else 0


def resolve(t: Tensor, api: str, skip: bool = False) -> Tensor:
    """A view with its run-time index read: a plain view, or picked elements where the index is a
    vector. In a run without values an index that a tile holds counts as 0.

    With `skip`, an index out of bounds is no error: the elements that it would pick are left out.
    """
    runtime: RuntimeView | None = getattr(t, "runtime", None)
    if runtime is None:
        return t
    if runtime.vector is not None:
        return picked_rows(t, resolve(runtime.vector, api), runtime.scale, runtime.extent, api)
    assert runtime.scalar is not None
    where = runtime.scale, runtime.extent, runtime.dim, runtime.of.shape
    if isinstance(runtime.scalar, Tensor):
        return at_element(t, runtime.scalar, *where, api, skip)
    kernel = running()
    lowered = kernel is not None and kernel.lowering is not None  # then its value must be known
    value = runtime.scalar.read(api) if runtime.scalar.known or lowered else 0
    return _moved(t, value, *where, api, skip)


def at_element(
    t: Tensor,
    index: Tensor,
    scale: int,
    extent: int,
    dim: int,
    of: tuple[int, ...],
    api: str,
    skip: bool,
) -> Tensor:
    """The view `t` moved by `scale` elements for each step of the one integer that `index` holds,
    of which there are `extent` along axis `dim` of a tensor of shape `of`."""
    kernel = running()
    assert kernel is not None
    value = _element(index, api)
    if kernel.values:
        return _moved(t, value, scale, extent, dim, of, api, skip)
    view = ResolvedView(t.buf, t.array, t.meta, t.off)
    view.recipe = ("element", t, index, scale, extent, dim, *of)
    view.skip = skip
    return view


def _moved(
    t: Tensor,
    value: int,
    scale: int,
    extent: int,
    dim: int,
    of: tuple[int, ...],
    api: str,
    skip: bool,
) -> Tensor:
    off = t.off + value * scale
    last = off + sum(s * (n - 1) for s, n in zip(t.meta.strides, t.shape))
    total = t.buf.meta.nbytes // t.meta.itemsize
    outside = value < 0 or last >= total or off < 0 or (t.meta.space != HBM and value >= extent)
    if outside:
        if skip:
            return nothing(t)
        broken(
            "out-of-bounds",
            f"{api}: index {value} is out of bounds for axis {dim} of '{t.label}', which has "
            f"{extent} elements there",
            tensor=t.label,
            # of the flat memory too, as the official simulator tells it
            got=f"run-time index {value}; index {last if value >= 0 else off} is out of bounds for "
            f"axis 0 with size {total}",
            limit=f"0..{extent - 1}",
            remedy="Correct the index; nisa.dma_copy leaves such transfers out with "
            "oob_mode=nisa.oob_mode.skip.",
        )
    array = t.strided_view(off, t.shape, t.meta.strides)
    return type(t)(t.buf, array, t.meta, off)


def _flat(t: Tensor) -> Tensor:
    """The whole memory of `t`, row-major, as one axis of elements of its dtype."""
    total = t.buf.meta.nbytes // t.meta.itemsize
    return Tensor(
        t.buf,
        t.strided_view(0, (total,), (1,)),
        meta_of(t.meta.space, (total,), (1,), t.meta.dtype),
        0,
    )


def nothing(t: Tensor) -> Tensor:
    """A pick of the shape of `t` that lies wholly out of bounds."""
    places = np.full(t.shape, -1, dtype=np.int64)
    return IndexedTensor(_flat(t), (places,), t.shape, (), ("nothing", t))


def _addresses(t: Tensor) -> np.ndarray:
    """Where the elements of `t` lie, counted from the start of its memory."""
    total = np.full(t.shape, t.off, dtype=np.int64)
    for axis, (n, stride) in enumerate(zip(t.shape, t.meta.strides)):
        if n > 1 and stride:
            line = np.arange(n, dtype=np.int64) * stride
            total += line.reshape((1,) * axis + (n,) + (1,) * (t.ndim - axis - 1))
    return total


def picked_rows(t: Tensor, index: Tensor, scale: int, extent: int, api: str) -> Tensor:
    """Rows of `t` picked by a vector of run-time indices, `scale` elements apart, of `extent`; more
    than one column of indices counts down the columns."""
    kernel = running()
    assert kernel is not None
    kernel.check_read(index, api, decides=True)
    index.buf.last = kernel.clock + 1
    if index.size < t.shape[0]:
        broken(
            "shape-mismatch",
            f"{api}: '{index.label}' has {index.size} indices for {t.shape[0]} rows",
            tensor=index.label,
            got=index.shape,
            limit=f"at least {t.shape[0]} indices",
        )
    recipe = ("rows", t, index, scale, extent)
    if not kernel.values:
        places = shape_only(t.shape, _INT64)
        return IndexedTensor(_flat(t), (places,), t.shape, (index,), recipe)
    rows = index.array.T.reshape(-1)[: t.shape[0]].astype(np.int64)
    addresses = _addresses(t) + (rows * scale).reshape((-1,) + (1,) * (t.ndim - 1))
    outside = (rows < 0) | (rows >= extent) if t.off == 0 else rows < 0
    # a row that does not exist, even where its address would lie inside some other one
    if outside.any():
        addresses[outside] = np.where(
            addresses[outside] < 0,
            addresses[outside],
            np.maximum(addresses[outside], t.buf.meta.nbytes // t.meta.itemsize),
        )
    picked = IndexedTensor(_flat(t), (addresses,), t.shape, (index,))
    picked.rows = rows, extent
    return picked


def scattered(t: Tensor, index: Tensor, group: int, count: int, api: str) -> Tensor:
    """Columns of `t` picked by a snake of offsets: number i of a group of partitions is index[i %
    group, i // group]."""
    kernel = running()
    assert kernel is not None
    kernel.check_read(index, api, decides=True)
    index.buf.last = kernel.clock + 1
    partitions, free = t.meta.partitions, t.meta.free
    flat = reshape(t, (partitions, free)) if t.ndim != 2 else t
    rows = np.broadcast_to(np.arange(partitions, dtype=np.int64)[:, None], (partitions, count))
    least = index.size // partitions * min(partitions % group or group, partitions)
    if least < count:
        broken(
            "shape-mismatch",
            f"{api}: '{index.label}' has {least} offsets per group, {count} are used",
            tensor=index.label,
            got=index.shape,
        )
    if not kernel.values:
        places = rows, shape_only(rows.shape, _INT64)
        recipe = ("columns", flat, index, group, count)
        return IndexedTensor(flat, places, (partitions, count), (index,), recipe)
    table = index.array.reshape(partitions, -1).astype(np.int64)
    columns = np.empty((partitions, count), dtype=np.int64)
    for first in range(0, partitions, group):
        block = table[first : first + group]
        snake = block.T.reshape(-1)
        columns[first : first + group] = snake[:count]
    return IndexedTensor(flat, (rows, columns), (partitions, count), (index,))
