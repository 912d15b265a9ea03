"""VectorE: a scan along the free axes that combines two tiles.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (tensor_tensor_scan).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from .core import TWO_INPUTS, VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import not_both_psum


@instruction(
    "tensor_tensor_scan",
    "a running (state op0 data0) op1 data1 along the free axis",
    f"{_ISA} tensor_tensor_scan",
    attrs=(
        "op0",
        "op1",
        "reverse0",
        "reverse1",
    ),
    pace=TWO_INPUTS,
)
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
            call.fail(
                "operator",
                f"'{op.name}' is not a binary arithmetic operator of VectorE",
                got=op.name,
                limit="add, subtract, multiply, maximum, minimum, the comparisons and the "
                "logical operators",
            )
    not_both_psum(call, data0, data1)
    if data0.meta.free != data1.meta.free:
        call.fail(
            "shape-mismatch",
            f"'{data0.label}' has {data0.meta.free} elements per partition, '{data1.label}' has "
            f"{data1.meta.free}",
            data1,
            got=f"{data0.meta.describe()} and {data1.meta.describe()}",
            limit=data0.meta.shape,
            remedy="Slice both to the same shape.",
        )
    shape = data0.meta.shape
    call.result(shape, VECTOR)
    flat = (partitions, data0.meta.free)

    def compute(x: np.ndarray, y: np.ndarray, start: Any) -> np.ndarray:
        x, y = dtypes.to_fp32(x).reshape(flat), dtypes.to_fp32(y).reshape(flat)
        out = np.empty(flat, dtype=np.float32)
        state = (
            dtypes.to_fp32(start).reshape(-1)
            if isinstance(start, np.ndarray)
            else np.full(partitions, start, np.float32)
        )
        for i in range(flat[1]):
            inner = op0.function(state, x[:, i]) if reverse0 else op0.function(x[:, i], state)
            state = op1.function(y[:, i], inner) if reverse1 else op1.function(inner, y[:, i])
            out[:, i] = state
        return out.reshape(shape)

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32, kind="scan")
