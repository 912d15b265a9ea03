"""VectorE: reductions and scans over the free axes.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (tensor_reduce, tensor_scalar_reduce, tensor_tensor_scan).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..tensor import Tensor
from .core import VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import integers_only, not_both_psum, stage


def free_axes(call: Call, data: Tensor, axis: Any) -> tuple[int, ...]:
    """The reduction axes, checked: free, consecutive, ending with the last."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    resolved = []
    for a in axes:
        if not isinstance(a, (int, np.integer)) or isinstance(a, bool):
            call.fail("argument", "axis is no integer or tuple of integers", got=repr(axis))
        a = int(a) + data.ndim if a < 0 else int(a)
        if a >= data.ndim:
            call.fail("argument", f"axis {a} is beyond the {data.ndim} axes of '{data.label}'", data)
        if a == 0:
            call.fail("partition-axis", f"axis 0 of '{data.label}' is the partition axis, which VectorE cannot reduce",
                      data, limit="free axes: 1, 2, ...",
                      remedy="Transpose first (nisa.nc_transpose), or multiply by ones on TensorE (nisa.nc_matmul).")
        resolved.append(a)
    ordered = tuple(sorted(set(resolved)))
    if ordered != tuple(range(data.ndim - len(ordered), data.ndim)):
        call.fail("argument", f"axes {ordered} of '{data.label}' are not the last, consecutive axes", data,
                  limit=f"axes that end with {data.ndim - 1}", remedy="Reorder the free axes with an index grid.")
    return ordered


@instruction("tensor_reduce", "a reduction over the last free axes", f"{_ISA} tensor_reduce")
def TENSOR_REDUCE(call: Call) -> Plan:
    """attrs: (operator, axis, negate, keepdims)."""
    op, axis, negate, keepdims = call.attrs
    data = call.srcs[0]
    call.tile(data, "data")
    if op.reduce is None:
        call.fail("operator", f"'{op.name}' is no reduction", got=op.name,
                  limit="add, subtract, multiply, max, min, the logical and bitwise and/or/xor")
    if op.bitvec:
        integers_only(call, data)
        if negate:
            call.fail("argument", "negate applies to arithmetic operators only", got=op.name)
    axes = free_axes(call, data, axis)
    kept = data.meta.shape[: data.ndim - len(axes)]
    shape = kept + (1,) * len(axes) if keepdims or len(kept) < 2 else kept
    if len(kept) < 2 and not keepdims:
        shape = kept + (1,)
    call.result(shape, VECTOR)
    reduce = op.reduce
    keep = shape == kept + (1,) * len(axes)
    where = axes[0] if len(axes) == 1 else axes
    if data.array.dtype == np.float32 and not negate and keep and isinstance(op.function, np.ufunc):
        def fast(x: np.ndarray) -> np.ndarray:
            return reduce(x, axis=where, keepdims=True)
        return Plan(VECTOR, fast, shape, dtypes.FLOAT32, kind="reduce", identity=op.identity, axes=axes)

    def compute(x: np.ndarray) -> np.ndarray:
        out = reduce(x if op.bitvec else dtypes.to_fp32(x), axis=where, keepdims=True).reshape(shape)
        return -out if negate else out

    identity = int(op.identity) if op.bitvec else op.identity
    return Plan(VECTOR, compute, shape, kind="reduce", identity=identity, axes=axes)


@instruction("tensor_scalar_reduce", "data op operand, and its reduction over all free axes",
             f"{_ISA} tensor_scalar_reduce")
def TENSOR_SCALAR_REDUCE(call: Call) -> Plan:
    """attrs: (op0, reverse0, reduce operator). Sources: data, operand0. `extra`: reduce_res."""
    op0, reverse0, reduce_op = call.attrs
    data, operand0 = call.srcs[:2]
    call.tile(data, "data")
    partitions = data.meta.partitions
    call.vector(operand0, partitions, "operand0")
    if op0.bitvec:
        call.fail("operator", f"'{op0.name}' is bitwise", got=op0.name, limit="arithmetic operators")
    if reduce_op.name not in ("add", "subtract", "multiply", "maximum", "minimum"):
        call.fail("operator", f"'{reduce_op.name}' is no reduce_op", got=reduce_op.name,
                  limit="nl.add, nl.subtract, nl.multiply, nl.max, nl.min")
    assert call.extra is not None
    call.vector(call.extra, partitions, "reduce_res")
    shape = data.meta.shape
    call.result(shape, VECTOR)
    first = stage(op0, reverse0, partitions, len(shape))
    axes = tuple(range(1, len(shape)))

    def compute(program: Any, x: np.ndarray, o: Any) -> tuple[np.ndarray, np.ndarray]:
        out = first(dtypes.to_fp32(x), o)
        kept = out if program.active_mask is None else np.where(program.active_mask, out,
                                                                np.float32(reduce_op.identity))
        return out, reduce_op.reduce(kept, axis=axes).reshape(partitions, 1)

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32, stateful=True)


@instruction("tensor_tensor_scan", "a running (state op0 data0) op1 data1 along the free axis",
             f"{_ISA} tensor_tensor_scan")
def TENSOR_TENSOR_SCAN(call: Call) -> Plan:
    """attrs: (op0, op1, reverse0, reverse1). Sources: data0, data1, initial."""
    op0, op1, reverse0, reverse1 = call.attrs
    data0, data1, initial = call.srcs[:3]
    call.tile(data0, "data0")
    call.tile(data1, "data1")
    partitions = call.same_partitions(data0, data1)
    call.vector(initial, partitions, "initial")
    for op in (op0, op1):
        if op.bitvec or op.unary or VECTOR not in op.engines:
            call.fail("operator", f"'{op.name}' is no binary arithmetic operator of VectorE", got=op.name)
    not_both_psum(call, data0, data1)
    if data0.meta.shape != data1.meta.shape or data0.ndim != 2:
        call.fail("shape-mismatch", f"'{data0.label}' and '{data1.label}' are not two tiles of one 2-D shape", data1)
    shape = data0.meta.shape
    call.result(shape, VECTOR)

    def compute(x: np.ndarray, y: np.ndarray, start: Any) -> np.ndarray:
        x, y = dtypes.to_fp32(x), dtypes.to_fp32(y)
        out = np.empty(shape, dtype=np.float32)
        state = dtypes.to_fp32(start)[:, 0] if isinstance(start, np.ndarray) else np.full(partitions, start, np.float32)
        for i in range(shape[1]):
            inner = op0.function(state, x[:, i]) if reverse0 else op0.function(x[:, i], state)
            state = op1.function(y[:, i], inner) if reverse1 else op1.function(inner, y[:, i])
            out[:, i] = state
        return out

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32, kind="scan")
