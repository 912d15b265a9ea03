"""What only the notebooks call: the worked solutions, questions with a checked answer, and broken kernels to diagnose."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from . import doctor, runner, stage
from .families import Case
from .layouts import TILE
from .recipes import Recipe, cook


def solution_text(key: int | str) -> str:
    """The text of a stage's solution file. StageError if the solutions are not here (a class may hand them out later)."""
    lesson = stage.get(key)
    folder = doctor.solutions_folder()
    path = None if folder is None else folder / f"stage{lesson.number}_{lesson.name}.py"
    if path is None or not path.is_file():
        raise stage.StageError(f"The solution of {lesson.title} is not here.")
    return path.read_text(encoding="utf-8")


def excerpt(key: int | str, start: str, end: str | None = None) -> None:
    """Print a stage's solution from the line that holds `start` up to the one that holds `end`; or that it is not here."""
    try:
        lines = solution_text(key).splitlines()
    except stage.StageError as error:
        print(error)
        return
    first = next(i for i, line in enumerate(lines) if start in line)
    last = len(lines) if end is None else next(i for i in range(first, len(lines)) if end in lines[i])
    print("\n".join(lines[first:last]))


class StandIn:
    """In place of a solution that has not been handed out: it answers like the oracle, and its trace is the twin's."""

    def __init__(self, lesson: stage.Stage) -> None:
        self.lesson = lesson
        self.__name__ = lesson.entry

    def __call__(self, *args: Any, **options: Any) -> Any:
        return np.asarray(self.lesson.oracle(*args, **options), np.float32)


def solution(key: int | str) -> Callable[..., Any]:
    """The worked solution of a stage, as a kernel to run and trace; a `StandIn` where the solutions are not here."""
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
    """Print the first instructions that a kernel runs on the stage's first input, or the sentence that says why none."""
    lesson = stage.get(key)
    if isinstance(kernel, StandIn):
        print(f"The solution of {lesson.title} is not here.")
        return
    problem = runner.usable(kernel, lesson)
    result = runner.Result(lesson.cases()[0], problem=problem) if problem else runner.run(kernel, lesson.cases()[0], lesson)
    if result.problem is not None:
        print(result.problem.sentence)
    elif result.run is None:
        print("The real SDK runs this kernel and lists no instructions; that needs the simulator.")
    else:
        print("\n".join(map(str, result.run.instructions[:count])))


# -- predict -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Question:
    """A question with one right answer, the reason for it, and what to think of after a wrong one."""

    text: str
    right: Any
    because: str
    nudge: str


QUESTIONS = {
    0: (
        Question("x is (128, 1024) fp32. How many bytes does the kernel read from HBM?", 128 * 1024 * 4,
                 "128 * 1024 numbers of 4 bytes, each read once.", "Every number is read once; fp32 is 32 bits."),
        Question("With tiles of 128 columns, how many DMA transfers are there in all?", 16,
                 "8 tiles, each loaded once and stored once.", "Count the tiles; each goes in and comes out."),
    ),
    1: (
        Question("d = 64, n = 128. On how many partitions does the score tile qk lie?", 1,
                 "qk is (1, n): the one query is its partition axis, the keys run along the free axis.",
                 "The first axis of a tile is the partition axis. What shape has qk?"),
        Question("All 128 scores are equal to 7. What is l?", 128,
                 "m is 7, so every weight is exp(0) = 1, and there are 128 of them.",
                 "l sums the weights after the max was subtracted."),
    ),
    2: (
        Question("How many times does the three-pass kernel read K from HBM?", 3,
                 "The max needs all scores, the sum needs the max, the weights are needed again for V: K in every pass.",
                 "Which of the three loops of the twin use k?"),
        Question("And V?", 1, "Only the third pass uses V.", "Which of the three loops of the twin use v?"),
    ),
    3: (
        Question("The tiles' maxima are 2, 1, 4, 4, 3. In which tiles does m change? (a list)", [0, 2],
                 "m goes from -inf to 2 in tile 0 and to 4 in tile 2; a tile that only equals m changes nothing.",
                 "m is the largest score so far. Tile 0 counts too: before it, m is -inf."),
        Question("What is alpha in tile 1?", 1.0,
                 "m stays 2, so alpha = exp(2 - 2) = 1 and nothing is rescaled.", "alpha = exp(m_old - m_new)."),
    ),
    4: (
        Question("Hq = 8, Hkv = 2. Which KV head does query head 5 use?", 1,
                 "G = Hq // Hkv = 4, and 5 // 4 = 1: a group is G heads in a row.",
                 "G = Hq // Hkv, and query head h uses KV head h // G."),
        Question("n = 512, tiles of 128. How many tiles of K does the kernel load in all?", 8,
                 "4 tiles for each of the 2 KV heads; the query heads add none.",
                 "The query heads of a group share a load."),
    ),
}


