"""A learner's edition: notebooks, exercises and library without a line of a solution.

It proves itself before it ends: its text is searched for the lines of the solutions, every
exercise is judged "not attempted", and its own tests pass.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import nkisim

from .. import stage
from ..running.worked import solution_text
from . import nbgrader_course
from .files import write

WORKED, OWN, NONE = "worked", "own", "none"
CARRY = (WORKED, OWN, NONE)
_PACKAGES = ("nkisim", "pytest_nkisim", "tutorial")
_CALLS = re.compile(r"\b(nisa\.\w+|nl\.(load|store|matmul|exp|max|sum))\(")
_SHORTEST = 30  # characters of a line that can be told from others
_KINDS = (".py", ".css", ".js", ".md", ".toml", ".typed")
_HANDOUT = ("README.md", "AGENTS.md", "pyproject.toml")


class CannotRelease(stage.Refused):
    """The edition cannot be made, or does not hold what it promises; the text is one sentence."""


def release(
    out: Path, lessons: Sequence[stage.Stage], carry: str = OWN, prove: bool = True
) -> list[str]:
    """Write the learner's edition of these stages to the folder `out`, which must be new or empty.

    `carry` says what a lesson shows of the stage before: the `worked` kernel, the reader's `own`
    (shown when the cell is run), or `none`. Returns the names of the files. Raises CannotRelease.
    """
    if out.exists() and any(out.iterdir()):
        raise CannotRelease(f"{out} is not empty: name a new folder.")
    texts = dict(_files(lessons, carry))
    leaks = leaked(texts, lessons, carry)
    if leaks:
        raise CannotRelease(f"{leaks[0][0]} would show a line of a solution: {leaks[0][1]}")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "edition"
        for name, text in texts.items():
            write(made / name, text)
        _data(made)
        if prove:
            _prove(made)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def release_for_nbgrader(
    out: Path, lessons: Sequence[stage.Stage], carry: str = OWN, prove: bool = True
) -> list[str]:
    """Write a course folder for nbgrader to the folder `out`, with the learner's edition in
    `edition`: what the students' machines install. Arguments, result and errors are as for
    `release`."""
    if out.exists() and any(out.iterdir()):
        raise CannotRelease(f"{out} is not empty: name a new folder.")
    files = release(out / "edition", lessons, carry, prove)
    own = nbgrader_course.write(out / "edition", out, lessons)
    return sorted([*own, *(f"edition/{name}" for name in files)])


def _files(lessons: Sequence[stage.Stage], carry: str) -> Iterator[tuple[str, str]]:
    """Name and text of every file of the edition that is text."""
    root = Path(nkisim.__file__).resolve().parent.parent
    secret = secret_lines(lessons)
    last = max(lesson.number for lesson in lessons)
    left_out = {x.file_name for x in stage.defined() if x.number > last}
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            name = path.relative_to(root)
            if path.suffix not in _KINDS or _carried(name) or path.parent.name == "exercises":
                continue
            if path.parent.name != "stages" or path.stem not in left_out:
                yield name.as_posix(), path.read_text(encoding="utf-8")
    for lesson in lessons:
        text = _exercise(lesson, secret, carry)
        yield f"exercises/{lesson.file_name}.py", text
        yield f"tutorial/stages/exercises/{lesson.file_name}.py", text
        file = f"{lesson.file_name}.ipynb"
        notebook = (stage.course_folder("notebooks") or Path("notebooks")) / file
        if not notebook.is_file():
            raise CannotRelease(f"The notebook of {lesson.title} is not here.")
        made = _notebook(json.loads(notebook.read_text(encoding="utf-8")), secret, carry, text)
        yield f"notebooks/{file}", json.dumps(made, indent=1, ensure_ascii=False) + "\n"
    yield from _handout(lessons)
    licence = root / "LICENSE"
    if licence.is_file():
        yield "LICENSE", licence.read_text(encoding="utf-8")


def _carried(name: Path) -> bool:
    """Whether a file of an installed package is a notebook or a solution that it carries."""
    return name.parts[1:2] == (stage.INSTALLED.name,) or "handout" in name.parts


def _handout(lessons: Sequence[stage.Stage]) -> Iterator[tuple[str, str]]:
    folder = resources.files(__package__) / "handout"
    rows = "\n".join(f"- stage {x.number}, {x.name}: {x.idea}" for x in lessons)
    values = {
        "{first}": str(lessons[0].number),
        "{file}": lessons[0].file_name,
        "{stages}": rows,
        "{numbers}": ",".join(str(x.number) for x in lessons),
        "{version}": nkisim.__version__.partition("+")[0],
    }
    for name in _HANDOUT:
        yield name, _filled(folder / name, values)
    yield ".github/workflows/grade.yml", _filled(folder / "grade.yml", values)
    yield "tests/test_exercises.py", (folder / "test_exercises.txt").read_text(encoding="utf-8")


def _filled(template: Any, values: dict[str, str]) -> str:
    text = str(template.read_text(encoding="utf-8"))
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def _data(made: Path) -> None:
    """The stored arrays, which are not text."""
    source = Path(str(resources.files("tutorial"))) / "data"
    for path in sorted(source.glob("*.npz")):
        (made / "tutorial" / "data").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, made / "tutorial" / "data" / path.name)


# -- what must not be in it ------------------------------------------------------------------------


def secret_lines(lessons: Sequence[stage.Stage]) -> set[str]:
    """The lines of the solutions that no exercise shows."""
    given = {line for lesson in lessons for line in _code(lesson.blank)}
    own = {line for lesson in lessons for line in _code(solution_text(lesson.number))}
    return {line for line in own - given if len(line) >= _SHORTEST and _CALLS.search(line)}


def _code(text: str) -> list[str]:
    """The statements of a file, without indentation and comments."""
    lines = [line.partition("  #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def leaked(
    texts: dict[str, str], lessons: Sequence[stage.Stage], carry: str
) -> list[tuple[str, str]]:
    """File and line of everything that an edition shows of a solution."""
    secret = secret_lines(lessons)
    found = []
    for name, text in texts.items():
        plain = text.replace('\\"', '"')
        last = max((x.number for x in lessons if f"stage{x.number}_" in name), default=-1)
        shown: set[str] = set()  # the worked kernels of stages before
        if carry == WORKED and not name.startswith("nkisim"):
            before = [x.number for x in stage.stages() if x.number < last]
            shown = {line for n in before for line in _code(solution_text(n))}
        found += [(name, line) for line in sorted(secret - shown) if line in plain]
    return found


def _exercise(lesson: stage.Stage, secret: set[str], carry: str) -> str:
    """The exercise; where it quotes the worked kernel of a stage before in a comment, and that is
    not to be shown, without the comment."""
    kept = [
        line
        for line in lesson.blank.splitlines(keepends=True)
        if carry == WORKED or not (line.lstrip()[:1] == "#" and any(s in line for s in secret))
    ]
    return "".join(kept)


def _notebook(
    notebook: dict[str, Any], secret: set[str], carry: str, exercise: str
) -> dict[str, Any]:
    """A lesson without the outputs that show solutions."""
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        shows = "last_kernel(" in source or "excerpt(" in source
        if carry == NONE and (shows or source.startswith("## From the last kernel")):
            continue
        if "blank" in cell["metadata"].get("tags", []):
            cell = {**cell, "source": exercise.rstrip("\n").splitlines(keepends=True)}
        elif cell["cell_type"] == "code":
            text = json.dumps(cell["outputs"]).replace('\\"', '"')
            keep = carry == WORKED and shows
            if not keep and any(line in text for line in secret):
                cell = {**cell, "outputs": []}
        cells.append(cell)
    return {**notebook, "cells": cells}


# -- the proof -------------------------------------------------------------------------------------


def _prove(made: Path) -> None:
    """Run the edition's own tests, in which every exercise is judged."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "NKISIM_FORCE")}
    environment |= {"PYTHONPATH": str(made), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the edition asks for pytest alone
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=made, env=environment, capture_output=True, text=True)
    if done.returncode:
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        raise CannotRelease(f"The edition's own tests fail: {' '.join(last)}")
