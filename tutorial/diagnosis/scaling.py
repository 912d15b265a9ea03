"""The diagnosis of stage 0: what a kernel that should scale did instead.

First the values: a known mistake that gives the output of every case, or a factor or an offset that
is the same everywhere. Then the places: tiles, rows or columns that hold what belongs to others.
Then the values once more, for the wrong rows or columns alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mistakes.scaling import SCALING
from ..reference import edits, evaluation, twins
from ..reference.mistake import Mistake
from ..reference.text import apart, short
from ..running.answer import Answer, Diagnosis
from .scaling_places import exchanged, same_values, span

F64 = NDArray[np.float64]
Found = tuple[str, str]
"""A mistake's key and its sentence."""

IN_TILES = [mistake for mistake in SCALING if "tiles" in mistake.flags]
ANYWHERE = [mistake for mistake in SCALING if mistake not in IN_TILES]
WIDTHS = (128, 256, 512, 64, 32)


@dataclass(frozen=True, eq=False)
class _Part:
    """Rows and columns of one answer, `...` for all: x (r, c), the output and the right one."""

    answer: Answer
    rows: Any = ...
    columns: Any = ...

    def of(self, array: NDArray[Any]) -> F64:
        return np.asarray(array[self.rows][:, self.columns], np.float64)

    @property
    def scale(self) -> float:
        return float(self.answer.result.case.args["scale"])

    @cached_property
    def x(self) -> F64:
        return self.of(self.answer.result.case.args["x"])

    @cached_property
    def got(self) -> F64:
        return self.of(self.answer.output)

    @cached_property
    def want(self) -> F64:
        return self.of(self.answer.expected)


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
    wrong = [a for a in answers if a.wrong]
    pairs = [(a.output.astype(np.float64), a.expected) for a in wrong]
    return (
        _values([_Part(a) for a in answers])
        or _in_tiles(answers)
        or exchanged(pairs, "row")
        or exchanged(pairs, "column")
        or _in_a_part(wrong)
    )


def _bad(answer: Answer) -> NDArray[np.bool_]:
    """Which elements are wrong, (128, n)."""
    with np.errstate(all="ignore"):
        size = max(float(np.abs(answer.expected).max()), 1e-30)
        bad: NDArray[np.bool_] = ~(np.abs(answer.output - answer.expected) <= 2e-5 * size)
    return bad


# -- known mistakes --------------------------------------------------------------------------------


def _values(parts: Sequence[_Part]) -> Found | None:
    """What all elements of these parts have in common: a mistake, a factor, an offset."""
    for mistake in ANYWHERE:
        if _answers_like(mistake, parts):
            return mistake.key, mistake.sentence
    return _factor(parts) or _offset(parts)


def _in_tiles(answers: Sequence[Answer]) -> Found | None:
    """A mistake with whole tiles, of whatever width."""
    parts = [_Part(answer) for answer in answers]
    for width in WIDTHS:
        for mistake in IN_TILES:
            if _answers_like(mistake, parts, width):
                return mistake.key, mistake.sentence.replace("{width}", str(width))
    return None


def _answers_like(mistake: Mistake, parts: Sequence[_Part], width: int = 0) -> bool:
    """Whether some way to make the mistake gives the output of every part."""
    texts = [edits.edited(twins.SCALING, way) for way in mistake.ways]
    smallest_first = sorted(parts, key=lambda part: part.got.size)
    return any(all(_same(part, text, width) for part in smallest_first) for text in texts if text)


def _same(part: _Part, text: str, width: int) -> bool:
    """Whether a text answers like the kernel, in tiles of that width; 0: in one tile."""
    args = part.answer.result.case.args
    x, n = args["x"], args["x"].shape[1]
    if width and n % width:
        return False
    tiles = list(np.arange(n).reshape(-1, width or n))
    ran = evaluation.run(text, {"x": x, "scale": np.float32(args["scale"]), "tiles": tiles, "o": x})
    if ran is None:
        return False
    made, got = part.of(ran.o), part.got
    with np.errstate(all="ignore"):
        largest = float(np.abs(made[np.isfinite(made)]).max(initial=1.0))
        return bool(np.allclose(got, made, rtol=1e-4, atol=1e-6 * largest, equal_nan=True))


# -- measured values -------------------------------------------------------------------------------


def _factor(parts: Sequence[_Part]) -> Found | None:
    """Every output is x times one number: which."""
    found = [(factor, part.scale) for part in parts if (factor := _times(part)) is not None]
    if len(found) < len(parts):
        return None
    shares = [factor / scale for factor, scale in found if scale]
    zero = all(_near(factor, 0.0) for factor, scale in found if not scale)
    if shares and zero and all(_near(share, shares[0]) for share in shares):
        return "constant factor", (
            f"Every element is {apart(shares[0], 1.0)[0]} times what it must be: "
            "multiply by scale, and only once."
        )
    if all(_near(factor, found[0][0]) for factor, _ in found):
        return "constant in place of scale", (
            f"x is multiplied by {short(found[0][0])}, whatever scale is: use the parameter."
        )
    factor, scale = next((f, s) for f, s in found if not _near(f, s))
    shown, right = apart(factor, scale)
    return "another factor", f"x is multiplied by {shown} everywhere; scale is {right}."


def _times(part: _Part) -> float | None:
    """By what the output is x times a number; None where it is not, or where one element cannot
    tell."""
    x, got = part.x, part.got
    if x.size < 2 or not np.isfinite(got).all() or not x.any():
        return None
    factor = float((got * x).sum() / (x * x).sum())
    return factor if np.allclose(got, factor * x, rtol=1e-4, atol=1e-6) else None


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)


def _offset(parts: Sequence[_Part]) -> Found | None:
    """Every output is the right one plus one number."""
    offsets = [_plus(part) for part in parts]
    known = [offset for offset in offsets if offset is not None and not _near(offset, 0.0)]
    if None in offsets or not known:
        return None
    return (
        "constant added",
        f"{short(known[0])} is added to every element: the output is scale * x alone.",
    )


def _plus(part: _Part) -> float | None:
    """By what the output is the right one plus a number; None where it is not, or where one element
    cannot tell."""
    got, want = part.got, part.want
    if got.size < 2 or not np.isfinite(got).all():
        return None
    offset = float((got - want).mean())
    near = np.allclose(got, want + offset, rtol=0, atol=1e-5 * np.abs(got).max())
    return offset if near else None


# -- places ----------------------------------------------------------------------------------------


def _in_a_part(wrong: Sequence[Answer]) -> Found | None:
    """Rows or columns are right, and what is said of the others holds for all of them."""
    parts = []
    for answer in wrong:
        bad = _bad(answer)
        parts.append(
            _Part(answer, np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0)))
        )
    if all(part.got.shape == part.answer.output.shape for part in parts):
        return None
    found = _values(parts)
    return found and (found[0], f"{_span(_bad(wrong[0]))} There: {found[1]}")


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
