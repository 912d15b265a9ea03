"""Views by shape and strides: slices, permutations, splits and merges of axes, explicit access
patterns.

Shapes, strides and offsets count elements. Every function returns a tensor of the class it was
given, on the same memory; nothing is copied. Source: aws-neuron-sdk v2.32.0
nki/api/nki/language/__init__.py (NkiTensor), nki/deep-dives/nki-aps.rst.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.counts import size_of
from ..machine.memory import HBM, contiguous, meta_of
from ..machine.shapes import ShapeOnly, shape_only
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


def _not_partition(t: Tensor, dim: int, what: str) -> None:
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
        _not_partition(t, 0, "permute")
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
    _not_partition(t, dim, "broadcast")
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
    _not_partition(t, dim, "expand_dim")
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
    _not_partition(t, dim, "squeeze_dim")
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


def _inferred(t: Tensor, shape: tuple[int, ...], total: int, what: str) -> tuple[int, ...]:
    """`shape` with a -1 replaced; it must have `total` elements."""
    known = 1
    for n in shape:
        known *= n if n != -1 else 1
    if shape.count(-1) == 1 and known and total % known == 0:
        shape = tuple(total // known if n == -1 else n for n in shape)
        known = total
    if known != total or any(n < 1 for n in shape):
        broken(
            "view-shape",
            f"{what}: '{t.label}' of shape {t.shape} cannot take {shape}",
            tensor=t.label,
            got=f"{total} elements",
            limit=f"{shape}",
            remedy="A view has as many elements as before.",
        )
    return shape


def split(t: Tensor, dim: Any, shape: Any) -> Tensor:
    """Axis `dim` split into axes of sizes `shape`, one of which may be -1."""
    dim = axis_of(t, dim, "reshape_dim")
    sizes = _inferred(
        t, arguments.integers(shape, "reshape_dim", "shape"), t.shape[dim], "reshape_dim"
    )
    if sizes != (t.shape[dim],):
        _not_partition(t, dim, "reshape_dim")
    inner = tuple(s * t.meta.strides[dim] for s in contiguous(sizes))
    return remake(
        t,
        t.shape[:dim] + sizes + t.shape[dim + 1 :],
        t.meta.strides[:dim] + inner + t.meta.strides[dim + 1 :],
        t.off,
        t.meta.pstart,
    )


def merge(t: Tensor, first: Any, last: Any) -> Tensor:
    """Axes `first` to `last`, contiguous in memory, as one."""
    first, last = axis_of(t, first, "flatten_dims"), axis_of(t, last, "flatten_dims")
    if first > last:
        broken("view-shape", f"flatten_dims: axis {first} comes after axis {last}", tensor=t.label)
    if first == last:
        return t
    _not_partition(t, first, "flatten_dims")
    merged = reshape_strides(
        t.shape[first : last + 1],
        t.meta.strides[first : last + 1],
        (size_of(t.shape[first : last + 1]),),
    )
    if merged is None:
        broken(
            "view-shape",
            f"flatten_dims: axes {first} to {last} of '{t.label}' are not contiguous",
            tensor=t.label,
            got=f"shape {t.shape}, strides {t.meta.strides}",
            remedy="Copy the tile first.",
        )
        raise AssertionError
    size = size_of(t.shape[first : last + 1])
    return remake(
        t,
        t.shape[:first] + (size,) + t.shape[last + 1 :],
        t.meta.strides[:first] + merged + t.meta.strides[last + 1 :],
        t.off,
        t.meta.pstart,
    )


def reshape_strides(
    shape: tuple[int, ...], strides: tuple[int, ...], wanted: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The strides under which the same memory has the shape `wanted` in row-major order; None if
    there are none."""
    old = [(n, s) for n, s in zip(shape, strides) if n != 1]
    out: list[int] = []
    i = 0
    new = [n for n in wanted if n != 1]
    j = 0
    while i < len(old) and j < len(new):
        have, want, start_i, start_j = old[i][0], new[j], i, j
        while have != want:
            if have < want:
                i += 1
                if i == len(old):
                    return None
                have *= old[i][0]
            else:
                j += 1
                if j == len(new):
                    return None
                want *= new[j]
        for k in range(start_i, i):
            if old[k][1] != old[k + 1][0] * old[k + 1][1]:
                return None
        step = old[i][1]
        group = []
        for k in range(j, start_j - 1, -1):
            group.append(step)
            step *= new[k]
        out += reversed(group)
        i += 1
        j += 1
    if i < len(old) or j < len(new):
        return None
    result: list[int] = []
    step, left = 1, iter(reversed(out))
    for n in reversed(wanted):
        if n != 1:
            step = next(left)
            result.append(step)
            step *= n
        else:
            result.append(step)
    return tuple(reversed(result))


