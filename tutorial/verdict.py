"""What a check says: an outcome, one sentence, and the counters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nkisim.rules.errors import singular

from .pictures.verdict_card import Counter as Counter
from .pictures.verdict_card import Line, card
from .reference.text import table

NOT_ATTEMPTED = "not attempted"
WRONG = "wrong"
CORRECT = "correct"
UNUSABLE = "unusable"
FAILED = "check failed"

OVER_THE_RUNG = "over the rung's budget"
"""The cause of a verdict on a right kernel that misses the budget of the rung it was asked for."""

EXIT_CODES = {CORRECT: 0, WRONG: 1, NOT_ATTEMPTED: 2, UNUSABLE: 2, FAILED: 3}


class CheckFailed(AssertionError):
    """Raised by `check(..., raise_on_fail=True)` for every outcome but "correct"."""


@dataclass(frozen=True, repr=False)
class Verdict:
    """The answer of `check`. `outcome` is "correct", "wrong", "not attempted", "unusable" or, where
    the check itself could not work, "check failed"; `sentence` says why.

    `family` is the input family that showed it; `cause` the key of the mistake that was recognised,
    if one was. `details` may hold the `line` of the kernel that keeps a wrong quantity, and its
    `source`; where the simulator refuses the kernel, `rule` is the id of the rule that it breaks.
    """

    outcome: str
    sentence: str
    stage: int
    name: str
    family: str | None = None
    cause: str | None = None
    counters: tuple[Counter, ...] = ()
    notes: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    target: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentence", singular(self.sentence))

    @property
    def ok(self) -> bool:
        return self.outcome == CORRECT

    @property
    def exit_code(self) -> int:
        """0 for correct, 1 for wrong, 2 for not attempted or unusable, 3 where the check failed."""
        return EXIT_CODES[self.outcome]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {
            "stage": self.stage,
            "name": self.name,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "family": self.family,
            "cause": self.cause,
            "families": list(self.families),
            "counters": {c.name: {"yours": c.yours, "minimum": c.minimum} for c in self.counters},
            "notes": list(self.notes),
            "target": self.target,
            "details": plain(self.details),
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_dict` gave. Raises KeyError or TypeError for other data."""
        counters = given["counters"].items()
        made = tuple(Counter(name, c["yours"], c["minimum"]) for name, c in counters)
        lists = {name: tuple(given[name]) for name in ("notes", "families")}
        return cls(**{**given, **lists, "counters": made})

    def text(self) -> str:
        """The outcome, the sentence, and the counters as a table."""
        lines = [f"stage {self.stage} {self.name}: {self.outcome}", self.sentence]
        if self._where:
            lines.append(self._where)
        if self.counters:
            rows = [[c.name, f"{c.yours:,}", f"{c.minimum:,}"] for c in self.counters]
            lines += ["", table([self._counted, "yours", "minimum"], rows)]
        return "\n".join([*lines, *self.notes])

    @property
    def _where(self) -> str:
        """The input family that showed what is wrong, in brackets; nothing for other outcomes."""
        if self.family is None or self.outcome != WRONG:
            return ""
        on = f"; {self.target}, simulated" if self.target else ""
        rule = f"; rule: {self.details['rule']}" if self.details.get("rule") else ""
        return f"(input family: {self.family}{on}{rule})"

    @property
    def _counted(self) -> str:
        return f"counted on {self.target} (simulated)" if self.target else "counted"

    def _repr_html_(self) -> str:
        """What a notebook shows: the same, with colour, bars, and the line of the kernel."""
        line, given = None, self.details
        if "line" in given:
            line = Line(given["line"], given.get("source", ""), given.get("quantity", ""))
        return card(
            f"stage {self.stage} {self.name}",
            self.outcome,
            self.sentence,
            self._where,
            self._counted,
            self.counters,
            self.notes,
            line,
        )

    __repr__ = __str__ = text


def plain(value: Any) -> Any:
    """The value, fit for JSON: NaN and infinities as text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
