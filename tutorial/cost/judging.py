"""What the costs of a kernel whose values are right mean for its verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import nkisim

from .. import stage
from ..running import precision, runner
from ..running.replays import Replays
from ..running.runner import Result
from ..stage import Case
from ..verdict import CORRECT, WRONG, Verdict
from . import budget as cost


def judge_cost(
    lesson: stage.Stage,
    replays: Replays,
    results: Sequence[Result],
    beyond: Sequence[Result],
    families: tuple[str, ...],
) -> Verdict:
    """The verdict on a kernel whose values are right. `beyond` are inputs that the stage does not
    ask for, and that it took."""
    counted = next((r for r in results if r.case.family == lesson.cost_case), results[0])
    own = results[0].case.family == stage.OWN_INPUT
    on = f"({stage.OWN_INPUT})" if own else f"on all {len(families)} input families"
    agreed = f"The output agrees with the float64 oracle {on}."
    if counted.run is None:
        sentence = f"{agreed} Costs are counted by the simulator only."
        return lesson.verdict(CORRECT, sentence, families=families)
    short = None
    if lesson.tolerance is not None:
        short = precision.kept_short(
            [i for r in (results[0], counted) if r.run is not None for i in r.run.instructions]
        )
    if short is not None:
        return lesson.verdict(
            WRONG,
            f"The output is within what bfloat16 allows on these inputs, but {short}",
            family=counted.case.family,
            cause="low precision",
            families=families,
            target=counted.run.target,
        )
    counters = cost.counters(lesson, counted.case, counted.run)
    over = _first_overrun(lesson, replays, counted, [*results, *beyond])
    if over is not None:
        return over
    advice: dict[tuple[str, int], str] = {}
    for result in results:
        advice = {**result.advice, **advice}
    notes = [f"note: {sentence}" for sentence in advice.values()]
    return lesson.verdict(
        CORRECT,
        agreed,
        counters=counters,
        notes=(*notes, *cost.notes(lesson, counted.case, counted.run, counters)),
        families=families,
        target=counted.run.target,
    )


def _first_overrun(
    lesson: stage.Stage, replays: Replays, counted: Result, results: Sequence[Result]
) -> Verdict | None:
    """The verdict on a cost that defeats the lesson, on the counted input or on any other."""
    kernel = replays.kernel
    asked = {case.family for case in lesson.beyond()} - {lesson.cost_beyond}
    others = [r for r in results if r is not counted and r.case.family not in asked]
    for result in (counted, *others):
        case = result.case
        over = _overrun(lesson, kernel, result)
        if over is not None and result.replayed:
            result = replays.again(result)
            over = _overrun(lesson, kernel, result)
        if over is None and result is counted and lesson.shared is not None:
            said = lesson.shared(case, result.run, _on_shapes(lesson, kernel, case))
            over = None if said is None else cost.Overrun("work not shared", said)
        if over is not None:
            return lesson.verdict(
                WRONG,
                over.sentence,
                family=case.family,
                cause=over.cause,
                counters=cost.counters(lesson, case, result.run),
                families=tuple(dict.fromkeys(r.case.family for r in results)),
                target=result.run.target,
            )
    return None


def over_budget(lesson: stage.Stage, kernel: Any, result: Result) -> bool:
    """Whether a run cost more than the lesson allows, or less than any right kernel."""
    return _overrun(lesson, kernel, result) is not None


def _overrun(lesson: stage.Stage, kernel: Any, result: Result) -> cost.Overrun | None:
    """A cost of one run that defeats the lesson."""
    names = runner.names_in(result.run, kernel, lesson, result.case)
    return cost.shortfall(lesson, result.case, result.run, names) or cost.overrun(
        lesson, result.case, result.run, names
    )


def _on_shapes(lesson: stage.Stage, kernel: Any, case: Case) -> Callable[[Mapping[str, Any]], Any]:
    """A function that runs the kernel on other arguments, on shapes alone: the run, or None where
    that fails."""

    def again(args: Mapping[str, Any]) -> Any:
        alone = {
            name: nkisim.shape(x.shape, x.dtype) if isinstance(x, np.ndarray) else x
            for name, x in args.items()
        }
        done = runner.run(kernel, replace(case, args=alone), lesson)
        return done.run if done.problem is None else None

    return again
