"""The reader's own kernel of a stage, from the notebook or the exercise beside this one."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from ..running.worked import solution_text
from ..stage import Stage, StageError, get
from .start import EXERCISES


def own_kernel(key: int | str, here: Path | None = None) -> tuple[str, Path] | None:
    """The text of the reader's kernel of a stage, and the file that holds it.

    The stage's notebook (the cell tagged "blank") and its exercise file are looked at, as seen from
    the folder `here` (default: the working directory). None where neither has been written: the
    text is still the exercise, or it is the worked solution, or it is not Python.
    """
    lesson = get(key)
    for path, text in _candidates(lesson, Path.cwd() if here is None else here):
        if _is_written(lesson, text):
            return text, path
    return None


def _candidates(lesson: Stage, here: Path) -> Iterator[tuple[Path, str]]:
    notebook, exercise = f"{lesson.file_name}.ipynb", f"{lesson.file_name}.py"
    for path in (here / notebook, here / "notebooks" / notebook):
        read = b""
        with contextlib.suppress(OSError):
            read = path.read_bytes()
        blanks = [text for text, tagged in code_cells(read) if tagged]
        if len(blanks) == 1:
            yield path, blanks[0]
    for path in (here / EXERCISES / exercise, here.parent / EXERCISES / exercise):
        if path.is_file():
            yield path, path.read_text(encoding="utf-8", errors="replace")


def code_cells(notebook: bytes) -> list[tuple[str, bool]]:
    """The text of each cell of code, and whether it is tagged "blank", as the exercise is; none of
    what is not a notebook."""
    try:
        cells = [cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
        tags = [cell.get("metadata", {}).get("tags", []) for cell in cells]
        return [("".join(cell["source"]), "blank" in own) for cell, own in zip(cells, tags)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _is_written(lesson: Stage, text: str) -> bool:
    """Whether somebody has put a kernel where the exercise was."""
    code = _bare(text)
    if code is None or "raise NotImplementedError" in text or code == _bare(lesson.blank):
        return False
    try:
        return code != _bare(solution_text(lesson.number))
    except StageError:
        return True


def _bare(text: str) -> str | None:
    """A module's code without its comments and layout; None if it is not Python."""
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError:
        return None
