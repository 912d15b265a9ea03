"""What a submission hands over, and what the judge makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import nkisim
from nkisim.program import load as loading
from tests.tutorial.kernels import solution
from tutorial import get
from tutorial.check import check, failed
from tutorial.classroom import holder as module
from tutorial.classroom import worker
from tutorial.classroom.feedback import FULL, of_a_student
from tutorial.classroom.gradebook import graded, rubric
from tutorial.classroom.holder import Holder, held, loaded
from tutorial.classroom.sandbox import Limits
from tutorial.classroom.submissions import Submission, unusual
from tutorial.classroom.worker import judged
from tutorial.running.problems import Reported
from tutorial.running.worked import solution as worked
from tutorial.running.worked import variant
from tutorial.trace.trace import trace

RELABELLED = """
import nkisim.program.lower as lowering
real = lowering.call_of
lowering.call_of = lambda noted, name, dialect, *rest: real(noted, name, "nki", *rest)
"""


@pytest.fixture(scope="module")
def holder() -> Iterator[Holder]:
    """A sandbox for all tests of this file."""
    made = Holder(Limits(seconds=60))
    yield made
    made.stop()


def program(tmp_path: Any, number: int = 1) -> bytes:
    """The file of a solution's program."""
    lesson = get(number)
    case = lesson.cases()[0]
    shapes = [nkisim.shape(x.shape, x.dtype) for x in case.args.values()]
    nkisim.lower(worked(number), *shapes).save(tmp_path / "program")
    return bytes((tmp_path / "program").read_bytes())


def test_a_program_for_another_target_than_asked_for_is_refused(tmp_path):
    made = program(tmp_path)
    assert loaded([made], "trn2").target == "trn2"
    with pytest.raises(Reported, match="turns off rules or precision"):
        loaded([made], "trn1")


def test_a_long_program_is_held_to_the_rules_before_it_is_judged(tmp_path, monkeypatch):
    made = program(tmp_path)
    monkeypatch.setattr(loading, "AT_ONCE", 1)  # as if it had more than 131,072 steps
    left = []
    monkeypatch.setattr(nkisim.Program, "verify", lambda self: left.append(self))
    loaded([made], "trn2")
    assert len(left) == 1


def test_a_program_of_too_many_steps_is_refused_before_it_runs(tmp_path, monkeypatch):
    made = program(tmp_path)
    monkeypatch.setattr(loading, "AT_ONCE", 1)
    monkeypatch.setattr(module, "MOST_STEPS", 10)
    monkeypatch.setattr(nkisim.Program, "verify", lambda self: pytest.fail("it ran"))
    with pytest.raises(Reported, match="more than are judged"):
        loaded([made], "trn2")


def test_a_kernel_of_the_old_dialect_under_the_name_of_the_new_is_refused(holder):
    text = RELABELLED + solution(4)
    result = judged(holder, get(9), text.encode(), "stage9_port.py", "a-word")
    assert result["outcome"] != "correct"
    assert "not lowered from the dialect that it names" in result["sentence"]
    assert unusual(Submission("anna", 9, "", text.encode())) == ("neuronxcc", "nkisim")


def test_a_right_kernel_whose_text_looks_around_is_marked_for_the_teacher(holder):
    lesson = get(0)
    plain, strange = solution(0), "import ctypes\n" + solution(0)
    result = judged(holder, lesson, strange.encode(), "stage0.py", "a-word")
    for text, look in (
        (plain, ""),
        (strange, "its text uses ctypes, which a kernel does not need"),
    ):
        found = graded(Submission("anna", 0, "", text.encode()), result, rubric())
        assert (found.outcome, found.points, found.look) == ("correct", 10, look)


@pytest.mark.parametrize("number", range(10))
def test_the_text_of_a_solution_has_nothing_unusual(number):
    assert unusual(Submission("anna", number, "", solution(number).encode())) == ()


def test_the_trace_of_a_submission_is_its_own_and_not_the_twins(holder):
    lesson = get(3)
    text = solution(3).replace('name="m")', 'name="n")')
    kernel = held(holder, lesson, text.encode(), "stage3_online_softmax.py")
    try:
        seen = trace(lesson, kernel, "random")
        assert seen.all_rows and {row.m_new for row in seen.all_rows} == {None}
    finally:
        holder.finish()