def predict(key: int | str, *answers: Any) -> None:
    """Print a stage's questions and, for each that has an answer, whether it is right. None means no answer yet."""
    for question, answer in zip_longest(QUESTIONS[stage.get(key).number], answers):
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


# -- break it --------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Break:
    """A mistake: what to change in the solution's text to make it, and the recipe that makes it without a kernel."""

    changes: tuple[tuple[str, str], ...]
    recipe: Recipe | None


BREAKS = {
    0: Break((("nl.load(x[:, nl.ds(i * TILE, TILE)])  # (128, TILE) SBUF", "nl.load(x)"),
              ("tensor_scalar(x_tile,", "tensor_scalar(x_tile[:, nl.ds(i * TILE, TILE)],")), None),
    1: Break((("op0=nl.subtract, operand0=m)", "op0=nl.subtract, operand0=0.0)"),), Recipe(shift="nothing")),
    2: Break((("# Pass 2: the sum of all weights.\n    for i in nl.sequential_range(n // TILE):",
               "# Pass 2: the sum of all weights.\n    for i in nl.sequential_range(n // TILE - 1):"),),
             Recipe(method="passes", l_tiles="not last")),
    3: Break((("tensor_scalar(qk, op0=nl.subtract, operand0=m_new)", "tensor_scalar(qk, op0=nl.subtract, operand0=m_tile)"),),
             Recipe(shift="tile")),
    4: Break((("nl.load(q[:, nl.ds(h * G, G)])", "nl.load(q[:, h::n_kv_heads])"),), Recipe(q_head="strided")),
}


def broken(key: int | str) -> Callable[..., Any]:
    """The solution of a stage with one mistake in it, to be found from its trace alone: trace(3, broken(3)).

    Where the solutions are not here, the same mistake in NumPy.
    """
    lesson = stage.get(key)
    made = BREAKS[lesson.number]
    try:
        text = solution_text(key)
    except stage.StageError:
        return StandIn(lesson) if made.recipe is None else _broken_twin(lesson, made.recipe)
    for old, new in made.changes:
        if text.count(old) != 1:
            raise ValueError(f"the solution of {lesson.title} has {text.count(old)} times, not once: {old}")
        text = text.replace(old, new)
    name = f"<{lesson.title}, broken>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # a kernel's source is read again
    names: dict[str, Any] = {"__name__": name}
    exec(compile(text, name, "exec"), names)
    return names[lesson.entry]


def _broken_twin(lesson: stage.Stage, recipe: Recipe) -> Callable[..., Iterator[dict[str, Any]]]:
    """A recipe as a NumPy twin: it yields the state after every tile."""
    assert lesson.attention is not None
    attention_of = lesson.attention

    def twin(*args: Any, **options: Any) -> Iterator[dict[str, Any]]:
        attention = attention_of(Case("", "", dict(zip(lesson.parameters, args)), options))
        tile = min(TILE, attention.n)
        qk = attention.scores()
        m_old = np.full((attention.n_q_heads, 1), -np.inf)
        for t, state in enumerate(cook(attention, tile, recipe).states):
            keys = slice(t * tile, (t + 1) * tile)
            tile_max = qk[:, keys].max(axis=1, keepdims=True)
            m = np.maximum(m_old, tile_max) if recipe.method == "passes" else state["m"]
            one_pass = {} if recipe.method == "passes" else {"alpha": np.exp(m_old - m)}
            yield {"keys": (keys.start, keys.stop - 1), "tile_max": tile_max, "m_old": m_old, **state, "m": m, **one_pass}
            m_old = m

    return twin
