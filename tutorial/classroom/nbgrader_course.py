"""A course folder for nbgrader: the lessons with nbgrader's metadata, and its configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from .. import stage
from .autograding import CHECK, EXERCISE
from .files import write as put

POINTS = 10
_RAISE = "    raise NotImplementedError("


def write(edition: Path, course: Path, lessons: Sequence[stage.Stage]) -> list[str]:
    """Write the folder `course` from the learner's edition in `edition`: an assignment for each
    stage. Returns the names of its files."""
    names = []
    for lesson in lessons:
        name = f"source/{lesson.file_name}/{lesson.file_name}.ipynb"
        path = edition / "notebooks" / f"{lesson.file_name}.ipynb"
        notebook = marked(json.loads(path.read_text(encoding="utf-8")))
        put(course / name, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        names.append(name)
    template = resources.files(__package__) / "handout" / "nbgrader_config.txt"
    put(course / "nbgrader_config.py", template.read_text(encoding="utf-8"))
    return [*names, "nbgrader_config.py"]


def marked(notebook: dict[str, Any]) -> dict[str, Any]:
    """A lesson whose exercise is nbgrader's solution and whose check is nbgrader's test.

    The exercise marks as its solution what the learner replaces, so that nbgrader keeps the lines
    around it.
    """
    cells = []
    waiting = False
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if "blank" in cell["metadata"].get("tags", []):
            cell = _with(cell, EXERCISE, _marked(source), graded=False)
            waiting = True
        elif waiting and cell["cell_type"] == "code" and source.startswith("check("):
            asserting = source.rstrip().removesuffix(")") + ", raise_on_fail=True)"
            cell = _with(cell, CHECK, asserting, graded=True)
            waiting = False
        cells.append(cell)
    return {**notebook, "cells": cells}


def _marked(source: str) -> str:
    before, found, after = source.rpartition(_RAISE)
    line, _, rest = after.partition("\n")
    text = f"{before}    ### BEGIN SOLUTION\n{found}{line}\n    ### END SOLUTION\n{rest}"
    return text.rstrip("\n")


def _with(cell: dict[str, Any], name: str, source: str, graded: bool) -> dict[str, Any]:
    """A cell with nbgrader's metadata: what is graded, or what the student writes."""
    said: dict[str, Any] = {
        "grade": graded,
        "grade_id": name,
        "locked": graded,
        "schema_version": 3,
        "solution": not graded,
        "task": False,
    }
    if graded:
        said["points"] = POINTS
    return {
        **cell,
        "source": source.splitlines(keepends=True),
        "outputs": [],
        "execution_count": None,
        "metadata": {**cell["metadata"], "nbgrader": said},
    }
