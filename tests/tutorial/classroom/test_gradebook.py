"""From results to points: the rubric, its shares, and written questions."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tutorial.classroom.gradebook import RubricError, as_csv, causes, graded, rubric, written
from tutorial.classroom.submissions import Submission

RUBRIC = """
points = 20
written = 3
[share]
correct = 1.0
wrong = 0.25
"over the cost budget" = 0.5
"not attempted" = 0
unusable = 0
[rung]
1 = 0.5
2 = 1.0
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A teacher's own rubric."""
    (tmp_path / "rubric.toml").write_text(RUBRIC, encoding="utf-8")
    return tmp_path / "rubric.toml"


def result(outcome: str, cause: str | None = None, **changes: Any) -> dict[str, Any]:
    """What a judge says of a kernel."""
    plain = {"outcome": outcome, "cause": cause, "counters": {}, "ladder": 0, "ended": ""}
    return {**plain, "judged": "program", **changes}


def points(path: Path, stage: int, found: dict[str, Any]) -> float:
    return graded(Submission("anna", stage, "f.py"), found, rubric(path)).points


def test_points_follow_outcome_cost_and_rung(own):
    assert points(own, 3, result("correct")) == 20
    assert points(own, 3, result("wrong", "alpha inverted")) == 5
    assert points(own, 3, result("wrong", "needless HBM traffic")) == 10
    assert points(own, 3, result("unusable")) == 0
    assert [points(own, 7, result("correct", ladder=n)) for n in (1, 2)] == [10, 20]


def test_what_is_right_by_its_outputs_alone_gets_no_points_and_is_marked(own):
    found = graded(
        Submission("anna", 3, "f.py"), result("correct", judged="outputs only"), rubric(own)
    )
    assert (found.outcome, found.points) == ("outputs only", 0)
    assert "cannot be lowered" in found.look


def test_written_questions_add_their_points(own, tmp_path):
    by = rubric(own)
    (tmp_path / "w.csv").write_text("student,stage,points\nanna,3,2.5\n", encoding="utf-8")
    answered = written(tmp_path / "w.csv", by)
    pairs = [(Submission(s, 3, "f.py"), result("correct")) for s in ("anna", "ben")]
    grades = [graded(job, found, by, answered) for job, found in pairs]
    assert [(g.points, g.of, g.written) for g in grades] == [(22.5, 23, 2.5), (20, 23, None)]
    rows = list(csv.DictReader(as_csv(grades).splitlines()))
    assert [row["written"] for row in rows] == ["2.5", ""]


@pytest.mark.parametrize("text", ["student,points\na,1\n", "student,stage,points\na,3,4\n", "\0"])
def test_points_that_are_none_or_too_many_are_a_sentence(own, tmp_path, text):
    (tmp_path / "w.csv").write_text(text, encoding="utf-8")
    by = rubric(own)
    if text == "\0":
        (tmp_path / "w.csv").unlink()
    with pytest.raises(RubricError, match=r"w\.csv"):
        written(tmp_path / "w.csv", by)


@pytest.mark.parametrize("text", ["points = 'x'", "points = 1", "[share", "points = 1\n[share]\n"])
def test_a_rubric_that_is_none_is_a_sentence(tmp_path, text):
    (tmp_path / "r.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RubricError, match=r"The rubric .*r\.toml"):
        rubric(tmp_path / "r.toml")


def test_a_spreadsheet_takes_no_name_for_a_formula(own):
    job = Submission("=cmd()", 3, "f.py")
    assert "'=cmd()" in as_csv([graded(job, result("correct"), rubric(own))])


def test_causes_are_counted_by_frequency(own):
    by = rubric(own)
    found = ["alpha inverted", "alpha inverted", None, "scale missing"]
    grades = [
        graded(Submission(f"s{i}", 3, "f.py"), result("wrong", cause), by)
        for i, cause in enumerate(found)
    ]
    assert causes(grades)[0] == (3, "alpha inverted", 2)
    assert {cause for _, cause, _ in causes(grades)} >= {"no known mistake", "scale missing"}
