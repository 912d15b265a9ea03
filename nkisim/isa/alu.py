"""The arithmetic and bitwise operators of the engines, and the activation functions of ScalarE.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki.api.shared.rst (operators and their engines,
activation functions); v2.32.0 nki/api/nki.api.shared.rst (abs_max, abs_min, square, relu; prelu,
gelu_apprx_sigmoid_dx; sin beyond its range). Arithmetic is float32 whatever the operands' types;
bitwise operators take integers as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .core import GPSIMD, SCALAR, VECTOR


@dataclass(frozen=True, eq=False)
class AluOp:
    """A binary (or unary) operator."""

    name: str
    function: Callable[..., np.ndarray]
    engines: tuple[str, ...]
    bitvec: bool = False
    reduce: Callable[..., np.ndarray] | None = None
    """`reduce(array, axis=, keepdims=)` where it is a legal reduction."""
    scalar_only: bool = False
    """Only `activate2`, on ScalarE, reduces by it."""
    identity: float = 0.0
    unary: bool = False
    boolean: bool = False
    """The result is 1.0 or 0.0."""
    since: int = 2
    """The first generation of NeuronCore that has it."""


ALU: dict[str, AluOp] = {}


def _alu(name: str, function: Callable[..., Any], *engines: str, **kwargs: Any) -> None:
    ALU[name] = AluOp(name, function, engines, **kwargs)


def _truth(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda a, b: function(a, b).astype(np.float32)


def _subtract_reduce(a: np.ndarray, axis: Any, keepdims: bool = False) -> np.ndarray:
    """First element minus the others, in order along the last axis (float32)."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    lead = a.shape[: a.ndim - len(axes)]
    flat = a.reshape(lead + (-1,))
    out = flat[..., 0] - flat[..., 1:].sum(axis=-1, dtype=np.float32)
    found: np.ndarray = out.reshape(lead + (1,) * len(axes)) if keepdims else out
    return found


