"""Grading a class: no forged grade, nobody harmed, the same bytes each time."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.tutorial.classroom.hostile import HOSTILE, IMPORTS
from tests.tutorial.kernels import ROOT, solution
from tutorial.__main__ import main
from tutorial.classroom import landlock, seccomp
from tutorial.classroom.sandbox import Limits, sandbox

SEED = "a-word-that-nobody-is-told"
APART = sandbox(Limits()).apart
KERNEL = solution(1).partition("import neuronxcc.nki.language as nl\n")[2]
NEEDS_SANDBOX = {
    "a solution read from the disk",
    "a solution anywhere on the disk",
    "the library's solution",
    "signals to its parents",
    "its guard is killed",
}


NEIGHBOURS = (
    "sitecustomize.py",
    "usercustomize.py",
    "conftest.py",
    "numpy.py",
    "math.py",
    "tutorial.py",
    "nkisim.py",
    "neuronxcc.py",
)
"""Files that Python or a test runner would take for its own, were they on its path."""


def text_of(name: str) -> str:
    """The text of a hostile submission."""
    text = HOSTILE[name].replace("{repo}", str(ROOT)).replace("{kernel}", KERNEL)
    text = text.replace("{honest!r}", repr(IMPORTS + KERNEL))
    edit = re.search(r"\{kernel:(.*)->(.*)\}", text, re.DOTALL)
    if edit is not None:
        assert KERNEL.count(edit[1]) == 1, name
        text = IMPORTS + KERNEL.replace(edit[1], edit[2])
    return text


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grades of a class in which everybody hands in stage 1, hostile, and an honest stage 0."""
    folder = tmp_path_factory.mktemp("class")
    work = folder / "handed in"
    for number, name in enumerate(HOSTILE):
        if name in NEEDS_SANDBOX and not APART:
            continue
        student = work / f"student {number}"
        student.mkdir(parents=True)
        (student / "stage1_single_tile.py").write_text(text_of(name), encoding="utf-8")
        shutil.copy(ROOT / "solutions" / "stage0_first_kernel.py", student)
    (work / "linked").mkdir()
    (work / "linked" / "stage1.py").symlink_to(ROOT / "solutions" / "stage1_single_tile.py")
    (work / "large").mkdir()
    (work / "large" / "stage1.py").write_text("x = 1\n" * 1_000_000, encoding="utf-8")
    for student in ("honest", "neighbours"):
        (work / student).mkdir()
        shutil.copy(ROOT / "solutions" / "stage1_single_tile.py", work / student)
    for folder_of in (work, work / "neighbours"):
        for name in NEIGHBOURS:
            (folder_of / name).write_text("import os\nos._exit(0)\n", encoding="utf-8")
    out = folder / "grades"
    arguments = ["grade", str(work), "--out", str(out), "--stages", "0,1", "--seed", SEED]
    assert main([*arguments, "--seconds", "6", "--memory", "2048", "-j", "3"]) == 0
    return out


