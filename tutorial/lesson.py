"""What only the notebooks call: the worked solutions, questions with a checked answer, and broken
kernels to diagnose."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from . import doctor, stage
from .inputs.families import Case
from .inputs.layouts import TILE
from .reference import twins
from .running import runner


def solution_text(key: int | str) -> str:
    """The text of a stage's solution file. StageError if the solutions are not here (a class may
    hand them out later)."""
    lesson = stage.get(key)
    folder = doctor.solutions_folder()
    path = None if folder is None else folder / f"stage{lesson.number}_{lesson.name}.py"
    if path is None or not path.is_file():
        raise stage.StageError(f"The solution of {lesson.title} is not here.")
    return path.read_text(encoding="utf-8")


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


class StandIn:
    """In place of a solution that has not been handed out: it answers like the oracle, and its
    trace is the twin's."""

    def __init__(self, lesson: stage.Stage) -> None:
        self.lesson = lesson
        self.__name__ = lesson.entry

    def __call__(self, *args: Any, **options: Any) -> Any:
        return np.asarray(self.lesson.oracle(*args, **options), np.float32)


def solution(key: int | str) -> Callable[..., Any]:
    """The worked solution of a stage, as a kernel to run and trace; a `StandIn` where the solutions
    are not here."""
    lesson = stage.get(key)
    try:
        solution_text(key)
    except stage.StageError as error:
        print(f"{error} The oracle answers in its place, and nothing is counted.")
        return StandIn(lesson)
    folder = doctor.solutions_folder()
    assert folder is not None
    return runner.load(folder / f"stage{lesson.number}_{lesson.name}.py", lesson)


def instructions(key: int | str, kernel: Any, count: int = 6) -> None:
    """Print the first instructions that a kernel runs on the stage's first input, or the sentence
    that says why none."""
    lesson = stage.get(key)
    if isinstance(kernel, StandIn):
        print(f"The solution of {lesson.title} is not here.")
        return
    result = runner.attempt(kernel, lesson.cases()[0], lesson)
    if result.problem is not None:
        print(result.problem.sentence)
    elif result.run is None:
        print("The real SDK runs this kernel and lists no instructions; that needs the simulator.")
    else:
        print("\n".join(map(str, result.run.instructions[:count])))


# -- predict ---------------------------------------------------------------------------------------


def predict(key: int | str, *answers: Any) -> None:
    """Print a stage's questions and, for each that has an answer, whether it is right. None means
    no answer yet."""
    for question, answer in zip_longest(stage.get(key).questions, answers):
        if question is None:
            break
        print(question.text)
        if answer is None:
            print("  No answer yet.")
        elif _equal(answer, question.right):
            print(f"  {answer} is right. {question.because}")
        else:
            print(f"  {answer} is not it. {question.nudge}")


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
        if not made.line:
            return made.stand_in or StandIn(lesson)
        return _broken_twin(lesson, made.line)
    return variant(key, made.changes, text, "broken")


def variant(
    key: int | str,
    changes: Iterable[tuple[str, str]],
    text: str | None = None,
    what: str = "changed",
) -> Callable[..., Any]:
    """The solution of a stage as a kernel after these replacements in its text, each of which must
    be there once.

    Raises StageError where the solutions are not here.
    """
    lesson = stage.get(key)
    text = solution_text(key) if text is None else text
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(
                f"the solution of {lesson.title} has {text.count(old)} times, not once: {old}"
            )
        text = text.replace(old, new)
    name = f"<{lesson.title}, {what}>"
    # a kernel's source is read again
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": name}
    exec(compile(text, name, "exec"), names)
    kernel: Callable[..., Any] = names[lesson.entry]
    return kernel


def _broken_twin(lesson: stage.Stage, line: str) -> Callable[..., Iterator[dict[str, Any]]]:
    """The twin with a line written wrongly: it yields the state after every tile."""
    assert lesson.attention is not None
    attention_of, (way,) = lesson.attention, twins.ways(line)
    passes = lesson.number < 3
    text = twins.edited(twins.PASSES if passes else twins.ONE_PASS, way)
    assert text is not None

    def twin(*args: Any, **options: Any) -> Iterator[dict[str, Any]]:
        attention = attention_of(Case("", "", dict(zip(lesson.parameters, args)), options))
        tile = min(TILE, attention.n)
        tiles = [np.arange(a, min(a + tile, attention.n)) for a in range(0, attention.n, tile)]
        ran = twins.run(text, twins.names(attention, tiles))
        assert ran is not None
        qk = attention.scores()
        m_old = np.full((attention.n_q_heads, 1), -np.inf)
        for t, keys in enumerate(tiles):
            tile_max = qk[:, keys].max(axis=1, keepdims=True)
            state = {
                name: np.concatenate(kept[t :: len(tiles)])
                for name, kept in ran.kept.items()
                if len(kept) > t
            }
            yield {
                "keys": (int(keys[0]), int(keys[-1])),
                "tile_max": tile_max,
                "m_old": m_old,
                **state,
            }
            m_old = state["m"]

    return twin
