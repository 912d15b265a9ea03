"""neuronxcc.nki.isa: the names a kernel knows as `nisa`.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py. Every function also takes
`dst=`, an existing tile to write to, as kernels of the transition to the destination-passing
dialect do; it returns the destination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...execution.execute import execute
from ...execution.execution import current, running
from ...isa.dma import DMA_COPY, DMA_TRANSPOSE
from ...isa.gpsimd import AFFINE_SELECT, IOTA, TENSOR_PARTITION_REDUCE
from ...isa.reduce import TENSOR_REDUCE, TENSOR_SCALAR_REDUCE, TENSOR_TENSOR_SCAN
from ...isa.scalar import ACTIVATION
from ...isa.tensor_engine import NC_MATMUL, NC_TRANSPOSE
from ...isa.vector import (
    MEMSET,
    RECIPROCAL,
    SCALAR_TENSOR_TENSOR,
    TENSOR_COPY,
    TENSOR_SCALAR,
    TENSOR_TENSOR,
    VECTOR_TRANSPOSE,
)
from ...machine import dtypes
from ...machine.memory import HBM, PSUM, SBUF
from ...rules import arguments
from ...rules.errors import broken, shown
from ...tensors.const import Const
from ...tensors.index import Index, Mask
from ...tensors.tensor import IndexedTensor, Tensor
from ..functions import activation_name, alu_of
from .allocated import needs_bias, no_transpose, places_tiles
from .compute import MATMUL_ATTRS
from .creation import fill, make
from .inserted import free_axes_in_order, in_sbuf, same_free_size, tile_for_vector
from .isa_select import (
    bn_aggr,
    bn_stats,
    dropout,
    local_gather,
    max8,
    nc_find_index8,
    nc_match_replace8,
    nc_stream_shuffle,
    range_select,
    select_reduce,
    sequence_bounds,
    tensor_copy_dynamic_dst,
    tensor_copy_dynamic_src,
    tensor_copy_predicated,
    tensor_scalar_cumulative,
)
from .isa_support import (
    IDLE,
    UNKNOWN,
    dge_mode,
    dma_engine,
    dst_of,
    engine,
    engine_name,
    fp32,
    get_nc_version,
    gpsimd_engine,
    nc_version,
    oob_mode,
    option,
    reduce_cmd,
    scalar_engine,
    tensor_engine,
    unknown_engine,
    vector_engine,
)
from .support import missing, only, operand, promoted, rows_only, static_source, tile, want_dtype

_ANY_ENGINE = (None,)
_REDUCE_CMD, _OOB_MODE = reduce_cmd, oob_mode
"""The enumerations, under names that no parameter has."""
_TWO_TILES: dict[Any, tuple[Any, ...]] = {}
_SCALARS: dict[tuple[Any, ...], tuple[Any, ...]] = {}
_REDUCTIONS: dict[tuple[Any, ...], tuple[Any, ...]] = {}
_FUNCTIONS: dict[Any, tuple[Any, ...]] = {}
"""Arguments of tensor_tensor, tensor_scalar, tensor_reduce and activation, as their instructions'
attributes."""


# -- TensorE ---------------------------------------------------------------------------------------
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

    With perf_mode="double_row_gen3" (fp8, NeuronCore-v3) both have a second axis of two, which is
    contracted too. Returns a PSUM tile (m, n), float32.
    """
    api = "nisa.nc_matmul"
    perf_mode = kwargs.pop("perf_mode", None) if kwargs else None
    dst = dst_of(kwargs, api) if kwargs else None
    a = stationary if isinstance(stationary, Tensor) else tile(stationary, api)
    b = moving if isinstance(moving, Tensor) else tile(moving, api)
    plain = is_stationary_onezero is is_moving_onezero is is_transpose is False
    untiled = type(tile_position) is type(tile_size) is tuple and tile_position == tile_size == ()
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
    return execute(NC_MATMUL, api, dst, (a, b), attrs, PSUM, dtypes.FLOAT32, mask)


