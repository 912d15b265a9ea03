"""The picture of a kernel at a stage: `picture(3, my_kernel)`."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from .. import stage
from ..pictures.canvas import Canvas, Picture
from ..pictures.kernel import draw
from ..pictures.reading import Flow, read
from ..running import runner
from ..stage import Case


def picture(
    key: int | str | stage.Stage,
    kernel: Callable[..., Any],
    family: str | None = None,
    *,
    inputs: Any = None,
) -> Picture:
    """The way of the data through `kernel`, at a stage (number or name).

    It shows how often each part of the inputs was read from HBM, and every instruction with the
    tile that it writes, to scale, in its memory: those that differ only in the turn of a loop are
    one. Where the worked solution is here, what it does not do is marked. The input is of the
    `family`, or of the one on which costs are counted. A kernel that does not run gives a picture
    that says so. Raises StageError and InputError if the stage, the family or the inputs are not
    there.
    """
    lesson = stage.get(key)
    if lesson.judge is not None:
        return _said(f"{lesson.title} has no kernel: draw the one that it calls.")
    if getattr(kernel, "lesson", None) is lesson:  # the stand-in for a solution that is not here
        return _said(f"The solution of {lesson.title} is not here.")
    case = _case(lesson, family, inputs)
    problem = runner.usable(kernel, lesson)
    if problem is not None:
        return _said(problem.sentence)
    result = runner.run(kernel, case, lesson)
    if result.problem is not None:
        return _said(result.problem.sentence)
    if result.run is None:
        return _said("The real SDK runs this kernel and shows no instructions; use the simulator.")
    flow = read(result.run)
    worked = _worked(lesson, case)
    if worked is not None and worked.kinds() == flow.kinds():
        worked = None
    return draw(flow, lesson.title, worked)


def _case(lesson: stage.Stage, family: str | None, inputs: Any) -> Case:
    if inputs is not None:
        return lesson.custom_case(inputs)
    return lesson.case(lesson.cost_case if family is None else family)


def _worked(lesson: stage.Stage, case: Case) -> Flow | None:
    """What the worked kernel does on the same input; None where it is not here."""
    folder = stage.solutions_folder()
    path = None if folder is None else folder / f"{lesson.file_name}.py"
    if path is None or not path.is_file():
        return None
    result = runner.run(runner.load(path, lesson), case, lesson)
    return None if result.run is None or result.problem is not None else read(result.run)


def _said(sentence: str) -> Picture:
    """A picture that is a sentence."""
    lines = textwrap.wrap(sentence, 50)
    c = Canvas(16 + 22 * len(lines))
    for i, line in enumerate(lines):
        c.words(8, 22 + 22 * i, line)
    return c.picture(sentence)
