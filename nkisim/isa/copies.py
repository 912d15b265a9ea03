"""Copies, fills and small transposes on chip: VectorE, ScalarE or GpSimdE.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..tensors.tensor import Tensor
from .core import COPIES, GPSIMD, SCALAR, VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import no_psum_on_gpsimd


@instruction(
    "tensor_copy",
    "a copy, casting if the dtypes differ",
    f"{_ISA} tensor_copy",
    attrs=("engine", "by_compiler"),
    defaults=(False,),
    hidden=("engine",),
    pace=COPIES,
)
def TENSOR_COPY(call: Call) -> Plan:
    """attrs: (engine or None, whether the compiler inserted it). The destination may be larger: a
    source axis of one is then repeated."""
    engine = call.attrs.engine or VECTOR
    src = call.srcs[0]
    call.tile(src, "source")
    if engine not in (VECTOR, SCALAR, GPSIMD):
        call.fail(
            "engine",
            f"tensor_copy does not run on the {engine} engine",
            got=engine,
            limit="vector, scalar, gpsimd",
        )
    no_psum_on_gpsimd(call, engine, src)
    shape = src.meta.shape
    through_fp32 = engine == SCALAR and call.target.nc_version == 2
    if call.dst is not None and call.dst.meta.shape != shape:
        shape = _assignable(call, src)
    call.result(shape, engine)
    repeat = (
        shape != src.meta.shape and call.dst is not None and call.dst.meta.size != src.meta.size
    )

    def compute(x: np.ndarray) -> np.ndarray:
        if through_fp32:
            x = dtypes.to_fp32(x)
        return np.broadcast_to(x, shape) if repeat else x.reshape(shape)

    if not through_fp32 and shape == src.meta.shape:
        return Plan(engine, np.ndarray.copy, shape, src.array.dtype)
    return Plan(engine, lambda x: compute(x).copy(), shape)


def _assignable(call: Call, src: Tensor) -> tuple[int, ...]:
    """The destination's shape, if the source can be assigned to it."""
    dst = call.dst
    assert dst is not None
    have, want = src.meta.shape, dst.meta.shape
    same_p = src.meta.partitions == dst.meta.partitions
    if same_p and src.meta.free == dst.meta.free:
        return want
    if same_p:
        try:
            if np.broadcast_shapes(have, want) == want:
                return want
        except ValueError:
            pass
    smaller = dst.meta.size < src.meta.size
    call.fail(
        "assign-shape" if smaller or same_p else "partition-mismatch",
        f"'{src.label}' of shape {have} cannot be assigned to '{dst.label}' of shape {want}",
        dst,
        got=f"{src.meta.describe()} -> {dst.meta.describe()}",
        limit=want,
        remedy="Give both the same shape; partitions are never broadcast by an assignment.",
    )
    return want


@instruction(
    "memset",
    "a tile filled with a number",
    f"{_ISA} memset",
    attrs=(
        "shape",
        "engine",
    ),
    hidden=("engine",),
    pace=COPIES,
)
def MEMSET(call: Call) -> Plan:
    """attrs: (shape, engine or None). Source: the number."""
    shape, wanted = call.attrs
    engine = wanted or VECTOR
    if engine not in (VECTOR, GPSIMD):
        call.fail(
            "engine",
            f"memset does not run on the {engine} engine",
            got=engine,
            limit="vector, gpsimd",
        )
    call.result(shape, engine)

    def compute(value: Any) -> np.ndarray:
        return np.full(shape, value, dtype=np.int64 if isinstance(value, int) else np.float32)

    want = dtypes.storage(call.dst.dtype if call.dst is not None else call.dtype)  # type: ignore[arg-type]
    if want == np.float32:
        return Plan(
            engine,
            lambda value: np.full(shape, value, dtype=np.float32),
            shape,
            dtypes.FLOAT32,
            into=lambda value, out: np.copyto(out, value, casting="unsafe"),
        )
    return Plan(engine, compute, shape)


@instruction(
    "vector_transpose",
    "the partition and free axes of a tile of at most 32 x 32 swapped",
    f"{_ISA} nc_transpose, engine=vector",
)
def VECTOR_TRANSPOSE(call: Call) -> Plan:
    """attrs: ()."""
    data = call.srcs[0]
    call.tile(data, "operand")
    partitions, free = data.meta.partitions, data.meta.free
    if partitions > 32 or free > 32:
        call.fail(
            "dimension-limit",
            f"'{data.label}' is {partitions} x {free}",
            data,
            limit="32 x 32 on VectorE",
            remedy="Use nisa.tensor_engine (SBUF to PSUM), or transpose blocks of 32 x 32.",
        )
    shape = (free, partitions)
    call.result(shape, VECTOR)
    return Plan(VECTOR, lambda a: a.reshape(partitions, free).T.copy(), shape, kind="transpose")
