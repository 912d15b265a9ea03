"""nisa on TensorE, ScalarE, VectorE and GpSimdE: elementwise operations, reductions, matrix
products, transposes.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...execution.execution import current, running
from ...isa.alu import AVERAGE
from ...isa.core import IDLE
from ...isa.gpsimd import AFFINE_SELECT, IOTA, TENSOR_PARTITION_REDUCE
from ...isa.mx import X4
from ...isa.reduce import TENSOR_REDUCE, TENSOR_SCALAR_REDUCE, TENSOR_TENSOR_SCAN
from ...isa.scalar import ACTIVATION
from ...isa.select import SELECT_REDUCE, TENSOR_COPY_PREDICATED
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
from ...machine.memory import CONST, EMPTY, FULL, PSUM, SHARED
from ...rules import arguments
from ...rules.arguments import flag, integer, integers, pairs
from ...rules.errors import broken, shown
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..functions import activation_name, alu_of
from . import enums
from .compute import equal as _equal
from .compute import maximum as _maximum
from .compute import tensor_tensor_engine
from .enums import engine, matmul_perf_mode, reduce_cmd
from .isa_support import destination, engine_name, number, old_dtype, run, same_dtype
from .objects import NkiInstruction, VirtualRegister
from .support import operand, option, same_size, tile
from .targets import needs_trn2

_WORD = 2**31
"""Affine values are integers of 32 bits."""


_ALL = np.ones(1, dtype=bool)
_WIDE_INTEGERS = (dtypes.INT32, np.dtype(np.uint32))
_ANY_ENGINE = engine.unknown
_NO_ENGINE = (None,)
_IDLE = reduce_cmd.idle
_PLAIN_MODE = matmul_perf_mode.none
_OVERWRITING: tuple[Any, ...] = (False, False, False, (), (), False, "none", True)
_ADDING: tuple[Any, ...] = (False, False, False, (), (), True, "none", True)
"""The attributes of nc_matmul without options."""
_SCALARS: dict[tuple[Any, Any], tuple[Any, ...]] = {}
_REDUCTIONS: dict[tuple[Any, int], tuple[Any, ...]] = {}
"""By the operators that a kernel names, and by the axis where it is a plain integer, the attributes
of tensor_scalar and tensor_reduce without options."""


# -- TensorE ---------------------------------------------------------------------------------------
def onto(dst: Tensor, accumulate: bool | None, api: str) -> bool:
    """Whether a matmul adds to what is in `dst`; None: to what has been written of it."""
    program = current(api)
    buf = dst.buf
    if accumulate is not None and not isinstance(accumulate, (bool, np.bool_)):
        broken(
            "argument",
            f"{api}: accumulate is {accumulate!r}",
            got=repr(accumulate),
            limit="True, False or None",
        )
    if accumulate is False or (buf.state == EMPTY and accumulate is None):
        return False
    if dst.meta.space != PSUM:
        return bool(accumulate)
    full = buf.state in (FULL, SHARED)
    written = _ALL if full else program.written_flags(dst)
    if accumulate is None:
        if not written.any():
            return False
        if not written.all():
            program.clear_unwritten(dst)
    if program.config.target.nc_version < 4 and buf not in program.accumulators and written.all():
        broken(
            "psum-accumulate",
            f"{api}: '{dst.label}' is accumulated onto, but no matmul wrote what is there",
            tensor=dst.label,
            got=dst.meta.describe(),
            remedy="On NeuronCore-v2 and v3 the first matmul must overwrite: do without the "
            "memset, and pass "
            "accumulate=(i > 0) or nothing.",
        )
    return True


def nc_matmul(
    dst: Any,
    stationary: Any,
    moving: Any,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    accumulate: bool | None = None,
    tile_position: Any = (),
    tile_size: Any = (),
    perf_mode: Any = matmul_perf_mode.none,
    name: str | None = None,
) -> NkiInstruction:
    """dst = stationary.T @ moving, or added to dst. stationary: SBUF (k, m); moving: SBUF (k, n);
    dst: PSUM (m, n).

    accumulate=None adds to the elements of dst that have been written and overwrites the others.
    """
    api = "nisa.nc_matmul"
    into = destination(dst, api, group=32)
    a, b = tile(stationary, api, "stationary", group=32), tile(moving, api, "moving", group=32)
    double = False
    if perf_mode is not _PLAIN_MODE:
        mode = option(perf_mode, matmul_perf_mode, api, "perf_mode")
        double = mode is matmul_perf_mode.double_row
    program = running() or current(api)
    new = accumulate is None and into.buf.state == EMPTY
    adds = False if new else onto(into, accumulate, api)
    plain = is_stationary_onezero is is_moving_onezero is is_transpose is False
    untiled = type(tile_position) is type(tile_size) is tuple and tile_position == tile_size == ()
    if plain and untiled and not double:
        attrs = _ADDING if adds else _OVERWRITING
    else:
        attrs = (
            flag(is_stationary_onezero, api, "is_stationary_onezero"),
            flag(is_moving_onezero, api, "is_moving_onezero"),
            flag(is_transpose, api, "is_transpose"),
            integers(() if tile_position is None else tile_position, api, "tile_position"),
            integers(() if tile_size is None else tile_size, api, "tile_size"),
            adds,
            "double_row" if double else "none",
            True,
        )
    if double:
        needs_trn2(f"{api}(perf_mode=double_row)")
    out = run(NC_MATMUL, api, into, (a, b, into) if adds else (a, b), attrs)
    program.accumulators.add(into.buf)
    return out


def nc_transpose(
    dst: Any, data: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """The tile `data` (p, f), free axes collapsed, as (f, p): by TensorE into PSUM, by VectorE (32
    x 32) anywhere."""
    api = "nisa.nc_transpose"
    into, t = destination(dst, api), tile(data, api, "data")
    wanted = engine_name(engine, api, "tensor", "vector")
    same_dtype(into, t, api, "data")
    small = t.meta.partitions <= 32 and t.meta.free <= 32
    if wanted is None:
        wanted = (
            "vector" if small and (into.meta.space != PSUM or t.meta.space == PSUM) else "tensor"
        )
    if wanted == "vector":
        return run(VECTOR_TRANSPOSE, api, into, (t,))
    done = run(NC_TRANSPOSE, api, into, (t,))
    (running() or current(api)).accumulators.add(into.buf)  # a matmul, with the identity matrix
    return done


# -- ScalarE ---------------------------------------------------------------------------------------
def _activate(
    api: str,
    dst: Any,
    op: Any,
    data: Any,
    bias: Any,
    scale: Any,
    reduce_op: Any,
    reduce_res: Any,
    cmd: int,
) -> NkiInstruction:
    into, t = destination(dst, api), tile(data, api, "data")
    same_size(into, t, api, "data")
    name = activation_name(op, api)
    if bias is reduce_op is reduce_res is None and type(scale) is float and scale == 1.0:
        plainly = ("sin_table" if name == "sin" else name, False, False, None, cmd, True)
        return run(ACTIVATION, api, into, (t,), plainly)
    srcs = [t]
    has_scale = not (isinstance(scale, (int, float)) and scale == 1.0)
    if has_scale:
        srcs.append(operand(float(scale) if isinstance(scale, int) else scale, api, "scale"))
    if bias is not None:
        b = operand(float(bias) if isinstance(bias, int) else bias, api, "bias")
        if b.meta.space == CONST:
            needs_trn2(f"{api} with a number as bias")
        srcs.append(b)
    reduction = None if reduce_op is None else alu_of(reduce_op, api, "reduce_op")
    extra = None if reduce_res is None else destination(reduce_res, api, "reduce_res")
    # ScalarE's sine is a polynomial that is right from -pi to pi only
    attrs = (
        "sin_table" if name == "sin" else name,
        has_scale,
        bias is not None,
        reduction,
        cmd,
        True,
    )
    return run(ACTIVATION, api, into, tuple(srcs), attrs, extra)


def activation(
    dst: Any,
    op: Any,
    data: Any,
    bias: Any = None,
    scale: Any = 1.0,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    name: str | None = None,
) -> NkiInstruction:
    """dst = op(data * scale + bias) on ScalarE, in float32; optionally reduced into the engine's
    registers.

    bias: number (trn2 and later) or tile (p, 1). scale: number or fp32 tile (p, 1). reduce_res:
    tile (p, 1) to which the registers are read.
    """
    api = "nisa.activation"
    if reduce_cmd is _IDLE:
        return _activate(api, dst, op, data, bias, scale, reduce_op, reduce_res, IDLE)
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    if cmd is enums.reduce_cmd.load_reduce:
        broken(
            "argument",
            f"{api} has no load_reduce",
            got="reduce_cmd.load_reduce",
            limit="idle, reset, reduce, reset_reduce",
        )
    return _activate(api, dst, op, data, bias, scale, reduce_op, reduce_res, cmd.value)


def activation_reduce(
    dst: Any,
    op: Any,
    data: Any,
    reduce_op: Any,
    reduce_res: Any,
    bias: Any = None,
    scale: Any = 1.0,
    name: str | None = None,
) -> NkiInstruction:
    """nisa.activation with the registers reset, reduced into, and read to `reduce_res` (p, 1)
    unless that is None."""
    return _activate(
        "nisa.activation_reduce",
        dst,
        op,
        data,
        bias,
        scale,
        reduce_op,
        reduce_res,
        enums.reduce_cmd.reset_reduce.value,
    )


# -- VectorE ---------------------------------------------------------------------------------------
def tensor_tensor(
    dst: Any, data1: Any, data2: Any, op: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """dst = data1 op data2 for two tiles of one size, not both in PSUM. Nothing is broadcast."""
    api = "nisa.tensor_tensor"
    into, a, b = destination(dst, api), tile(data1, api, "data1"), tile(data2, api, "data2")
    same_size(into, a, api, "data1")
    same_size(a, b, api, "data2")
    what = alu_of(op, api)
    runs_on = engine_name(engine, api, "vector", "gpsimd")
    if runs_on is None:
        runs_on = tensor_tensor_engine(what, a, b, into)
    if runs_on is None and into.meta.dtype not in _WIDE_INTEGERS and what.name != "power":
        # only where all three are integers of 32 bits the arithmetic is an integer one
        runs_on = "vector"
    return run(TENSOR_TENSOR, api, into, (a, b), (what, runs_on))


def _pair(api: str, op: Any, value: Any, what: str) -> Tensor:
    """An operand of `op`: unary operators take None or 0."""
    if value is None and getattr(op, "unary", False):
        return Const(0) if op.bitvec else Const(0.0)
    if value is None:
        broken(
            "argument",
            f"{api}: {what} is missing",
            got="None",
            remedy=f"Pass {what}= a number or a tile (p, 1).",
        )
    return operand(value, api, what)


def tensor_scalar(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    reverse0: bool = False,
    op1: Any = None,
    operand1: Any = None,
    reverse1: bool = False,
    engine: Any = engine.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """dst = (data op0 operand0) op1 operand1; operands are numbers or tiles (p, 1); reverse swaps
    an operator's inputs."""
    api = "nisa.tensor_scalar"
    into, t = destination(dst, api), tile(data, api, "data")
    same_size(into, t, api, "data")
    if reverse0 is reverse1 is False and engine is _ANY_ENGINE:
        try:
            attrs = _SCALARS[op0, op1]
        except (KeyError, TypeError):
            second = None if op1 is None else alu_of(op1, api, "op1")
            attrs = (alu_of(op0, api, "op0"), False, second, False, None)
            _SCALARS[op0, op1] = attrs
    else:
        first = alu_of(op0, api, "op0")
        runs_on = engine_name(engine, api, "vector", "scalar", "gpsimd")
        second = None if op1 is None else alu_of(op1, api, "op1")
        flags = flag(reverse0, api, "reverse0"), flag(reverse1, api, "reverse1")
        attrs = (first, flags[0], second, flags[1], runs_on)
    if op1 is None:
        if operand1 is not None:
            broken("argument", f"{api}: operand1 is given without op1", got=repr(operand1)[:80])
        return run(TENSOR_SCALAR, api, into, (t, _pair(api, attrs[0], operand0, "operand0")), attrs)
    srcs = (
        t,
        _pair(api, attrs[0], operand0, "operand0"),
        _pair(api, attrs[2], operand1, "operand1"),
    )
    return run(TENSOR_SCALAR, api, into, srcs, attrs)


