"""Check notebooks with nbval, one result each, and keep the executed ones of those that fail.

    python tools/notebook_results.py FOLDER [FOLDER ...] [--keep DIR] [--lax] [--junit DIR]

A folder that is not there has no notebooks, which is not a failure: a fork that has removed the
solutions passes. Where the folder `solutions` is missing, the lessons print less than they store,
and the check is `--nbval-lax` by itself: every cell must run, and outputs are not compared.

As many at a time are checked as there are processors, four at most; they are told in order. Exit
status 0 if every notebook passes. On GitHub the table is also the summary of the job.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = "tests/nbval_sanitize.cfg"


@dataclass(frozen=True)
class Result:
    """What nbval said of one notebook."""

    notebook: Path
    passed: bool
    said: str

    @property
    def last_line(self) -> str:
        """pytest's own summary, without its time: "12 passed"."""
        line = self.said.strip().splitlines()[-1] if self.said.strip() else "pytest said nothing"
        return line.strip("= ").partition(" in ")[0]


def notebooks_of(folders: Sequence[str], root: Path) -> list[Path]:
    """The notebooks of the folders that are there, in order."""
    found = []
    for folder in folders:
        found += sorted(p for p in (root / folder).glob("*.ipynb") if p.is_file())
    return found


def command(notebook: Path, root: Path, lax: bool, junit: Path | None) -> list[str]:
    """The pytest command for one notebook: nbval alone, in this process. Plugins that it does not
    need, and that take a while to import, are left out where they are installed."""
    made = [sys.executable, "-m", "pytest", "-o", "addopts=", "-q"]
    for plugin in ("cacheprovider", "hypothesispytest", "xdist"):
        made += ["-p", f"no:{plugin}"]
    made += ["--nbval-lax" if lax else "--nbval", "--nbval-current-env"]
    made += ["--nbval-cell-timeout=300"]
    if (root / SANITIZE).is_file():
        made += [f"--nbval-sanitize-with={SANITIZE}"]
    if junit is not None:
        made += [f"--junit-xml={junit / notebook.stem}.xml"]
    return [*made, str(notebook)]


def check(notebook: Path, root: Path, lax: bool, junit: Path | None = None) -> Result:
    """Run nbval on one notebook."""
    done = subprocess.run(
        command(notebook, root, lax, junit),
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    return Result(notebook, done.returncode == 0, done.stdout + done.stderr)


def keep_executed(notebook: Path, into: Path) -> Path:
    """Execute a notebook to its end, errors and all, and keep it to be looked at."""
    import nbformat
    from nbclient import NotebookClient

    made = nbformat.read(notebook, as_version=4)
    where = {"metadata": {"path": str(notebook.parent)}}
    NotebookClient(
        made, timeout=300, kernel_name="python3", allow_errors=True, resources=where
    ).execute()
    into.mkdir(parents=True, exist_ok=True)
    path = into / f"{notebook.parent.name}-{notebook.name}"
    nbformat.write(made, path)
    return path


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    rows = [
        f"| {r.notebook.parent.name}/{r.notebook.name} | {'pass' if r.passed else '**fail**'} "
        f"| {r.last_line} |"
        for r in results
    ]
    return "\n".join(["| notebook | result | cells |", "|---|---|---|", *rows])


def main(arguments: list[str] | None = None) -> int:
    """Check what the command line names; 0 if all of it passes, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--keep", type=Path, metavar="DIR")
    parser.add_argument("--junit", type=Path, metavar="DIR")
    parser.add_argument("--lax", action="store_true")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    lax = options.lax or not any((root / "solutions").glob("*.py"))
    results = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        notebooks = notebooks_of(options.folders, root)
        for result in pool.map(lambda path: check(path, root, lax, options.junit), notebooks):
            name = f"{result.notebook.parent.name}/{result.notebook.name}"
            print(f"{'pass' if result.passed else 'FAIL'}  {name}")
            if not result.passed:
                print(result.said)
                if options.keep is not None:
                    print(f"executed: {keep_executed(result.notebook, options.keep)}")
            results.append(result)
    text = table(results) if results else "There are no notebooks here."
    print(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:
            file.write(f"{text}\n")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
