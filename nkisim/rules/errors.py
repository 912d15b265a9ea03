"""Two families of errors: the kernel is wrong (`KernelError`), the simulator is wrong
(`SimulatorError`).

A `KernelError` says what is wrong, what it got, what the limit is, what to do, which tensor and
which line of the kernel, and the rule by which it was refused.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

from . import source
from .rules import REMEDIES, RULES


class SimulatorError(Exception):
    """A fault of the simulator, not of the kernel. Please report it with the kernel."""


class RuleWarning(UserWarning):
    """A rule was broken that is only warned about: by the configuration's choice, or because it is
    advisory.

    `error` is the `KernelError` that it would have been.
    """

    def __init__(self, error: KernelError) -> None:
        super().__init__(str(error))
        self.error = error


class KernelError(Exception):
    """The kernel breaks a rule of NKI.

    Attributes: `rule` (id), `headline` (one sentence), `tensor`, `got`, `limit`, `remedy` (str or
    None each), `filename`, `line`, `source` (where in the kernel); `likely`, the mistake behind it
    where the simulator sees more than the broken rule: "swapped" (destination and source),
    "accumulate" (onto unwritten PSUM), or None.
    """

    def __init__(
        self,
        rule: str,
        headline: str,
        *,
        tensor: str | None = None,
        got: Any = None,
        limit: Any = None,
        remedy: str | None = None,
        at: source.Line | None = None,
    ) -> None:
        self.rule = rule
        self.headline = headline
        self.tensor = tensor
        self.got = None if got is None else str(got)
        self.limit = None if limit is None else str(limit)
        self.remedy = remedy if remedy is not None or limit is None else REMEDIES.get(rule)
        self.likely: str | None = None
        place = at if at is not None else source.here(2)
        self.filename, self.line, self.source = place
        super().__init__(self.message())

    def message(self) -> str:
        """The whole text, one labelled line each."""
        known = RULES[self.rule]
        rows = [
            ("tensor", self.tensor),
            ("got", self.got),
            ("limit", self.limit),
            ("remedy", self.remedy),
            (
                "line",
                f"{os.path.basename(self.filename)}:{self.line}: {self.source}"
                if self.line
                else None,
            ),
            ("rule", f"{self.rule}: {known.says} ({known.grade}; {known.source})"),
        ]
        return "\n".join([self.headline] + [f"  {label:<7} {text}" for label, text in rows if text])

    def __str__(self) -> str:
        return self.args[0] if self.args else self.headline

    def __reduce__(self) -> tuple:
        place = source.Line(self.filename, self.line, self.source)
        return (
            _rebuild,
            (
                type(self),
                self.rule,
                self.headline,
                self.tensor,
                self.got,
                self.limit,
                self.remedy,
                place,
            ),
            {"likely": self.likely},
        )

    def suspect(self, likely: str, remedy: str) -> None:
        """Name the likely mistake, and what to do about it."""
        self.likely, self.remedy = likely, remedy
        self.args = (self.message(),)


def _rebuild(
    cls: type,
    rule: str,
    headline: str,
    tensor: str | None,
    got: str | None,
    limit: str | None,
    remedy: str | None,
    at: source.Line,
) -> KernelError:
    return cls(rule, headline, tensor=tensor, got=got, limit=limit, remedy=remedy, at=at)


class KernelIndexError(KernelError, IndexError):
    """Out-of-bounds and other faults of indexing."""


class KernelTypeError(KernelError, TypeError):
    """Wrong kind of operand: NumPy on a tile, wrong dtype, unknown argument."""


class KernelValueError(KernelError, ValueError):
    """Wrong value, among them a tensor's truth value."""


_FAMILY: dict[str, type[KernelError]] = {
    "out-of-bounds": KernelIndexError,
    "negative-index": KernelIndexError,
    "arange-1d": KernelIndexError,
    "mixed-indexing": KernelIndexError,
    "indirect-index": KernelIndexError,
    "numpy-on-tile": KernelTypeError,
    "dtype": KernelTypeError,
    "operator": KernelTypeError,
    "argument": KernelTypeError,
    "index-assign": KernelTypeError,
    "input": KernelTypeError,
    "truth-value": KernelValueError,
    "index-condition": KernelValueError,
    "values-needed": KernelValueError,
}


class _Policy:
    """Which rules the kernel that is running is only warned about, and how many warnings there have
    been."""

    warn: Mapping[str, bool] = {}
    warnings = 0


POLICY = _Policy()


def broken(rule: str, headline: str, **details: Any) -> None:
    """Report that `rule` is broken: raise the fitting `KernelError`, or warn if the configuration
    says so."""
    error = _FAMILY.get(rule, KernelError)(
        rule, headline, at=details.pop("at", None) or source.here(2), **details
    )
    if not POLICY.warn.get(rule, RULES[rule].advisory):
        raise error
    POLICY.warnings += 1
    warnings.warn(RuleWarning(error), stacklevel=3)
