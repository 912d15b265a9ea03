"""nisa on TensorE: matrix products and transposes.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execute import execute, make, remember
from ...execution.execution import current, running
from ...isa.copies import TENSOR_COPY, VECTOR_TRANSPOSE
from ...isa.tensor_engine import NC_MATMUL
from ...isa.transpose import NC_TRANSPOSE
from ...machine import dtypes
from ...machine.memory import HBM, PSUM
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.tensor import Tensor
from .allocated import no_transpose
from .inserted import in_sbuf
from .isa_support import UNKNOWN, dst_of, engine, engine_name
from .moving import MATMUL_ATTRS
from .operand_masks import narrowed, unmasked
from .support import tile, want_dtype


def nc_matmul(
    stationary: Any,
    moving: Any,
    *,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    tile_position: tuple[Any, ...] = (),
    tile_size: tuple[Any, ...] = (),
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """stationary.T @ moving. stationary: SBUF (k, m), m <= 128; moving: SBUF (k, n), n <= 512; k <=
    128.

    Each operand may be masked too: stationary[i_p < n]. With perf_mode="double_row_gen3" (fp8,
    NeuronCore-v3) both have a second axis of two, which is contracted too. Returns a
    PSUM tile (m, n), float32.
    """
    api = "nisa.nc_matmul"
    plain = is_stationary_onezero is is_moving_onezero is is_transpose is False
    untiled = type(tile_position) is type(tile_size) is tuple and tile_position == tile_size == ()
    usual = plain and untiled and mask is None and not kwargs
    usual = usual and type(stationary) is type(moving) is Tensor
    if usual:
        execution, srcs = running() or current(api), (stationary, moving)
        key = (nc_matmul, stationary.meta, moving.meta)
        known = execution.signatures.get(key)
        if known is not None:
            return make(execution, known, api, srcs)
        if stationary.meta.space != PSUM and moving.meta.space != PSUM:
            made = execute(NC_MATMUL, api, None, srcs, MATMUL_ATTRS, PSUM, dtypes.FLOAT32)
            remember(key, NC_MATMUL, MATMUL_ATTRS, PSUM, dtypes.FLOAT32, srcs)
            return made
    perf_mode = kwargs.pop("perf_mode", None) if kwargs else None
    dst = dst_of(kwargs, api) if kwargs else None
    (a, kept_a), (b, kept_b) = unmasked(stationary, api), unmasked(moving, api)
    if not plain or not untiled:
        attrs: tuple[Any, ...] = (
            arguments.flag(is_stationary_onezero, api, "is_stationary_onezero"),
            arguments.flag(is_moving_onezero, api, "is_moving_onezero"),
            arguments.flag(is_transpose, api, "is_transpose"),
            arguments.integers(tile_position, api, "tile_position"),
            arguments.integers(tile_size, api, "tile_size"),
            False,
        )
    else:
        attrs = MATMUL_ATTRS
    if perf_mode is not None:
        mode = getattr(perf_mode, "value", perf_mode)
        attrs += (arguments.word(mode, api, "perf_mode"),)
    if a.meta.space == PSUM:
        a = in_sbuf(a, api, "the stationary operand")
    if b.meta.space == PSUM:
        b = in_sbuf(b, api, "the moving operand")
    a, b, mask = narrowed(a, b, kept_a, kept_b, mask, api)
    return execute(NC_MATMUL, api, dst, (a, b), attrs, PSUM, dtypes.FLOAT32, mask)


def nc_transpose(
    data: Any, *, mask: Any = None, dtype: Any = None, engine: Any = engine.unknown, **kwargs: Any
) -> Tensor:
    """The tile `data` (p, f), free axes collapsed, as (f, p).

    TensorE: at most 128 x 128, SBUF to PSUM. VectorE: at most 32 x 32, SBUF or PSUM. By default by
    shape and memory.
    """
    api = "nisa.nc_transpose"
    execution = running() or current(api)
    usual = mask is dtype is None and engine is UNKNOWN and not kwargs and type(data) is Tensor
    if usual and not execution.places_tiles:
        known = execution.signatures.get((nc_transpose, data.meta))
        if known is not None:
            return make(execution, known, api, (data,))
    dst = dst_of(kwargs, api) if kwargs else None
    t = data if isinstance(data, Tensor) else tile(data, api)
    wanted = None if engine is UNKNOWN else engine_name(engine, api)
    meta = t.meta
    small = meta.partitions <= 32 and meta.free <= 32
    multiplies = wanted == "tensor" or (wanted is None and not small)
    if multiplies and execution.places_tiles:
        no_transpose(api)
    if wanted is None and dtype is None and not small:
        t = in_sbuf(t, api, "the tile") if meta.space == PSUM else t
        made = execute(NC_TRANSPOSE, api, dst, (t,), (), PSUM, None, mask)
        if usual and t is data:
            remember((nc_transpose, meta), NC_TRANSPOSE, (), PSUM, None, (t,))
        return made
    if wanted not in (None, "tensor", "vector"):
        broken(
            "engine",
            f"{api} does not run on the {wanted} engine",
            got=wanted,
            limit="tensor, vector",
        )
    on_vector = wanted == "vector" or (wanted is None and small and t.meta.space != HBM)
    out = None if dtype is None else want_dtype(dtype, api)
    if on_vector:
        space = dst.meta.space if dst is not None else t.meta.space
        return execute(VECTOR_TRANSPOSE, api, dst, (t,), (), space, out, mask)
    t = in_sbuf(t, api, "the tile")
    if out is None or out == t.dtype:
        return execute(NC_TRANSPOSE, api, dst, (t,), (), PSUM, None, mask)
    turned = execute(NC_TRANSPOSE, api, None, (t,), (), PSUM, None, mask)
    # the documented additional cast
    return execute(TENSOR_COPY, api, dst, (turned,), (None,), PSUM, out)
