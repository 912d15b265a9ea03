"""nbgrader's autograding, without running a student's notebook.

nbgrader runs every cell of a submission in one process and looks at what the check's cell printed.
Whatever stands in the cells before can make that output what it likes. So here the step that runs
cells is replaced (`nbgrader_config.py`): the text of the exercise's cell goes to a judge, as with
`grade`, and the output of the check's cell is written from the judge's result. Nothing of this
imports nbgrader.
"""

from __future__ import annotations

import atexit
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import stage
from ..verdict import NOT_ATTEMPTED
from . import feedback, gradebook
from .judges import Bench, Setting, Task, seed_of, unjudged
from .sandbox import Limits
from .submissions import Submission, as_python

EXERCISE, CHECK = "exercise", "check"
"""The names of the two cells in nbgrader's metadata."""
_BENCHES: dict[Setting, Bench] = {}


@dataclass(frozen=True)
class Judged:
    """A step of nbgrader's autograding: called with a notebook, it writes the check's output.
    `course` is nbgrader's folder, in which `seed.txt` keeps the word of the hidden inputs; `level`
    says how much the feedback tells."""

    course: str | Path
    level: str = feedback.FULL
    rubric: str | Path | None = None
    limits: Limits = field(default_factory=Limits)

    def __call__(self, notebook: Any, resources: Mapping[str, Any]) -> tuple[Any, Any]:
        """The notebook with the check's output; every other cell without any."""
        lesson = stage.get(resources["nbgrader"]["notebook"])
        student = str(resources["nbgrader"]["student"])
        cells = {_name(cell): cell for cell in notebook.cells if cell.cell_type == "code"}
        for cell in cells.values():
            cell.outputs = []
        exercise, checked = cells.get(EXERCISE), cells.get(CHECK)
        if checked is not None:
            text = (
                b"" if exercise is None else as_python(exercise.source).encode("utf-8", "replace")
            )
            trouble = "" if exercise is not None else "its exercise cell is gone"
            handed_in = Submission(student, lesson.number, "", text, trouble)
            result = unjudged(trouble) if trouble else self._judged(handed_in)
            by = gradebook.rubric(None if self.rubric is None else Path(self.rubric))
            grade = gradebook.graded(handed_in, result, by)
            of = float(checked.metadata["nbgrader"]["points"])
            checked.outputs = _outputs(grade, of, self.level)
        return notebook, resources

    def _judged(self, handed_in: Submission) -> dict[str, Any]:
        seed = seed_of(Path(self.course), None)
        setting = Setting(seed, self.limits, (str(Path(self.course).resolve()),))
        if setting not in _BENCHES:
            _BENCHES[setting] = Bench(setting)
            atexit.register(_BENCHES[setting].stop)
        return _BENCHES[setting].judged(Task(0, handed_in.stage, handed_in.text))


def _name(cell: Any) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", id(cell)))


def _outputs(grade: gradebook.Grade, of: float, level: str) -> list[Any]:
    """What nbgrader makes points of: an error none, a number so many, and all of them else."""
    new_output: Any = importlib.import_module("nbformat.v4").new_output  # nbgrader needs it too
    parts = feedback.sections(grade, level)
    words = "\n\n".join(text for kind, text in parts[1:] if kind != "figure")
    found = [new_output("stream", text=f"{grade.outcome}\n{words}\n")]
    pictures = "".join(text for kind, text in parts if kind == "figure")
    if pictures:
        data = {"text/html": pictures, "text/plain": "a picture of the kernel"}
        found.append(new_output("display_data", data))
    points = of * grade.points / grade.of if grade.of else 0.0
    if points <= 0:
        said = "not attempted" if grade.outcome == NOT_ATTEMPTED else grade.outcome
        found.append(new_output("error", ename="Grade", evalue=said, traceback=[said]))
    elif points < of:
        found.append(new_output("execute_result", {"text/plain": f"{points:g}"}))
    return found