def _magnitude(pick: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The reduction that keeps the element of largest or smallest magnitude, with its sign."""

    def reduce(a: np.ndarray, axis: Any, keepdims: bool = False) -> np.ndarray:
        axes = axis if isinstance(axis, tuple) else (axis,)
        lead = a.shape[: a.ndim - len(axes)]
        flat = a.reshape(lead + (-1,))
        out = np.take_along_axis(flat, pick(np.abs(flat), axis=-1)[..., None], axis=-1)[..., 0]
        return out.reshape(lead + (1,) * len(axes)) if keepdims else out

    return reduce


def _power(a: Any, b: Any) -> np.ndarray:
    found: np.ndarray = np.power(a, b, dtype=np.float32)
    return found


def _logical_right_shift(a: np.ndarray, b: Any) -> np.ndarray:
    """Zeros come in from the left, whatever the sign: the engines have no arithmetic shift to the
    right."""
    unsigned = np.dtype(f"u{a.dtype.itemsize}")
    found: np.ndarray = np.right_shift(a.view(unsigned), np.asarray(b).astype(unsigned)).view(
        a.dtype
    )
    return found


def bits(number: int, dtype: np.dtype) -> Any:
    """The integer `number` as a scalar of `dtype`, its bit pattern cut to the width."""
    if dtype.kind == "b":
        return np.bool_(number)
    return np.array(number & ((1 << 8 * dtype.itemsize) - 1), dtype=f"u{dtype.itemsize}").view(
        dtype
    )[()]


_alu("add", np.add, VECTOR, GPSIMD, SCALAR, reduce=np.add.reduce)
_alu("subtract", np.subtract, VECTOR, reduce=_subtract_reduce)
_alu("multiply", np.multiply, VECTOR, GPSIMD, SCALAR, reduce=np.multiply.reduce, identity=1.0)
_alu("maximum", np.maximum, VECTOR, reduce=np.maximum.reduce, identity=-math.inf)
_alu("minimum", np.minimum, VECTOR, reduce=np.minimum.reduce, identity=math.inf)
_alu("equal", _truth(np.equal), VECTOR, boolean=True)
_alu("not_equal", _truth(np.not_equal), VECTOR, boolean=True)
_alu("greater", _truth(np.greater), VECTOR, boolean=True)
_alu("greater_equal", _truth(np.greater_equal), VECTOR, boolean=True)
_alu("less", _truth(np.less), VECTOR, boolean=True)
_alu("less_equal", _truth(np.less_equal), VECTOR, boolean=True)
_alu(
    "logical_and",
    _truth(np.logical_and),
    VECTOR,
    boolean=True,
    identity=1.0,
    reduce=lambda a, axis, keepdims=False: np.all(a != 0, axis=axis, keepdims=keepdims).astype(
        np.float32
    ),
)
_alu(
    "logical_or",
    _truth(np.logical_or),
    VECTOR,
    boolean=True,
    reduce=lambda a, axis, keepdims=False: np.any(a != 0, axis=axis, keepdims=keepdims).astype(
        np.float32
    ),
)
_alu(
    "logical_xor",
    _truth(np.logical_xor),
    VECTOR,
    boolean=True,
    reduce=lambda a, axis, keepdims=False: np.logical_xor.reduce(
        a != 0, axis=axis, keepdims=keepdims
    ).astype(np.float32),
)
_alu("logical_not", lambda a, b=None: (a == 0).astype(np.float32), VECTOR, unary=True, boolean=True)
_alu("abs", lambda a, b=None: np.abs(a), VECTOR, SCALAR, unary=True)
_alu("reciprocal", lambda a, b=None: np.reciprocal(a, dtype=np.float32), VECTOR, SCALAR, unary=True)
# tensor_scalar documents op0=rsqrt with operand0=0.0: the operand is added before the root.
_alu("rsqrt", lambda a, b=0.0: 1.0 / np.sqrt(a + np.float32(b)), GPSIMD, SCALAR, unary=True)
_alu("power", _power, GPSIMD)
_alu(
    "abs_max",
    lambda a, b: np.where(np.abs(a) > np.abs(b), a, b),
    VECTOR,
    reduce=_magnitude(np.argmax),
    scalar_only=True,
    since=4,
)
_alu(
    "abs_min",
    lambda a, b: np.where(np.abs(a) < np.abs(b), a, b),
    VECTOR,
    reduce=_magnitude(np.argmin),
    scalar_only=True,
    identity=math.inf,
    since=4,
)
_alu("square", lambda a, b=None: np.square(a), VECTOR, unary=True, since=4)
_alu("relu", lambda a, b=None: np.maximum(a, np.float32(0)), VECTOR, unary=True, since=4)
_alu("bitwise_and", np.bitwise_and, VECTOR, bitvec=True, reduce=np.bitwise_and.reduce, identity=-1)
_alu("bitwise_or", np.bitwise_or, VECTOR, bitvec=True, reduce=np.bitwise_or.reduce)
_alu("bitwise_xor", np.bitwise_xor, VECTOR, bitvec=True, reduce=np.bitwise_xor.reduce)
_alu("left_shift", np.left_shift, VECTOR, bitvec=True)
_alu("right_shift", _logical_right_shift, VECTOR, bitvec=True)
_alu("invert", lambda a, b=None: np.invert(a), VECTOR, bitvec=True, unary=True)

AVERAGE = AluOp("average", np.add, (GPSIMD,), reduce=np.mean)
"""What tensor_partition_reduce has besides in NKI 0.6; no other instruction does."""

_ALIASES = {
    "max": "maximum",
    "min": "minimum",
    "amax": "maximum",
    "amin": "minimum",
    "sum": "add",
    "prod": "multiply",
    "absolute": "abs",
    "power": "power",
    "float_power": "power",
    "bitwise_not": "invert",
    "all": "logical_and",
    "any": "logical_or",
}


def alu(op: Any) -> AluOp | None:
    """The operator meant by an nl function, a NumPy function or a name; None if the engines have no
    such one."""
    if isinstance(op, AluOp):
        return op
    name = op if isinstance(op, str) else getattr(op, "__name__", "")
    return ALU.get(_ALIASES.get(name, name))


def _erf(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.float32)
    return found


def _sigmoid(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1.0 / (1.0 + np.exp(-x))
    return found


def _normal(x: np.ndarray) -> np.ndarray:
    """The share of the normal distribution below x, in float64: 1 + erf leaves no digits of it far
    to the left."""
    found: np.ndarray = np.vectorize(math.erfc, otypes=[np.float64])(x / -math.sqrt(2)) / 2
    return found


def _approaching(
    at_infinity: float, function: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that goes to 0 on the left, also where it is computed as infinity times 0; and on
    the right to `at_infinity`."""

    def whole(x: np.ndarray) -> np.ndarray:
        beyond, zero = np.isinf(x), np.float32(0)
        ends = np.where(x > 0, np.float32(at_infinity), zero)
        return np.where(beyond, ends, function(np.where(beyond, zero, x))).astype(np.float32)

    return whole


def _gelu_dx(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    found: np.ndarray = _normal(wide) + wide * np.exp(-wide * wide / 2) / math.sqrt(2 * math.pi)
    return found


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    """x (1 + tanh z) / 2, which is x sigmoid(2 z)."""
    z = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x**3)
    found: np.ndarray = x * _sigmoid(2 * z)
    return found


def _softplus(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.logaddexp(np.float32(0), x)
    return found


def _silu_dx(x: np.ndarray) -> np.ndarray:
    s = _sigmoid(x)
    found: np.ndarray = s * (1 + x * (1 - s))
    return found


def _gelu_sigmoid_dx(x: np.ndarray) -> np.ndarray:
    s = _sigmoid(np.float32(1.702) * x)
    found: np.ndarray = s * (1 + np.float32(1.702) * x * (1 - s))
    return found


def _sin_of_the_table(x: np.ndarray) -> np.ndarray:
    """sin in [-pi, pi]; beyond, the cubic of the ends goes on: sin(9) is about 27.65 (v2.32.0
    nki.api.shared.rst)."""
    end = np.copysign(np.float32(math.pi), x)
    away = x - end
    found: np.ndarray = np.where(
        np.abs(x) <= np.float32(math.pi), np.sin(x), away * away * away / np.float32(6) - away
    )
    return found


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "copy": lambda x: x,
    "square": np.square,
    "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "gelu": _approaching(math.inf, lambda x: x * _normal(x)),
    "gelu_dx": _approaching(1, _gelu_dx),
    "gelu_apprx_tanh": _approaching(math.inf, _gelu_tanh),
    "gelu_apprx_sigmoid": _approaching(math.inf, lambda x: x * _sigmoid(np.float32(1.702) * x)),
    "silu": _approaching(math.inf, lambda x: x * _sigmoid(x)),
    "silu_dx": _approaching(1, _silu_dx),
    "tanh": np.tanh,
    "softplus": _softplus,
    "mish": _approaching(math.inf, lambda x: x * np.tanh(_softplus(x))),
    "erf": _erf,
    "erf_dx": lambda x: np.float32(2 / math.sqrt(math.pi)) * np.exp(-x * x),
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "arctan": np.arctan,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1.0 / np.sqrt(x),
    "reciprocal": np.reciprocal,
    "sign": np.sign,
    "abs": np.abs,
}
NEWER_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu_apprx_sigmoid_dx": _approaching(1, _gelu_sigmoid_dx),
    "sin_table": _sin_of_the_table,
}
"""What NKI 0.6 has besides. "sin_table" is sin as its instructions compute it, without reducing the
argument to [-pi, pi]."""
_ACTIVATION_ALIASES = {"absolute": "abs", "identity": "copy"}


def activation(op: Any) -> str | None:
    """The name of the activation function meant by an nl function, a NumPy function or a name, or
    None."""
    name = op if isinstance(op, str) else getattr(op, "__name__", "")
    name = _ACTIVATION_ALIASES.get(name, name)
    return name if name in ACTIVATIONS or name in NEWER_ACTIVATIONS else None


def activation_function(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function of that name, float32 to float32."""
    return ACTIVATIONS.get(name) or NEWER_ACTIVATIONS[name]
