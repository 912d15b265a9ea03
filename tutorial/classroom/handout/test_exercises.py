"""Every exercise can be checked: it is not attempted yet, or it is right."""

from pathlib import Path

import pytest

import tutorial
from tutorial.running import runner

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "exercises").glob("stage*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_exercise_is_not_attempted_or_right(file: Path) -> None:
    stage = tutorial.get(file.stem)
    verdict = tutorial.check(stage, runner.load(file, stage))
    assert verdict.outcome in ("not attempted", "correct"), verdict.sentence


def test_there_is_an_exercise_for_every_notebook() -> None:
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks == [file.stem for file in FILES]
