"""Views under another shape or data type: axes split and merged, elements of another width.

Every function returns a tensor of the class it was given, on the same memory; nothing is copied.
Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (NkiTensor).
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
from .strided import axis_of, not_partition, remake
from .tensor import Tensor


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
        not_partition(t, dim, "reshape_dim")
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
    not_partition(t, first, "flatten_dims")
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
    return retyped(t, dtype, shape, strides, t.off * have // want, t.meta.pstart)


def retyped(
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
