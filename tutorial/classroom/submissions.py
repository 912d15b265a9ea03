"""What a class hands in: which file of which student is meant for which stage, and its text."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import stage

PATTERN = r"(?P<student>.+?)[-_ ]+stage(?P<stage>\d+)(?!\d).*\.(py|ipynb)"
"""How a file's name tells student and stage where all files lie in one folder."""
_IN_A_FOLDER = re.compile(r"stage(\d+)(?!\d).*\.(py|ipynb)", re.IGNORECASE)
MOST_BYTES = 1 << 20
MOST_CELLS = 8 << 20  # a notebook carries its outputs
MOST_FILES = 10_000


_USUAL = frozenset(
    (
        "__future__",
        "collections",
        "contextlib",
        "dataclasses",
        "functools",
        "itertools",
        "math",
        "ml_dtypes",
        "neuronxcc",
        "nki",
        "numpy",
        "operator",
        "typing",
    )
)
_UNUSUAL = frozenset(("__import__", "compile", "eval", "exec", "open"))


class NoSubmissions(ValueError):
    """There is nothing to grade; the text is one sentence."""


@dataclass(frozen=True)
class Submission:
    """One file of one student for one stage; `trouble` says why it cannot be judged."""

    student: str
    stage: int
    file: str
    text: bytes = b""
    trouble: str = ""


def found_in(
    folder: Path, stages: Iterable[stage.Stage], pattern: str | None = None
) -> list[Submission]:
    """All submissions in a folder, by student and stage: one folder for each student, or files
    whose names a pattern takes apart (groups `student` and `stage`).

    Of several files of a student for a stage the last by name counts, and a .py file before a
    notebook. Links are not followed. Raises NoSubmissions where there is none.
    """
    if not folder.is_dir():
        raise NoSubmissions(f"{folder} is not a folder.")
    wanted = {lesson.number: lesson for lesson in stages}
    try:
        taken_apart = re.compile(pattern or PATTERN, re.IGNORECASE)
    except re.error as error:
        raise NoSubmissions(
            f"The pattern {pattern!r} is not a regular expression: {error}."
        ) from error
    if not {"student", "stage"} <= set(taken_apart.groupindex):
        raise NoSubmissions("The pattern must have the groups 'student' and 'stage'.")
    chosen: dict[tuple[str, int], Path] = {}
    for student, number, path in _files(folder, taken_apart):
        if number in wanted:
            before = chosen.get((student, number))
            if before is None or _rank(path) > _rank(before):
                chosen[student, number] = path
    if not chosen:
        raise NoSubmissions(
            f"{folder} has no submission: a folder for each student with files like "
            "stage3_online_softmax.py, or files like anna_stage3.py."
        )
    return [
        _read(folder, student, wanted[number], path)
        for (student, number), path in sorted(chosen.items())
    ]


def unusual(submission: Submission) -> tuple[str, ...]:
    """What the text of a kernel imports or calls and a kernel does not need, sorted: for the
    teacher's eye. What is well hidden is not found.

    Where a stage asks for the dialect `nki`, that is `neuronxcc` too.
    """
    try:
        tree = ast.parse(submission.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    lesson = stage.get(submission.stage)
    usual = _USUAL - ({"neuronxcc"} if lesson.dialect == "nki" else set())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} - usual
        elif isinstance(node, ast.ImportFrom):
            found |= {"." * node.level + (node.module or "").partition(".")[0]} - usual
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & _UNUSUAL
    return tuple(sorted(found))


def file_name(student: str) -> str:
    """The student's name as part of a file's name. Two students' may be the same."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in student)[:80]


def _rank(path: Path) -> tuple[bool, str]:
    return path.suffix.lower() == ".py", path.name


def _files(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, int, Path]]:
    """Student, stage and path of every file that may be a submission."""
    seen = 0
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_symlink():
            continue
        if entry.is_file(follow_symlinks=False):
            flat = pattern.fullmatch(entry.name)
            if flat is not None and flat["stage"].isdigit():
                yield flat["student"], int(flat["stage"]), Path(entry.path)
            continue
        if not entry.is_dir(follow_symlinks=False):
            continue
        for where, folders, files in os.walk(entry.path, followlinks=False):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
            for name in sorted(files):
                seen += 1
                if seen > MOST_FILES:
                    return
                match = _IN_A_FOLDER.fullmatch(name)
                path = Path(where, name)
                if match is not None and not path.is_symlink():
                    yield entry.name, int(match[1]), path


def _read(folder: Path, student: str, lesson: stage.Stage, path: Path) -> Submission:
    """The submission in a file: all of a Python file, the exercise's cell of a notebook."""
    file = path.relative_to(folder).as_posix()
    notebook = path.suffix.lower() == ".ipynb"
    most = MOST_CELLS if notebook else MOST_BYTES

    def unusable(why: str) -> Submission:
        return Submission(student, lesson.number, file, trouble=why)

    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as handle:
            if not os.path.isfile(path):
                return unusable("it is not a file")
            text = handle.read(most + 1)
    except OSError as error:
        return unusable(f"it cannot be read: {error.strerror}")
    if len(text) > most:
        return unusable(f"it has more than {most} bytes")
    if not notebook:
        return Submission(student, lesson.number, file, text)
    cell = _exercise(text, lesson.entry)
    if cell is None:
        return unusable(f"the notebook has no cell that defines {lesson.entry}")
    return Submission(student, lesson.number, file, cell.encode("utf-8", "replace"))


def _exercise(text: bytes, entry: str) -> str | None:
    """The cell of a notebook that holds the exercise: the one with the tag "blank", else the last
    that defines the entry point."""
    try:
        cells = json.loads(text)["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        sources = ["".join(c["source"]) for c in code]
        tagged = [
            source
            for cell, source in zip(code, sources, strict=True)
            if "blank" in cell.get("metadata", {}).get("tags", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    named = [s for s in sources if re.search(rf"^def {entry}\b", s, re.MULTILINE)]
    chosen = tagged or named
    return chosen[-1] if chosen else None
