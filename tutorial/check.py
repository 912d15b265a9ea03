"""Check a kernel: one outcome, one sentence, and the counters.

Order: illegal access, then unwritten output, then wrong value, then cost. What is checked is listed in `families`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import cost, passing, runner, stage
from .diagnose import Answer, diagnose
from .families import Case
from .runner import CORRECT, UNUSABLE, WRONG, Problem, Result
from .verdict import CheckFailed, Verdict

# Relative to the largest output of the row. The families' scores are exact in fp32, so an honest fp32 kernel is within
# 1e-6 of the oracle; on real data and scales that are no power of two, scores of up to 20 add 20 * 2**-23 = 2.4e-6.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 4e-3}
_ORDER = ("illegal access", "unwritten output")
Progress = Callable[[int, int, str], None]


def check(key: int | str | stage.Stage, kernel: Any, *, inputs: Any = None, raise_on_fail: bool = False,
          progress: Progress | None = None) -> Verdict:
    """Check `kernel` at a stage (number or name) on all of the stage's input families, or on `inputs` alone.

    `inputs` is a mapping by parameter name, or a sequence in the order of the parameters. `progress(done, all, family)`
    is called before every family. Returns a `Verdict` and raises nothing, unless `raise_on_fail`: then CheckFailed for
    every outcome but "correct". Raises StageError if there is no such stage.
    """
    lesson = stage.get(key)
    verdict = _check(lesson, kernel, inputs, progress)
    if raise_on_fail and not verdict.ok:
        raise CheckFailed(str(verdict))
    return verdict


def unusable(lesson: stage.Stage, sentence: str) -> Verdict:
    """The verdict on a file or an input that cannot be checked."""
    return Verdict(UNUSABLE, sentence, lesson.number, lesson.name)


def _check(lesson: stage.Stage, kernel: Any, inputs: Any, progress: Progress | None) -> Verdict:
    problem = runner.usable(kernel, lesson)
    if problem is not None:
        return _verdict(lesson, problem)
    try:
        cases = lesson.cases() if inputs is None else [lesson.custom_case(inputs)]
    except stage.InputError as error:
        return unusable(lesson, str(error))
    results = _run_all(lesson, kernel, cases, progress)
    families = tuple(dict.fromkeys(result.case.family for result in results))
    dialects = {passing.ran_in(result.run) for result in results} - {None}
    tried = all(result.problem is None or result.problem.outcome == WRONG for result in results)
    if tried and lesson.dialect is not None and dialects - {lesson.dialect}:
        return Verdict(WRONG, passing.OLD, lesson.number, lesson.name, cause="old dialect", families=families)
    troubled = [result for result in results if result.problem is not None]
    if troubled:
        return _verdict(lesson, _first_problem(troubled), families)
    answers = [_answer(lesson, result) for result in results]
    if inputs is None and not any(answer.wrong for answer in answers):
        answers += _answers_beyond(lesson, kernel)
    if any(answer.wrong for answer in answers):
        found = diagnose(lesson, kernel, answers)
        return Verdict(WRONG, found.sentence, lesson.number, lesson.name, found.family, found.cause,
                       families=families, target=_target(results), details=found.details)
    return _judge_cost(lesson, kernel, results, families)


def _run_all(lesson: stage.Stage, kernel: Any, cases: Sequence[Case], progress: Progress | None) -> list[Result]:
    """Run every case; stop early where more cases would say nothing new."""
    results = []
    for done, case in enumerate(cases):
        if progress is not None:
            progress(done, len(cases), case.family)
        result = runner.run(kernel, case, lesson)
        results.append(result)
        if result.problem is not None and result.problem.kind not in _ORDER[1:]:
            break
    if progress is not None:
        progress(len(cases), len(cases), "")
    return results


def _first_problem(troubled: Sequence[Result]) -> Result:
    """Illegal accesses first, then unwritten outputs, then the rest."""
    rank = {kind: place for place, kind in enumerate(_ORDER)}

    def place(result: Result) -> int:
        assert result.problem is not None
        return rank.get(result.problem.kind, len(rank) if result.problem.outcome == WRONG else -1)

    return min(troubled, key=place)


def _verdict(lesson: stage.Stage, found: Problem | Result, families: tuple[str, ...] = ()) -> Verdict:
    family = None
    if isinstance(found, Result):
        family = found.case.family
        assert found.problem is not None
        found = found.problem
    details = {"kind": found.kind, **({"message": found.details} if found.details else {})}
    return Verdict(found.outcome, found.sentence, lesson.number, lesson.name, family if found.outcome == WRONG else None,
                   found.cause or found.kind, families=families, details=details)


def _answer(lesson: stage.Stage, result: Result) -> Answer:
    expected = lesson.expected(result.case)
    assert result.output is not None
    with np.errstate(all="ignore"):
        error = np.abs(result.output.astype(np.float64) - expected)
    largest = np.abs(expected).max(axis=-1, keepdims=True)
    tolerance = TOLERANCE.get(str(result.output.dtype), 1e-5)
    return Answer(result, expected, not bool(np.all(error <= tolerance * largest)))


def _answers_beyond(lesson: stage.Stage, kernel: Any) -> list[Answer]:
    """Answers to inputs that the stage does not ask for, from a kernel that takes them."""
    taken = [runner.run(kernel, case, lesson) for case in lesson.beyond()]
    return [_answer(lesson, result) for result in taken if result.problem is None]


def _judge_cost(lesson: stage.Stage, kernel: Any, results: Sequence[Result], families: tuple[str, ...]) -> Verdict:
    counted = next((r for r in results if r.case.family == lesson.cost_case), results[0])
    agreed = (f"The output agrees with the float64 oracle on all {len(families)} input families." if len(families) > 1
              else f"The output agrees with the float64 oracle ({families[0]}).")
    if counted.run is None:
        return Verdict(CORRECT, f"{agreed} Costs are counted by the simulator only.", lesson.number, lesson.name,
                       families=families)
    counters = cost.counters(lesson, counted.case, counted.run)
    over = cost.overrun(lesson, counted.case, counted.run, runner.parameter_names(kernel, lesson))
    if over is not None:
        return Verdict(WRONG, over.sentence, lesson.number, lesson.name, counted.case.family, over.cause, counters,
                       families=families, target=counted.run.target)
    advice = dict.fromkeys(f"note: {sentence}" for result in results for sentence in result.advice)
    return Verdict(CORRECT, agreed, lesson.number, lesson.name, None, None, counters,
                   (*advice, *cost.notes(lesson, counted.case, counted.run, counters)), families, counted.run.target)


def _target(results: Sequence[Result]) -> str | None:
    return next((result.run.target for result in results if result.run is not None), None)
