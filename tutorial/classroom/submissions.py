"""What a class hands in: which file of which student is meant for which stage, and its text."""

from __future__ import annotations

import ast
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import stage
from ..workspace.own import code_cells
from . import names

PATTERN = r"(?P<student>.+?)[-_ ]+stage[-_ ]*(?P<stage>\d+)(?!\d).*\.(py|ipynb)"
"""How a file's name tells student and stage where all files lie in one folder."""
_BLANK = re.compile(r"raise NotImplementedError\(.stage \d+ is not attempted yet")
_MAGIC = re.compile(r"^([%!].*|get_ipython\(\).*)$", re.MULTILINE)
"""A line that is a command of IPython, not Python, as it stands in a cell or an exported file."""
_MOST_TRIED = 20
_IN_A_FOLDER = re.compile(r"(?:.*[-_ ])?stage[-_ ]*(\d+)(?!\d).*\.(py|ipynb)", re.IGNORECASE)
MOST_BYTES = 1 << 20
MOST_CELLS = 8 << 20  # a notebook carries its outputs
MOST_FILES = 10_000
"""Of one student, folders counted."""
_USUAL = (
    "__future__ collections contextlib dataclasses functools itertools math ml_dtypes neuronxcc "
    "nki numpy operator typing"
)
_UNUSUAL = frozenset(("__import__", "compile", "eval", "exec", "open"))
_MOST_NAMES, _MOST_NAME = 10, 40


class NoSubmissions(stage.Refused):
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

    Of several files of a student for a stage one that is not left blank counts first, then a .py
    file before a notebook, one that lies less deep before others, one whose name begins with
    "stage" before others, and of these the last by name. Links are not followed. Of each student's
    folder MOST_FILES entries are looked at, those that lie less deep first. Raises NoSubmissions
    where there is none.
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
    chosen: dict[tuple[str, int], list[Path]] = {}
    for student, number, path in _files(folder, taken_apart):
        if number in wanted:
            chosen.setdefault((student, number), []).append(path)
    if not chosen:
        packed = next(iter(sorted(folder.rglob("*.zip"))), None)
        advice = f" Archives are not opened: unpack {packed.name} first." if packed else ""
        if any(entry.is_symlink() for entry in os.scandir(folder)):
            advice += " Links are not followed: put the folders themselves there."
        raise NoSubmissions(
            f"{folder} has no submission: a folder for each student with files like "
            f"stage3_online_softmax.py, or files like anna_stage3.py.{advice}"
        )
    return [
        _first_begun(folder, student, wanted[number], sorted(paths, key=_rank, reverse=True))
        for (student, number), paths in sorted(chosen.items())
    ]


def without_any(folder: Path, found: Iterable[Submission], out: Path) -> list[str]:
    """The students whose folders have no submission, by name. A folder that is a link has none, as
    links are not followed; the folder `out` may lie there."""
    have = {submission.student for submission in found}
    students = [
        names.of_entry(entry.name)
        for entry in sorted(os.scandir(folder), key=lambda e: e.name)
        if entry.is_dir() and Path(entry.path).resolve() != out.resolve()
    ]
    return [s for s in students if s not in have and not s.startswith((".", "__"))]


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
    usual = set(_USUAL.split()) - ({"neuronxcc"} if lesson.dialect == "nki" else set())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} - usual
        elif isinstance(node, ast.ImportFrom):
            found |= {"." * node.level + (node.module or "").partition(".")[0]} - usual
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & _UNUSUAL
    return tuple(name[:_MOST_NAME] for name in sorted(found)[:_MOST_NAMES])


def as_python(source: str) -> str:
    """The text of a cell without what only IPython understands: its lines become comments."""
    return _MAGIC.sub(r"# \1", source)


def _rank(path: Path) -> tuple[bool, int, bool, str]:
    named = path.name.lower().startswith("stage")
    return path.suffix.lower() == ".py", -len(path.parts), named, path.as_posix()


def _files(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, int, Path]]:
    """Student, stage and path of every file that may be a submission."""
    students: set[str] = set()
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_symlink():
            continue
        if entry.is_dir():
            student = names.of_entry(entry.name)
            while student in students:  # another folder's name, spelled out, is the same
                student += "'"
            students.add(student)
            for path in _within(Path(entry.path)):
                match = _IN_A_FOLDER.fullmatch(path.name)
                if match is not None:
                    yield student, int(match[1]), path
        elif entry.is_file():
            flat = pattern.fullmatch(entry.name)
            if flat is not None and (flat["stage"] or "").isdecimal() and flat["student"]:
                yield names.of_entry(flat["student"]), int(flat["stage"]), Path(entry.path)


def _within(folder: Path) -> Iterator[Path]:
    """The files in a student's folder that are not links, those that lie less deep first."""
    left, seen = deque([folder]), 0
    while left:
        try:
            entries = sorted(os.scandir(left.popleft()), key=lambda e: e.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > MOST_FILES:
                return
            if entry.is_symlink():
                continue
            if not entry.is_dir():
                yield Path(entry.path)
            elif not entry.name.startswith((".", "__")):
                left.append(Path(entry.path))


def _first_begun(
    folder: Path, student: str, lesson: stage.Stage, paths: Sequence[Path]
) -> Submission:
    """The first of these files in which somebody has begun; else the first."""
    best = _read(folder, student, lesson, paths[0])
    if not _BLANK.search(best.text.decode("utf-8", "replace")):
        return best
    others = (_read(folder, student, lesson, path) for path in paths[1:_MOST_TRIED])
    return next((o for o in others if _begun(o.text.decode("utf-8", "replace"), lesson)), best)


def _begun(text: str, lesson: stage.Stage) -> bool:
    """Whether the text defines the entry point, and is not left as it was."""
    defines = re.search(rf"^(def {lesson.entry}\b|{lesson.entry}\s*=)", text, re.MULTILINE)
    return defines is not None and _BLANK.search(text) is None


def _read(folder: Path, student: str, lesson: stage.Stage, path: Path) -> Submission:
    """The submission in a file: all of a Python file, the exercise's cell of a notebook."""
    file = names.of_entry(path.relative_to(folder).as_posix())
    notebook = path.suffix.lower() == ".ipynb"
    most = MOST_CELLS if notebook else MOST_BYTES

    def unusable(why: str) -> Submission:
        return Submission(student, lesson.number, file, trouble=why)

    try:
        # a pipe would be waited for
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | flags)
        with os.fdopen(descriptor, "rb") as handle:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return unusable("it is not a file")
            text = handle.read(most + 1)
    except OSError as error:
        return unusable(f"it cannot be read: {error.strerror}")
    if len(text) > most:
        return unusable(f"it has more than {most} bytes")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return unusable("it is written in UTF-16, and Python reads UTF-8")
    if not notebook:
        if b"get_ipython()" in text:  # a notebook that was exported
            text = as_python(text.decode("utf-8", "replace")).encode()
        return Submission(student, lesson.number, file, text)
    cell = _exercise(text, lesson)
    if cell is None:
        return unusable(f"the notebook has no cell that defines {lesson.entry}")
    return Submission(student, lesson.number, file, cell.encode("utf-8", "replace"))


def _exercise(text: bytes, lesson: stage.Stage) -> str | None:
    """The cell of a notebook that holds the exercise: the one with the tag "blank", or, where that
    is left as it was, the last other one that defines the entry point. None where there is none."""
    found = [
        (_begun(source, lesson), tagged, place, source)
        for place, (source, tagged) in enumerate(code_cells(text))
    ]
    chosen = max((cell for cell in found if any(cell[:2])), default=None)
    return None if chosen is None else as_python(chosen[3])
