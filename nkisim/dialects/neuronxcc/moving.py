"""nl functions that move data on chip: copies, broadcasts, transposes; and matrix products."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...execution.execute import execute
from ...execution.execution import current
from ...isa.copies import MEMSET, TENSOR_COPY, VECTOR_TRANSPOSE
from ...isa.gpsimd import PARTITION_BROADCAST
from ...isa.tensor_engine import NC_MATMUL
from ...isa.transpose import NC_TRANSPOSE
from ...machine import dtypes
from ...machine.memory import HBM, PSUM, SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.masks import Mask
from ...tensors.tensor import IndexedTensor, Tensor
from .allocated import no_transpose
from .operand_masks import narrowed, unmasked
from .support import only, static_source, tile, want_dtype

MATMUL_ATTRS = (False, False, False, (), (), False)


def to_sbuf(t: Tensor, api: str, dtype: np.dtype | None = None) -> Tensor:
    """`t`, evacuated by a tensor_copy if it lies in PSUM."""
    return (
        execute(TENSOR_COPY, api, None, (t,), (None,), SBUF, dtype) if t.meta.space == PSUM else t
    )


def free_broadcast(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A view of `t` with free axes of one element repeated: stride 0, no instruction (a copy of
    explicit picks)."""
    if isinstance(t, IndexedTensor):
        t = execute(TENSOR_COPY, "nl.broadcast_to", None, (t,), (None,))
    return t.repeated(shape)


def broadcast_to(src: Any, *, shape: Any, **kwargs: Any) -> Tensor:
    """`src` repeated to `shape`. Free axes cost nothing; partitions cost a matmul with ones and a
    copy to SBUF."""
    only(kwargs, "nl.broadcast_to")
    t = tile(src, "nl.broadcast_to")
    wanted = arguments.sizes(shape, "nl.broadcast_to")
    if t.shape == wanted:
        return t
    if t.meta.space == HBM:
        broken(
            "memory",
            f"nl.broadcast_to: '{t.label}' lies in HBM",
            tensor=t.label,
            remedy="nl.load it first.",
        )
    try:
        fits = np.broadcast_shapes(t.shape, wanted) == wanted and len(wanted) == t.ndim
    except ValueError:
        fits = False
    if not fits:
        broken(
            "shape-mismatch",
            f"'{t.label}' of shape {t.shape} does not broadcast to {wanted}",
            tensor=t.label,
            got=t.meta.describe(),
            limit=wanted,
        )
    if t.shape[0] != wanted[0]:
        t = broadcast_partitions(t, wanted[0])
    return t if t.shape == wanted else free_broadcast(t, wanted)


def broadcast_partitions(t: Tensor, partitions: int) -> Tensor:
    api = "nl.broadcast_to"
    if partitions > 128:
        broken(
            "partition-limit",
            f"{api}: {partitions} partitions",
            got=partitions,
            limit="128 (nl.tile_size.pmax)",
        )
    if not dtypes.is_float(t.dtype):
        return execute(PARTITION_BROADCAST, api, None, (to_sbuf(t, api),), (partitions,))
    t = to_sbuf(t, api)
    ones = execute(MEMSET, api, None, (Const(1.0),), ((1, partitions), None), SBUF, t.dtype)
    flat = t if t.ndim == 2 else t.reshape((1, t.meta.free))
    out = current(api).allocate(SBUF, (partitions, flat.meta.free), t.dtype)
    attrs = (True,) + MATMUL_ATTRS[1:]
    for start in builtins.range(0, flat.meta.free, 512):
        stop = builtins.min(start + 512, flat.meta.free)
        product = execute(
            NC_MATMUL, api, None, (ones, flat[:, start:stop]), attrs, PSUM, dtypes.FLOAT32
        )
        execute(TENSOR_COPY, api, out[:, start:stop], (product,), (None,))
    return out if t.ndim == 2 else out.reshape((partitions,) + t.shape[1:])


