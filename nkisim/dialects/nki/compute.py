"""nl functions that compute: each is the instruction, or the sequence of instructions, that the
older dialect lowers it to.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...execution.execute import execute
from ...isa import alu
from ...isa.registers import IDLE
from ...isa.scalar import ACTIVATION
from ...isa.vector import TENSOR_SCALAR, TENSOR_TENSOR
from ...machine.memory import HBM, PSUM, SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..neuronxcc import elementwise, reductions
from ..neuronxcc.support import promoted
from .support import is_const, operand, tile, want_dtype
from .targets import needs_trn3


# -- one operand -----------------------------------------------------------------------------------
def _unary(name: str, what: str = "") -> Callable[..., Any]:
    api = f"nl.{name}"
    lower = getattr(elementwise, name)

    def function(x: Any, dtype: Any = None) -> Any:
        t = tile(x, api)
        out = want_dtype(dtype, api)
        return lower(t, dtype=t.dtype if out is None else out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{what or name} of each element. x: tile (p, ...); returns a tile of its "
        "shape (and dtype) in SBUF."
    )
    return function


exp = _unary("exp")
log = _unary("log")
sqrt = _unary("sqrt")
square = _unary("square")
tanh = _unary("tanh")
sigmoid = _unary("sigmoid")
relu = _unary("relu")
gelu = _unary("gelu")
gelu_dx = _unary("gelu_dx")
gelu_apprx_tanh = _unary("gelu_apprx_tanh")
gelu_apprx_sigmoid = _unary("gelu_apprx_sigmoid")
silu = _unary("silu")
silu_dx = _unary("silu_dx")
softplus = _unary("softplus")
mish = _unary("mish")
erf = _unary("erf")
erf_dx = _unary("erf_dx")
sin = _unary("sin")
cos = _unary("cos")
tan = _unary("tan")
arctan = _unary("arctan")
sign = _unary("sign")
abs = _unary("abs", "the absolute value")
floor = _unary("floor")
ceil = _unary("ceil")
trunc = _unary("trunc")
reciprocal = _unary("reciprocal", "1 / x")
negative = _unary("negative", "-x")
invert = _unary("invert", "the bitwise complement")
logical_not = _unary("logical_not")


def gelu_apprx_sigmoid_dx(x: Any, dtype: Any = None) -> Any:
    """The derivative of x * sigmoid(1.702 x), on ScalarE. x: tile (p, ...); returns a tile of its
    shape in SBUF."""
    api = "nl.gelu_apprx_sigmoid_dx"
    attrs = ("gelu_apprx_sigmoid_dx", False, False, None, IDLE)
    t = tile(x, api)
    return execute(ACTIVATION, api, None, (t,), attrs, SBUF, want_dtype(dtype, api))


def rsqrt(x: Any, dtype: Any = None) -> Any:
    """1 / sqrt(x) of each element, on GpSimdE, which does not reach PSUM."""
    api = "nl.rsqrt"
    return execute(
        TENSOR_SCALAR,
        api,
        None,
        (tile(x, api), Const(0.0)),
        (alu.ALU["rsqrt"], False, None, False, "gpsimd"),
        SBUF,
        want_dtype(dtype, api),
    )


# -- two operands ----------------------------------------------------------------------------------
def tensor_tensor_engine(op: alu.AluOp, *tiles: Tensor) -> str | None:
    """Where tensor_tensor runs if nobody says: integers of 32 bits on GpSimdE, unless a tile lies
    in PSUM."""
    for t in tiles:
        if t.meta.space == PSUM and not op.bitvec and op.name != "power":
            return "vector"
    return None


def _binary(name: str, what: str, trn3: bool = False) -> Callable[..., Any]:
    api = f"nl.{name}"

    def function(x: Any, y: Any, dtype: Any = None) -> Any:
        if trn3:
            needs_trn3(api)
        op = alu.ALU[name]
        a, b = operand(x, api, "x"), operand(y, api, "y")
        out = want_dtype(dtype, api)
        if out is None:
            out = b.dtype if is_const(a) else a.dtype if is_const(b) else promoted(a, b)
        if not is_const(a) and not is_const(b):
            if a.shape == b.shape:
                return execute(
                    TENSOR_TENSOR,
                    api,
                    None,
                    (a, b),
                    (op, tensor_tensor_engine(op, a, b), True),
                    SBUF,
                    out,
                )
            _broadcasts(api, a, b)
        elif name == "power":
            broken(
                "nl-power-scalar",
                f"{api}: the exponent or the base is a number",
                got=f"{x!r}, {y!r}"[:80],
                remedy="Pass two tiles; a square is nl.square or nl.multiply(x, x).",
            )
        return elementwise.binary(op, api, a, b, None, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{what} of two tiles of one shape, or of a tile and a number."
    return function


def _broadcasts(api: str, a: Tensor, b: Tensor) -> None:
    if HBM in (a.meta.space, b.meta.space):
        bad = a if a.meta.space == HBM else b
        broken(
            "memory",
            f"{api}: operand '{bad.label}' lies in hbm",
            tensor=bad.label,
            got=bad.meta.describe(),
            limit="sbuf or psum",
            remedy="Bring it on chip with nl.load or nisa.dma_copy first.",
        )
    if a.meta.partitions == b.meta.partitions and a.meta.free == b.meta.free:
        return
    broken(
        "nl-broadcast",
        f"{api}: '{a.label}' {a.shape} and '{b.label}' {b.shape} have different shapes",
        tensor=b.label,
        got=f"{a.meta.describe()} and {b.meta.describe()}",
        remedy="For one value per partition use nisa.tensor_scalar(dst, data, op0, operand0).",
    )


add = _binary("add", "x + y")
subtract = _binary("subtract", "x - y")
multiply = _binary("multiply", "x * y")
maximum = _binary("maximum", "the larger")
minimum = _binary("minimum", "the smaller")
power = _binary("power", "x to the power of y")
abs_max = _binary(
    "abs_max", "the one of larger magnitude (y where they are equal; trn3 only)", True
)
abs_min = _binary(
    "abs_min", "the one of smaller magnitude (y where they are equal; trn3 only)", True
)
equal = _binary("equal", "x == y, as 1 or 0,")
not_equal = _binary("not_equal", "x != y, as 1 or 0,")
greater = _binary("greater", "x > y, as 1 or 0,")
greater_equal = _binary("greater_equal", "x >= y, as 1 or 0,")
less = _binary("less", "x < y, as 1 or 0,")
less_equal = _binary("less_equal", "x <= y, as 1 or 0,")
logical_and = _binary("logical_and", "logical and, as 1 or 0,")
logical_or = _binary("logical_or", "logical or, as 1 or 0,")
logical_xor = _binary("logical_xor", "logical exclusive or, as 1 or 0,")
bitwise_and = _binary("bitwise_and", "bitwise and")
bitwise_or = _binary("bitwise_or", "bitwise or")
bitwise_xor = _binary("bitwise_xor", "bitwise exclusive or")
left_shift = _binary("left_shift", "x shifted left by y bits,")
right_shift = _binary("right_shift", "x shifted right by y bits, zeros coming in,")


def divide(x: Any, y: Any, dtype: Any = None) -> Any:
    """x / y. The device has no division: refused by the rule nl-divide, or, where that is lowered
    to a warning, a reciprocal and a multiplication."""
    broken(
        "nl-divide",
        "nl.divide: the device has no division",
        got="nl.divide(x, y)",
        remedy="Write nl.multiply(x, nl.reciprocal(y)).",
    )
    a, b = operand(x, "nl.divide", "x"), operand(y, "nl.divide", "y")
    return elementwise.divided(a, b, want_dtype(dtype, "nl.divide"))


def _modulo(name: str) -> Callable[..., Any]:
    api = f"nl.{name}"
    lower = getattr(elementwise, name)

    def function(x: Any, y: Any, dtype: Any = None) -> Any:
        broken(
            "nl-modulo",
            f"nl.{name}: the device has no remainder",
            got=f"nl.{name}(x, y)",
            remedy="For indices compute it on Python numbers; for powers of two use "
            "nl.bitwise_and(x, n - 1).",
        )
        a, b = operand(x, api, "x"), operand(y, api, "y")
        return lower(a, b, dtype=want_dtype(dtype, api))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"x {name} y. The device has no remainder: refused by the rule nl-modulo."
    return function


mod = _modulo("mod")
fmod = _modulo("fmod")


def where(condition: Any, x: Any, y: Any, dtype: Any = None) -> Any:
    """x where the tile `condition` is not zero, else y. x, y: tiles or numbers."""
    api = "nl.where"
    return elementwise.where(
        tile(condition, api), operand(x, api), operand(y, api), dtype=want_dtype(dtype, api)
    )


# -- reductions ------------------------------------------------------------------------------------
def _reduction(name: str) -> Callable[..., Any]:
    api = f"nl.{name}"
    lower = getattr(reductions, name)

    def function(x: Any, axis: Any, dtype: Any = None, keepdims: bool = False) -> Any:
        t = tile(x, api)
        out = want_dtype(dtype, api)
        return lower(
            t,
            arguments.axes(axis, api),
            dtype=t.dtype if out is None else out,
            keepdims=keepdims,
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name} over the last free axes `axis`. x: tile (p, ...); (p, 1) for a (p, n) tile."
    )
    return function


sum = _reduction("sum")
max = _reduction("max")
min = _reduction("min")
prod = _reduction("prod")
mean = _reduction("mean")


def all(x: Any, axis: Any, dtype: Any = None) -> Any:
    """Whether all elements over the last free axes `axis` are not zero, as 1 or 0."""
    t = tile(x, "nl.all")
    return reductions.all(t, axis, dtype=want_dtype(dtype, "nl.all") or t.dtype)


def var(x: Any, axis: Any, dtype: Any = None, keepdims: bool = False) -> Any:
    """The variance over the last free axes `axis`, which stay as axes of one element."""
    t = tile(x, "nl.var")
    arguments.flag(keepdims, "nl.var", "keepdims")
    out = want_dtype(dtype, "nl.var") or t.dtype
    return reductions.variance(t, arguments.axes(axis, "nl.var"), out, None, True)


def softmax(x: Any, axis: Any = -1, dtype: Any = None) -> Any:
    """exp(x - max) / sum over the last free axes `axis`."""
    return reductions.softmax(tile(x, "nl.softmax"), axis, dtype=want_dtype(dtype, "nl.softmax"))


def rms_norm(
    x: Any,
    w: Any,
    axis: Any,
    n: int,
    epsilon: float = 1e-06,
    dtype: Any = None,
    compute_dtype: Any = None,
) -> Any:
    """x * rsqrt(sum(x * x) / n + epsilon) * w."""
    api = "nl.rms_norm"
    return reductions.rms_norm(
        tile(x, api),
        None if w is None else operand(w, api),
        axis,
        n,
        epsilon,
        dtype=want_dtype(dtype, api),
        compute_dtype=want_dtype(compute_dtype, api),
    )


__all__ = [
    "abs",
    "abs_max",
    "abs_min",
    "add",
    "all",
    "arctan",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "ceil",
    "cos",
    "divide",
    "equal",
    "erf",
    "erf_dx",
    "exp",
    "floor",
    "fmod",
    "gelu",
    "gelu_apprx_sigmoid",
    "gelu_apprx_sigmoid_dx",
    "gelu_apprx_tanh",
    "gelu_dx",
    "greater",
    "greater_equal",
    "invert",
    "left_shift",
    "less",
    "less_equal",
    "log",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mish",
    "mod",
    "multiply",
    "negative",
    "not_equal",
    "power",
    "prod",
    "reciprocal",
    "relu",
    "right_shift",
    "rms_norm",
    "rsqrt",
    "sigmoid",
    "sign",
    "silu",
    "silu_dx",
    "sin",
    "softmax",
    "softplus",
    "sqrt",
    "square",
    "subtract",
    "sum",
    "tan",
    "tanh",
    "trunc",
    "var",
    "where",
]
