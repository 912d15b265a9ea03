"""Every known mistake as outputs alone, as where no simulator records what a kernel did: which
mistake is it taken for?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tutorial import stage
from tutorial.diagnosis import evidence, matching
from tutorial.diagnosis.diagnose import NO_NUMBERS, ZEROS
from tutorial.diagnosis.trial import Trial, of_result
from tutorial.mistakes import known
from tutorial.reference import edits, evaluation, twins
from tutorial.reference.mistake import Mistake
from tutorial.running.answer import Answer
from tutorial.running.runner import Result

WIDTH = 128
RIGHT = "right"


class Made(NamedTuple):
    """One way of one mistake in one text."""

    stage: stage.Stage
    mistake: Mistake
    text: str
    in_turn: bool

    @property
    def name(self) -> str:
        return f"stage {self.stage.number}: {self.mistake.key}"


def made(number: int) -> Iterator[Made]:
    """Every way of every mistake of a stage."""
    lesson = stage.get(number)
    problem = lesson.attention(lesson.probes()[0])
    blocks = "k_blocks" in lesson.probes()[0].args
    for mistake in known(lesson, problem):
        for way in mistake.ways:
            for text in twins.texts(problem, blocks):
                edited = edits.edited(text, way)
                if edited is not None:
                    yield Made(lesson, mistake, edited, "in turn" in mistake.flags)


def taken_for(one: Made) -> str | None:
    """The key of the mistake that the outputs are taken for; None for no mistake, RIGHT where no
    output is wrong."""
    trials = [trial for case in one.stage.probes() if (trial := _trial(one, case)) is not None]
    if not any(trial.wrong for trial in trials):
        return RIGHT
    found = evidence.Evidence(one.stage, _kernel, [_answer(trial) for trial in trials])
    if found.stores_zeros:
        return ZEROS[0]
    found.__dict__["trials"] = found.probed = trials
    match = matching.recognised(found)
    if match is None and not found.any_number:
        return NO_NUMBERS
    return None if match is None else match.candidate.mistake.key


def _kernel(q: Any, k: Any, v: Any) -> None:
    """Stands for a kernel whose name and parameters alone are asked for."""


def _trial(one: Made, case: stage.Case) -> Trial | None:
    blank = np.zeros(one.stage.expected(case).shape, np.float32)
    trial = of_result(one.stage, _kernel, Result(case, blank))
    tiling = next(trial.tilings())
    given = trial.names(replace(tiling, width=min(WIDTH, trial.problem.n)))
    if given is None:
        return None
    ran = evaluation.run(one.text, twins.one_head_each(given) if one.in_turn else given)
    if ran is None:
        return None
    return of_result(one.stage, _kernel, Result(case, ran.o.reshape(blank.shape)))


def _answer(trial: Trial) -> Answer:
    return Answer(trial.result, trial.want.reshape(trial.result.output.shape), trial.wrong)
