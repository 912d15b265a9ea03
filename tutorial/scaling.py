"""The diagnosis of stage 0: what a kernel that should scale did instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .answer import Answer, Diagnosis
from .text import short

F32 = NDArray[np.float32]


def _tiles(x: F32, rule: Callable[[int, int], int], width: int) -> F32:
    n_tiles = x.shape[1] // width
    return np.concatenate([x[:, rule(t, n_tiles) * width : (rule(t, n_tiles) + 1) * width] for t in range(n_tiles)], axis=1)


_VALUES: tuple[tuple[str, str, Callable[[F32, float], F32]], ...] = (
    ("not scaled", "x comes back as it was: multiply each tile by scale before it is stored.", lambda x, s: x),
    ("scale added", "scale is added to x; it must be multiplied.", lambda x, s: x + np.float32(s)),
    ("scale subtracted", "scale is subtracted from x; it must be multiplied.", lambda x, s: x - np.float32(s)),
    ("divided by scale", "x is divided by scale; it must be multiplied.", lambda x, s: x / np.float32(s)),
    ("scale twice", "scale is applied twice.", lambda x, s: x * np.float32(s) * np.float32(s)),
    ("sign", "The sign is wrong.", lambda x, s: -x * np.float32(s)),
    ("exp", "The output is exp(scale * x): use nl.copy or a multiplication, not nl.exp.",
     lambda x, s: np.exp(x * np.float32(s))),
    ("scale only", "The output is scale everywhere: x is not in it.", lambda x, s: np.full_like(x, s)),
)
_PLACES: tuple[tuple[str, str, Callable[[int, int], int]], ...] = (
    ("first tile everywhere", "Every tile holds the first tile's values: load at the tile's own columns.", lambda t, n: 0),
    ("last tile everywhere", "Every tile holds the last tile's values: load at the tile's own columns.",
     lambda t, n: n - 1),
    ("tiles reversed", "The tiles are stored in reverse order.", lambda t, n: n - 1 - t),
    ("tiles shifted", "Every tile holds the values of the tile before it.", lambda t, n: max(t - 1, 0)),
    ("tiles shifted", "Every tile holds the values of the tile after it.", lambda t, n: min(t + 1, n - 1)),
)


def diagnose_scaling(answers: Sequence[Answer]) -> Diagnosis:
    """Name what the wrong answers have in common."""
    first = next(a for a in answers if a.wrong)
    got, want = first.output, first.expected
    with np.errstate(all="ignore"):
        bad = ~(np.abs(got - want) <= 2e-5 * max(float(np.abs(want).max()), 1e-30))
    r, c = (int(i) for i in np.argwhere(bad)[0])
    where = f"y[{r}, {c}] is {short(float(got[r, c]))}, expected {short(float(want[r, c]))}."
    details: dict[str, Any] = {"index": (r, c), "got": float(got[r, c]), "expected": float(want[r, c])}
    for key, cause, values in _VALUES:
        if all(_same(a, values) for a in answers):
            return Diagnosis(f"{where} {cause}", first.result.case.family, key, details)
    for width in (128, 256, 512, 64, 32):
        for key, cause, rule in _PLACES:
            def moved(x: F32, scale: float, width: int = width, rule: Callable[[int, int], int] = rule) -> F32:
                return _tiles(x, rule, width) * np.float32(scale)

            if all(a.output.shape[1] % width == 0 and _same(a, moved) for a in answers):
                return Diagnosis(f"{where} {cause}", first.result.case.family, key, details)
    columns = np.flatnonzero(bad.any(axis=0))
    span = f"{len(columns)} of {got.shape[1]} columns are wrong, the first is column {columns[0]}."
    return Diagnosis(f"{where} {span}", first.result.case.family, None, details)


def _same(answer: Answer, values: Callable[[F32, float], F32]) -> bool:
    x, scale = answer.result.case.args["x"], answer.result.case.args["scale"]
    with np.errstate(all="ignore"):
        return bool(np.allclose(answer.output, values(x, scale), rtol=1e-4, atol=1e-6, equal_nan=True))