def reshape(t: Tensor, shape: Any) -> Tensor:
    """The same elements under another shape; on chip the partition axis stays as it is."""
    wanted = _inferred(t, arguments.integers(shape, "reshape", "shape"), t.size, "reshape")
    if wanted == t.shape:
        return t
    if t.meta.space != HBM or getattr(getattr(t, "runtime", None), "vector", None) is not None:
        if wanted[0] != t.shape[0]:
            broken(
                "partition-axis",
                f"reshape would move data of '{t.label}' across partitions",
                tensor=t.label,
                got=f"{t.shape} -> {wanted}",
                limit=f"a first axis of {t.shape[0]}",
                remedy="Keep the partition axis; to move data across partitions use "
                "nisa.nc_transpose or a DMA.",
            )
        rest = reshape_strides(t.shape[1:], t.meta.strides[1:], wanted[1:])
        strides = None if rest is None else t.meta.strides[:1] + rest
    else:
        strides = reshape_strides(t.shape, t.meta.strides, wanted)
    if strides is None:
        broken(
            "view-shape",
            f"the view of '{t.label}' is not contiguous and cannot be reshaped to {wanted}",
            tensor=t.label,
            got=f"{t.shape} with strides {t.meta.strides}",
            remedy="Reshape the whole tensor before slicing or permuting it.",
        )
        raise AssertionError
    return remake(t, wanted, strides, t.off, t.meta.pstart)


def is_contiguous(t: Tensor) -> bool:
    """Whether the view is dense and row-major; on chip, within each partition."""
    first = 0 if t.meta.space == HBM else 1
    shape, strides = t.shape[first:], t.meta.strides[first:]
    return all(n == 1 or s == c for n, s, c in zip(shape, strides, contiguous(shape)))


def reinterpret(t: Tensor, dtype: np.dtype) -> Tensor:
    """The same bytes as another dtype; the last axis grows or shrinks with the ratio of their
    sizes."""
    have, want = t.meta.itemsize, dtype.itemsize
    shape, strides = t.shape, t.meta.strides
    if have != want and (
        strides[-1] != 1
        or shape[-1] * have % want
        or t.off * have % want
        or any(s * have % want for s in strides[:-1])
    ):
        broken(
            "view-shape",
            f"view: '{t.label}' of {dtypes.name(t.dtype)} cannot be read as {dtypes.name(dtype)}",
            tensor=t.label,
            got=f"shape {shape}, strides {strides}",
            limit=f"a contiguous last axis whose {have}-byte elements fill {want}-byte ones",
        )
    if getattr(t, "runtime", None) is not None:
        broken(
            "indirect-view",
            f"view: this view of '{t.label}' has a run-time index",
            tensor=t.label,
            remedy="Reinterpret the tensor first, then index it.",
        )
    if have != want:
        shape = shape[:-1] + (shape[-1] * have // want,)
        strides = tuple(s * have // want for s in strides[:-1]) + (1,)
    return _retyped(t, dtype, shape, strides, t.off * have // want, t.meta.pstart)


def _retyped(
    t: Tensor,
    dtype: np.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    off: int,
    pstart: int,
) -> Tensor:
    if t.array.dtype != dtypes.storage(t.dtype) and dtype != t.dtype:
        broken(
            "dtype",
            f"view: '{t.label}' has no separate bits while NKI_PRECISE_FP=0 keeps "
            "floats as float32",
            tensor=t.label,
            remedy="Run with NKI_PRECISE_FP=1.",
        )
    array_type = t.array.dtype if dtype == t.dtype else dtypes.storage(dtype)
    array: Any
    if type(t.array) is ShapeOnly:
        array = shape_only(shape, array_type)
    else:
        whole = t.strided_view(
            0, (t.buf.meta.size * t.buf.meta.itemsize // t.array.itemsize,), (1,)
        )
        item = array_type.itemsize
        array = np.ndarray(
            shape, array_type, whole.view(np.uint8), off * item, tuple(s * item for s in strides)
        )
    meta = meta_of(t.meta.space, shape, strides, dtype, 0, pstart if t.meta.space != HBM else 0)
    return type(t)(t.buf, array, meta, off)


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
    inside = off % free + sum(s * (n - 1) for s, n in pairs[1:])
    if inside >= free:
        broken(
            "out-of-bounds",
            f"ap: index {inside} is out of bounds for a partition of '{t.label}'",
            tensor=t.label,
            got=f"offset {off}, pattern {pattern!r}",
            limit=f"0..{free - 1} within each partition",
        )
    return pstart


def access(
    t: Tensor,
    pattern: Any,
    offset: int | None,
    dtype: np.dtype | None,
    by_index: bool = False,
) -> Tensor:
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
    last = off + sum(s * (n - 1) for s, n in zip(strides, shape))
    if off < 0 or last >= total:
        broken(
            "out-of-bounds",
            f"ap: index {last if off >= 0 else off} is out of bounds for the {total} elements of "
            f"'{t.label}'",
            tensor=t.label,
            got=f"offset {off}, pattern {pattern!r}",
            limit=f"0..{total - 1}",
            remedy="Offsets and strides count elements of the view's dtype.",
        )
    pstart = 0
    if t.meta.space != HBM:
        pstart = _partition_walk(t, pattern, pairs, strides, off, wanted)
    if wanted != t.dtype:
        plain = remake(t, t.shape, t.meta.strides, t.off, t.meta.pstart)
        return _retyped(plain, wanted, shape, strides, off, pstart)
    return remake(t, shape, strides, off, pstart)
