"""nl functions that move data: loads, stores, copies, broadcasts, transposes; and matrix products.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execute import execute
from ...execution.execution import current
from ...isa.copies import TENSOR_COPY
from ...isa.dma import DMA_TRANSPOSE
from ...isa.tensor_engine import NC_MATMUL
from ...isa.transpose import NC_TRANSPOSE
from ...machine import dtypes
from ...machine.memory import HBM, PSUM, SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors import strided
from ...tensors.tensor import Tensor
from ..neuronxcc import moving, transfer
from .support import as_tensor, operand, tile, want_dtype


def load(src: Any, dtype: Any = None) -> Any:
    """Load the HBM view `src` (partition axis first, at most 128) into a new SBUF tile of its
    shape, cast to `dtype`."""
    return transfer.load(tile(src, "nl.load", "source"), dtype=want_dtype(dtype, "nl.load"))


def store(dst: Any, value: Any) -> None:
    """Store the SBUF tile `value` into the HBM view `dst` of the same shape, casting to its
    dtype."""
    api = "nl.store"
    into, source = tile(dst, api, "destination"), tile(value, api, "value")
    if source.meta.space == PSUM:
        broken(
            "memory",
            f"{api}: value '{source.label}' lies in psum",
            tensor=source.label,
            got=source.meta.describe(),
            limit="sbuf",
            remedy="DMA engines do not reach PSUM: copy the tile to SBUF with "
            "nisa.tensor_copy first.",
        )
    transfer.store(into, source)


def load_transpose2d(src: Any, dtype: Any = None) -> Any:
    """Load the 2-D HBM view `src` (r, c) as a tile (c, r)."""
    api = "nl.load_transpose2d"
    t = tile(src, api, "source")
    if t.meta.space != HBM or t.ndim != 2:
        return transfer.load_transpose2d(t, dtype=want_dtype(dtype, api))
    return execute(DMA_TRANSPOSE, api, None, (t,), ((1, 0),), SBUF, want_dtype(dtype, api))


def copy(x: Any, dtype: Any = None) -> Any:
    """A copy of the tile `x`, of SBUF or PSUM, in SBUF; bit by bit where the dtype stays."""
    return execute(
        TENSOR_COPY,
        "nl.copy",
        None,
        (tile(x, "nl.copy"),),
        (None,),
        SBUF,
        want_dtype(dtype, "nl.copy"),
    )


def broadcast_to(x: Any, shape: Any, dtype: Any = None) -> Any:
    """`x` repeated to `shape`, of the same rank; a view where only free axes grow and the dtype
    stays."""
    api = "nl.broadcast_to"
    t, out = tile(x, api), want_dtype(dtype, api)
    wanted = arguments.sizes(shape, api)
    made: Tensor = t
    if len(wanted) == t.ndim and wanted[0] == t.shape[0] and t.meta.space != HBM:
        for axis, n in enumerate(wanted):
            if n != made.shape[axis]:
                made = strided.broadcast(made, axis, n)
    else:
        made = moving.broadcast_to(t, shape=wanted)
    return made if out is None or out == t.dtype else copy(made, out)


def expand_dims(x: Any, axis: int) -> Any:
    """A view of `x` with an axis of one element at `axis`."""
    return as_tensor(x, "nl.expand_dims").expand_dims(axis)


def matmul(x: Any, y: Any, transpose_x: bool = False) -> Any:
    """x.T @ y with transpose_x=True. x, y: SBUF tiles; a new float32 tile in PSUM."""
    api = "nl.matmul"
    a, b = tile(x, api, "x"), tile(y, api, "y")
    if not arguments.flag(transpose_x, api, "transpose_x"):
        broken(
            "matmul-transpose-x",
            f"{api} is called without transpose_x=True",
            tensor=a.label,
            remedy="Keep the contraction axis of x on the partitions and pass transpose_x=True.",
        )
        return moving.matmul(a, b)
    made = execute(NC_MATMUL, api, None, (a, b), moving.MATMUL_ATTRS, PSUM, dtypes.FLOAT32)
    current(api).accumulators.add(made.buf)
    return made


def transpose(x: Any, dtype: Any = None) -> Any:
    """The 2-D tile `x` (p, f), both at most 128, as a tile (f, p) in PSUM, where TensorE leaves
    it."""
    api = "nl.transpose"
    t, out = tile(x, api), want_dtype(dtype, api)
    if t.ndim > 2:
        broken(
            "rank-limit",
            f"{api}: '{t.label}' has {t.ndim} axes",
            tensor=t.label,
            got=t.meta.describe(),
            limit="2",
            remedy="Reshape the free axes into one, or transpose slices.",
        )
    turned = execute(NC_TRANSPOSE, api, None, (t,), (), PSUM, None)
    current(api).accumulators.add(turned.buf)
    return (
        turned
        if out is None or out == t.dtype
        else execute(TENSOR_COPY, api, None, (turned,), (None,), PSUM, out)
    )


def device_print(print_prefix: str, tensor: Any) -> None:
    """Print `print_prefix` and the values of `tensor`; the run keeps both in `run.prints`."""
    transfer.device_print(print_prefix, operand(tensor, "nl.device_print"))


__all__ = [
    "broadcast_to",
    "copy",
    "device_print",
    "expand_dims",
    "load",
    "load_transpose2d",
    "matmul",
    "store",
    "transpose",
]
