"""What teachers are given is true: boards show what the kernels compute, the workflow runs."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tutorial.kernels import ROOT, solution
from tutorial import get
from tutorial.classroom.release import release
from tutorial.reference.splitting import State, merged

sys.path.insert(0, str(ROOT / "tools"))
import docs_teaching as kit

KIT = (ROOT / "docs" / "teaching-kit.md").read_text(encoding="utf-8")


def twins_state(number: int, scores: list[int], values: list[int], tile: int) -> dict[str, Any]:
    """The last state of a stage's twin for scores in units of ln 2."""
    twin: Any = get(number).twin
    k = np.array([scores], np.float64) * math.log(2)
    v = np.array([values], np.float64)
    return list(twin(np.ones((1, 1)), k, v, 1.0, tile=tile))[-1]


def test_the_board_of_stage_1_ends_with_the_twins_output():
    scores, values = kit.ONE_TILE
    twin: Any = get(1).twin
    k, v = np.array([scores], np.float64) * math.log(2), np.array([values], np.float64)
    state = list(twin(np.ones((1, 1)), k, v, 1.0))[-1]
    found = kit.of_tile(scores, values)
    assert np.isclose(state["o"].item(), float(found.acc / found.l))
    assert "o = acc / l = 8 / 2 = 4" in kit.board("1")


def test_the_board_of_stage_3_is_the_twin_tile_by_tile():
    (scores_a, values_a), (scores_b, values_b) = kit.TILES
    found = kit.of_tile(scores_a, values_a)
    alpha, found = kit.after(found, scores_b, values_b)
    state = twins_state(3, [*scores_a, *scores_b], [*values_a, *values_b], 2)
    assert np.isclose(float(np.ravel(state["m"])[0]), found.m * math.log(2))
    assert np.isclose(float(np.ravel(state["l"])[0]), float(found.l))
    assert np.isclose(float(np.ravel(state["acc"])[0]), float(found.acc))
    assert alpha == Fraction(1, 2) and found.acc / found.l == 5


def test_the_board_of_stage_6_merges_as_the_course_does():
    parts = [kit.of_tile(*tile) for tile in kit.TILES]
    states = [
        State(*(np.array([[x]], np.float32) for x in (s.m * math.log(2), float(s.l), float(s.acc))))
        for s in parts
    ]
    both, found = merged(*states), kit.merged(*parts)
    assert np.isclose(both.l.item(), float(found.l)) and np.isclose(
        both.acc.item(), float(found.acc)
    )
    _, after = kit.after(parts[0], *kit.TILES[1])
    assert found == after  # two splits and one pass end alike


@pytest.mark.parametrize("number", range(11))
def test_the_numbers_of_a_board_are_small_enough_to_write(number):
    numbers = [Fraction(x) for x in re.findall(r"(?<![\w.])\d+(?:/\d+)?", kit.board(str(number)))]
    if number == 7:
        return  # a list of changes
    assert numbers and all(n <= 20 and n.denominator <= 4 for n in numbers)


def test_every_stage_has_a_plan_a_board_and_a_question_at_three_levels():
    for number in range(11):
        assert f"<!-- generated: board {number} -->" in KIT
        question = re.search(rf"^\*\*Stage {number}\.\*\* .*?(?=^\*\*Stage|^## )", KIT, re.M | re.S)
        assert question is not None
        assert [f"- *{n}:*" in question[0] for n in (3, 2, 1)] == [True] * 3, number
    for minutes in ("50", "80"):
        assert kit.plan(minutes).count("\n| stage ") == 11


def test_every_common_wrong_answer_is_a_known_mistake_and_its_question_is_one():
    for number, asked in kit.ASK.items():
        for key, question in asked:
            assert key in kit.known(number), (number, key)
            assert question.rstrip(".").endswith("?") or "?" in question


def steps(text: str) -> dict[str, str]:
    """The shell commands of a workflow's steps by name."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    read = yaml.safe_load(text)
    assert read[True] == "push"  # YAML 1.1 takes the key `on` for a truth value
    (job,) = read["jobs"].values()
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step}


def test_the_editions_workflow_grades_a_push_and_says_it_in_the_summary(tmp_path):
    edition = tmp_path / "edition"
    release(edition, [get(0), get(1)], prove=False)
    made = steps((edition / ".github/workflows/grade.yml").read_text(encoding="utf-8"))
    exercise = edition / "exercises" / "stage0_first_kernel.py"
    exercise.write_text(solution(0), encoding="utf-8")
    summary = tmp_path / "summary.md"
    environment = {**os.environ, "PYTHONPATH": str(edition), "GITHUB_STEP_SUMMARY": str(summary)}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(name: str) -> int:
        command = ["bash", "-e", "-o", "pipefail", "-c", made[name]]
        done = subprocess.run(command, cwd=edition, env=environment, capture_output=True, text=True)
        return done.returncode

    assert run("Grade") == 0 and run("Say it in the summary") == 0
    told = summary.read_text(encoding="utf-8")
    assert "stage 0 first_kernel" in told and "correct: 10 of 10 points" in told
    assert "Stage 1 single_tile is not attempted yet." in told or "not attempted" in told
    assert run("Fail where a kernel is wrong") == 0
    text = solution(0).replace("op0=nl.multiply", "op0=nl.add")
    exercise.write_text(text, encoding="utf-8")
    (edition / "handed-in").rename(tmp_path / "before")
    assert run("Grade") == 0 and run("Fail where a kernel is wrong") == 1
