"""The reader's own kernel of the last stage is carried on, where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tutorial
from tutorial.workspace.own import own_kernel

MINE = tutorial.solution_text(3).replace("TILE", "WIDTH")


def notebook(path: Path, source: str) -> Path:
    """A notebook whose cell tagged "blank" holds `source`."""
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# Stage 3"},
        {"cell_type": "code", "metadata": {"tags": ["blank"]}, "source": source},
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return path


def test_the_kernel_in_the_notebook_beside_this_one_is_found(tmp_path: Path) -> None:
    path = notebook(tmp_path / "stage3_online_softmax.ipynb", MINE)
    assert own_kernel(3, tmp_path) == (MINE, path)
    assert own_kernel(2, tmp_path) is None


def test_the_exercise_file_of_the_readers_folder_is_found(tmp_path: Path) -> None:
    path = tmp_path / "exercises" / "stage3_online_softmax.py"
    path.parent.mkdir()
    path.write_text(MINE, encoding="utf-8")
    assert own_kernel(3, tmp_path) == (MINE, path)
    assert own_kernel(3, tmp_path / "notebooks") == (MINE, path)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(tutorial.get(3).blank, id="the exercise"),
        pytest.param(tutorial.get(3).blank + "\n# what shall I do?\n", id="a comment more"),
        pytest.param(tutorial.solution_text(3), id="the worked solution"),
        pytest.param("def decode_attention_fwd(q, k, v:\n", id="not Python"),
    ],
)
def test_what_is_not_the_readers_kernel_is_left_out(text: str, tmp_path: Path) -> None:
    notebook(tmp_path / "stage3_online_softmax.ipynb", text)
    assert own_kernel(3, tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", '{"cells": [{}]}', "[1]"])
def test_a_notebook_that_cannot_be_read_is_no_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "stage3_online_softmax.ipynb").write_text(text, encoding="utf-8")
    assert own_kernel(3, tmp_path) is None


def test_it_is_printed_from_its_first_function_on_and_else_the_worked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tutorial.last_kernel(3, "o = nl.ndarray", "m = nl.full")
    assert capsys.readouterr().out.strip().startswith("o = nl.ndarray")
    notebook(tmp_path / "stage3_online_softmax.ipynb", MINE)
    tutorial.last_kernel(3, "o = nl.ndarray", "m = nl.full")
    first, blank, decorator, *_ = capsys.readouterr().out.splitlines()
    assert first == "Your kernel of stage 3 online_softmax, from stage3_online_softmax.ipynb:"
    assert (blank, decorator) == ("", "@nki.jit")
