"""The diagnosis of stage 0: what a kernel that should scale did instead.

First the values: one rule that gives the output of every case, or a factor or an offset that is the
same everywhere. Then the places: tiles, rows or columns that hold what belongs to others. Then both
once more for the wrong rows or columns alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.text import apart, short
from ..running.answer import Answer, Diagnosis
from .first_kernel_places import exchanged, same_values, span, transposed

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Found = tuple[str, str]
"""A mistake's key and its sentence."""


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of one case: x (r, c), the output and the right one there, and the case's scale."""

    x: F32
    scale: float
    got: F64
    want: F64


_VALUES: tuple[tuple[str, str, Callable[[F32, float], F32]], ...] = (
    (
        "not scaled",
        "x comes back as it was: multiply each tile by scale before it is stored.",
        lambda x, s: x,
    ),
    ("scale added", "scale is added to x; it must be multiplied.", lambda x, s: x + np.float32(s)),
    (
        "scale subtracted",
        "scale is subtracted from x; it must be multiplied.",
        lambda x, s: x - np.float32(s),
    ),
    (
        "divided by scale",
        "x is divided by scale; it must be multiplied.",
        lambda x, s: x / np.float32(s),
    ),
    ("scale twice", "scale is applied twice.", lambda x, s: x * np.float32(s) * np.float32(s)),
    ("sign", "The sign is wrong.", lambda x, s: -x * np.float32(s)),
    (
        "exp",
        "The output is exp(scale * x): use nl.copy or a multiplication, not nl.exp.",
        lambda x, s: np.exp(x * np.float32(s)),
    ),
    (
        "scale only",
        "The output is scale everywhere: x is not in it.",
        lambda x, s: np.full_like(x, s),
    ),
    (
        "all zero",
        "The output is 0 everywhere: store the product, and not the tile that it should "
        "be written to.",
        lambda x, s: np.zeros_like(x),
    ),
    (
        "x squared",
        "The output is scale * x * x: x is multiplied twice, where once is right.",
        lambda x, s: x * x * np.float32(s),
    ),
    ("squared", "The output is the square of scale * x.", lambda x, s: (x * np.float32(s)) ** 2),
    ("x times x", "The output is x * x: the second factor must be scale.", lambda x, s: x * x),
    (
        "absolute value",
        "The output is the absolute value of scale * x: the sign must stay.",
        lambda x, s: np.abs(x * np.float32(s)),
    ),
    (
        "absolute value",
        "The output is scale times the absolute value of x: the sign must stay.",
        lambda x, s: np.abs(x) * np.float32(s),
    ),
    (
        "negative values lost",
        "Negative values come out as 0: no activation function belongs here.",
        lambda x, s: np.maximum(x * np.float32(s), np.float32(0)),
    ),
    (
        "negative values lost",
        "Negative values of x come out as 0: no activation function belongs here.",
        lambda x, s: np.maximum(x, np.float32(0)) * np.float32(s),
    ),
)
_FACTORS: tuple[tuple[str, str, Callable[[float], float]], ...] = (
    (
        "scale as an integer",
        "scale is cut to an integer, int(scale): multiply by scale as it is.",
        lambda s: float(int(s)),
    ),
    (
        "scale as an integer",
        "scale is rounded to an integer: multiply by scale as it is.",
        lambda s: float(round(s)),
    ),
    (
        "scale as an integer",
        "scale is rounded down to an integer: multiply by scale as it is.",
        lambda s: float(math.floor(s)),
    ),
    (
        "scale as an integer",
        "scale is rounded up to an integer: multiply by scale as it is.",
        lambda s: float(math.ceil(s)),
    ),
    ("absolute value", "x is multiplied by the absolute value of scale: the sign must stay.", abs),
    ("x added", "x is added to scale * x: the output is the product alone.", lambda s: s + 1.0),
    (
        "x subtracted",
        "x is subtracted from scale * x: the output is the product alone.",
        lambda s: s - 1.0,
    ),
)
_PLACES: tuple[tuple[str, str, Callable[[int, int], int]], ...] = (
    (
        "first tile everywhere",
        "Every tile holds the first tile's values: load at the tile's own columns.",
        lambda t, n: 0,
    ),
    (
        "last tile everywhere",
        "Every tile holds the last tile's values: load at the tile's own columns.",
        lambda t, n: n - 1,
    ),
    ("tiles reversed", "The tiles are stored in reverse order.", lambda t, n: n - 1 - t),
    (
        "tiles shifted",
        "Every tile holds the values of the tile before it.",
        lambda t, n: max(t - 1, 0),
    ),
    (
        "tiles shifted",
        "Every tile holds the values of the tile after it.",
        lambda t, n: min(t + 1, n - 1),
    ),
)


