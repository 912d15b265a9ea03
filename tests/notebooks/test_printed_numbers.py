"""Every number that a lesson prints is asserted in plain pytest too, without nbval.

Where nbval runs all lessons in the same session, two are enough to show that this way works;
otherwise all of them are run.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.notebooks.replay import differences, numbers

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BESIDE_NBVAL = ("stage1_single_tile", "stage5_ragged_batch")


def nbval_runs_all(config: pytest.Config) -> bool:
    """Whether the folder of lessons is among what this session runs with nbval."""
    here = config.invocation_params.dir
    asked = [(here / name.partition("::")[0]).resolve() for name in config.args]
    return bool(config.getoption("nbval", False)) and any(
        (ROOT / "notebooks").is_relative_to(path) for path in asked
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which lessons are run here."""
    if "lesson" in metafunc.fixturenames:
        some = nbval_runs_all(metafunc.config)
        lessons = [path for path in LESSONS if not some or path.stem in BESIDE_NBVAL]
        metafunc.parametrize("lesson", lessons, ids=lambda path: path.stem.partition("_")[0])


@pytest.mark.slow
def test_the_numbers_that_a_lesson_prints_are_those_that_it_stores(lesson: Path) -> None:
    assert differences(lesson) == []


def test_a_number_that_is_not_true_any_more_is_found(tmp_path: Path) -> None:
    notebook = json.loads((ROOT / "notebooks" / "stage1_single_tile.ipynb").read_text("utf-8"))
    cell = next(c for c in notebook["cells"] if c["cell_type"] == "code" and c["outputs"])
    text = "".join(cell["outputs"][0]["text"])
    assert "65,792" in text
    cell["outputs"][0]["text"] = text.replace("65,792", "65,793")
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][:2]
    spoilt = tmp_path / "spoilt.ipynb"
    spoilt.write_text(json.dumps(notebook), encoding="utf-8")
    (said,) = differences(spoilt)
    assert "65,793" in said


def test_a_cell_that_raises_is_found(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "source": "1 / 0", "outputs": []}
    path = tmp_path / "raises.ipynb"
    path.write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    assert "ZeroDivisionError" in differences(path)[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("HBM read 524,288 bytes", ["524,288"]),
        ("m = -inf, l = 1.5032e+3", ["-inf", "1.5032e+3"]),
        ("tile 0: nan", ["0", "nan"]),
        ("no number", []),
    ],
)
def test_what_counts_as_a_number(text: str, found: list[str]) -> None:
    assert numbers(text) == found
