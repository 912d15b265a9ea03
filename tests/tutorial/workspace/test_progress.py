"""What is solved is kept in a folder that `start` made, and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import tutorial
from tests.tutorial.kernels import changed, solution
from tutorial.__main__ import main
from tutorial.running import runner
from tutorial.workspace import progress


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "exercises").mkdir()
    (tmp_path / progress.FILE).write_text(progress.EMPTY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, number: int, text: str) -> None:
    path = folder / "exercises" / f"{tutorial.get(number).file_name}.py"
    path.write_text(text, encoding="utf-8")


def kept(folder: Path) -> dict[int, dict[str, object]]:
    return progress.found(folder)


WRONG_0 = changed(solution(0), ("nl.multiply", "nl.add"))


def test_a_solved_stage_is_kept_and_stays_solved(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, 0, solution(0))
    assert main(["check", "0"]) == 0
    write(folder, 0, WRONG_0)
    assert main(["check", "0"]) == 1
    assert kept(folder) == {0: {"outcome": "correct", "rung": None, "where": "files"}}
    capsys.readouterr()
    assert main(["progress"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].split() == ["0", "first_kernel", "correct", "-", "files"]
    assert said[-1] == "1 of 11 stages are solved."


def test_a_wrong_kernel_is_kept_as_wrong_until_it_is_right(folder: Path) -> None:
    write(folder, 0, WRONG_0)
    main(["check", "0"])
    assert kept(folder)[0]["outcome"] == "wrong"
    write(folder, 0, solution(0))
    main(["check", "0"])
    assert kept(folder)[0]["outcome"] == "correct"


def test_an_exercise_that_is_not_attempted_is_not_kept(folder: Path) -> None:
    write(folder, 0, tutorial.get(0).blank)
    main(["check", "0"])
    assert kept(folder) == {}


def test_the_worked_solution_and_a_broken_one_are_nobodys_progress(folder: Path) -> None:
    tutorial.check(0, tutorial.solution(0))
    tutorial.check(0, tutorial.broken(0))
    (folder / "solutions").mkdir()
    copy = folder / "solutions" / "stage0_first_kernel.py"
    copy.write_text(solution(0), encoding="utf-8")
    main(["check", "0", str(copy)])
    assert kept(folder) == {}


def test_a_check_on_inputs_of_ones_own_is_not_progress(folder: Path) -> None:
    import numpy as np

    write(folder, 0, solution(0))
    kernel = runner.load(folder / "exercises" / "stage0_first_kernel.py", tutorial.get(0))
    tutorial.check(0, kernel, inputs={"x": np.ones((128, 128), np.float32), "scale": 2.0})
    assert kept(folder) == {}


@pytest.mark.parametrize(
    ("first", "second", "rung"), [(2, 5, 5), (5, 2, 5)], ids=["higher", "lower"]
)
def test_the_highest_rung_is_kept(folder: Path, first: int, second: int, rung: int) -> None:
    write(folder, 0, solution(0))
    kernel = runner.load(folder / "exercises" / "stage0_first_kernel.py", tutorial.get(0))
    for reached in (first, second):
        details = {"rung": reached}
        progress.note(tutorial.Verdict("correct", "", 7, "fast", details=details), kernel)
    assert kept(folder)[7]["rung"] == rung
    assert f"{rung} of 7" in progress.report()


def test_where_no_folder_was_started_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    own = tmp_path / "mine.py"
    own.write_text(solution(0), encoding="utf-8")
    assert main(["check", "0", "mine.py"]) == 0
    assert list(tmp_path.iterdir()) == [own]
    assert main(["progress"]) == 2
    assert "There is no progress.txt here" in capsys.readouterr().err


def test_in_the_browser_a_record_is_kept_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "mine.py"
    own.write_text(solution(0), encoding="utf-8")
    kernel = runner.load(own, tutorial.get(0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "emscripten")
    progress.note(tutorial.Verdict("correct", "", 0, "first_kernel"), kernel)
    assert kept(tmp_path)[0]["where"] == "browser"


@pytest.mark.parametrize(
    "text", ["", "[]", "\0", "# stage outcome rung where\n99 correct - files\n0 correct\n"]
)
def test_a_damaged_record_is_no_reason_for_a_check_to_fail(folder: Path, text: str) -> None:
    (folder / progress.FILE).write_text(text, encoding="utf-8")
    write(folder, 0, solution(0))
    assert main(["check", "0"]) == 0
    assert progress.found(folder) in (
        {},
        {0: {"outcome": "correct", "rung": None, "where": "files"}},
    )
