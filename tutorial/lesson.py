"""What only the notebooks call: the worked solutions, questions with a checked answer, and broken methods to diagnose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import doctor, runner, stage
from .layouts import TILE, default_scale


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
    except stage.StageError:
        return StandIn(lesson)
    folder = doctor.solutions_folder()
    assert folder is not None
    return runner.load(folder / f"stage{lesson.number}_{lesson.name}.py", lesson)


# -- predict -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Question:
    """A question with one right answer and the reason for it."""

    text: str
    right: Any
    because: str


QUESTIONS = {
    0: Question("x is (128, 1024) fp32. How many bytes does the kernel read from HBM?", 128 * 1024 * 4,
                "128 * 1024 numbers of 4 bytes, each read once: 524,288."),
    1: Question("d = 64, n = 128. On how many partitions does the score tile qk lie?", 1,
                "qk is (1, n): the one query row is the partition axis, the keys run along the free axis."),
    2: Question("How many times does the three-pass kernel read K from HBM?", 3,
                "The max needs all scores, the sum needs the max, and the weights need both: K is read in every pass."),
    3: Question("m is 2 after tile 0, and tile 1's max is 1. What is alpha in tile 1?", 1.0,
                "m does not rise, so m_new = m_old and alpha = exp(0) = 1: nothing is rescaled."),
    4: Question("Hq = 8, Hkv = 2. Which KV head does query head 5 use?", 1,
                "G = Hq // Hkv = 4, and 5 // 4 = 1: a group is G heads in a row."),
}


def predict(key: int | str, answer: Any = None) -> None:
    """Print a stage's question and, once there is an answer, whether it is right and why."""
    question = QUESTIONS[stage.get(key).number]
    print(question.text)
    if answer is None:
        print("No answer yet.")
    elif isinstance(answer, (int, float)) and math.isclose(answer, question.right, rel_tol=1e-6):
        print(f"{answer} is right. {question.because}")
    else:
        print(f"{answer} is not it. {question.because}")


# -- break it --------------------------------------------------------------------------------------------------------------
def _weigh_by_the_tile(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> Iterator[dict[str, Any]]:
    """Stage 3 with p formed with the tile's own max."""
    d, n = k.shape
    scale = default_scale(d) if softmax_scale is None else softmax_scale
    m, l, acc = np.full((1, 1), -np.inf), np.zeros((1, 1)), np.zeros((1, d))
    for start in range(0, n, TILE):
        keys = slice(start, start + TILE)
        qk = scale * (q.T.astype(np.float64) @ k[:, keys])
        m_new = np.maximum(m, qk.max())
        alpha = np.exp(m - m_new)
        p = np.exp(qk - qk.max())
        l, acc = l * alpha + p.sum(), acc * alpha + p @ v[:, keys].T
        yield {"keys": (start, start + TILE - 1), "tile_max": qk.max(), "m_old": m, "m": m_new, "alpha": alpha, "l": l,
               "acc": acc, "o": acc / l}
        m = m_new


def _no_max(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> Iterator[dict[str, Any]]:
    """Stage 1 without the max subtracted."""
    d, n = k.shape
    scale = default_scale(d) if softmax_scale is None else softmax_scale
    with np.errstate(over="ignore", invalid="ignore"):
        qk = (scale * (q.T @ k)).astype(np.float32)
        p = np.exp(qk)
        l, acc = p.sum(axis=1, keepdims=True), p @ v.T
        yield {"keys": (0, n - 1), "tile_max": qk.max(), "m_old": np.full((1, 1), -np.inf), "m": np.zeros((1, 1)),
               "alpha": 0.0, "l": l, "acc": acc, "o": acc / l}


def _last_tile_missing(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> Iterator[dict[str, Any]]:
    """Stage 2 with a last tile that the second pass does not visit."""
    d, n = k.shape
    scale = default_scale(d) if softmax_scale is None else softmax_scale
    qk = scale * (q.T.astype(np.float64) @ k)
    m, l, acc = np.full((1, 1), -np.inf), np.zeros((1, 1)), np.zeros((1, d))
    last = qk.max()
    for start in range(0, n, TILE):
        keys = slice(start, start + TILE)
        m_old, m = m, np.maximum(m, qk[:, keys].max())
        p = np.exp(qk[:, keys] - last)
        if start + TILE < n:
            l = l + p.sum()
        acc = acc + p @ v[:, keys].T
        yield {"keys": (start, start + TILE - 1), "tile_max": qk[:, keys].max(), "m_old": m_old, "m": m, "l": l,
               "acc": acc}


def _shared_sum(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> Iterator[dict[str, Any]]:
    """Stage 4 with one running sum for all heads of a group."""
    d, n = k.shape[1:]
    group = q.shape[1] // k.shape[0]
    scale = default_scale(d) if softmax_scale is None else softmax_scale
    for h in range(k.shape[0]):
        rows = slice(h * group, (h + 1) * group)
        m, l, acc = np.full((group, 1), -np.inf), np.zeros((1, 1)), np.zeros((group, d))
        for start in range(0, n, TILE):
            keys = slice(start, start + TILE)
            qk = scale * (q[:, rows].T.astype(np.float64) @ k[h][:, keys])
            m_new = np.maximum(m, qk.max(axis=1, keepdims=True))
            alpha, p = np.exp(m - m_new), np.exp(qk - m_new)
            l = l * alpha[:1] + p.sum() / group
            acc = acc * alpha + p @ v[h][:, keys].T
            for g in range(group):
                yield {"head": h * group + g, "keys": (start, start + TILE - 1), "tile_max": qk[g].max(), "m_old": m[g],
                       "m": m_new[g], "alpha": alpha[g], "l": l, "acc": acc[g]}
            m = m_new


_BROKEN = {1: _no_max, 2: _last_tile_missing, 3: _weigh_by_the_tile, 4: _shared_sum}


def broken(key: int | str) -> Callable[..., Iterator[dict[str, Any]]]:
    """A method with one mistake, to be found from its trace alone: trace(3, broken(3))."""
    return _BROKEN[stage.get(key).number]