def copy(src: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
    """A copy of the tile `src` in SBUF, cast to `dtype` if given."""
    only(kwargs, "nl.copy")
    t = static_source(tile(src, "nl.copy"), "nl.copy")
    return execute(
        TENSOR_COPY, "nl.copy", None, (t,), (None,), SBUF, want_dtype(dtype, "nl.copy"), mask
    )


def expand_dims(data: Any, axis: int | Sequence[int]) -> Tensor:
    """A view of `data` with axes of one element after its last, in the places `axis`: of a 2-D tile
    2, -1 or (2, 3)."""
    api = "nl.expand_dims"
    t = tile(data, api)
    given = arguments.axes(axis, api)
    axes = list(given) if isinstance(given, tuple) else [given]
    rank = t.ndim + len(axes)
    placed = sorted(a + rank if a < 0 else a for a in axes)
    if placed != list(range(t.ndim, rank)):
        rule = "partition-axis" if placed[:1] == [0] else "argument"
        broken(
            rule,
            f"{api}: new axes of '{t.label}' come after its last one",
            tensor=t.label,
            got=f"axis={axis!r} for {t.ndim} axes",
            limit=", ".join(map(str, range(t.ndim, rank))),
            remedy="Use .reshape for another place.",
        )
    return t.reshape((*t.shape, *(1 for _ in axes)))


def matmul(x: Any, y: Any, *, transpose_x: bool = False, mask: Any = None, **kwargs: Any) -> Tensor:
    """x @ y, or x.T @ y with `transpose_x` (which spares a transpose). x, y: SBUF tiles; the result
    is in PSUM, fp32. Each operand may be masked too: x[i_p < n]."""
    only(kwargs, "nl.matmul")
    (a, kept_a), (b, kept_b) = unmasked(x, "nl.matmul"), unmasked(y, "nl.matmul")
    if not arguments.flag(transpose_x, "nl.matmul", "transpose_x"):
        a = _transposed(a, "nl.matmul", a.dtype)
        kept_a = None if kept_a is None else kept_a.T
    a, b, mask = narrowed(a, b, kept_a, kept_b, mask, "nl.matmul")
    return execute(NC_MATMUL, "nl.matmul", None, (a, b), MATMUL_ATTRS, PSUM, dtypes.FLOAT32, mask)


def _transposed(t: Tensor, api: str, dtype: np.dtype, mask: Any = None) -> Tensor:
    if t.meta.partitions <= 32 and t.meta.free <= 32:
        return execute(VECTOR_TRANSPOSE, api, None, (t,), (), SBUF, dtype, mask)
    no_transpose(api)
    if t.meta.space == PSUM:
        t = execute(TENSOR_COPY, api, None, (t,), (None,), SBUF, None, mask)
    if t.dtype not in dtypes.MATMUL_DTYPES:
        t = execute(TENSOR_COPY, api, None, (t,), (None,), SBUF, dtypes.FLOAT32, mask)
    turned = execute(NC_TRANSPOSE, api, None, (t,), (), PSUM, t.dtype, mask)
    if isinstance(mask, Mask):  # it is over `t`
        mask = Mask(np.broadcast_to(mask.where, t.shape).T, mask.affine, mask.compound)
    return execute(TENSOR_COPY, api, None, (turned,), (None,), SBUF, dtype, mask)


def transpose(x: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """The 2-D tile `x` (p, f) with both at most 128 as (f, p) in SBUF: a transpose on TensorE and a
    copy."""
    only(kwargs, "nl.transpose")
    t = tile(x, "nl.transpose")
    if t.ndim > 2:
        broken(
            "rank-limit",
            f"nl.transpose: '{t.label}' has {t.ndim} axes",
            tensor=t.label,
            got=t.meta.describe(),
            limit="2",
            remedy="Reshape the free axes into one, or transpose slices.",
        )
    return _transposed(t, "nl.transpose", want_dtype(dtype, "nl.transpose") or t.dtype, mask)


def static_cast(input_data: Any, dtype: Any) -> Any:
    """A tile (copied) or a number cast to `dtype`."""
    wanted = want_dtype(dtype, "nl.static_cast")
    if isinstance(input_data, Tensor):
        return copy(input_data, dtype=wanted)
    if isinstance(input_data, np.ndarray) and input_data.ndim:
        plain: Any = arguments.array(input_data, "nl.static_cast", "input_data")
    else:
        plain = np.asarray(arguments.number(input_data, "nl.static_cast", "input_data"))
    return plain.astype(plain.dtype if wanted is None else dtypes.storage(wanted))[()]
