"""What the dialects share: which operator or activation function of the engines a function object
means, how Python writes operators, and what is said of a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..isa import alu
from ..rules.errors import broken
from ..tensors.tensor import Tensor

SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "left_shift": "<<",
    "right_shift": ">>",
    "mod": "%",
    "matmul": "@",
    "floor_divide": "//",
}
"""Python's operators of two operands."""
_ALU_OF: dict[Any, alu.AluOp] = {}
_ACTIVATION_OF: dict[Any, str] = {}
"""The operator and the activation function of each function object seen so far."""


def alu_of(op: Any, api: str, what: str = "op") -> alu.AluOp:
    """The operator of the engines meant by an nl or NumPy function or a name."""
    try:
        return _ALU_OF[op]
    except (KeyError, TypeError):
        pass
    found = alu.alu(op)
    if found is None:
        name = getattr(op, "__name__", repr(op))
        broken(
            "operator",
            f"{api}: {what} '{name}' is not an operator of the engines",
            got=name,
            limit=", ".join(sorted(alu.ALU)),
            remedy="For functions such as nl.exp use nisa.activation."
            if alu.activation(op)
            else "Multiply by nisa.reciprocal(...) instead."
            if name == "divide"
            else None,
        )
        raise AssertionError
    if not isinstance(op, str):
        _ALU_OF[op] = found
    return found


def activation_name(op: Any, api: str) -> str:
    """The activation function meant by an nl function."""
    try:
        return _ACTIVATION_OF[op]
    except (KeyError, TypeError):
        pass
    name = alu.activation(op)
    if name is None:
        given = getattr(op, "__name__", repr(op))
        broken(
            "operator",
            f"{api}: '{given}' is not an activation function",
            got=given,
            limit=", ".join(sorted(alu.ACTIVATIONS)),
        )
        raise AssertionError
    if not isinstance(op, str):
        _ACTIVATION_OF[op] = name
    return name


def activation_sources(
    data: Tensor, scale: Any, bias: Any, read: Callable[[Any, str], Tensor]
) -> tuple[tuple[Tensor, ...], bool, bool]:
    """What an activation reads: the data, a scale other than the number 1, a bias other than None;
    and whether it has the two. `read`: the argument of that name as an operand."""
    srcs = [data]
    has_scale = not (isinstance(scale, (int, float)) and scale == 1.0)
    if has_scale:
        srcs.append(read(scale, "scale"))
    if bias is not None:
        srcs.append(read(bias, "bias"))
    return tuple(srcs), has_scale, bias is not None


def whole(value: Any, api: str, what: str) -> int:
    """An integer known when the kernel is built."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_)):
        return int(value)
    broken(
        "argument",
        f"{api}: {what} is {type(value).__name__}",
        got=repr(value)[:80],
        limit="an integer",
        remedy=f"Pass {what}= a Python integer.",
    )
    raise AssertionError


def missing(
    module: str, names: list[str], others: dict[str, str] | None = None
) -> Callable[[str], Any]:
    """A module's `__getattr__`: what it says of a name it does not have. `others`: what became of
    some."""

    def getattribute(name: str) -> Any:
        if others and name in others:
            raise AttributeError(f"{module}.{name} is not part of NKI 0.6: {others[name]}")
        near = difflib.get_close_matches(name, names, 1)
        raise AttributeError(
            f"{module} has no '{name}'" + (f"; did you mean {module}.{near[0]}?" if near else "")
        )

    return getattribute
