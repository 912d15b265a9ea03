"""`python -m tutorial start`: the course in a folder of the reader's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tutorial
from tutorial import stage
from tutorial.__main__ import main
from tutorial.workspace import start

ROOT = Path(__file__).resolve().parents[3]
CODE = re.compile(r"```.*?```", re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def relative_links(page: Path) -> list[str]:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    pairs = re.findall(r"\[[^\]]*\]\(([\w./-]+\.(?:md|ipynb|py))(?:#[\w-]+)?\)", text)
    return [target for target in pairs if not (page.parent / target).is_file()]


def test_start_writes_the_notebooks_exercises_and_pages_and_no_solution(here: Path) -> None:
    assert main(["start", "course"]) == 0
    for lesson in tutorial.stages():
        for name in (f"notebooks/{lesson.file_name}.ipynb", f"exercises/{lesson.file_name}.py"):
            assert (here / "course" / name).is_file()
    assert (here / "course" / "docs" / "learners-guide.md").is_file()
    assert not (here / "course" / "solutions").exists()


def test_every_relative_link_of_the_folder_leads_to_a_file_of_it(here: Path) -> None:
    assert main(["start", "course", "--solutions"]) == 0
    pages = [p for p in (here / "course").rglob("*") if p.suffix in (".md", ".ipynb")]
    assert {p.relative_to(here).as_posix(): relative_links(p) for p in pages} == {
        p.relative_to(here).as_posix(): [] for p in pages
    }


def test_solutions_are_added_to_a_folder_and_nothing_that_was_there_is_touched(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["start", "course"])
    mine = here / "course" / "exercises" / "stage0_first_kernel.py"
    mine.write_text("mine = True\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["start", "course", "--solutions"]) == 0
    assert mine.read_text(encoding="utf-8") == "mine = True\n"
    assert (here / "course" / "solutions" / "stage7_fast" / "v1_bf16.py").is_file()
    assert "that were there, as they are" in capsys.readouterr().out


def test_the_exercise_tells_how_it_is_checked_and_run_and_is_not_attempted(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["start", "."])
    text = (here / "exercises" / "stage3_online_softmax.py").read_text(encoding="utf-8")
    assert "python -m tutorial check 3 exercises/stage3_online_softmax.py" in text
    assert "python -m nkisim exercises/stage3_online_softmax.py" in text
    assert text.endswith(tutorial.get(3).blank)
    capsys.readouterr()
    assert main(["check", "3"]) == 2
    assert "not attempted" in capsys.readouterr().out


def test_a_check_without_a_file_checks_the_exercise_of_the_folder(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["start", "."])
    own = here / "exercises" / "stage0_first_kernel.py"
    own.write_text(tutorial.solution_text(0), encoding="utf-8")
    capsys.readouterr()
    assert main(["check", "0"]) == 0
    assert "first_kernel: correct" in capsys.readouterr().out


def test_a_check_without_a_file_where_there_is_no_exercise_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "3"]) == 2
    assert "There is no exercises/stage3_online_softmax.py here" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_gets_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "course").write_text("a file", encoding="utf-8")
    assert main(["start", "course"]) == 2
    assert "course cannot be written:" in capsys.readouterr().err


def test_an_installation_without_solutions_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = stage.course_folder
    monkeypatch.setattr(
        start, "course_folder", lambda name: None if name == "solutions" else real(name)
    )
    assert main(["start", "course", "--solutions"]) == 2
    assert "solutions are not part of this installation" in capsys.readouterr().err
    assert main(["start", "course"]) == 0


def test_a_folder_of_that_name_beside_an_installed_package_is_not_taken_for_the_courses(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "site" / "solutions").mkdir(parents=True)
    (here / "site" / "solutions" / "other.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(stage, "CLONE", here / "site")
    assert stage.solutions_folder() is None


def test_a_link_is_led_to_the_file_or_becomes_words() -> None:
    files = {"notebooks/stage3_online_softmax.ipynb": "", "docs/views.md": ""}
    text = "[a](../docs/views.md#x), [b](../docs/none.md), [c](../tutorial/data/README.md)"
    led = start._relinked("notebooks/stage3_online_softmax.ipynb", text, files)
    assert led == "[a](../docs/views.md#x), b, [c](../docs/data.md)"