def scalar_tensor_tensor(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    op1: Any,
    operand1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
    dtype: Any = None,
) -> NkiInstruction:
    """dst = (data op0 operand0) op1 operand1; operand0 is a number or a tile (p, 1), operand1 a
    tile like data."""
    api = "nisa.scalar_tensor_tensor"
    into, t, other = destination(dst, api), tile(data, api, "data"), tile(operand1, api, "operand1")
    old_dtype(dtype, into, api)
    same_size(into, t, api, "data")
    same_size(t, other, api, "operand1")
    return run(
        SCALAR_TENSOR_TENSOR,
        api,
        into,
        (t, operand(operand0, api, "operand0"), other),
        (
            alu_of(op0, api, "op0"),
            flag(reverse0, api, "reverse0"),
            alu_of(op1, api, "op1"),
            flag(reverse1, api, "reverse1"),
        ),
    )


def last_axes(t: Tensor, axis: Any, api: str) -> None:
    """The axes of a reduction are the last ones, without a gap."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in axes):
        return  # refused by the instruction
    ordered = tuple(sorted({int(a) % t.ndim for a in axes if -t.ndim <= a < t.ndim}))
    if 0 in ordered or ordered == tuple(range(t.ndim - len(ordered), t.ndim)):
        return
    broken(
        "argument",
        f"{api}: axes {ordered} of '{t.label}' are not the last, consecutive axes",
        tensor=t.label,
        got=t.meta.describe(),
        limit=f"axes that end with {t.ndim - 1}",
        remedy="Read the axes in another order: t.permute(dims).",
    )


def tensor_reduce(
    dst: Any,
    op: Any,
    data: Any,
    axis: Any,
    negate: bool = False,
    keepdims: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """A reduction of `data` over its last free axes `axis`, into dst."""
    api = "nisa.tensor_reduce"
    into, t = destination(dst, api), tile(data, api, "data")
    flags = negate is False and (keepdims is True or keepdims is False)
    if flags and type(axis) is int and axis == len(t.meta.shape) - 1:
        try:
            attrs = _REDUCTIONS[op, axis][keepdims]
        except (KeyError, TypeError):
            what = alu_of(op, api)
            _REDUCTIONS[op, axis] = (what, axis, False, False), (what, axis, False, True)
            attrs = _REDUCTIONS[op, axis][keepdims]
        return run(TENSOR_REDUCE, api, into, (t,), attrs)
    axes = arguments.axes(axis, api)
    last_axes(t, axes, api)
    return run(
        TENSOR_REDUCE,
        api,
        into,
        (t,),
        (alu_of(op, api), axes, flag(negate, api, "negate"), flag(keepdims, api, "keepdims")),
    )


def tensor_tensor_scan(
    dst: Any,
    data0: Any,
    data1: Any,
    initial: Any,
    op0: Any,
    op1: Any,
    reverse0: bool = False,
    reverse1: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst[:, i] = (data0[:, i] op0 dst[:, i - 1]) op1 data1[:, i], starting from `initial`, a
    number or a tile (p, 1)."""
    api = "nisa.tensor_tensor_scan"
    into, a, b = destination(dst, api), tile(data0, api, "data0"), tile(data1, api, "data1")
    same_size(into, a, api, "data0")
    same_size(a, b, api, "data1")
    return run(
        TENSOR_TENSOR_SCAN,
        api,
        into,
        (a, b, operand(initial, api, "initial")),
        (
            alu_of(op0, api, "op0"),
            alu_of(op1, api, "op1"),
            flag(reverse0, api, "reverse0"),
            flag(reverse1, api, "reverse1"),
        ),
    )


