"""Whether an answer was computed by the kernel: on shapes alone there are no values with which
NumPy could compute it.

The entry point is called once more with arrays of which only the shape is known. What it launches
is then the same, since a kernel is built from shapes; but an answer that NumPy computes from the
arguments, or from what a kernel returned, cannot be made. And what the instructions store must come
from all of the arguments. (A program that knows that it is looked at can still deceive this. Who
grades replays the lowered program instead.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import nkisim
from nkisim.machine import shapes

from ..stage import Stage
from ..verdict import WRONG
from .answer import answered
from .problems import Problem, line_of
from .runner import Result, parameter_names, run

CAUSE = "not computed by instructions"
_MOVES = ("stack", "concatenate", "vstack", "hstack", "ascontiguousarray", "transpose", "copy")
"""NumPy functions that move values and compute none."""


class _Given(nkisim.ShapeOnly):
    """An argument without values. Unlike other shapes it can be sliced and turned: the views of an
    array are known from its shape."""

    __slots__ = ()

    def _view(self, made: np.ndarray[Any, Any]) -> _Given:
        return _Given(made.shape, self.dtype)

    def _stand_in(self) -> np.ndarray[Any, Any]:
        return np.broadcast_to(np.zeros((), np.int8), self.shape)

    def __getitem__(self, index: Any) -> _Given:  # type: ignore[override]
        parts = index if isinstance(index, tuple) else (index,)
        if all(p is None or p is Ellipsis or isinstance(p, (int, slice)) for p in parts):
            made = self._stand_in()[index]
            if made.ndim:
                return self._view(made)
        self._no_values()

    def reshape(self, *shape: Any) -> _Given:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        return self._view(np.broadcast_to(np.int8(0), (self.size,)).reshape(sizes))

    def transpose(self, *axes: Any) -> _Given:
        """The same array with its axes in another order."""
        return self._view(self._stand_in().transpose(*axes))

    def swapaxes(self, a: int, b: int) -> _Given:
        """The same array with two axes exchanged."""
        return self._view(self._stand_in().swapaxes(a, b))

    def copy(self) -> _Given:
        """Itself: there are no values to copy."""
        return self

    @property
    def T(self) -> _Given:
        """The same array with its axes reversed."""
        return self.transpose()


def fewest(results: Sequence[Result]) -> Result:
    """Of the results of a right kernel the one whose run is the shortest to repeat, replays left
    out; the first where nothing was recorded."""

    def instructions(result: Result) -> int:
        return sum(program.clock for program in result.run.programs)

    recorded = [r for r in results if r.run is not None and not r.replayed]
    return min(recorded, key=instructions, default=results[0])


def refused(stage: Stage, kernel: Any, done: Result) -> Problem | None:
    """Why the answer of `done` is not a kernel's work, in one sentence; None where it is, or where
    that cannot be known: a real SDK ran it, or the simulator needs values that it does not have."""
    if done.run is None or hasattr(kernel, "lowered"):  # a program has instructions alone
        return None
    args = {
        name: _Given(value.shape, value.dtype) if isinstance(value, np.ndarray) else value
        for name, value in done.case.args.items()
    }
    alone = run(kernel, replace(done.case, args=args), stage)
    if alone.error is not None:
        return _looked(kernel, alone.error)
    returned = alone.returned
    if isinstance(returned, (tuple, list)) and len(returned) == 1:
        returned = returned[0]
    if not isinstance(returned, nkisim.ShapeOnly):
        return _problem(
            f"The entry point returns a {type(returned).__name__} that no kernel gave it: return "
            "what the kernel that stores the output returns."
        )
    strange = _lines(done.run) - _lines(alone.run)
    if strange:
        return _problem(
            f"Line {min(strange)[1]} runs an instruction on values and not on shapes alone: a "
            "kernel is built from the shapes of its inputs, and does the same for all values."
        )
    return _unrelated(stage, kernel, args, alone.run)


def recited(lesson: Stage, strayed: Sequence[Result]) -> Problem | None:
    """The problem of a kernel whose answers are right, but not those of the program that the same
    text makes of shapes: numbers that Python computed reached the output as constants."""
    if not any(answered(lesson, result).wrong for result in strayed):
        return None
    return _problem(
        "Built from shapes alone, the kernel answers something else: what it stores comes from "
        "numbers that Python computed. What it stores must come from nl and nisa functions."
    )


def _problem(sentence: str) -> Problem:
    return Problem(WRONG, CAUSE, sentence, cause=CAUSE)


def _looked(kernel: Any, error: BaseException) -> Problem | None:
    """The problem of an entry point that looks at values in Python; None where the simulator did,
    or where it only put arrays together."""
    if not isinstance(error, (shapes.NoValues, TypeError, AttributeError)):
        return None
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    asked = frames[-1]
    if asked.f_code.co_filename in (shapes.__file__, __file__):
        call = asked.f_locals.get("args", ())
        if call and getattr(call[0], "__name__", "") in _MOVES:
            return None
        frames = [f for f in frames if f.f_code.co_filename not in (shapes.__file__, __file__)]
    home = frames[-1].f_globals.get("__name__", "")
    if home.split(".")[0] in ("nkisim", "tutorial"):
        return None
    return _problem(
        f"The answer is not computed by instructions alone: Python looks at values"
        f"{line_of(error, kernel)}. A kernel is built from shapes; what it stores must come from "
        "nl and nisa functions."
    )


def _lines(made: Any) -> set[tuple[str, int]]:
    places = [record.place for record in made.records()]
    return {(place.filename, place.line) for place in places}


def origins(made: Any) -> set[str]:
    """The names of the HBM tensors from which instructions make what is stored last."""
    comes_from: dict[str, set[str]] = {}
    last: set[str] = set()
    for instruction in made.instructions:
        sources: set[str] = set()
        for operand in instruction.srcs:
            if operand.name in comes_from:
                sources |= comes_from[operand.name]
            elif operand.space == "hbm":
                sources.add(operand.name)
        for operand in instruction.dst:
            comes_from.setdefault(operand.name, set()).update(sources)
            if operand.space == "hbm":
                last = comes_from[operand.name]
    return last


def _unrelated(stage: Stage, kernel: Any, args: Mapping[str, Any], made: Any) -> Problem | None:
    """The problem of an output that instructions make of something else than the arguments."""
    if len(made.programs) > 1:
        return None  # what one kernel hands to the next has other names there
    names = parameter_names(kernel, stage)
    wanted = [name for name in stage.reads if isinstance(args.get(name), nkisim.ShapeOnly)]
    found = origins(made)
    missing = [name for name in wanted if names.get(name, name) not in found]
    if not missing or not set(names.values()) & set(made.hbm_reads):
        return None
    shown = " and ".join(missing)
    return _problem(
        f"What is stored does not depend on {shown}: no instruction brings it from "
        f"{'them' if len(missing) > 1 else 'there'} to the output."
    )
