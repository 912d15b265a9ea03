"""Run test files of AWS's public repositories unmodified, for `tools/upstream_check.py`.

Each file is run by pytest in a separate process. The tests that are known not to pass are in
`tools/data/upstream_tests.toml`, each with its reason; one of them that passes is told too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

PATTERNS = ("general/nki/test/test_*.py", "nki/test/test_*.py", "test/unit/test_*.py")
"""The documentation's tests (2.26 and before; since), the samples' tests."""
OPTIONS = {"src/nki_samples": ["--simulation-only"]}
"""What pytest is told besides, for a checkout that has this folder."""
KNOWN = Path(__file__).with_name("data") / "upstream_tests.toml"
LIMIT = 900
"""Seconds that one file may take."""


class Told(NamedTuple):
    """One test: how it ended ("pass", "fail" or "skip"), and why."""

    name: str
    end: str
    why: str = ""


def files(root: Path, pattern: str | None) -> list[Path]:
    """The test files of the checkout. The unit tests of a library's own harness are none."""
    patterns = [pattern] if pattern else PATTERNS
    if not pattern and (root / "src/nkilib_src").exists():
        return []
    return sorted(path for one in patterns for path in root.glob(one) if path.is_file())


def run(root: Path, path: Path) -> list[Told]:
    """The tests of one file."""
    name = str(path.relative_to(root))
    besides = [word for at, words in OPTIONS.items() if (root / at).exists() for word in words]
    paths = [str(root / "src"), str(root / "src/nkilib_src"), os.environ.get("PYTHONPATH", "")]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["--import-mode=importlib", f"--rootdir={root}", f"--junitxml={report}"]
        try:
            done = subprocess.run(
                [*command, *besides, str(path)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            return [Told(name, "fail", f"not done after {LIMIT} seconds")]
        if done.returncode == 5:
            return [Told(name, "skip", "the file has no test that runs here")]
        if not report.exists():
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
            return [Told(name, "fail", lines[-1])]
        return [_told(name, found) for found in ElementTree.parse(report).iter("testcase")]


def _told(file: str, found: ElementTree.Element) -> Told:
    # A file that cannot be imported is one test without a class.
    name = f"{file}::{found.get('name')}" if found.get("classname") else file
    for kind in ("failure", "error"):
        broken = found.find(kind)
        if broken is not None:
            text = broken.text or ""
            said = [line[1:].strip() for line in text.splitlines() if line.startswith("E  ")]
            return Told(name, "fail", (said or [broken.get("message") or "no message"])[0])
    skipped = found.find("skipped")
    if skipped is not None:
        return Told(name, "skip", skipped.get("message") or "")
    return Told(name, "pass")


def check(root: Path, pattern: str | None, only: str) -> tuple[int, int]:
    """Run the test files whose name holds `only`; how many were run and how many tests are not as
    they should be."""
    known = tomllib.loads(KNOWN.read_text(encoding="utf-8"))
    counts = {"pass": 0, "skip": 0, "known": 0, "fail": 0}
    ran = 0
    for path in files(root, pattern):
        if only not in str(path.relative_to(root)):
            continue
        ran += 1
        for told in run(root, path):
            reason = next((known[one] for one in known if fnmatch(told.name, one)), None)
            end, why = told.end, told.why
            if reason and end == "fail":
                end, why = "known", reason
            elif reason and end == "pass" and not reason.startswith("sometimes"):
                end, why = "fail", "passes, though it is listed in upstream_tests.toml"
            counts[end] += 1
            if end in ("fail", "known"):
                print(f"{end.upper() if end == 'fail' else end}  {told.name}\n      {why}")
    if ran:
        print(
            f"{ran} test files: {counts['pass']} tests pass, {counts['fail']} fail, "
            f"{counts['known']} known not to pass, {counts['skip']} skipped"
        )
    return ran, counts["fail"]