def test_a_wrong_kernel_is_explained_by_the_courses_own_inputs(holder):
    lesson = get(3)
    assert lesson.broken is not None
    text = solution(3)
    for old, new in lesson.broken.changes:
        text = text.replace(old, new)
    result = judged(holder, lesson, text.encode(), "stage3_online_softmax.py", "a-word")
    assert (result["outcome"], result["cause"]) == ("wrong", lesson.broken.cause)
    assert result["open"]["cause"] == lesson.broken.cause
    assert "tile max" in result["trace"]
    first, kernel = result["pictures"]
    assert first.startswith("<img ") and "first wrong tile" in first
    assert kernel.startswith("<img ") and "script" not in kernel


def test_without_explaining_a_check_stops_at_the_first_wrong_answer():
    lesson = get(1)
    assert lesson.broken is not None
    kernel = variant(1, lesson.broken.changes)
    families: list[str] = []
    found = check(
        lesson, kernel, explain=False, progress=lambda done, of, name: families.append(name)
    )
    assert (found.outcome, found.cause) == ("wrong", None)
    assert len(families) < len(lesson.cases())


SEES = """
import os
from tutorial.running.problems import Problem, Reported
seen = []
def decode_attention_fwd(q, k, v, softmax_scale=None):
    number = float(q[0, 0])  # on shapes alone it has none
    seen.append(number)
    for folder in (".", "/dev/shm", "/tmp", os.environ.get("TMPDIR", ".")):
        try:
            with open(f"{folder}/seen", "a+") as file:
                file.write(f"{number!r}\\n")
                file.seek(0)
                seen.extend(map(float, file.read().split()))
        except OSError:
            pass
    raise Reported(Problem(OUTCOME, "x", f"saw {sorted(set(seen))}", cause="operand broadcast"))
"""


@pytest.mark.parametrize("outcome", ["wrong", "unusable", "not attempted"])
def test_hidden_values_do_not_come_back_in_what_a_submission_says(holder, outcome):
    lesson = get(1)
    text = SEES.replace("OUTCOME", repr(outcome))
    result = judged(holder, lesson, text.encode(), "stage1_single_tile.py", "a-word")
    said = [result["sentence"], str((result["open"] or {}).get("sentence"))]
    told = {float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", " ".join(said))}
    assert (result["outcome"], result["cause"]) == (outcome, "exception")
    assert told <= {float(case.args["q"][0, 0]) for case in lesson.cases()}
    assert bool(told) == (outcome == "wrong")  # of the course's own inputs everything may be told


def test_a_verdict_stands_where_its_explanation_fails(holder, monkeypatch):
    lesson = get(1)
    assert lesson.broken is not None
    text = solution(1)
    for old, new in lesson.broken.changes:
        text = text.replace(old, new)

    def stumbling(*args: Any, explain: bool = True, **options: Any) -> Any:
        if explain:
            return failed(lesson, ValueError("cannot reshape"))
        return check(*args, explain=explain, **options)

    monkeypatch.setattr(worker, "check", stumbling)
    result = judged(holder, lesson, text.encode(), "stage1_single_tile.py", "a-word")
    assert (result["outcome"], result["cause"]) == ("wrong", None)
    told = graded(Submission("anna", 1, ""), result, rubric())
    page = of_a_student("anna", [told], FULL).markdown
    assert "cannot reshape" not in page and "wrong on inputs that are not shown" in page


@pytest.mark.parametrize(
    "cause", ["needless HBM traffic", "x\n```\n# all correct", "<b>", "x" * 81, ["list"]]
)
def test_a_cause_that_a_child_makes_up_does_not_reach_the_gradebook(holder, cause):
    with pytest.raises(Reported) as caught:
        holder.check({"problem": {"outcome": "wrong", "sentence": "a\nb", "cause": cause}})
    assert caught.value.problem.cause is None and caught.value.problem.sentence == "a b"
