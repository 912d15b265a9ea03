"""The reader's own kernel of a stage, from the notebook or the exercise beside this one."""

from __future__ import annotations

import ast
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
        if path.is_file() and (text := _blank_cell(path)) is not None:
            yield path, text
    for path in (here / EXERCISES / exercise, here.parent / EXERCISES / exercise):
        if path.is_file():
            yield path, path.read_text(encoding="utf-8", errors="replace")


def _blank_cell(path: Path) -> str | None:
    """The source of a notebook's cell tagged "blank"; None where there is none to be read."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        (source,) = [c["source"] for c in cells if "blank" in c["metadata"].get("tags", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return source if isinstance(source, str) else "".join(source)


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
