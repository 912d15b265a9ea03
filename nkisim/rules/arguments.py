"""Reading the arguments of a call: what a function takes, told as a broken rule where it gets
something else.

Each reader names the function (`api`, as the kernel writes it) and the argument (`what`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import broken, shown

LARGEST = 2**63 - 1
"""The largest integer that any size, offset or number of a kernel may be."""


def integer(value: Any, api: str, what: str, *, least: int = -LARGEST, most: int = LARGEST) -> int:
    """An integer known when the kernel is built, from `least` to `most`."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        broken(
            "argument",
            f"{api}: {what} is {kind_of(value)}, not an integer",
            got=shown(value),
            limit="an integer",
            remedy=f"Pass {what} as a Python integer, known when the kernel is built; divide "
            "with // instead of /.",
        )
        raise AssertionError
    if not least <= value <= most:
        bounds = f"{least} or more" if most == LARGEST else f"{least} to {most}"
        broken(
            "argument",
            f"{api}: {what} is {value}",
            got=value,
            limit="64 bits" if least == -LARGEST and most == LARGEST else bounds,
        )
    return int(value)


def integers(value: Any, api: str, what: str) -> tuple[int, ...]:
    """A list or tuple of integers."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        value = value.tolist()
    if not isinstance(value, (list, tuple, range)):
        broken(
            "argument",
            f"{api}: {what} is {kind_of(value)}",
            got=shown(value),
            limit="a tuple of integers",
            remedy=f"Write {what} as a tuple.",
        )
        raise AssertionError
    return tuple(integer(n, api, f"{what}[{i}]") for i, n in enumerate(value))


def sizes(shape: Any, api: str, what: str = "the shape") -> tuple[int, ...]:
    """A shape: one or more integers of at least 1."""
    found = integers(shape, api, what)
    for axis, n in enumerate(found):
        if n < 1:
            broken(
                "argument",
                f"{api}: axis {axis} has size {n}",
                got=shown(tuple(found)),
                remedy="Sizes are at least 1.",
            )
    if not found:
        broken("argument", f"{api}: {what} has no axis", got="()", limit="one axis or more")
    return found


def array(value: Any, api: str, what: str) -> np.ndarray:
    """An array of numbers, known when the kernel is built, with one element at least."""
    if isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        try:
            found = np.ascontiguousarray(value)
        except ValueError:  # rows of different lengths
            found = np.empty(0)
        if found.size and found.dtype.kind in "biufV":
            return found
    broken(
        "argument",
        f"{api}: {what} is {kind_of(value)}",
        got=shown(value),
        limit="a NumPy array of numbers",
    )
    raise AssertionError


def several(value: Any, api: str, what: str) -> list[Any]:
    """A list or tuple of things."""
    if isinstance(value, (list, tuple)):
        return list(value)
    broken("argument", f"{api}: {what} is {kind_of(value)}", got=shown(value), limit="a list")
    raise AssertionError


def pairs(value: Any, api: str, what: str, *, most: int = LARGEST) -> list[tuple[int, int]]:
    """A list of pairs of integers, as access patterns are written: [[step, count], ...]; none of
    them beyond `most` or below its negative."""
    if not isinstance(value, (list, tuple)) or not value:
        _no_pairs(value, api, what)
    found = []
    for i, pair in enumerate(value):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            _no_pairs(value, api, what)
        step, count = (integer(n, api, f"{what}[{i}]", least=-most, most=most) for n in pair)
        found.append((step, count))
    return found


def _no_pairs(value: Any, api: str, what: str) -> None:
    broken(
        "argument",
        f"{api}: {what} is not a list of [step, count] pairs",
        got=shown(value),
        limit="[[step, count], ...], one pair per axis",
    )


def axes(value: Any, api: str) -> int | tuple[int, ...]:
    """An axis, or several of them."""
    if not isinstance(value, (list, tuple)):
        return integer(value, api, "axis")
    found = integers(value, api, "axis")
    if not found:
        broken("argument", f"{api}: axis names no axis", got=shown(value), limit="an axis")
    return found


def flag(value: Any, api: str, what: str) -> bool:
    """True or False; 1 and 0 will do."""
    if isinstance(value, (bool, np.bool_)) or (type(value) is int and value in (0, 1)):
        return bool(value)
    broken(
        "argument",
        f"{api}: {what} is {kind_of(value)}",
        got=shown(value),
        limit="True or False",
    )
    raise AssertionError


def number(value: Any, api: str, what: str) -> Any:
    """A number known when the kernel is built, as a Python number (NumPy's keep their type)."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype != object:
        value = value[()]
    if isinstance(value, (int, float, np.integer, np.floating, np.bool_)) or _small_float(value):
        if not isinstance(value, int) or abs(value) <= LARGEST:
            return value
        broken("argument", f"{api}: {what} is {value}", got=value, limit="64 bits")
    broken(
        "argument",
        f"{api}: {what} is {kind_of(value)}",
        got=shown(value),
        limit="a number known when the kernel is built",
    )
    raise AssertionError


def real(value: Any, api: str, what: str) -> float:
    """A number, as a float."""
    return float(number(value, api, what))


def probability(value: Any, api: str, what: str) -> float:
    """A number from 0 to 1."""
    found = real(value, api, what)
    if not 0 <= found <= 1:
        broken("argument", f"{api}: {what} is not a probability", got=found, limit="0 to 1")
    return found


def word(value: Any, api: str, what: str) -> str:
    """A text; None is the empty one."""
    if value is None or isinstance(value, str):
        return value or ""
    broken("argument", f"{api}: {what} is {kind_of(value)}", got=shown(value), limit="a text")
    raise AssertionError


def function(value: Any, api: str, what: str) -> Any:
    """Something that can be called."""
    if callable(value):
        return value
    broken("argument", f"{api}: {what} is {kind_of(value)}", got=shown(value), limit="a function")


def _small_float(value: Any) -> bool:
    """Whether it is a scalar of one of the types that ml_dtypes adds to NumPy's."""
    return (
        isinstance(value, np.generic) and value.dtype.kind in "Vf" and hasattr(value, "__float__")
    )


def kind_of(value: Any) -> str:
    """What sort of thing it is: "None", "a list", "an array of shape (4, 4)"."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
