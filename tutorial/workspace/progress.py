"""What a reader has solved, kept in a file of the folder that `start` made, or in the browser.

Nothing is kept anywhere else: a check in a folder without `progress.txt` leaves no trace. In the
browser edition the file is always kept; the page stores it, with the reader's notebooks, in the
browser's own storage. The record is one line of text per stage, without times and names. (It is not
JSON, which a page of JupyterLite can write once and never again.)
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from ..reference.text import table
from ..stage import solutions_folder, stages
from ..verdict import CORRECT, OVER_THE_RUNG, WRONG, Verdict

FILE = "progress.txt"
EMPTY = "# stage outcome rung where\n"
"""The first line of a record, and all of a new one."""
FILES, BROWSER = "files", "browser"
_HEADER = ["stage", "name", "outcome", "rung", "where"]


def record_file() -> Path | None:
    """The record that counts here: the nearest one above the working directory; in a browser, the
    one of the page. None where nobody keeps any."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FILE).is_file() and _read(folder / FILE) is not None:
            return folder / FILE
    return here / FILE if where() == BROWSER else None


def where() -> str:
    """ "browser" in the browser edition, else "files"."""
    return BROWSER if sys.platform == "emscripten" else FILES


def note(verdict: Verdict, kernel: Any) -> None:
    """Keep a verdict of `check` on the reader's own kernel, where a record is kept.

    A correct verdict stays when a later one is not; the worked solutions and kernels that are made
    from them are nobody's progress. Of a stage with a ladder the highest rung is kept,
    `verdict.details["rung"]`. A record that cannot be written is no reason for a check to fail.
    """
    path = record_file()
    if path is None or verdict.outcome not in (CORRECT, WRONG) or not _is_own(kernel, path.parent):
        return
    outcome = CORRECT if verdict.cause == OVER_THE_RUNG else verdict.outcome
    rung = verdict.details.get("rung")
    found = _read(path) or {}
    before = found.get(verdict.stage, {})
    if before.get("outcome") == CORRECT:  # noqa: SIM102
        if outcome != CORRECT or (before.get("rung") or 0) >= (rung or 0):
            return
    found[verdict.stage] = {"outcome": outcome, "rung": rung, "where": where()}
    lines = [
        f"{number} {entry['outcome']} {'-' if entry['rung'] is None else entry['rung']} "
        f"{entry['where']}\n"
        for number, entry in sorted(found.items())
    ]
    try:
        path.write_text("".join([EMPTY, *lines]), encoding="utf-8", newline="\n")
    except OSError:
        return


def found(folder: Path | None = None) -> dict[int, dict[str, Any]]:
    """The record by stage number, each with "outcome", "rung" (None without a ladder) and "where";
    empty where none is kept."""
    path = record_file() if folder is None else folder / FILE
    return (_read(path) if path is not None else None) or {}


def report(folder: Path | None = None) -> str:
    """The record as a table of all stages, and how many are solved."""
    kept = found(folder)
    rows = []
    for lesson in stages():
        entry = kept.get(lesson.number, {})
        rung = entry.get("rung")
        rungs = () if lesson.ladder is None else lesson.ladder.rungs
        of = f" of {sum(not step.tried for step in rungs)}" if rungs else ""
        rows.append(
            [
                str(lesson.number),
                lesson.name,
                entry.get("outcome", "not attempted"),
                "-" if rung is None else f"{rung}{of}",
                entry.get("where", "-"),
            ]
        )
    solved = sum(entry.get("outcome") == CORRECT for entry in kept.values())
    return f"{table(_HEADER, rows, 3)}\n{solved} of {len(rows)} stages are solved."


def _read(path: Path) -> dict[int, dict[str, Any]] | None:
    """A record by stage number, without the lines that are not of one; None for another file."""
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError):
        return None
    if header != EMPTY:
        return None
    kept: dict[int, dict[str, Any]] = {}
    known = {str(lesson.number) for lesson in stages()}
    for line in lines:
        match line.split():
            case [number, outcome, rung, place] if number in known and outcome in (CORRECT, WRONG):
                reached = int(rung) if rung.isdecimal() else None
                kept[int(number)] = {"outcome": outcome, "rung": reached, "where": place}
    return kept


def _is_own(kernel: Any, home: Path) -> bool:
    """False for a worked solution, and for a kernel that the course made from one."""
    function: Any = inspect.unwrap(kernel) if callable(kernel) else kernel
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename.startswith("<stage "):
        return False
    solutions = (solutions_folder(), home / "solutions")
    above = Path(code.co_filename).resolve().parents
    return not any(folder is not None and folder.resolve() in above for folder in solutions)
