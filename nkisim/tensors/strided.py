"""Views by shape and strides: slices, permutations, repeated and added axes.

Shapes, strides and offsets count elements. Every function returns a tensor of the class it was
given, on the same memory; nothing is copied. Source: aws-neuron-sdk v2.32.0
nki/api/nki/language/__init__.py (NkiTensor), nki/deep-dives/nki-aps.rst.
"""

from __future__ import annotations

from typing import Any

from ..machine.memory import HBM, contiguous, meta_of
from ..rules import arguments
from ..rules.errors import broken
from . import subscripts
from .tensor import Tensor


def remake(
    t: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], off: int, pstart: int
) -> Tensor:
    """`t`'s memory seen by another shape, strides and offset."""
    meta = meta_of(
        t.meta.space, shape, strides, t.meta.dtype, 0, pstart if t.meta.space != HBM else 0
    )
    made = type(t)(t.buf, t.strided_view(off, shape, strides), meta, off)
    runtime = getattr(t, "runtime", None)
    if runtime is not None:
        made.runtime = runtime  # type: ignore[attr-defined]
    return made


def axis_of(t: Tensor, dim: Any, what: str) -> int:
    dim = arguments.integer(dim, what, "the axis")
    if not -t.ndim <= dim < t.ndim:
        broken(
            "view-shape",
            f"{what}: '{t.label}' has no axis {dim!r}",
            tensor=t.label,
            got=f"axis {dim!r} of {t.shape}",
            limit=f"0..{t.ndim - 1}",
        )
    return int(dim) % t.ndim


def not_partition(t: Tensor, dim: int, what: str) -> None:
    if dim == 0 and t.meta.space != HBM:
        broken(
            "partition-axis",
            f"{what}: axis 0 of '{t.label}' is its partition axis",
            tensor=t.label,
            got=t.meta.describe(),
            limit="a free axis: 1 or more",
            remedy="Data moves between partitions only by an instruction: nisa.nc_transpose, a "
            "matmul or a DMA.",
        )
    free_of_index(t, dim, what)


def free_of_index(t: Tensor, dim: int, what: str) -> None:
    """Axis `dim` must not be the one that a vector of run-time indices selects on."""
    runtime = getattr(t, "runtime", None)
    if runtime is not None and runtime.vector is not None and dim == 0:
        broken(
            "indirect-view",
            f"{what}: axis 0 of this view of '{t.label}' is selected by run-time indices",
            tensor=t.label,
            got=f"{what} on axis 0",
            remedy="Slice the index tensor, or the other axes.",
        )


def slice_axis(t: Tensor, dim: Any, start: Any, end: Any, step: Any = 1) -> Tensor:
    """Elements `start` to `end` of axis `dim`, in steps of `step`."""
    dim = axis_of(t, dim, "slice")
    start = arguments.integer(start, "slice", "start")
    end = arguments.integer(end, "slice", "end")
    step = arguments.integer(step, "slice", "step")
    n = t.shape[dim]
    if step < 1 or start < 0 or end > n or start >= end:
        subscripts.bad_slice(t, dim, start, end, None if step == 1 else step)
    if (start, end, step) != (0, n, 1):
        free_of_index(t, dim, "slice")
    count = -(-(end - start) // step)
    step = step if count > 1 else 1
    if dim == 0 and step > 1 and count > 1 and t.meta.space != HBM:
        broken(
            "partition-stride",
            f"'{t.label}' is sliced with a step along its partition axis",
            tensor=t.label,
            got=f"{start}:{end}:{step}",
            remedy="Step along a free axis; partitions are consecutive.",
        )
    shape = t.shape[:dim] + (count,) + t.shape[dim + 1 :]
    strides = t.meta.strides[:dim] + (t.meta.strides[dim] * step,) + t.meta.strides[dim + 1 :]
    return remake(
        t,
        shape,
        strides,
        t.off + int(start) * t.meta.strides[dim],
        t.meta.pstart + (int(start) if dim == 0 else 0),
    )


def permute(t: Tensor, dims: Any) -> Tensor:
    """The axes in the order `dims`; the partition axis stays the first."""
    order = arguments.integers(dims, "permute", "dims")
    if sorted(order) != list(range(t.ndim)):
        broken(
            "view-shape",
            f"permute: {order} is not an order of the {t.ndim} axes of '{t.label}'",
            tensor=t.label,
            got=order,
            limit=f"each of 0..{t.ndim - 1} once",
        )
    if order[0] != 0:
        not_partition(t, 0, "permute")
    return remake(
        t,
        tuple(t.shape[d] for d in order),
        tuple(t.meta.strides[d] for d in order),
        t.off,
        t.meta.pstart,
    )


_MOST_REPEATED = 1 << 32
"""Times that an element may be repeated: no memory holds what comes out."""


def broadcast(t: Tensor, dim: Any, size: int) -> Tensor:
    """Axis `dim`, of one element, repeated `size` times."""
    size = arguments.integer(size, "broadcast", "size", least=1, most=_MOST_REPEATED)
    dim = axis_of(t, dim, "broadcast")
    not_partition(t, dim, "broadcast")
    if t.shape[dim] != 1:
        broken(
            "view-shape",
            f"broadcast: axis {dim} of '{t.label}' has {t.shape[dim]} elements",
            tensor=t.label,
            got=t.shape,
            limit="an axis of one element",
        )
    return remake(
        t,
        t.shape[:dim] + (size,) + t.shape[dim + 1 :],
        t.meta.strides[:dim] + (0,) + t.meta.strides[dim + 1 :],
        t.off,
        t.meta.pstart,
    )


def expand(t: Tensor, dim: int) -> Tensor:
    """A new axis of one element at position `dim`."""
    dim = arguments.integer(dim, "expand_dim", "dim")
    if not 0 <= dim <= t.ndim:
        broken(
            "view-shape",
            f"expand_dim: '{t.label}' has no place {dim} for an axis",
            tensor=t.label,
            limit=f"0..{t.ndim}",
        )
    not_partition(t, dim, "expand_dim")
    stride = t.meta.strides[dim] * t.shape[dim] if dim < t.ndim else 1
    return remake(
        t,
        t.shape[:dim] + (1,) + t.shape[dim:],
        t.meta.strides[:dim] + (stride,) + t.meta.strides[dim:],
        t.off,
        t.meta.pstart,
    )


def squeeze_axis(t: Tensor, dim: Any) -> Tensor:
    """Axis `dim`, of one element, left out."""
    dim = axis_of(t, dim, "squeeze_dim")
    not_partition(t, dim, "squeeze_dim")
    if t.shape[dim] != 1:
        broken(
            "view-shape",
            f"squeeze_dim: axis {dim} of '{t.label}' has {t.shape[dim]} elements",
            tensor=t.label,
            got=t.shape,
            limit="an axis of one element",
        )
    return remake(
        t,
        t.shape[:dim] + t.shape[dim + 1 :],
        t.meta.strides[:dim] + t.meta.strides[dim + 1 :],
        t.off,
        t.meta.pstart,
    )


def is_contiguous(t: Tensor) -> bool:
    """Whether the view is dense and row-major; on chip, within each partition."""
    first = 0 if t.meta.space == HBM else 1
    shape, strides = t.shape[first:], t.meta.strides[first:]
    return all(n == 1 or s == c for n, s, c in zip(shape, strides, contiguous(shape)))
