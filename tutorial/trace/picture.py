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
    tile that it writes, in its memory: those that differ only in the turn of a loop are
    one. Where the worked solution is here, what it does not do is marked. The input is of the
    `family`, or of the one on which costs are counted. A kernel that does not run gives a picture
    that says so. Raises StageError and InputError if the stage, the family or the inputs are not
    there.
    """
    found = _flow(stage.get(key), kernel, family, inputs)
    if isinstance(found, str):
        return _said(found)
    lesson, case, _, flow = found
    return _drawn(lesson, case, flow)


def picture_page(
    key: int | str | stage.Stage,
    kernel: Callable[..., Any],
    family: str | None = None,
    *,
    inputs: Any = None,
) -> str | None:
    """A page, as text, on which one slider moves the picture of a kernel, its modelled timeline and
    its source together; None if there is nothing to draw. Arguments and errors are as for
    `picture`. It is `run.html` of the run, with the picture."""
    found = _flow(stage.get(key), kernel, family, inputs)
    if isinstance(found, str):
        return None
    lesson, case, run, flow = found
    return str(run.html(timeline=run.timeline(), picture=_drawn(lesson, case, flow)).html())


def _flow(
    lesson: stage.Stage, kernel: Callable[..., Any], family: str | None, inputs: Any
) -> tuple[stage.Stage, Case, Any, Flow] | str:
    """The run of a kernel, read for a picture; or the sentence that says why there is none."""
    if lesson.judge is not None:
        return f"{lesson.title} has no kernel: draw the one that it calls."
    if getattr(kernel, "lesson", None) is lesson:  # the stand-in for a solution that is not here
        return f"The solution of {lesson.title} is not here."
    try:
        case = _case(lesson, family, inputs)
    except stage.InputError as error:
        if inputs is not None:
            raise
        return str(error)  # the stage's own inputs cannot be made: this Python has no bfloat16
    result = runner.attempt(kernel, case, lesson, traces=True)
    if result.problem is not None:
        return result.problem.sentence
    if result.run is None:
        return "The real SDK runs this kernel and shows no instructions; use the simulator."
    return lesson, case, result.run, read(result.run)


def _drawn(lesson: stage.Stage, case: Case, flow: Flow) -> Picture:
    """The picture, with marks where the kernel differs from the worked one."""
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