def diagnose_scaling(answers: Sequence[Answer]) -> Diagnosis:
    """Name what the wrong answers have in common."""
    first = next(a for a in answers if a.wrong)
    got, want = first.output, first.expected
    bad = _bad(first)
    r, c = (int(i) for i in np.argwhere(bad)[0])
    shown, expected = apart(float(got[r, c]), float(want[r, c]))
    where = f"y[{r}, {c}] is {shown}, expected {expected}."
    details: dict[str, Any] = {
        "index": (r, c),
        "got": float(got[r, c]),
        "expected": float(want[r, c]),
    }
    key, cause = _cause(answers) or (None, _where(bad, got.astype(np.float64), want))
    return Diagnosis(f"{where} {cause}", first.result.case.family, key, details)


def _cause(answers: Sequence[Answer]) -> Found | None:
    found = _value([_part(a) for a in answers]) or _tiles_moved(answers)
    if found is not None:
        return found
    wrong = [a for a in answers if a.wrong]
    pairs = [(a.output.astype(np.float64), a.expected) for a in wrong]
    return (
        transposed(pairs)
        or exchanged(pairs, "row")
        or exchanged(pairs, "column")
        or _in_a_part(wrong)
    )


def _part(answer: Answer, rows: Any = slice(None), columns: Any = slice(None)) -> _Part:
    """The rows and columns of an answer that are asked for."""
    args = answer.result.case.args
    x, got, want = (
        array[rows][:, columns] for array in (args["x"], answer.output, answer.expected)
    )
    return _Part(x, float(args["scale"]), got.astype(np.float64), want)


def _bad(answer: Answer) -> NDArray[np.bool_]:
    """Which elements are wrong, (128, n)."""
    with np.errstate(all="ignore"):
        size = max(float(np.abs(answer.expected).max()), 1e-30)
        bad: NDArray[np.bool_] = ~(np.abs(answer.output - answer.expected) <= 2e-5 * size)
    return bad


# -- values ----------------------------------------------------------------------------------------


def _value(parts: Sequence[_Part]) -> Found | None:
    """What all elements of these parts have in common: a rule of x and scale, a factor, an
    offset."""
    for key, cause, values in _VALUES:
        if all(_same(part, values) for part in parts):
            return key, cause
    return _factor(parts) or _offset(parts)


def _same(part: _Part, values: Callable[[F32, float], F32]) -> bool:
    with np.errstate(all="ignore"):
        return bool(
            np.allclose(part.got, values(part.x, part.scale), rtol=1e-4, atol=1e-6, equal_nan=True)
        )


def _factor(parts: Sequence[_Part]) -> Found | None:
    """Every output is x times one number: which."""
    factors = [_times(part) for part in parts]
    known = [factor for factor in factors if factor is not None]
    if len(known) < len(parts):
        return None
    for key, cause, rule in _FACTORS:
        if all(_near(factor, rule(part.scale)) for factor, part in zip(known, parts, strict=True)):
            return key, cause
    share = [factor / part.scale for factor, part in zip(known, parts, strict=True) if part.scale]
    zero = all(
        _near(factor, 0.0) for factor, part in zip(known, parts, strict=True) if not part.scale
    )
    if share and zero and all(_near(each, share[0]) for each in share):
        return "constant factor", (
            f"Every element is {short(share[0])} times what it must be: "
            "multiply by scale, and only once."
        )
    if all(_near(factor, known[0]) for factor in known):
        return ("constant in place of scale"), (
            f"x is multiplied by {short(known[0])}, whatever scale is: use the parameter."
        )
    factor, part = next((f, p) for f, p in zip(known, parts, strict=True) if not _near(f, p.scale))
    return "another factor", (
        f"x is multiplied by {short(factor)} everywhere; scale is {short(part.scale)}."
    )


