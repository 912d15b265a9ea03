"""What each step must give, in float64: an interpreter that shares nothing with the simulator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.nkisim.random_programs.numbers import INTEGERS, Numbers, product, rounded, total

Binary = Callable[[np.ndarray, np.ndarray], np.ndarray]

ARITHMETIC: dict[str, Binary] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARISONS: dict[str, Binary] = {
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "logical_and": lambda a, b: (a != 0) & (b != 0),
    "logical_or": lambda a, b: (a != 0) | (b != 0),
    "logical_xor": lambda a, b: (a != 0) ^ (b != 0),
}
SMOOTH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "gelu": lambda x: x / 2 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2))),
    "softplus": lambda x: np.logaddexp(0, x),
    "arctan": np.arctan,
}
"""Functions that are computed to a few digits less than float32 has."""
PRECISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "square": np.square,
    "relu": lambda x: np.maximum(x, 0),
    "abs": np.abs,
    "sign": np.sign,
    "negative": np.negative,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "logical_not": lambda x: (x == 0).astype(np.float64),
}
BITS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
}


def binary(op: str, a: Numbers, b: Numbers) -> Numbers:
    """a op b of float32 operands, rounded once."""
    if op in COMPARISONS:
        return Numbers(COMPARISONS[op](a.values, b.values).astype(np.float64))
    values = ARITHMETIC[op](a.values, b.values)
    if op == "multiply":
        error = np.abs(a.values) * b.error + np.abs(b.values) * a.error + a.error * b.error
    elif op in ("add", "subtract"):
        error = a.error + b.error
    else:
        error = np.maximum(a.error, b.error)
    return once(Numbers(values, np.broadcast_to(error, values.shape).copy()))


def once(x: Numbers) -> Numbers:
    """Rounded to float32, as every result of an operator is."""
    return x.stored("float32")


def number(value: float) -> Numbers:
    """An immediate: float32."""
    return Numbers(rounded(np.array(float(value)), "float32"))


def unary(op: str, x: Numbers) -> Numbers:
    """A function of one operand; of the smooth ones a few digits are nobody's business."""
    if op in PRECISE:
        values = PRECISE[op](x.values)
        slope = 2 * np.abs(x.values) + x.error if op == "square" else 1.0
        return once(Numbers(values, x.error * slope))
    values = SMOOTH[op](x.values)
    return Numbers(values, x.error * (1 + np.abs(values)) + 2.0**-18 * np.abs(values) + 2.0**-22)


def reduced(op: str, x: Numbers, axes: tuple[int, ...]) -> Numbers:
    """A reduction, its axes kept."""
    if op == "add":
        return once(total(x, axes))
    pick = np.max if op == "maximum" else np.min
    return Numbers(pick(x.values, axis=axes, keepdims=True), x.error.max(axis=axes, keepdims=True))


def select(condition: Numbers, a: Numbers, b: Numbers) -> Numbers:
    """a where the condition is not zero, else b."""
    chosen = condition.values != 0
    return Numbers(np.where(chosen, a.values, b.values), np.where(chosen, a.error, b.error))


def matmul(stationary: Numbers, moving: Numbers) -> Numbers:
    """stationary.T @ moving."""
    return product(stationary, moving)


def bitwise(op: str, a: np.ndarray, b: Any, dtype: str) -> np.ndarray:
    """A bitwise operator on integers of `dtype`, in Python's integers."""
    low, high = INTEGERS[dtype]
    width = (high - low + 1).bit_length() - 1
    mask = (1 << width) - 1
    left = a.astype(np.int64) & mask
    right = np.asarray(b).astype(np.int64) & mask
    if op == "left_shift":
        found = (left << np.asarray(b).astype(np.int64)) & mask
    elif op == "right_shift":
        found = left >> np.asarray(b).astype(np.int64)
    else:
        found = BITS[op](left, right)
    return np.where(found > high, found - (1 << width), found).astype(np.float64)


def wrapped(op: str, a: np.ndarray, b: np.ndarray, dtype: str) -> np.ndarray:
    """Native arithmetic on integers of 32 bits."""
    x, y = a.astype(np.int64), b.astype(np.int64)
    with np.errstate(over="ignore"):
        found = {"add": x + y, "subtract": x - y, "multiply": x * y}[op] & 0xFFFFFFFF
    _low, high = INTEGERS[dtype]
    return np.where(found > high, found - 2**32, found).astype(np.float64)


def scan(op0: str, op1: str, a: np.ndarray, b: np.ndarray, initial: float) -> Numbers:
    """state = (a[:, i] op0 state) op1 b[:, i], along the free axis."""
    state = Numbers(np.full(a.shape[0], initial))
    out = Numbers(np.zeros(a.shape))
    for i in range(a.shape[1]):
        inner = binary(op0, Numbers(a[:, i]), state)
        state = binary(op1, inner, Numbers(b[:, i]))
        out.values[:, i], out.error[:, i] = state.values, state.error
    return out


def largest8(x: np.ndarray) -> np.ndarray:
    """The eight largest of each partition, the largest first."""
    return -np.sort(-x.reshape(x.shape[0], -1), axis=1)[:, :8]
