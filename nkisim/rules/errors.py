"""Two families of errors: the kernel is wrong (`KernelError`), the simulator is wrong
(`SimulatorError`).

A `KernelError` says what is wrong, what it got, what the limit is, what to do, which tensor and
which line of the kernel, and the rule by which it was refused.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from . import source
from .rules import REMEDIES, RULES

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


_ONE = re.compile(
    r"(?<![+*/-] )(?<![\w.,-])1 ((?:DMA )?)"
    r"(axes|blocks|bytes|columns|elements|heads|instructions|keys|partitions|rows|tiles|transfers)\b"
)


def singular(text: str) -> str:
    """`text` with a noun that follows a count of 1 in the singular: "1 partition"."""
    return _ONE.sub(lambda m: f"1 {m[1]}{'axis' if m[2] == 'axes' else m[2][:-1]}", text)


def _plain(text: str) -> str:
    """`text` without addresses of objects, which differ from run to run, and in good English."""
    return singular(_ADDRESS.sub("", text) if " at 0x" in text else text)


def shown(value: Any) -> str:
    """`value` as a message shows it: its repr, cut short."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


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
    "accumulate" (onto unwritten PSUM), or None; `reaches`, where what was wrong at that line came
    to matter, if that was elsewhere.
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
        self.headline = _plain(headline)
        self.tensor = tensor
        self.got = None if got is None else _plain(str(got))
        self.limit = None if limit is None else _plain(str(limit))
        self.remedy = remedy if remedy is not None or limit is None else REMEDIES.get(rule)
        self.likely: str | None = None
        self.reaches: str | None = None
        place = at if at is not None else source.here(2)
        self.filename, self.line, self.source = place
        super().__init__(self.message())

    def message(self) -> str:
        """The whole text, one labelled line each."""
        known = RULES[self.rule]
        rows = [
            ("tensor", self.tensor),
            ("got", self.got),
            ("reaches", self.reaches),
            ("limit", self.limit),
            ("remedy", self.remedy),
            (
                "line",
                f"{os.path.basename(self.filename)}:{self.line}: {self.source}".rstrip(": ")
                if self.line
                else None,
            ),
            ("rule", f"{self.rule}: {known.says} ({known.grade}; {known.source})"),
        ]
        return "\n".join([self.headline] + [f"  {label:<7} {text}" for label, text in rows if text])

    def __str__(self) -> str:
        return self.args[0] if self.args else self.headline

    def __reduce__(self) -> tuple[Any, ...]:
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
            {"likely": self.likely, "reaches": self.reaches},
        )

    def suspect(self, likely: str, remedy: str) -> None:
        """Name the likely mistake, and what to do about it."""
        self.likely, self.remedy = likely, remedy
        self.args = (self.message(),)

    def reach(self, what: str, at: source.Line) -> None:
        """Say `what` it came to at the line `at`."""
        if at.line:
            what += f", line {at.line}: {at.text}"
        self.reaches = what
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
    found: KernelError = cls(
        rule, headline, tensor=tensor, got=got, limit=limit, remedy=remedy, at=at
    )
    return found


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


class Policy:
    """Which rules the kernel that is running is only warned about, and how many warnings there have
    been."""

    __slots__ = ("lowered", "warn", "warnings")

    def __init__(self, warn: Mapping[str, bool]) -> None:
        self.warn = warn
        self.warnings = 0
        self.lowered: KernelError | None = None
        """The last error that the configuration turned into a warning."""


POLICY: ContextVar[Policy] = ContextVar("nkisim_policy", default=Policy({}))  # noqa: B039
"""Of the kernel that is running in this context; outside any kernel every rule is insisted on."""


def broken(rule: str, headline: str, **details: Any) -> None:
    """Report that `rule` is broken: raise the fitting `KernelError`, or warn if the configuration
    says so."""
    report(fault(rule, headline, at=details.pop("at", None) or source.here(2), **details))


def fault(rule: str, headline: str, **details: Any) -> KernelError:
    """The fitting `KernelError`, not raised: what is wrong at the kernel's line may yet turn out to
    do no harm."""
    at = details.pop("at", None) or source.here(2)
    return _FAMILY.get(rule, KernelError)(rule, headline, at=at, **details)


def report(error: KernelError) -> None:
    """Raise `error`, or warn if the configuration says so of its rule."""
    rule = error.rule
    policy = POLICY.get()
    if not policy.warn.get(rule, RULES[rule].advisory):
        raise error from None  # what the simulator tried before does not matter to the reader
    policy.warnings += 1
    if rule in policy.warn:
        policy.lowered = error
    warnings.warn_explicit(
        RuleWarning(error),
        RuleWarning,
        error.filename or "<kernel>",
        error.line,
        registry=source.user_frame(2).f_globals.setdefault("__warningregistry__", {}),
    )
