"""A kernel's answer to one case, and what the diagnosis of several says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stage import Case, Stage
from . import tolerance
from .runner import Result

AGREES = 3e-4  # relative to the largest finite element: two fp32 ways to make the same mistake


@dataclass(frozen=True)
class Diagnosis:
    """The sentence, the family it is about, the recognised mistake (or None), and where, for
    machines."""

    sentence: str
    family: str
    cause: str | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Answer:
    """One case with the kernel's output and the right one."""

    result: Result
    expected: NDArray[np.float64]
    wrong: bool

    @property
    def output(self) -> NDArray[Any]:
        assert self.result.output is not None
        return self.result.output

    @property
    def rows(self) -> NDArray[Any]:
        """The output with one row per query head, those of a batch one after another."""
        return self.output.reshape(-1, self.output.shape[-1])

    @property
    def expected_rows(self) -> NDArray[np.float64]:
        """The right output in the shape of `rows`."""
        return self.expected.reshape(-1, self.expected.shape[-1])


def answered(stage: Stage, result: Result) -> Answer:
    """An output beside the oracle's: wrong where it is farther away than a right kernel's may
    be."""
    expected = stage.expected(result.case)
    assert result.output is not None
    with np.errstate(all="ignore"):
        error = abs(result.output.astype(np.float64) - expected)
    return Answer(result, expected, not _allowed(stage, result.case, error, expected))


def _allowed(stage: Stage, case: Case, error: Any, expected: Any) -> bool:
    if stage.tolerance is not None:
        return bool((error <= stage.tolerance(case)).all())
    if stage.attention is None:
        return bool((error <= tolerance.elementwise(expected)).all())
    return tolerance.allows(stage.attention, case, error.reshape(-1, error.shape[-1]))


def alike(
    got: NDArray[Any],
    predicted: NDArray[Any],
    settled: NDArray[np.bool_] | None = None,
    agrees: float = AGREES,
) -> bool:
    """Whether two wrong outputs are the same up to rounding; any NaN or infinity counts as any
    other.

    Rows that are `settled` do not count.
    """
    if settled is not None and got.shape == predicted.shape:
        got, predicted = got[~settled], predicted[~settled]
    finite = np.isfinite(predicted)
    if got.shape != predicted.shape or not np.array_equal(finite, np.isfinite(got)):
        return False
    if not finite.any():
        return True
    for g, p, ok in zip(got, predicted, finite, strict=True):
        if ok.any() and not np.abs(g[ok] - p[ok]).max() <= agrees * np.abs(p[ok]).max() + 1e-30:
            return False
    return True
