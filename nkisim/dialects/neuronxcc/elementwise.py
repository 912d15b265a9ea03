"""nl functions of each element: each lowers to the documented instructions."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np

from ...execution.execute import execute
from ...isa import alu
from ...isa.core import squeeze
from ...isa.registers import IDLE
from ...isa.scalar import ACTIVATION
from ...isa.select import SELECT
from ...isa.vector import ELEMENTWISE, RECIPROCAL, TENSOR_SCALAR, TENSOR_TENSOR
from ...machine import dtypes
from ...machine.memory import CONST, HBM, PSUM, SBUF, Meta
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from .allocated import needs_bias, places_tiles
from .moving import broadcast_partitions, broadcast_to, free_broadcast, to_sbuf
from .support import is_const, only, operand, promoted, tile, want_dtype


# -- one operand -----------------------------------------------------------------------------------
def _activation(name: str) -> Callable[..., Tensor]:
    api = f"nl.{name}"
    attrs = (name, False, False, None, IDLE)

    def function(x: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
        if kwargs:
            only(kwargs, api)
        if not isinstance(x, Tensor):
            tile(x, api)
        if dtype is not None:
            dtype = want_dtype(dtype, api)
        if places_tiles():
            needs_bias(api)
        return execute(ACTIVATION, api, None, (x,), attrs, SBUF, dtype, mask)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name} of each element (activation on ScalarE). x: tile (p, ...); "
        "returns a tile of its shape."
    )
    return function


exp = _activation("exp")
log = _activation("log")
sqrt = _activation("sqrt")
rsqrt = _activation("rsqrt")
square = _activation("square")
tanh = _activation("tanh")
sigmoid = _activation("sigmoid")
relu = _activation("relu")
gelu = _activation("gelu")
gelu_dx = _activation("gelu_dx")
gelu_apprx_tanh = _activation("gelu_apprx_tanh")
gelu_apprx_sigmoid = _activation("gelu_apprx_sigmoid")
silu = _activation("silu")
silu_dx = _activation("silu_dx")
softplus = _activation("softplus")
mish = _activation("mish")
erf = _activation("erf")
erf_dx = _activation("erf_dx")
sin = _activation("sin")
arctan = _activation("arctan")
sign = _activation("sign")
abs = _activation("abs")


def _elementwise(name: str) -> Callable[..., Tensor]:
    api = f"nl.{name}"

    def function(x: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
        only(kwargs, api)
        return execute(
            ELEMENTWISE, api, None, (tile(x, api),), (name,), SBUF, want_dtype(dtype, api), mask
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name} of each element. The documents do not name its engine; VectorE is assumed."
    )
    return function


cos = _elementwise("cos")
tan = _elementwise("tan")
floor = _elementwise("floor")
ceil = _elementwise("ceil")
trunc = _elementwise("trunc")


def reciprocal(x: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """1 / x of each element, on VectorE."""
    only(kwargs, "nl.reciprocal")
    return execute(
        RECIPROCAL,
        "nl.reciprocal",
        None,
        (tile(x, "nl.reciprocal"),),
        (),
        SBUF,
        want_dtype(dtype, "nl.reciprocal"),
        mask,
    )


MULTIPLY = alu.ALU["multiply"]


def negative(x: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """-x of each element."""
    only(kwargs, "nl.negative")
    return execute(
        TENSOR_SCALAR,
        "nl.negative",
        None,
        (tile(x, "nl.negative"), Const(-1.0)),
        (MULTIPLY, False, None, False, None),
        SBUF,
        want_dtype(dtype, "nl.negative"),
        mask,
    )


def _one_operand(name: str, boolean: bool) -> Callable[..., Tensor]:
    api = f"nl.{name}"
    attrs = (alu.ALU[name], False, None, False, None)
    kind = bool if boolean else None

    def function(x: Any, *, dtype: Any = kind, mask: Any = None, **kwargs: Any) -> Tensor:
        only(kwargs, api)
        out = want_dtype(dtype, api) or (dtypes.BOOL if boolean else None)
        zero = Const(0) if alu.ALU[name].bitvec else Const(0.0)
        return execute(TENSOR_SCALAR, api, None, (tile(x, api), zero), attrs, SBUF, out, mask)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name} of each element, on VectorE."
    return function


logical_not = _one_operand("logical_not", True)
invert = _one_operand("invert", False)


# -- two operands ----------------------------------------------------------------------------------
def binary(
    op: alu.AluOp,
    api: str,
    x: Any,
    y: Any,
    dst: Tensor | None = None,
    dtype: np.dtype | None = None,
    mask: Any = None,
    partitions: bool = True,
) -> Tensor:
    """`x op y` with broadcasting, by the cheapest instruction; into `dst` if given.

    `partitions`: whether an operand of one partition may be broadcast over partitions.
    """
    a, b = operand(x, api), operand(y, api)
    if a.meta.pdim or b.meta.pdim:
        a, b = a.unblocked(), b.unblocked()
    a_meta, b_meta = a.meta, b.meta
    a_const, b_const = a_meta.space == CONST, b_meta.space == CONST
    if a_const and b_const:
        broken(
            "argument",
            f"{api}: both operands are numbers",
            got=f"{x!r}, {y!r}",
            remedy="Compute it in Python.",
        )
    if dtype is None and dst is None:
        dtype = (
            dtypes.BOOL
            if op.boolean
            else (a_meta.dtype if a_meta.dtype is b_meta.dtype else promoted(a, b))
        )
    if not a_const and not b_const:
        if a_meta.partitions != b_meta.partitions:
            a, b = _match_partitions(a, b, api, partitions)
            a_meta, b_meta = a.meta, b.meta
        if a_meta.shape == b_meta.shape or _alike(a_meta, b_meta):
            if a_meta.space == PSUM and b_meta.space == PSUM:
                b = to_sbuf(b, api)
            return execute(TENSOR_TENSOR, api, dst, (a, b), (op, None), SBUF, dtype, mask)
    if b_const or (b_meta.free == 1 and not a_const):
        return _with_vector(op, api, a, b, False, dst, dtype, mask)
    if a_const or a_meta.free == 1:
        return _with_vector(op, api, b, a, True, dst, dtype, mask)
    try:
        shape = np.broadcast_shapes(a_meta.shape, b_meta.shape)
    except ValueError:
        broken(
            "shape-mismatch",
            f"{api}: '{a.label}' {a.shape} and '{b.label}' {b.shape} do not broadcast",
            tensor=b.label,
            got=f"{a_meta.describe()} and {b_meta.describe()}",
        )
        raise
    a = a if a.shape == shape else free_broadcast(a, shape)
    b = b if b.shape == shape else free_broadcast(b, shape)
    if a.meta.space == PSUM and b.meta.space == PSUM:
        b = to_sbuf(b, api)
    return execute(TENSOR_TENSOR, api, dst, (a, b), (op, None), SBUF, dtype, mask)


def _alike(a: Meta, b: Meta) -> bool:
    """Whether two layouts differ by free axes of one element only, which the compiler squeezes."""
    return (
        a.free == b.free > 1
        and a.partitions == b.partitions
        and not a.pdim
        and not b.pdim
        and squeeze(a.shape) == squeeze(b.shape)
    )


def _with_vector(
    op: alu.AluOp,
    api: str,
    data: Tensor,
    vector: Tensor,
    reverse: bool,
    dst: Tensor | None,
    dtype: np.dtype | None,
    mask: Any,
) -> Tensor:
    return execute(
        TENSOR_SCALAR, api, dst, (data, vector), (op, reverse, None, False, None), SBUF, dtype, mask
    )


def _match_partitions(a: Tensor, b: Tensor, api: str, allowed: bool) -> tuple[Tensor, Tensor]:
    one = a if a.shape[0] == 1 else b if b.shape[0] == 1 else None
    if one is None or len(a.shape) < 2 or len(b.shape) < 2 or HBM in (a.meta.space, b.meta.space):
        if HBM in (a.meta.space, b.meta.space):
            bad = a if a.meta.space == HBM else b
            broken(
                "memory",
                f"{api}: operand '{bad.label}' lies in hbm",
                tensor=bad.label,
                got=bad.meta.describe(),
                limit="sbuf or psum",
                remedy="Bring it on chip with nl.load first.",
            )
        broken(
            "partition-mismatch",
            f"{api}: '{a.label}' has {a.meta.partitions} partitions, '{b.label}' has "
            f"{b.meta.partitions}",
            tensor=b.label,
            got=f"{a.meta.describe()} and {b.meta.describe()}",
            remedy="Slice both to the same partitions, or transpose one.",
        )
    assert one is not None  # where the rule is a warning, one of both has a single partition
    if not allowed:
        broken(
            "operator-broadcast",
            f"{api}: the operator would broadcast '{one.label}' over partitions",
            tensor=one.label,
            got=f"{a.meta.describe()} and {b.meta.describe()}",
            remedy="Use the nl function (nl.add, nl.multiply, ...) or .broadcast_to.",
        )
    n = builtins.max(a.shape[0], b.shape[0])
    if one is a:
        return broadcast_partitions(a, n), b
    return a, broadcast_partitions(b, n)


def _binary(name: str) -> Callable[..., Tensor]:
    api = f"nl.{name}"
    op = alu.ALU[name]
    two_tiles = (op, None)
    with_number = (op, False, None, False, None)
    kind = bool if op.boolean else None

    def function(x: Any, y: Any, *, dtype: Any = kind, mask: Any = None, **kwargs: Any) -> Tensor:
        if kwargs:
            only(kwargs, api)
        if type(x) is Tensor and dtype is None:  # the common cases, without a detour
            left = x.meta
            if type(y) is Tensor:
                right = y.meta
                if left.dtype is right.dtype and not op.boolean and left.dtype is not dtypes.BOOL:
                    if left.shape == right.shape and (left.space != PSUM or right.space != PSUM):
                        return execute(
                            TENSOR_TENSOR, api, None, (x, y), two_tiles, SBUF, left.dtype, mask
                        )
                    if right.free == 1 and left.partitions == right.partitions:
                        return execute(
                            TENSOR_SCALAR, api, None, (x, y), with_number, SBUF, left.dtype, mask
                        )
            elif type(y) is float and left.dtype is dtypes.FLOAT32 and not op.boolean:
                return execute(
                    TENSOR_SCALAR, api, None, (x, Const(y)), with_number, SBUF, left.dtype, mask
                )
        if dtype is not None:
            dtype = dtypes.BOOL if dtype is bool else want_dtype(dtype, api)
        return binary(op, api, x, y, None, dtype, mask)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"x {name} y, elementwise with broadcasting. x, y: tiles or numbers."
    return function


add = _binary("add")
subtract = _binary("subtract")
multiply = _binary("multiply")
maximum = _binary("maximum")
minimum = _binary("minimum")
power = _binary("power")
equal = _binary("equal")
not_equal = _binary("not_equal")
greater = _binary("greater")
greater_equal = _binary("greater_equal")
less = _binary("less")
less_equal = _binary("less_equal")
logical_and = _binary("logical_and")
logical_or = _binary("logical_or")
logical_xor = _binary("logical_xor")
bitwise_and = _binary("bitwise_and")
bitwise_or = _binary("bitwise_or")
bitwise_xor = _binary("bitwise_xor")
left_shift = _binary("left_shift")
right_shift = _binary("right_shift")


def divide(x: Any, y: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """x / y: the engines have no division, so a reciprocal and a multiplication."""
    only(kwargs, "nl.divide")
    return divided(x, y, want_dtype(dtype, "nl.divide"), mask)


def divided(
    x: Any,
    y: Any,
    dtype: np.dtype | None = None,
    mask: Any = None,
    dst: Tensor | None = None,
    partitions: bool = True,
) -> Tensor:
    """The lowering of a division."""
    a, b = operand(x, "nl.divide"), operand(y, "nl.divide")
    if dtype is None and dst is None:
        dtype = promoted(a, b)
        if not dtypes.is_float(dtype):
            dtype = dtypes.FLOAT32
    if is_const(b) and b.array == 0:
        broken(
            "argument",
            "nl.divide: the divisor is the number 0",
            tensor=a.label,
            got=b.array,
            remedy="Divide by a tile, or by a number that is not 0.",
        )
    if is_const(b):
        return binary(MULTIPLY, "nl.divide", a, Const(1.0 / b.array), dst, dtype, mask)
    inverse = execute(
        RECIPROCAL,
        "nl.divide",
        None,
        (b,),
        (),
        SBUF,
        dtypes.FLOAT32,
        mask if mask is not None and b.shape == a.shape else None,
    )
    return binary(MULTIPLY, "nl.divide", a, inverse, dst, dtype, mask, partitions)


def _modulo(name: str) -> Callable[..., Tensor]:
    api = f"nl.{name}"

    def function(x: Any, y: Any, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
        only(kwargs, api)
        a, b = tile(x, api), operand(y, api)
        if not is_const(b) and b.shape != a.shape:
            b = broadcast_to(b, shape=a.shape)
        return execute(
            ELEMENTWISE,
            api,
            None,
            (a, b),
            (name,),
            SBUF,
            want_dtype(dtype, api) or promoted(a, b),
            mask,
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"x {name} y of each element. The documents do not name its engine; VectorE is assumed."
    )
    return function


mod = _modulo("mod")
fmod = _modulo("fmod")


def where(
    condition: Any, x: Any, y: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any
) -> Tensor:
    """x where the tile `condition` is not zero, else y. x, y: tiles or numbers."""
    only(kwargs, "nl.where")
    predicate = tile(condition, "nl.where")
    a, b = operand(x, "nl.where"), operand(y, "nl.where")
    out = want_dtype(dtype, "nl.where") or promoted(a, b)
    return execute(SELECT, "nl.where", None, (predicate, a, b), (), SBUF, out, mask)