def nc_transpose(
    data: Any, *, mask: Any = None, dtype: Any = None, engine: Any = engine.unknown, **kwargs: Any
) -> Tensor:
    """The tile `data` (p, f), free axes collapsed, as (f, p).

    TensorE: at most 128 x 128, SBUF to PSUM. VectorE: at most 32 x 32, SBUF or PSUM. By default by
    shape and memory.
    """
    api = "nisa.nc_transpose"
    dst = dst_of(kwargs, api) if kwargs else None
    t = data if isinstance(data, Tensor) else tile(data, api)
    wanted = None if engine is UNKNOWN else engine_name(engine, api)
    meta = t.meta
    small = meta.partitions <= 32 and meta.free <= 32
    execution = running()
    multiplies = wanted == "tensor" or (wanted is None and not small)
    if multiplies and execution is not None and execution.places_tiles:
        no_transpose(api)
    if wanted is None and dtype is None and not small:
        t = in_sbuf(t, api, "the tile") if meta.space == PSUM else t
        return execute(NC_TRANSPOSE, api, dst, (t,), (), PSUM, None, mask)
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


# -- ScalarE ---------------------------------------------------------------------------------------
def activation(
    op: Any,
    data: Any,
    *,
    bias: Any = None,
    scale: Any = 1.0,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """op(data * scale + bias) on ScalarE, in float32; optionally reduced into the engine's
    registers.

    data: tile (p, ...). bias: tile (p, 1), fp32/fp16/bf16. scale: number or fp32 tile (p, 1).
    reduce_res: tile (p, 1) to which the registers are read. Returns a tile of the shape of `data`,
    of `dtype` (default: that of `data`).
    """
    if (
        bias is None
        and reduce_op is None
        and reduce_res is None
        and not kwargs
        and isinstance(data, Tensor)
        and type(scale) is float
        and scale == 1.0
        and reduce_cmd is IDLE
    ):
        try:
            attrs = _FUNCTIONS[op]
        except (KeyError, TypeError):
            attrs = (activation_name(op, "nisa.activation"), False, False, None, 0)
            _FUNCTIONS[op] = attrs
        execution = running()
        if execution is not None and execution.places_tiles:
            needs_bias("nisa.activation")
        return execute(
            ACTIVATION,
            "nisa.activation",
            None,
            (data,),
            attrs,
            SBUF,
            want_dtype(dtype, "nisa.activation") if dtype is not None else None,
            mask,
        )
    return _activation(
        "nisa.activation",
        op,
        data,
        bias,
        scale,
        reduce_op,
        reduce_res,
        option(reduce_cmd, _REDUCE_CMD, "nisa.activation", "reduce_cmd"),
        mask,
        dtype,
        kwargs,
    )


def activation_reduce(
    op: Any,
    data: Any,
    *,
    reduce_op: Any,
    reduce_res: Any,
    bias: Any = None,
    scale: Any = 1.0,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """nisa.activation with the registers reset, reduced into, and read to `reduce_res` (p, 1)."""
    return _activation(
        "nisa.activation_reduce",
        op,
        data,
        bias,
        scale,
        reduce_op,
        reduce_res,
        int(globals()["reduce_cmd"].reset_reduce),
        mask,
        dtype,
        kwargs,
    )


def _activation(
    api: str,
    op: Any,
    data: Any,
    bias: Any,
    scale: Any,
    reduce_op: Any,
    reduce_res: Any,
    cmd: int,
    mask: Any,
    dtype: Any,
    kwargs: dict[str, Any],
) -> Tensor:
    space = str(kwargs.pop("buffer", None) or SBUF)
    dst = dst_of(kwargs, api) if kwargs else None
    name = activation_name(op, api)
    t = data if isinstance(data, Tensor) else tile(data, api)
    srcs = [t]
    has_scale = not (isinstance(scale, (int, float)) and scale == 1.0)
    if has_scale:
        srcs.append(operand(scale, api))
    if bias is not None:
        srcs.append(operand(bias, api))
    elif places_tiles():
        needs_bias(api)
    reduction = None if reduce_op is None else alu_of(reduce_op, api, "reduce_op")
    extra = None if reduce_res is None else tile(reduce_res, api)
    return execute(
        ACTIVATION,
        api,
        dst,
        tuple(srcs),
        (name, has_scale, bias is not None, reduction, cmd),
        space,
        want_dtype(dtype, api) if dtype is not None else None,
        mask,
        extra,
    )


# -- VectorE ---------------------------------------------------------------------------------------
def tensor_tensor(
    data1: Any,
    data2: Any,
    op: Any,
    *,
    dtype: Any = None,
    mask: Any = None,
    engine: Any = engine.unknown,
    **kwargs: Any,
) -> Tensor:
    """data1 op data2 for two tiles of one shape, not both in PSUM."""
    api = "nisa.tensor_tensor"
    dst = dst_of(kwargs, api) if kwargs else None
    a = data1 if isinstance(data1, Tensor) else tile(data1, api)
    b = data2 if isinstance(data2, Tensor) else tile(data2, api)
    if dtype is not None:
        out = want_dtype(dtype, api)
    else:
        out = a.meta.dtype if a.meta.dtype is b.meta.dtype else promoted(a, b)
    if engine is UNKNOWN:
        try:
            attrs = _TWO_TILES[op]
        except (KeyError, TypeError):
            attrs = _TWO_TILES[op] = (alu_of(op, api), None)
    else:
        attrs = (alu_of(op, api), engine_name(engine, api))
    if a.meta.free != b.meta.free:
        a, b = same_free_size(a, b, api)
    return execute(TENSOR_TENSOR, api, dst, (a, b), attrs, SBUF, out, mask)


def tensor_scalar(
    data: Any,
    op0: Any,
    operand0: Any,
    reverse0: bool = False,
    op1: Any = None,
    operand1: Any = None,
    reverse1: bool = False,
    *,
    dtype: Any = None,
    mask: Any = None,
    engine: Any = engine.unknown,
    **kwargs: Any,
) -> Tensor:
    """(data op0 operand0) op1 operand1; operands are numbers or tiles (p, 1); reverse swaps an
    operator's inputs."""
    api = "nisa.tensor_scalar"
    dst = dst_of(kwargs, api) if kwargs else None
    if (op1 is None) != (operand1 is None):
        broken(
            "argument",
            f"{api}: op1 and operand1 come together",
            got=f"op1={op1!r}, operand1={operand1!r}"[:80],
            limit="both, or none",
            remedy="Pass both, or leave both out.",
        )
    t = data if isinstance(data, Tensor) else tile(data, api)
    first = operand0 if isinstance(operand0, Tensor) else operand(operand0, api)
    out = None if dtype is None else want_dtype(dtype, api)
    usual = reverse0 is reverse1 is False and engine is UNKNOWN
    try:
        attrs = _SCALARS[op0, op1] if usual else None
    except (KeyError, TypeError):
        attrs = None
    if attrs is None:
        attrs = (
            alu_of(op0, api, "op0"),
            arguments.flag(reverse0, api, "reverse0"),
            None if op1 is None else alu_of(op1, api, "op1"),
            arguments.flag(reverse1, api, "reverse1"),
            engine_name(engine, api),
        )
        if usual:
            _SCALARS[op0, op1] = attrs
    tiled = None if first.meta.free == 1 else tile_for_vector(t, first, api, "operand0")
    if tiled is not None:  # two tiles, and what is left of the instruction
        pair = (tiled, t) if reverse0 else (t, tiled)
        if op1 is None:
            return execute(TENSOR_TENSOR, api, dst, pair, (attrs[0], attrs[4]), SBUF, out, mask)
        middle = (attrs[0], attrs[4])
        t = execute(TENSOR_TENSOR, "compiler", None, pair, middle, SBUF, dtypes.FLOAT32, mask)
        out = out or data.dtype
        op1, operand1, first = None, None, operand(operand1, api)
        attrs = (attrs[2], reverse1, None, False, attrs[4])
    if op1 is None:
        return execute(TENSOR_SCALAR, api, dst, (t, first), attrs, SBUF, out, mask)
    second = operand1 if isinstance(operand1, Tensor) else operand(operand1, api)
    return execute(TENSOR_SCALAR, api, dst, (t, first, second), attrs, SBUF, out, mask)


def scalar_tensor_tensor(
    *,
    data: Any,
    op0: Any,
    operand0: Any,
    op1: Any,
    operand1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """(data op0 operand0) op1 operand1; operand0 is a number or a tile (p, 1), operand1 a tile like
    data."""
    api = "nisa.scalar_tensor_tensor"
    dst = dst_of(kwargs, api) if kwargs else None
    srcs = (tile(data, api), operand(operand0, api), tile(operand1, api))
    attrs = (
        alu_of(op0, api, "op0"),
        arguments.flag(reverse0, api, "reverse0"),
        alu_of(op1, api, "op1"),
        arguments.flag(reverse1, api, "reverse1"),
    )
    return execute(SCALAR_TENSOR_TENSOR, api, dst, srcs, attrs, SBUF, want_dtype(dtype, api), mask)


def tensor_reduce(
    op: Any,
    data: Any,
    axis: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    negate: bool = False,
    keepdims: bool = False,
    **kwargs: Any,
) -> Tensor:
    """A reduction over the last free axes `axis`. data: tile (p, ...); returns (p, 1) for a (p, n)
    tile."""
    api = "nisa.tensor_reduce"
    dst = dst_of(kwargs, api) if kwargs else None
    t = data if isinstance(data, Tensor) else tile(data, api)
    # 1, 1.0 and True are one key: looked for is what is of the type
    usual = type(axis) is int and type(negate) is type(keepdims) is bool
    try:
        attrs = _REDUCTIONS[op, axis, negate, keepdims] if usual else None
    except (KeyError, TypeError):
        attrs = None
    if attrs is None:
        where = arguments.axes(axis, api)
        flags = arguments.flag(negate, api, "negate"), arguments.flag(keepdims, api, "keepdims")
        attrs = (alu_of(op, api), where, *flags)
        if usual:
            _REDUCTIONS[op, axis, negate, keepdims] = attrs
    if axis not in (-1, len(t.meta.shape) - 1):
        free_axes_in_order(t, axis, api)
    return execute(
        TENSOR_REDUCE,
        api,
        dst,
        (t,),
        attrs,
        SBUF,
        None if dtype is None else want_dtype(dtype, api),
        mask,
    )


def tensor_scalar_reduce(
    *,
    data: Any,
    op0: Any,
    operand0: Any,
    reduce_op: Any,
    reduce_res: Any,
    reverse0: bool = False,
    dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """data op0 operand0, and its reduction over all free axes into the tile `reduce_res` (p, 1)."""
    api = "nisa.tensor_scalar_reduce"
    dst = dst_of(kwargs, api) if kwargs else None
    attrs = (
        alu_of(op0, api, "op0"),
        arguments.flag(reverse0, api, "reverse0"),
        alu_of(reduce_op, api, "reduce_op"),
    )
    return execute(
        TENSOR_SCALAR_REDUCE,
        api,
        dst,
        (tile(data, api), operand(operand0, api)),
        attrs,
        SBUF,
        want_dtype(dtype, api),
        mask,
        tile(reduce_res, api),
    )


def tensor_tensor_scan(
    data0: Any,
    data1: Any,
    initial: Any,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    *,
    dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """result[:, i] = (data0[:, i] op0 result[:, i - 1]) op1 data1[:, i], starting from
    `initial`."""
    api = "nisa.tensor_tensor_scan"
    dst = dst_of(kwargs, api) if kwargs else None
    a, b = tile(data0, api), tile(data1, api)
    flags = arguments.flag(reverse0, api, "reverse0"), arguments.flag(reverse1, api, "reverse1")
    attrs = (alu_of(op0, api, "op0"), alu_of(op1, api, "op1"), *flags)
    out = promoted(a, b) if dtype is None else want_dtype(dtype, api)
    return execute(
        TENSOR_TENSOR_SCAN, api, dst, (a, b, operand(initial, api)), attrs, SBUF, out, mask
    )


def reciprocal(data: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """1 / data on VectorE."""
    api = "nisa.reciprocal"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(RECIPROCAL, api, dst, (tile(data, api),), (), SBUF, want_dtype(dtype, api), mask)


def tensor_copy(
    src: Any, *, mask: Any = None, dtype: Any = None, engine: Any = engine.unknown, **kwargs: Any
) -> Tensor:
    """A copy of the on-chip tile `src`, in SBUF unless assigned or given `dst=` elsewhere."""
    api = "nisa.tensor_copy"
    dst = dst_of(kwargs, api) if kwargs else None
    t = src if isinstance(src, Tensor) else tile(src, api)
    if type(t) is not Tensor:
        t = static_source(t, api)
    return execute(
        TENSOR_COPY,
        api,
        dst,
        (t,),
        _ANY_ENGINE if engine is UNKNOWN else (engine_name(engine, api),),
        SBUF,
        want_dtype(dtype, api) if dtype is not None else None,
        mask,
    )


def memset(
    shape: Any,
    value: Any,
    dtype: Any,
    *,
    mask: Any = None,
    engine: Any = engine.unknown,
    **kwargs: Any,
) -> Tensor:
    """An SBUF tile of `shape` (partition axis first) filled with the number `value`."""
    api = "nisa.memset"
    if isinstance(shape, Tensor):
        broken(
            "argument",
            f"{api} takes a shape here, not a tile",
            got=repr(shape),
            remedy="Write t[...] = value, or tile = nisa.memset((p, n), value, dtype=...).",
        )
    only(kwargs, api, "buffer")
    value = arguments.number(value, api, "value")
    t = make(api, shape, dtype, kwargs.get("buffer"), "", None, {})
    attrs = (t.shape, engine_name(engine, api))
    if mask is not None:
        return execute(MEMSET, api, t, (Const(value),), attrs, SBUF, None, mask)
    return fill(current(api), api, t, value, attrs)


# -- GpSimdE ---------------------------------------------------------------------------------------
def iota(expr: Any, dtype: Any, *, mask: Any = None, **kwargs: Any) -> Tensor:
    """A tile of the index values of `expr`, an expression of nl.arange, cast to `dtype`.

    `nisa.iota(nl.arange(8)[None, :], dtype=nl.float32)` is a (1, 8) tile that holds 0, 1, ... 7;
    `nisa.iota(nl.arange(128)[:, None] * 4, dtype=nl.int32)` is (128, 1), 0, 4, 8, ...
    """
    api = "nisa.iota"
    dst = dst_of(kwargs, api) if kwargs else None
    if isinstance(expr, (int, np.integer)):
        expr = Index((1, 1), (0, 0), arguments.integer(expr, api, "expr"))
    if not isinstance(expr, Index):
        broken(
            "argument",
            f"{api}: expr is a {type(expr).__name__}",
            limit="an affine expression of nl.arange",
        )
    values = Const(0)
    values.array = expr.array()
    return execute(IOTA, api, dst, (values,), (expr.sizes,), SBUF, want_dtype(dtype, api), mask)


def affine_select(
    pred: Any,
    on_true_tile: Any,
    on_false_value: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """on_true_tile where the affine predicate holds, else the number on_false_value."""
    api = "nisa.affine_select"
    dst = dst_of(kwargs, api) if kwargs else None
    if not isinstance(pred, Mask) or not pred.affine or pred.compound:
        broken(
            "mask",
            f"{api}: pred is not one affine comparison",
            got=repr(pred)[:80],
            remedy="Compare one affine expression of nl.arange, e.g. pred=(i_p >= i_f); no & "
            "or |. For anything else "
            "use nl.where.",
        )
    on_false_value = arguments.number(on_false_value, api, "on_false_value")
    # GpSimdE does not reach PSUM; published kernels (stable diffusion attention) select from it
    t = in_sbuf(tile(on_true_tile, api), api, "on_true_tile")
    where = Const(0)
    where.array = pred.where
    return execute(
        AFFINE_SELECT,
        api,
        dst,
        (t, where, Const(on_false_value)),
        (pred.where.shape, False),
        SBUF,
        want_dtype(dtype, api) or t.dtype,
        mask,
    )


def tensor_partition_reduce(
    op: Any, data: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any
) -> Tensor:
    """A reduction over the partitions: (p, ...) to (1, ...). op: add, max, bitwise_or or
    bitwise_and."""
    api = "nisa.tensor_partition_reduce"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(
        TENSOR_PARTITION_REDUCE,
        api,
        dst,
        (tile(data, api),),
        (alu_of(op, api),),
        SBUF,
        want_dtype(dtype, api),
        mask,
    )


# -- DMA -------------------------------------------------------------------------------------------
def _inside(mask: Any, *operands: Tensor) -> Any:
    """`mask` without the positions at which the run-time indices of an operand lie beyond its
    tensor."""
    for t in operands:
        if isinstance(t, IndexedTensor):
            inside = Mask(t.inside())
            mask = inside if mask is None else inside & mask
    return mask


def _hardware_descriptors(mode: Any, api: str) -> None:
    """Descriptors made by hardware need NeuronCore-v3."""
    if mode is not None:
        option(mode, dge_mode, api, "dge_mode")
    target = current(api).config.target
    if mode is dge_mode.hwdge and target.nc_version < 3:
        broken(
            "target",
            f"{api}: dge_mode.hwdge needs NeuronCore-v3 or later",
            got=f"target {target.name}",
            limit="trn2 or later",
            remedy="Leave dge_mode out.",
        )


def dma_copy(
    *,
    dst: Any,
    src: Any,
    mask: Any = None,
    dst_rmw_op: Any = None,
    oob_mode: Any = oob_mode.error,
    dge_mode: Any = dge_mode.unknown,
) -> None:
    """Copy `src` to `dst` (each in HBM or SBUF, one shape), casting; with dst_rmw_op=np.add, add to
    dst."""
    api = "nisa.dma_copy"
    _hardware_descriptors(dge_mode, api)
    skips = option(oob_mode, _OOB_MODE, api, "oob_mode") == _OOB_MODE.skip
    d, s = tile(dst, api), tile(src, api)
    rows_only(d, api)
    rows_only(s, api)
    if skips:
        if dst_rmw_op is not None:
            broken(
                "argument", f"{api}: dst_rmw_op goes with oob_mode.error only", got="oob_mode.skip"
            )
        mask = _inside(mask, d, s)
    if dst_rmw_op is not None:
        if getattr(dst_rmw_op, "__name__", "") != "add":
            broken("operator", f"{api}: dst_rmw_op", got=repr(dst_rmw_op), limit="np.add")
        execute(DMA_COPY, api, d, (s, d), (True,), SBUF, None, mask)
        return
    execute(DMA_COPY, api, d, (s,), (False,), SBUF, None, mask)


def dma_transpose(
    src: Any, *, axes: Any = None, mask: Any = None, dtype: Any = None, **kwargs: Any
) -> Tensor:
    """A new SBUF tile with the axes of `src` permuted: (1, 0), (2, 1, 0) or (3, 1, 2, 0) by its
    number of axes."""
    api = "nisa.dma_transpose"
    _hardware_descriptors(kwargs.get("dge_mode"), api)
    dst = dst_of(kwargs, api) if kwargs else None
    t = tile(src, api)
    allowed = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}
    order = None if axes is None else arguments.integers(axes, api, "axes")
    if t.ndim not in allowed or order not in (None, allowed[t.ndim]):
        broken(
            "argument",
            f"{api}: axes {axes} for {t.ndim} axes",
            tensor=t.label,
            limit="(1, 0), (2, 1, 0), (3, 1, 2, 0)",
        )
    return execute(
        DMA_TRANSPOSE, api, dst, (t,), (allowed[t.ndim],), SBUF, want_dtype(dtype, api), mask
    )


def builtin_custom_op(
    function_name: str,
    lib_file_name: str,
    ulib_to_ucode_version: Any,
    ulib_to_isa_version: Any,
    srcs: Any,
    dsts: Any,
    **kwargs: Any,
) -> None:
    """A function of a library built for GpSimdE's processors. Refused: they run on a device
    only."""
    broken(
        "operator",
        "nisa.builtin_custom_op runs a library of the device's own processors",
        got=f"function_name={shown(function_name)}, lib_file_name={shown(lib_file_name)}",
        remedy="Write it with other nisa instructions, or simulate the rest of the kernel without "
        "it.",
    )


__all__ = [
    "activation",
    "activation_reduce",
    "affine_select",
    "bn_aggr",
    "bn_stats",
    "builtin_custom_op",
    "dge_mode",
    "dma_copy",
    "dma_engine",
    "dma_transpose",
    "dropout",
    "engine",
    "fp32",
    "get_nc_version",
    "gpsimd_engine",
    "iota",
    "local_gather",
    "max8",
    "memset",
    "nc_find_index8",
    "nc_match_replace8",
    "nc_matmul",
    "nc_stream_shuffle",
    "nc_transpose",
    "nc_version",
    "oob_mode",
    "range_select",
    "reciprocal",
    "reduce_cmd",
    "scalar_engine",
    "scalar_tensor_tensor",
    "select_reduce",
    "sequence_bounds",
    "tensor_copy",
    "tensor_copy_dynamic_dst",
    "tensor_copy_dynamic_src",
    "tensor_copy_predicated",
    "tensor_engine",
    "tensor_partition_reduce",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_cumulative",
    "tensor_scalar_reduce",
    "tensor_tensor",
    "tensor_tensor_scan",
    "unknown_engine",
    "vector_engine",
]

if not TYPE_CHECKING:
    __getattr__ = missing("nisa", __all__, ())
