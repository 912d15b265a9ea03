"""From results to points: the rubric, its shares, and written questions."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tutorial import get
from tutorial.classroom.commands import _uncounted
from tutorial.classroom.gradebook import (
    NOT_COMPUTED,
    RubricError,
    as_csv,
    causes,
    graded,
    rubric,
    written,
)
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
COUNTED = {"HBM bytes read": [200, 100]}


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
    assert points(own, 3, result("wrong", "needless HBM traffic", counters=COUNTED)) == 10
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


@pytest.mark.parametrize("cause", ["needless HBM traffic", "reads too little", None])
def test_a_cost_without_counters_is_not_one_of_right_values(own, cause):
    """A process that holds a submission may name any cause; the judge counts."""
    assert points(own, 3, result("wrong", cause)) == 5


@pytest.mark.parametrize("cause", NOT_COMPUTED)
def test_right_values_that_were_not_computed_are_wrong(own, cause):
    assert points(own, 3, result("wrong", cause, counters=COUNTED)) == 5


@pytest.mark.parametrize("cause", ["read too often", "loaded once per query head"])
def test_every_cost_of_right_values_has_its_share(own, cause):
    assert points(own, 4, result("wrong", cause, counters=COUNTED)) == 10


@pytest.mark.parametrize("name", ["=cmd()", " =cmd()", "\n+1", "@x", "-1", "\uff1dcmd()"])
def test_a_spreadsheet_takes_no_name_for_a_formula(own, name):
    written_as = as_csv([graded(Submission(name, 3, "f.py"), result("correct"), rubric(own))])
    assert next(csv.DictReader(io.StringIO(written_as)))["student"] == f"'{name}"


def test_a_spreadsheet_that_separates_by_semicolons_finds_no_formula_in_a_name(own):
    job = Submission("anna;=cmd()", 3, "f.py")
    grade = graded(job, result("correct"), rubric(own))
    line = as_csv([grade]).splitlines()[1]
    assert line.startswith('"anna;=cmd()","3",') and line.count('"') == 2 * len(grade.row())


def test_causes_are_counted_by_frequency(own):
    by = rubric(own)
    found = ["alpha inverted", "alpha inverted", None, "scale missing"]
    grades = [
        graded(Submission(f"s{i}", 3, "f.py"), result("wrong", cause), by)
        for i, cause in enumerate(found)
    ]
    assert causes(grades)[0] == (3, "alpha inverted", 2)
    assert {cause for _, cause, _ in causes(grades)} >= {"no known mistake", "scale missing"}


def test_written_points_of_nobody_who_handed_in_are_named():
    answered = {("anna", 3): 2.0, ("Bren", 3): 1.0, ("anna", 7): 1.0}
    jobs = [Submission("anna", 3, "a.py"), Submission("ben", 3, "b.py")]
    said = _uncounted(answered, jobs, [get(3), get(4)])
    assert said.endswith("the written points of Bren (stage 3).")  # stage 7 is not graded now
    assert _uncounted({("ben", 3): 1.0}, jobs, [get(3)]) == ""
