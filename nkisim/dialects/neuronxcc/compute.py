"""nl functions that compute: each lowers to the documented instructions."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...execution.execute import execute
from ...execution.execution import current
from ...isa import alu
from ...isa.core import IDLE, RESET_REDUCE, squeeze
from ...isa.gpsimd import PARTITION_BROADCAST
from ...isa.reduce import TENSOR_REDUCE
from ...isa.scalar import ACTIVATION
from ...isa.select import SELECT
from ...isa.tensor_engine import NC_MATMUL, NC_TRANSPOSE
from ...isa.vector import (
    ELEMENTWISE,
    MEMSET,
    RECIPROCAL,
    TENSOR_COPY,
    TENSOR_SCALAR,
    TENSOR_TENSOR,
    VECTOR_TRANSPOSE,
)
from ...machine import dtypes
from ...machine.memory import CONST, HBM, PSUM, SBUF, Meta
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.index import Mask
from ...tensors.tensor import IndexedTensor, Tensor
from .allocated import needs_bias, no_transpose, places_tiles
from .support import is_const, only, operand, promoted, static_source, tile, want_dtype

MATMUL_ATTRS = (False, False, False, (), (), False)


# -- moving data on chip ---------------------------------------------------------------------------
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
        t = _broadcast_partitions(t, wanted[0])
    return t if t.shape == wanted else free_broadcast(t, wanted)


def _broadcast_partitions(t: Tensor, partitions: int) -> Tensor:
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


_MULTIPLY = alu.ALU["multiply"]


def negative(x: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """-x of each element."""
    only(kwargs, "nl.negative")
    return execute(
        TENSOR_SCALAR,
        "nl.negative",
        None,
        (tile(x, "nl.negative"), Const(-1.0)),
        (_MULTIPLY, False, None, False, None),
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
        return _broadcast_partitions(a, n), b
    return a, _broadcast_partitions(b, n)


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
        return binary(_MULTIPLY, "nl.divide", a, Const(1.0 / b.array), dst, dtype, mask)
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
    return binary(_MULTIPLY, "nl.divide", a, inverse, dst, dtype, mask, partitions)


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


# -- reductions ------------------------------------------------------------------------------------
def _scattered(
    t: Tensor, axis: tuple[int, ...]
) -> tuple[Tensor, tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """For free axes that are not the last, consecutive ones: a view with these last, their numbers
    there, the shape with ones in their place, and the order of the view's axes. Access patterns
    take the free axes in any order (programming model, indexing case 3: a pooling window), so that
    it costs nothing. None where no view is needed."""
    axes = tuple(sorted({a % t.ndim for a in axis}))
    if (
        type(t) is not Tensor
        or 0 in axes
        or axes == tuple(builtins.range(t.ndim - len(axes), t.ndim))
    ):
        return None
    order = tuple(a for a in builtins.range(t.ndim) if a not in axes) + axes
    view = t.permuted(order)
    kept = tuple(1 if a in axes else n for a, n in enumerate(t.shape))
    return view, tuple(builtins.range(t.ndim - len(axes), t.ndim)), kept, order


def _mask_in_order(mask: Any, shape: tuple[int, ...], order: tuple[int, ...]) -> Any:
    """A mask over a tile of `shape`, for the view of it with its axes in `order`."""
    if not isinstance(mask, Mask) or mask.where.ndim != len(shape):
        return mask
    return Mask(mask.where.transpose(order), mask.affine, mask.compound)


def _reduction(name: str, op_name: str, boolean: bool = False) -> Callable[..., Tensor]:
    api = f"nl.{name}"
    op = alu.ALU[op_name]

    def function(
        x: Any,
        axis: Any,
        *,
        dtype: Any = None,
        mask: Any = None,
        keepdims: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        if kwargs:
            only(kwargs, api)
        if not isinstance(x, Tensor):
            tile(x, api)
        out = (
            (dtypes.BOOL if boolean else None)
            if dtype is None or dtype is bool
            else want_dtype(dtype, api)
        )
        if type(axis) is not int:
            axis = arguments.axes(axis, api)
        if keepdims is not False and keepdims is not True:
            keepdims = arguments.flag(keepdims, api, "keepdims")
        if type(axis) is tuple and len(axis) > 1:
            scattered = _scattered(x, axis)
            if scattered is not None:
                view, last, kept, order = scattered
                mask = _mask_in_order(mask, x.shape, order)
                result = execute(
                    TENSOR_REDUCE, api, None, (view,), (op, last, False, False), SBUF, out, mask
                )
                return result.reshape(kept) if keepdims else result
        return execute(TENSOR_REDUCE, api, None, (x,), (op, axis, False, keepdims), SBUF, out, mask)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name} over the last free axes `axis` (tensor_reduce on VectorE). x: tile (p, ...); a "
        "tile keeps two axes: (p, 1) for a (p, n) tile."
    )
    return function


sum = _reduction("sum", "add")
max = _reduction("max", "maximum")
min = _reduction("min", "minimum")
prod = _reduction("prod", "multiply")
_all = _reduction("all", "logical_and", True)


def all(x: Any, axis: Any, *, dtype: Any = bool, mask: Any = None, **kwargs: Any) -> Tensor:
    """Whether all elements over the last free axes `axis` are not zero, as booleans."""
    return _all(x, axis, dtype=dtype, mask=mask, **kwargs)


def _count(t: Tensor, axis: Any) -> int:
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    n = 1
    for a in axes:
        n *= t.shape[a]  # the reduction has been made: it is an axis of the tile
    return n


def mean(
    x: Any, axis: Any, *, dtype: Any = None, mask: Any = None, keepdims: bool = False, **kwargs: Any
) -> Tensor:
    """The mean over the last free axes: a sum and a multiplication."""
    t = tile(x, "nl.mean")
    out = want_dtype(dtype, "nl.mean") or (t.dtype if dtypes.is_float(t.dtype) else dtypes.FLOAT32)
    total = sum(t, axis, dtype=dtypes.FLOAT32, mask=mask, keepdims=keepdims, **kwargs)
    return binary(_MULTIPLY, "nl.mean", total, 1.0 / _count(t, axis), None, out)


def var(x: Any, axis: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """The variance over the last free axes: mean, difference, square, mean."""
    only(kwargs, "nl.var")
    t = tile(x, "nl.var")
    return variance(t, axis, want_dtype(dtype, "nl.var") or t.dtype, mask, False)


def variance(t: Tensor, axis: Any, dtype: np.dtype, mask: Any, keepdims: bool) -> Tensor:
    """The lowering of nl.var. `keepdims`: whether the axes stay, with one element each."""
    center = mean(t, axis, dtype=dtypes.FLOAT32, mask=mask, keepdims=True)
    off = subtract(t, center, dtype=dtypes.FLOAT32, mask=mask)
    return mean(square(off, mask=mask), axis, dtype=dtype, mask=mask, keepdims=keepdims)


def softmax(
    x: Any,
    axis: Any,
    *,
    dtype: Any = None,
    compute_dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """exp(x - max) / sum over the last free axes: max, exp with bias and running sum, reciprocal,
    multiply."""
    only(kwargs, "nl.softmax")
    t = tile(x, "nl.softmax")
    api = "nl.softmax"
    given = arguments.axes(axis, api)
    axes = given if isinstance(given, tuple) else (given,)
    out = want_dtype(dtype if dtype is not None else compute_dtype, api) or t.dtype
    fused = tuple(a % t.ndim for a in axes) == tuple(builtins.range(1, t.ndim))
    if not fused or mask is not None:
        shifted = subtract(
            t, max(t, axes, mask=mask, keepdims=True), dtype=dtypes.FLOAT32, mask=mask
        )
        p = exp(shifted, mask=mask)
        return multiply(p, reciprocal(sum(p, axes, mask=mask, keepdims=True)), dtype=out, mask=mask)
    negative_max = execute(
        TENSOR_REDUCE,
        api,
        None,
        (t,),
        (alu.ALU["maximum"], axes, True, False),
        SBUF,
        dtypes.FLOAT32,
    )
    total = current(api).allocate(SBUF, (t.shape[0], 1), dtypes.FLOAT32)
    p = execute(
        ACTIVATION,
        api,
        None,
        (t, negative_max),
        ("exp", False, True, alu.ALU["add"], RESET_REDUCE),
        SBUF,
        dtypes.FLOAT32,
        None,
        total,
    )
    inverse = execute(RECIPROCAL, api, None, (total,))
    return execute(
        TENSOR_SCALAR, api, None, (p, inverse), (_MULTIPLY, False, None, False, None), SBUF, out
    )


def rms_norm(
    x: Any,
    w: Any,
    axis: Any,
    n: int,
    epsilon: float = 1e-06,
    *,
    dtype: Any = None,
    compute_dtype: Any = None,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """x * rsqrt(sum(x * x) / n + epsilon) * w."""
    only(kwargs, "nl.rms_norm")
    t = tile(x, "nl.rms_norm")
    out = want_dtype(dtype if dtype is not None else compute_dtype, "nl.rms_norm") or t.dtype
    total = sum(square(t, dtype=dtypes.FLOAT32, mask=mask), axis, mask=mask, keepdims=True)
    scaled = execute(
        TENSOR_SCALAR,
        "nl.rms_norm",
        None,
        (
            total,
            Const(1.0 / arguments.integer(n, "nl.rms_norm", "n", least=1)),
            Const(arguments.real(epsilon, "nl.rms_norm", "epsilon")),
        ),
        (_MULTIPLY, False, alu.ALU["add"], False, None),
    )
    normal = multiply(t, rsqrt(scaled), dtype=dtypes.FLOAT32, mask=mask)
    return (
        multiply(normal, w, dtype=out, mask=mask)
        if w is not None
        else copy(normal, dtype=out, mask=mask)
    )


# -- matrix multiply and transpose -----------------------------------------------------------------
def matmul(x: Any, y: Any, *, transpose_x: bool = False, mask: Any = None, **kwargs: Any) -> Tensor:
    """x @ y, or x.T @ y with `transpose_x` (which spares a transpose). x, y: SBUF tiles; the result
    is in PSUM, fp32."""
    only(kwargs, "nl.matmul")
    a, b = tile(x, "nl.matmul"), tile(y, "nl.matmul")
    if not arguments.flag(transpose_x, "nl.matmul", "transpose_x"):
        a = _transposed(a, "nl.matmul", a.dtype)
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
