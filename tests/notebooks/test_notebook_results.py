"""`tools/notebook_results.py`: one result per notebook; executed copies of those that fail."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import notebook_results  # noqa: E402


def write(path: Path, source: str, printed: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    output = nbformat.v4.new_output("stream", name="stdout", text=printed)
    cell = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "stage0_first_kernel.py").write_text("", encoding="utf-8")
    write(tmp_path / "notebooks" / "right.ipynb", "print(1 + 1)", "2\n")
    return tmp_path


def run(fork: Path, *options: str) -> int:
    return notebook_results.main(["notebooks", "solutions", "--root", str(fork), *options])


def test_each_notebook_has_its_own_result_and_a_failing_one_is_kept_as_executed(
    fork: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(fork / "notebooks" / "wrong.ipynb", "print(1 + 2)", "2\n")
    assert run(fork, "--keep", str(fork / "kept"), "--junit", str(fork / "results")) == 1
    said = capsys.readouterr().out
    assert "notebooks/right.ipynb | pass" in said and "wrong.ipynb | **fail** | 1 failed" in said
    kept = nbformat.read(fork / "kept" / "notebooks-wrong.ipynb", as_version=4)
    assert kept.cells[0].outputs[0].text == "3\n"
    assert sorted(path.name for path in (fork / "results").iterdir()) == ["right.xml", "wrong.xml"]


def test_in_a_fork_without_solutions_outputs_are_not_compared_and_cells_must_run(
    fork: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fork / "solutions" / "stage0_first_kernel.py").unlink()
    (fork / "solutions").rmdir()
    write(fork / "notebooks" / "right.ipynb", "print('not here')", "the solution's trace\n")
    write(fork / "notebooks" / "raises.ipynb", "1 / 0", "")
    assert run(fork) == 1
    said = capsys.readouterr().out
    assert "notebooks/right.ipynb | pass" in said and "ZeroDivisionError" in said
    assert "notebooks/raises.ipynb | **fail**" in said


def test_where_there_are_no_notebooks_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 0
    assert "There are no notebooks here." in capsys.readouterr().out
