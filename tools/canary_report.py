"""What the weekly run with the newest packages found, as a table that is read in a minute.

    python tools/canary_report.py JUNIT.xml [--types TEXT] [--constraints constraints.txt]

It names the packages that are newer than those in the constraints, and the tests that failed, each
with the first line of its error. `--types` is a file with what the type checker said. On GitHub the
report is also the summary of the job. Exit status 0 if nothing failed, else 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
MOST = 20  # failures that are listed
LINE = 160  # letters of an error that are shown


class Failure(NamedTuple):
    """A test that did not pass."""

    test: str
    error: str


class Outcome(NamedTuple):
    """What pytest wrote to its JUnit file."""

    tests: int
    skipped: int
    failures: tuple[Failure, ...]


def read(path: Path) -> Outcome:
    """The outcome in a JUnit file. A file that is missing or broken is itself a failure."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        return Outcome(0, 0, (Failure("pytest", f"it left no result: {error}"),))
    if not cases:
        return Outcome(0, 0, (Failure("pytest", "it ran no test"),))
    failures, skipped = [], 0
    for case in cases:
        skipped += case.find("skipped") is not None
        wrong = next((c for kind in ("failure", "error") for c in case.iter(kind)), None)
        if wrong is not None:
            said = (wrong.get("message") or wrong.text or "").strip().splitlines() or ["no message"]
            failures.append(Failure(f"{case.get('classname')}::{case.get('name')}", said[0][:LINE]))
    return Outcome(len(cases), skipped, tuple(failures))


def pinned(text: str) -> dict[str, str]:
    """The versions in a constraints file that are for this Python, by package."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    wanted = [Requirement(line) for line in lines]
    return {
        r.name: next(iter(r.specifier)).version
        for r in wanted
        if len(r.specifier) == 1 and (r.marker is None or r.marker.evaluate())
    }


def installed() -> dict[str, str]:
    """The versions of the packages of this Python."""
    return {str(d.metadata["Name"]): d.version for d in metadata.distributions()}


def newer(constraints: Mapping[str, str], here: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """The packages whose version is not the constraints': name, theirs, the one here."""

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    known = {plain(name): version for name, version in here.items()}
    found = [(name, old, known.get(plain(name), old)) for name, old in constraints.items()]
    return sorted((name, old, new) for name, old, new in found if new != old)


def report(outcome: Outcome, moved: Sequence[tuple[str, str, str]], types: str | None) -> str:
    """The report, in Markdown."""
    passed = max(outcome.tests - outcome.skipped - len(outcome.failures), 0)
    python = f"Python {platform.python_version()} on {platform.system()}"
    lines = [
        f"## {python}: {'something failed' if outcome.failures or types else 'all passed'}",
        "",
        f"{passed} passed, {len(outcome.failures)} failed, {outcome.skipped} skipped.",
    ]
    if types:
        last = types.strip().splitlines()[-1]
        lines += ["", f"The type checker objects: {_cell(last)}"]
    if outcome.failures:
        lines += ["", "| test | error |", "|---|---|"]
        lines += [f"| {_cell(f.test)} | {_cell(f.error)} |" for f in outcome.failures[:MOST]]
        if len(outcome.failures) > MOST:
            lines.append(f"| and {len(outcome.failures) - MOST} more | see the log |")
    if moved:
        lines += ["", "| package | in constraints.txt | here |", "|---|---|---|"]
        lines += [f"| {name} | {old} | {new} |" for name, old, new in moved]
    else:
        lines += ["", "Every package has the version of constraints.txt."]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 0 if nothing failed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("junit", type=Path, metavar="JUNIT.xml")
    parser.add_argument("--types", type=Path, metavar="TEXT")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt")
    options = parser.parse_args(arguments)
    outcome = read(options.junit)
    said = options.types.read_text(encoding="utf-8") if options.types is not None else ""
    types = said if re.search(r"^\S+: error: |^Found \d+ error", said, re.MULTILINE) else None
    moved = newer(pinned(options.constraints.read_text(encoding="utf-8")), installed())
    text = report(outcome, moved, types)
    print(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    return 1 if outcome.failures or types else 0


if __name__ == "__main__":
    sys.exit(main())
