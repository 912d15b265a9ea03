"""Two kernels for the same problem, instruction by instruction: what stage 9 proves its port with.

`print(compare(9, old, new))` runs both on one input and sets their instructions side by side:
engine, operation, shapes, memories, data types, HBM bytes; then m, l and acc after every tile, and
the output, bit by bit. `.lines()` does the same for the kernels' text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import stage
from ..reference.text import ENGINES, table
from ..running import problems, runner
from ..trace.states import NAMES, Observed, observe
from .tally import recorded


class Comparison:
    """What `compare` returns.

    The text says what is the same, or what is the first to differ. `same` is True if nothing
    differs, None where one of the kernels did not run: then `why` says why. `runs` are the two
    recorded runs, `differing` is the number of the first instruction that differs (None: none).
    """

    def __init__(
        self,
        heading: str,
        results: Sequence[runner.Result],
        states: Sequence[Observed | None],
        why: str = "",
    ) -> None:
        self.heading = heading
        self.why = why
        self.runs = tuple(result.run for result in results)
        self.same: bool | None = None
        self.differing: int | None = None
        if results:
            first, second = self._instructions = tuple(run.instructions for run in self.runs)
            self._rows = [(_of(a), _of(b)) for a, b in zip(first, second, strict=False)]
            self.differing = next((i for i, (a, b) in enumerate(self._rows) if a != b), None)
            found = [self._compared(), *([_states(*states)] if states else []), _outputs(*results)]
            self.same = all(agree for agree, _ in found)
            self._verdict = [sentence for _, sentence in found]

    def _compared(self) -> tuple[bool, str]:
        a, b = (len(some) for some in self._instructions)
        if self.differing is not None:
            return False, (
                f"instruction {self.differing} is the first that differs; there are {a} and {b}."
            )
        if a != b:
            return False, f"{a} and {b} instructions; the first {min(a, b)} agree."
        return True, (
            f"{a} and {b} instructions: one by one the same engine, operation, shapes, memories, "
            "data types and HBM bytes."
        )

    def text(self, shown: int = 12) -> str:
        """The first `shown` instructions as a table, or the two that differ; then what was
        found."""
        if not self.runs:
            return self.why
        if self.differing is None:
            rows = [[str(i), *a] for i, (a, _) in enumerate(self._rows[:shown])]
            more = len(self._rows) - len(rows)
            body = [table(["#", *_COLUMNS], rows), *([f"({more} more)"] if more else [])]
        else:
            a, b = self._rows[self.differing]
            rows = [[f"{self.differing} old", *a], [f"{self.differing} new", *b]]
            body = [table(["#", *_COLUMNS], rows)]
        return "\n".join([self.heading, *body, *self._verdict])

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def lines(self) -> str:
        """The text of both kernels, lines that run the same instructions together: each pair once,
        in order, up to the first instruction that differs."""
        if not self.runs:
            return self.why
        first, second = self._instructions
        end = len(self._rows) if self.differing is None else self.differing
        said: set[tuple[int, ...]] = set()
        out: list[str] = []
        i = 0
        while i < end:
            j = i
            while j < end and first[j].line == first[i].line:
                j += 1
            pair = (first[i].line, *(b.line for b in second[i:j]))
            if pair not in said:
                said.add(pair)
                out.append(", ".join(f"{ENGINES[a.engine]} {a.op}" for a in first[i:j]))
                out.append(f"    old  {problems.without_comment(first[i].source)}")
                news = dict.fromkeys(problems.without_comment(b.source) for b in second[i:j])
                out += [f"    {'   ' if k else 'new'}  {line}" for k, line in enumerate(news)]
            i = j
        return "\n".join(out)


_COLUMNS = ("engine", "operation", "writes", "reads", "HBM bytes")


def _of(instruction: Any) -> list[str]:
    """What of an instruction is compared, as text: everything but the names of its tensors and its
    place."""

    def operands(found: Any) -> str:
        return ", ".join(
            f"{'x'.join(map(str, o.shape))} {o.space} {o.dtype}"
            for o in found
            if o.space != "const"
        )

    moved = instruction.hbm_bytes_read + instruction.hbm_bytes_written
    return [
        ENGINES[instruction.engine],
        instruction.op,
        operands(instruction.dst),
        operands(instruction.srcs) or "a number",
        f"{moved:,}",
    ]


def _states(a: Observed | None, b: Observed | None) -> tuple[bool, str]:
    states: list[tuple[str, Any, Any]] = [
        (name, getattr(a, name, None), getattr(b, name, None)) for name in NAMES
    ]
    unknown = [name for name, x, y in states if x is None or y is None]
    if unknown:
        return True, f"{', '.join(unknown)}: not named in both kernels, and so not compared."
    differing = [name for name, x, y in states if not np.array_equal(x, y, equal_nan=True)]
    if differing:
        return False, f"{', '.join(differing)}: not equal after every tile."
    tiles, heads = states[0][1].shape
    return True, (
        f"m, l, acc: the same bits after each of {tiles} tiles, for all {heads} query heads."
    )


def _outputs(a: runner.Result, b: runner.Result) -> tuple[bool, str]:
    assert a.output is not None and b.output is not None
    same = np.array_equal(a.output, b.output, equal_nan=True)
    return same, "output: the same bits." if same else "output: not equal."


def compare(
    key: int | str | stage.Stage,
    old: Callable[..., Any],
    new: Callable[..., Any],
    family: str | None = None,
) -> Comparison:
    """Run two kernels on one of a stage's input families (its cost case if none is given), and
    compare what they did.

    What keeps one of them from running is the text of the answer. Raises StageError if the stage or
    the family is not there.
    """
    lesson = stage.get(key)
    case = lesson.case(family or lesson.cost_case)
    results = []
    for kernel in (old, new):
        result = recorded(kernel, case, lesson)
        if isinstance(result, str):
            return Comparison("", (), (), result)
        results.append(result)
    attention = None if lesson.attention is None else lesson.attention(case)
    states = [observe(r.run, attention) for r in results] if attention is not None else []
    heading = f"{lesson.title}, {case.sizes}, on {results[0].run.target} (simulated)"
    return Comparison(heading, results, states)