@pytest.fixture(scope="module")
def rows(graded: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The gradebook by student and stage."""
    with (graded / "grades.csv").open(encoding="utf-8", newline="") as file:
        return {(row["student"], row["stage"]): row for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_earns_nothing_and_its_authors_honest_one_is_correct(rows, name):
    if name in NEEDS_SANDBOX and not APART:
        assert not APART  # what only a sandbox prevents is named in the guide
        return
    student = f"student {list(HOSTILE).index(name)}"
    assert rows[student, "1"]["outcome"] != "correct", name
    assert float(rows[student, "1"]["points"]) <= 2
    assert rows[student, "0"]["outcome"] == "correct"


def test_an_honest_kernel_among_them_is_correct(rows):
    row = rows["honest", "1"]
    assert (row["outcome"], row["points"], row["judged"]) == ("correct", "10", "program")


def test_files_beside_a_submission_that_are_named_like_modules_are_not_imported(rows):
    row = rows["neighbours", "1"]
    assert (row["outcome"], row["file"]) == ("correct", "neighbours/stage1_single_tile.py")


def test_a_link_is_no_submission_and_a_large_file_cannot_be_judged(rows):
    assert ("linked", "1") not in rows
    assert rows["large", "1"]["outcome"] == "unusable"
    assert rows["large", "1"]["look at it"] == "could not be judged"


def test_what_is_right_by_its_outputs_alone_is_marked_and_not_called_correct(rows):
    student = f"student {list(HOSTILE).index('NumPy computes, an instruction copies')}"
    row = rows[student, "1"]
    assert row["outcome"] in ("outputs only", "wrong") and row["points"] != "10"
    assert row["judged"] != "program" or row["outcome"] == "wrong"


def test_no_page_tells_the_seed_and_every_student_has_one(graded, rows):
    pages = sorted((graded / "students").iterdir())
    assert len(pages) == 2 * len({student for student, _ in rows})
    for page in [*pages, graded / "class.html", graded / "class.md", graded / "grades.csv"]:
        text = page.read_text(encoding="utf-8")
        assert SEED not in text and "<script" not in text


def test_an_interrupted_run_goes_on_and_writes_the_same_bytes(graded, capsys):
    names = ("grades.csv", "grades.json", "class.html", "class.md")
    before = {name: (graded / name).read_bytes() for name in names}
    work = graded.parent / "handed in"
    kept = sorted((graded / "results").iterdir())
    honest = next(p for p in kept if p.name.startswith("honest"))
    honest.unlink()  # as if it had not been judged yet
    arguments = ["grade", str(work), "--out", str(graded), "--stages", "0,1"]
    assert main([*arguments, "--seconds", "6", "--memory", "2048", "-j", "3"]) == 0
    assert {name: (graded / name).read_bytes() for name in names} == before
    assert honest.exists()


def test_the_limits_in_force_are_written_down(graded):
    limits = json.loads((graded / "grades.json").read_text(encoding="utf-8"))["limits"]
    assert "6 s" in limits
    assert ("no network" in limits) == APART


def test_a_folder_without_submissions_is_a_sentence(tmp_path, capsys):
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "has no submission" in capsys.readouterr().err


WITHOUT = (
    "the library's solution",
    "a solution anywhere on the disk",
    "the memory of its parents",
    "processes that stay",
    "its guard is stopped",
)
"""What looks for a solution on the disk and in other processes, and what would stay."""


def left_behind(mark: str) -> list[str]:
    """The processes with this mark in their command."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(entry.read_text("utf-8", "replace").replace("\0", " "))
    return [line for line in lines if mark in line]


@pytest.mark.skipif(not landlock.version(), reason="the kernel has no Landlock")
def test_without_bubblewrap_landlock_keeps_the_solutions_and_the_seed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no bwrap there
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    work = tmp_path / "handed in"
    (work / "reader").mkdir(parents=True)
    seed = f"open({str(tmp_path / 'out' / 'seed.txt')!r})\n"
    (work / "reader" / "stage0.py").write_text(seed, encoding="utf-8")
    own_sleep = f"time.sleep(600.{os.getpid()})"
    for number, name in enumerate(WITHOUT):
        (work / f"student {number}").mkdir(parents=True)
        text = text_of(name).replace("time.sleep(600)", own_sleep)
        (work / f"student {number}" / "stage1.py").write_text(text, encoding="utf-8")
    (work / "honest").mkdir()
    shutil.copy(ROOT / "solutions" / "stage1_single_tile.py", work / "honest")
    arguments = ["grade", str(work), "--out", str(tmp_path / "out"), "--stages", "0,1"]
    assert main([*arguments, "--seed", SEED, "--seconds", "10"]) == 0
    assert left_behind(own_sleep) == []
    assert list((tmp_path / "temporary").iterdir()) == []
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8", newline="") as file:
        found = {row["student"]: row["outcome"] for row in csv.DictReader(file)}
    assert found.pop("honest") == "correct"
    assert len(found) == 1 + len(WITHOUT) and "correct" not in found.values()
    kept = json.loads((tmp_path / "out" / "grades.json").read_text(encoding="utf-8"))
    assert ("no network" in kept["limits"]) == seccomp.here()
    assert any(limit.startswith("no files but") for limit in kept["limits"])
    (refused,) = (tmp_path / "out" / "results").glob("reader*")
    assert "Permission denied" in refused.read_text(encoding="utf-8")
