"""The worked solutions: their text, the kernels, and what stands in for those that are not here."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import stage
from . import runner


def solution_text(key: int | str) -> str:
    """The text of a stage's solution file. StageError if the solutions are not here (a class may
    hand them out later)."""
    lesson = stage.get(key)
    folder = stage.solutions_folder()
    path = None if folder is None else folder / f"stage{lesson.number}_{lesson.name}.py"
    if path is None or not path.is_file():
        raise stage.StageError(f"The solution of {lesson.title} is not here.")
    return path.read_text(encoding="utf-8")


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
    folder = stage.solutions_folder()
    assert folder is not None
    return runner.load(folder / f"stage{lesson.number}_{lesson.name}.py", lesson)


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
