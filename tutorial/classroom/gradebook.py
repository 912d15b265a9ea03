"""From results to grades: the rubric, the table of the class, and who must be looked at."""

from __future__ import annotations

import csv
import io
import json
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from .. import stage
from ..verdict import CORRECT, FAILED, UNUSABLE, WRONG
from .submissions import Submission, unusual

OVER = "over the cost budget"
OUTPUTS = "outputs only"
NOT_COMPUTED = ("reads too little", "kernel not called", "answer not the kernel's")
"""The causes of right values that cannot have been computed from the inputs by the kernel."""


class RubricError(stage.Refused):
    """A rubric that says nothing that can be used; the text is one sentence."""


@dataclass(frozen=True)
class Rubric:
    """`points` of a stage's kernel, the `share` of them by outcome, and by rung where there is a
    ladder; and the points of its `written` question, 0 where there is none."""

    points: float
    share: Mapping[str, float]
    rung: Mapping[str, float]
    written: float = 0.0


@dataclass(frozen=True)
class Grade:
    """One student's grade at one stage: `points` of `of`, those of the kernel and of the written
    question. `written` are the latter's alone; None where nobody has graded it."""

    submission: Submission
    outcome: str
    points: float
    of: float
    cause: str
    look: str
    result: Mapping[str, Any]
    written: float | None = None

    def row(self) -> dict[str, Any]:
        """The grade as a row of the gradebook."""
        read, minimum = self.result["counters"].get("HBM bytes read", ["", ""])
        return {
            "student": self.submission.student,
            "stage": self.submission.stage,
            "name": stage.get(self.submission.stage).name,
            "outcome": self.outcome,
            "points": f"{self.points:g}",
            "of": f"{self.of:g}",
            "cause": self.cause,
            "look at it": self.look,
            "written": "" if self.written is None else f"{self.written:g}",
            "judged": self.result["judged"],
            "HBM bytes read": read,
            "minimum": minimum,
            "rung": self.result["ladder"] or "",
            "ended": self.result["ended"],
            "file": self.submission.file,
        }


def rubric(path: Path | None = None) -> Rubric:
    """The rubric in a TOML file, or the default one. RubricError for a file that is not one."""
    try:
        source = resources.files(__package__) / "rubric.toml" if path is None else path
        read = tomllib.loads(source.read_text(encoding="utf-8"))
        points = float(read["points"])
        share = {str(k): float(v) for k, v in read["share"].items()}
        rung = {str(k): float(v) for k, v in read.get("rung", {}).items()}
        question = float(read.get("written", 0))
    except (OSError, UnicodeDecodeError) as error:
        raise RubricError(f"The rubric {path} cannot be read: {error}.") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RubricError(
            f"The rubric {path} is not one: {type(error).__name__}: {error}."
        ) from error
    missing = [k for k in (CORRECT, WRONG, "not attempted", UNUSABLE) if k not in share]
    if missing:
        raise RubricError(f"The rubric {path} gives no share for {', '.join(missing)}.")
    return Rubric(points, share, rung, question)


def written(path: Path, by: Rubric) -> dict[tuple[str, int], float]:
    """The points of written questions, from a CSV file with the columns student, stage and points:
    by student and stage. RubricError for a file that is not one, or that gives more than the rubric
    has."""
    found = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                points = float(row["points"])
                if not 0 <= points <= by.written:
                    raise ValueError(f"{row['points']} points, and the rubric has {by.written:g}")
                found[row["student"], int(row["stage"])] = points
    except (OSError, UnicodeDecodeError) as error:
        raise RubricError(f"The points in {path} cannot be read: {error}.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise RubricError(
            f"{path} has no column student, stage or points, or what is in it is wrong: {error}."
        ) from error
    return found


def graded(
    submission: Submission,
    result: Mapping[str, Any],
    by: Rubric,
    answered: Mapping[tuple[str, int], float] | None = None,
) -> Grade:
    """The grade of one result, with the points of written questions that were `answered`."""
    outcome, cause = result["outcome"], str(result["cause"] or "")
    kind, look = outcome, ""
    if outcome == WRONG and result["counters"] and cause not in NOT_COMPUTED:
        kind = OVER  # a check counts where all values are right
    if outcome in (UNUSABLE, FAILED):
        look = "could not be judged"
    strange = unusual(submission) if outcome == CORRECT else ()
    if strange:
        look = f"its text uses {', '.join(strange)}, which a kernel does not need"
    if result["judged"] == OUTPUTS:
        outcome = kind = OUTPUTS if outcome == CORRECT else outcome
        look = "cannot be lowered: judged by its outputs alone"
    share = by.share.get(kind, by.share.get(outcome, by.share[UNUSABLE]))
    if kind == CORRECT and stage.get(submission.stage).ladder is not None and by.rung:
        share = by.rung.get(str(result["ladder"]), by.share[CORRECT] * 0.5)
    question = (answered or {}).get((submission.student, submission.stage))
    points, of = round(by.points * share + (question or 0.0), 2), by.points + by.written
    return Grade(submission, outcome, points, of, cause, look, result, question)


def as_csv(grades: Sequence[Grade]) -> str:
    """The gradebook as CSV, one row per student and stage, of which there is one at least."""
    out = io.StringIO()
    plain = csv.writer(out, lineterminator="\n")
    quoted = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(grades[0].row())
    for grade in grades:
        row = [_no_formula(str(value)) for value in grade.row().values()]
        # where a spreadsheet separates by these, they must not begin a cell
        separates = any(c in value for value in row for c in ";\t|")
        (quoted if separates else plain).writerow(row)
    return out.getvalue()


def _no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    first = unicodedata.normalize("NFKC", text).lstrip()[:1]  # wide signs count as well
    return f"'{text}" if first in ("=", "+", "-", "@") else text


def as_json(grades: Sequence[Grade], in_force: Sequence[str]) -> str:
    """The gradebook as JSON, with the limits that were in force."""
    rows = [grade.row() for grade in grades]
    return json.dumps({"limits": list(in_force), "grades": rows}, indent=1, sort_keys=True) + "\n"


def causes(grades: Sequence[Grade]) -> list[tuple[int, str, int]]:
    """The causes of wrong kernels by frequency: stage, cause, how many students."""
    counted = Counter((g.submission.stage, g.cause) for g in grades if g.outcome == WRONG)
    return [
        (number, cause or "no known mistake", count)
        for (number, cause), count in sorted(counted.items(), key=lambda x: (-x[1], x[0]))
    ]