def tensor_scalar_reduce(
    dst: Any,
    data: Any,
    op0: Any,
    operand0: Any,
    reduce_op: Any,
    reduce_res: Any = None,
    reverse0: bool = False,
    reduce_cmd: Any = reduce_cmd.reset_reduce,
    reduce_init: Any = None,
    reduce_res_negate: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = data op0 operand0, and its reduction over all free axes into the tile `reduce_res` (p,
    1)."""
    api = "nisa.tensor_scalar_reduce"
    into, t = destination(dst, api), tile(data, api, "data")
    same_size(into, t, api, "data")
    first = alu_of(op0, api, "op0")
    extra = None if reduce_res is None else destination(reduce_res, api, "reduce_res")
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    srcs: tuple[Tensor, ...] = (t, _pair(api, first, operand0, "operand0"))
    if reduce_init is not None:
        srcs += (
            operand(
                float(reduce_init) if isinstance(reduce_init, int) else reduce_init,
                api,
                "reduce_init",
            ),
        )
    return run(
        TENSOR_SCALAR_REDUCE,
        api,
        into,
        srcs,
        (
            first,
            flag(reverse0, api, "reverse0"),
            alu_of(reduce_op, api, "reduce_op"),
            cmd.value,
            flag(reduce_res_negate, api, "reduce_res_negate"),
        ),
        extra,
    )


def reciprocal(dst: Any, data: Any, name: str | None = None) -> NkiInstruction:
    """dst = 1 / data on VectorE."""
    api = "nisa.reciprocal"
    into, t = destination(dst, api), tile(data, api, "data")
    same_size(into, t, api, "data")
    return run(RECIPROCAL, api, into, (t,))


def tensor_copy(
    dst: Any, src: Any, engine: Any = engine.unknown, name: str | None = None, dtype: Any = None
) -> NkiInstruction:
    """dst = src, two tiles of one size on chip. `dtype` is of older versions, and says what dst
    has."""
    api = "nisa.tensor_copy"
    into, t = destination(dst, api), tile(src, api, "src")
    if dtype is not None:
        old_dtype(dtype, into, api)
    same_size(into, t, api, "src")
    if engine is _ANY_ENGINE:
        return run(TENSOR_COPY, api, into, (t,), _NO_ENGINE)
    wanted = engine_name(engine, api, "vector", "scalar", "gpsimd")
    if wanted == "scalar":
        needs_trn2(f"{api} on ScalarE")
    return run(TENSOR_COPY, api, into, (t,), (wanted,))


def memset(
    dst: Any, value: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """Fill dst with the number `value`, which has the type of dst: an integer for integers; a whole
    float is taken with a warning."""
    api = "nisa.memset"
    into = destination(dst, api)
    plain = number(value, api, "value")
    if into.dtype in X4:
        if plain != 0:
            broken(
                "dtype",
                f"{api}: '{into.label}' holds packed elements",
                tensor=into.label,
                got=repr(value),
                limit="0",
            )
        into, plain = into.view(np.dtype(f"u{into.dtype.itemsize}")), 0
    if dtypes.is_integer(into.dtype) and isinstance(plain, float):
        whole = plain.is_integer()
        broken(
            "memset-type" if whole else "dtype",
            f"{api}: the value {plain} is not {dtypes.name(into.dtype)}",
            tensor=into.label,
            got=repr(value),
            limit=f"an integer for {dtypes.name(into.dtype)}",
            remedy=f"Write value={int(plain)}." if whole else "Make the tile with a float dtype.",
        )
        plain = int(plain) if whole else plain
    return run(
        MEMSET,
        api,
        into,
        (Const(plain),),
        (into.shape, engine_name(engine, api, "vector", "gpsimd")),
    )


def tensor_copy_predicated(
    dst: Any, src: Any, predicate: Any, reverse_pred: bool = False, name: str | None = None
) -> NkiInstruction:
    """Where the integer tile `predicate` is not zero, dst takes src (a tile or a number); elsewhere
    it stays."""
    api = "nisa.tensor_copy_predicated"
    into, p, s = destination(dst, api), tile(predicate, api, "predicate"), operand(src, api, "src")
    same_size(into, p, api, "predicate")
    same_size(into, s, api, "src")
    return run(
        TENSOR_COPY_PREDICATED, api, into, (p, s, into), (flag(reverse_pred, api, "reverse_pred"),)
    )


def select_reduce(
    dst: Any,
    predicate: Any,
    on_true: Any,
    on_false: Any,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    reduce_op: Any = _maximum,
    reverse_pred: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true where the integer tile `predicate` is not zero, else on_false (a number or a
    tile (p, 1)).

    reduce_res: a float tile (p, 1) for the row maxima.
    """
    api = "nisa.select_reduce"
    into, p, a = (
        destination(dst, api),
        tile(predicate, api, "predicate"),
        tile(on_true, api, "on_true"),
    )
    b = operand(on_false, api, "on_false")
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    if alu_of(reduce_op, api, "reduce_op").name != "maximum":
        broken(
            "operator",
            f"{api}: reduce_op",
            got=getattr(reduce_op, "__name__", repr(reduce_op)),
            limit="nl.maximum",
        )
    same_size(into, p, api, "predicate")
    same_size(into, a, api, "on_true")
    extra = None if reduce_res is None else destination(reduce_res, api, "reduce_res")
    return run(
        SELECT_REDUCE,
        api,
        into,
        (p, a, b),
        (flag(reverse_pred, api, "reverse_pred"), cmd.value),
        extra,
    )


# -- GpSimdE ---------------------------------------------------------------------------------------
def _grid(dst: Tensor, pattern: Any, offset: Any, channel_multiplier: int, api: str) -> Any:
    """The affine values of a pattern over the partitions and free elements of `dst`, as a
    constant."""
    steps = pairs(pattern, api, "pattern", most=_WORD - 1)
    free = math.prod(count for _, count in steps)
    if len(steps) > 4 or free != dst.meta.free or min(count for _, count in steps) < 1:
        broken(
            "shape-mismatch",
            f"{api}: the pattern names {free} elements per partition, "
            f"'{dst.label}' has {dst.meta.free}",
            tensor=dst.label,
            got=shown(pattern),
            limit=f"up to 4 pairs [step, count] of {dst.meta.free} elements together",
        )
    from ...tensors.index import affine_grid

    if not isinstance(offset, VirtualRegister):
        start = integer(offset, api, "offset", least=-_WORD, most=_WORD - 1)
    elif offset.known or current(api).lowering is not None:
        start = offset.read(api)
    else:
        start = 0
    across = integer(channel_multiplier, api, "channel_multiplier", least=-_WORD, most=_WORD - 1)
    values = affine_grid(dst.meta.partitions, steps, start, across, dst.shape)
    constant = Const(0)
    constant.array = values
    return constant


def iota(
    dst: Any, pattern: Any, offset: Any = 0, channel_multiplier: int = 0, name: str | None = None
) -> NkiInstruction:
    """dst[p, w, z, y, x] = offset + p * channel_multiplier + the steps of `pattern`, [[step,
    count], ...]."""
    api = "nisa.iota"
    into = destination(dst, api)
    return run(
        IOTA, api, into, (_grid(into, pattern, offset, channel_multiplier, api),), (into.shape,)
    )


def affine_select(
    dst: Any,
    pattern: Any,
    channel_multiplier: int,
    on_true_tile: Any,
    on_false_value: Any,
    cmp_op: Any = _equal,
    offset: Any = 0,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true_tile where cmp_op(the affine value of `pattern`, 0) holds, else the number
    on_false_value."""
    api = "nisa.affine_select"
    into, t = destination(dst, api), tile(on_true_tile, api, "on_true_tile")
    same_size(into, t, api, "on_true_tile")
    op = alu_of(cmp_op, api, "cmp_op")
    if not op.boolean or op.name.startswith("logical"):
        broken(
            "operator",
            f"{api}: cmp_op '{op.name}' compares nothing",
            got=op.name,
            limit="nl.equal, not_equal, greater, greater_equal, less, less_equal",
        )
    where = _grid(t, pattern, offset, channel_multiplier, api)
    where.array = op.function(where.array, 0) != 0
    return run(
        AFFINE_SELECT,
        api,
        into,
        (t, where, Const(float(number(on_false_value, api, "on_false_value")))),
        (t.shape, True),
    )


def tensor_partition_reduce(
    dst: Any, op: Any, data: Any, name: str | None = None
) -> NkiInstruction:
    """A reduction over the partitions: data (p, ...) to dst (1, ...). op: add, average, maximum,
    bitwise_or, bitwise_and."""
    api = "nisa.tensor_partition_reduce"
    name = op if isinstance(op, str) else getattr(op, "__name__", "")
    what = AVERAGE if name == "average" else alu_of(op, api)
    return run(
        TENSOR_PARTITION_REDUCE, api, destination(dst, api), (tile(data, api, "data"),), (what,)
    )


def get_nc_version() -> enums.nc_version:
    """The NeuronCore generation of the target in force."""
    return enums.nc_version(current("nisa.get_nc_version").config.target.nc_version)


def get_nc_sub_version() -> int:
    """The revision of the silicon inside its generation: 0, the first."""
    current("nisa.get_nc_sub_version")
    return 0


__all__ = [
    "activation",
    "activation_reduce",
    "affine_select",
    "get_nc_sub_version",
    "get_nc_version",
    "iota",
    "memset",
    "nc_matmul",
    "nc_transpose",
    "reciprocal",
    "scalar_tensor_tensor",
    "select_reduce",
    "tensor_copy",
    "tensor_copy_predicated",
    "tensor_partition_reduce",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_reduce",
    "tensor_tensor",
    "tensor_tensor_scan",
]
