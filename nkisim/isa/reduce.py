"""VectorE: reductions over the free axes.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (tensor_reduce).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..tensors.tensor import Tensor
from .core import VECTOR, Call, Plan, dense, instruction
from .operands import ISA as _ISA
from .operands import integers_only, reduction


def free_axes(call: Call, data: Tensor, axis: Any) -> tuple[int, ...]:
    """The reduction axes, checked: free axes, in order. A dialect may ask for more."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    resolved = []
    for a in axes:
        if not isinstance(a, (int, np.integer)) or isinstance(a, bool):
            call.fail("argument", "axis is not an integer or tuple of integers", got=repr(axis))
        a = int(a) + data.ndim if a < 0 else int(a)
        if a >= data.ndim:
            call.fail(
                "argument", f"axis {a} is beyond the {data.ndim} axes of '{data.label}'", data
            )
        if a == 0:
            call.fail(
                "partition-axis",
                f"axis 0 of '{data.label}' is the partition axis, which VectorE cannot reduce",
                data,
                limit="free axes: 1, 2, ...",
                remedy="Transpose first (nisa.nc_transpose), or multiply by ones on TensorE "
                "(nisa.nc_matmul).",
            )
        resolved.append(a)
    ordered = tuple(sorted(set(resolved)))
    if len(ordered) > 4:
        call.fail(
            "rank-limit",
            f"{len(ordered)} axes of '{data.label}' are reduced at once",
            data,
            limit="4 free axes",
            remedy="Reshape the free axes into fewer.",
        )
    return ordered


@instruction(
    "tensor_reduce",
    "a reduction over free axes",
    f"{_ISA} tensor_reduce",
    attrs=(
        "op",
        "axis",
        "negate",
        "keepdims",
    ),
)
def TENSOR_REDUCE(call: Call) -> Plan:
    """attrs: (operator, axis, negate, keepdims)."""
    op, axis, negate, keepdims = call.attrs
    data = call.srcs[0]
    call.tile(data, "data")
    if op.reduce is None or op.scalar_only:
        call.fail(
            "operator",
            f"'{op.name}' is not a reduction",
            got=op.name,
            limit="add, subtract, multiply, max, min, the logical and bitwise and/or/xor",
        )
    if op.bitvec:
        integers_only(call, data)
        if negate:
            call.fail(
                "argument",
                "negate applies to arithmetic operators only",
                got=op.name,
                limit="negate=False",
                remedy="Negate the result with a separate instruction.",
            )
    axes = free_axes(call, data, axis)
    whole = data.meta.shape
    kept = tuple(n for a, n in enumerate(whole) if a not in axes)
    ones = tuple(1 if a in axes else n for a, n in enumerate(whole))
    shape = ones if keepdims else kept if len(kept) > 1 else (*kept, 1)
    call.result(shape, VECTOR)
    reduce = op.reduce
    last = axes[0] == data.ndim - len(axes)
    keep = last and shape == ones
    where = axes[0] if len(axes) == 1 else axes
    if not last:  # read in another order, so that they are
        order = (*(a for a in range(data.ndim) if a not in axes), *axes)
        where = tuple(range(data.ndim - len(axes), data.ndim))
    if data.array.dtype == np.float32 and not negate and keep and isinstance(op.function, np.ufunc):

        def fast(x: np.ndarray) -> np.ndarray:
            found: np.ndarray = reduce(x, axis=where, keepdims=True)
            return found

        def into(x: np.ndarray, out: np.ndarray) -> None:
            reduce(x, axis=where, keepdims=True, out=out)

        new = Plan(
            VECTOR, fast, shape, dtypes.FLOAT32, kind="reduce", identity=op.identity, axes=axes
        )
        if call.dst is not None and dense(data) and dense(call.dst):
            new.into = into
        return new

    def compute(x: np.ndarray) -> np.ndarray:
        x = x if op.bitvec else dtypes.to_fp32(x)
        out = reduce(x if last else x.transpose(order), axis=where, keepdims=True).reshape(shape)
        found: np.ndarray = -out if negate else out
        return found

    return reduction(call, VECTOR, op, compute, shape, axes)
