"""What only the notebooks call: the worked solutions, questions with a checked answer, and broken
kernels to diagnose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from .. import stage
from ..cost.tally import recorded
from ..running.worked import StandIn, solution_text, variant
from .own import own_kernel


def excerpt(key: int | str, start: str, end: str | None = None) -> None:
    """Print a stage's solution from the line that holds `start` up to the one that holds `end`; or
    that it is not here."""
    try:
        lines = solution_text(key).splitlines()
    except stage.StageError as error:
        print(error)
        return
    first = next(i for i, line in enumerate(lines) if start in line)
    last = (
        len(lines) if end is None else next(i for i in range(first, len(lines)) if end in lines[i])
    )
    print("\n".join(lines[first:last]))


def last_kernel(key: int | str, start: str, end: str | None = None) -> None:
    """Print the reader's own kernel of a stage, where the notebook or the exercise beside this one
    has one; else the worked solution, as `excerpt` does."""
    own = own_kernel(key)
    if own is None:
        excerpt(key, start, end)
        return
    text, path = own
    lines = text.strip().splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith(("@", "def "))), 0)
    print(f"Your kernel of {stage.get(key).title}, from {path.name}:\n")
    print("\n".join(lines[first:]))


def instructions(key: int | str, kernel: Any, count: int = 6) -> None:
    """Print the first instructions that a kernel runs on the stage's first input, or the sentence
    that says why none."""
    lesson = stage.get(key)
    result = recorded(kernel, lesson.cases()[0], lesson)
    if isinstance(result, str):
        print(result)
    else:
        print("\n".join(map(str, result.run.instructions[:count])))


# -- predict ---------------------------------------------------------------------------------------


def predict(key: int | str, *answers: Any, then: Callable[[], Any] | None = None) -> None:
    """Print a stage's questions and, for each that has an answer, whether it is right.

    None means no answer yet. `then` runs what the questions are about. It is called once every
    question has an answer, so that no page gives the answers away before they are typed.
    """
    questions = stage.get(key).questions
    for question, answer in zip_longest(questions, answers):
        if question is None:
            break
        print(question.text)
        if answer is None:
            print("  No answer yet.")
        elif _equal(answer, question.right):
            print(f"  {answer} is right. {question.because}")
        else:
            print(f"  {answer} is not it. {question.nudge}")
    answered = [answer for answer in answers[: len(questions)] if answer is not None]
    if then is not None and len(answered) == len(questions):
        then()


def _equal(answer: Any, right: Any) -> bool:
    try:
        got, want = np.asarray(answer, np.float64), np.asarray(right, np.float64)
    except (TypeError, ValueError):
        return False
    return got.shape == want.shape and bool(np.allclose(got, want, rtol=1e-6))


# -- break it --------------------------------------------------------------------------------------


def broken(key: int | str) -> Callable[..., Any]:
    """The solution of a stage with one mistake in it, to be found from its trace alone: trace(3,
    broken(3)).

    Where the solutions are not here, the same mistake in NumPy.
    """
    lesson = stage.get(key)
    made = lesson.broken
    if made is None:
        raise stage.StageError(f"{lesson.title} has no broken kernel to diagnose.")
    try:
        text = solution_text(key)
    except stage.StageError:
        if made.stand_in is not None or not made.line:
            return made.stand_in or StandIn(lesson)
        return _broken_twin(lesson, made.line)
    return variant(key, made.changes, text, "broken")


def _broken_twin(lesson: stage.Stage, line: str) -> Callable[..., Iterator[dict[str, Any]]]:
    """The twin with a line written wrongly: it yields the state after every tile."""

    def twin(*args: Any, **options: Any) -> Iterator[dict[str, Any]]:
        yield from lesson.twin(*args, line=line, **options)

    return twin