def _times(part: _Part) -> float | None:
    """By what the output is x times a number; None where it is not, or where one element cannot
    tell."""
    x = part.x.astype(np.float64)
    if x.size < 2 or not np.isfinite(part.got).all() or not x.any():
        return None
    factor = float((part.got * x).sum() / (x * x).sum())
    return factor if np.allclose(part.got, factor * x, rtol=1e-4, atol=1e-6) else None


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)


def _offset(parts: Sequence[_Part]) -> Found | None:
    """Every output is the right one plus one number."""
    if not all(part.x.size > 1 and np.isfinite(part.got).all() for part in parts):
        return None
    offsets = [float((part.got - part.want).mean()) for part in parts]
    if not all(
        np.allclose(part.got, part.want + offset, rtol=0, atol=1e-5 * np.abs(part.got).max())
        for offset, part in zip(offsets, parts, strict=True)
    ):
        return None
    if all(_near(offset, part.scale) for offset, part in zip(offsets, parts, strict=True)):
        return "scale added too", "scale is added to scale * x: it must be multiplied only."
    offset = next((offset for offset in offsets if not _near(offset, 0.0)), 0.0)
    return (
        (
            "constant added",
            f"{short(offset)} is added to every element: the output is scale * x alone.",
        )
        if offset
        else None
    )


# -- places ----------------------------------------------------------------------------------------


def _tiles_moved(answers: Sequence[Answer]) -> Found | None:
    for width in (128, 256, 512, 64, 32):
        for key, cause, rule in _PLACES:

            def moved(
                x: F32, scale: float, width: int = width, rule: Callable[[int, int], int] = rule
            ) -> F32:
                return _tiles(x, rule, width) * np.float32(scale)

            if all(a.output.shape[1] % width == 0 and _same(_part(a), moved) for a in answers):
                return key, cause
    return None


def _tiles(x: F32, rule: Callable[[int, int], int], width: int) -> F32:
    n_tiles = x.shape[1] // width
    return np.concatenate(
        [x[:, rule(t, n_tiles) * width : (rule(t, n_tiles) + 1) * width] for t in range(n_tiles)],
        axis=1,
    )


def _in_a_part(wrong: Sequence[Answer]) -> Found | None:
    """Rows or columns are right, and what is said of the others holds for all of them."""
    parts = []
    for answer in wrong:
        bad = _bad(answer)
        parts.append(
            _part(answer, np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0)))
        )
    if all(
        part.got.shape == answer.output.shape for part, answer in zip(parts, wrong, strict=True)
    ):
        return None
    found = _value(parts)
    if found is None:
        return None
    key, cause = found
    return key, f"{_span(_bad(wrong[0]))} There: {cause}"


def _span(bad: NDArray[np.bool_]) -> str:
    """How many rows and columns are wrong, and which, as a sentence."""
    rows = span(np.flatnonzero(bad.any(axis=1)), bad.shape[0], "row")
    columns = span(np.flatnonzero(bad.any(axis=0)), bad.shape[1], "column")
    return f"The wrong values are in {rows} and {columns}."


def _where(bad: NDArray[np.bool_], got: F64, want: F64) -> str:
    """What can be said of an output that nothing explains."""
    if same_values(got, want):
        return (
            f"{_span(bad)} All values are right, in other places: look at the indices of the "
            "load and of the store."
        )
    return _span(bad)
