"""The state trace: how m, l and acc of the reader's own kernel move, tile by tile.

`trace(stage, kernel)` runs the kernel on one input and shows the state that it keeps under the
names m, l and acc. `print(trace)` is the text table; `.to_dict()` the same as columns; `.figure()`
a matplotlib figure; `.steps()` a step-through view for notebooks; `.show()` the text and then the
picture.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import stage
from ..reference.attention import Attention
from ..reference.text import DIGITS
from ..running import refusals, runner
from ..running.answer import answered
from ..stage import Case
from . import divergence, figure, reads
from .rows import LOWEST, NAMING, Row, Table, Wrong
from .scores import case_of
from .states import LN2, Observed, named_state
from .stepper import Steps
from .updates import LOW

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Row", "Trace", "of_run", "rows_of", "trace"]
BINS = 24  # bars of a tile's scores in a picture
NO_KEYS = -math.inf
OTHERWISE = (
    "The output is right, but m, l and acc are not those of the keys in the order in which they "
    "are loaded, so no state is shown: the kernel takes them in another order, or keeps m, l and "
    "acc in another form."
)


class Trace(Table):
    """A table that can also be drawn."""

    def figure(self) -> Figure:
        """A matplotlib figure of the shown heads. Raises TraceError if there is nothing to draw."""
        return figure.draw(self)

    def steps(self) -> Steps:
        """The step-through view; it displays itself in a notebook, and `.html()` is a whole
        page."""
        return Steps(self)

    def show(self) -> None:
        """Print the table, then draw the figure."""
        figure.show(self)


def trace(
    key: int | str | stage.Stage,
    kernel: Callable[..., Any],
    family: str | None = None,
    *,
    inputs: Any = None,
    scores: Sequence[float] | None = None,
) -> Trace:
    """The state trace of `kernel` at a stage (number or name), on one of its input families or on
    `inputs`.

    Without a family: "ascending" where the stage has it, its first otherwise. `kernel` may also be
    a NumPy twin, a generator that yields its state. A kernel that does not run, or names nothing,
    gives an empty trace that says so. Raises StageError and InputError if the stage, the family or
    the inputs are not there.

    `scores` is an input that you choose by its scores alone, at stages 1 to 4: sixteen, for
    instance, are those of four tiles, each score that of 32 neighbouring keys.
    """
    lesson = stage.get(key)
    if lesson.attention is None:
        return Trace(
            lesson.title,
            "none",
            (),
            0,
            missing=f"{lesson.title} keeps no running state: there is nothing to trace.",
        )
    case = _case(lesson, family, inputs, scores)
    attention = lesson.attention(case)
    if getattr(kernel, "lesson", None) is lesson:  # the stand-in for a solution that is not here
        kernel = lesson.twin
    if inspect.isgeneratorfunction(kernel):
        return _twin_trace(lesson, case, attention, kernel)
    result = runner.attempt(kernel, case, lesson, traces=True)
    if result.problem is not None:
        return Trace(
            lesson.title,
            case.family,
            (),
            attention.n_q_heads,
            missing=result.problem.sentence,
            outcome=result.problem.outcome,
        )
    return of_run(lesson, case, result.run, not answered(lesson, result).wrong)


def _digits(case: Case) -> int:
    """Scores that are not exact cost a digit: they, and so their sums, differ a little between
    machines."""
    return DIGITS if case.exact else DIGITS - 1


def _case(
    lesson: stage.Stage, family: str | None, inputs: Any, scores: Sequence[float] | None
) -> Case:
    """The input to trace: the scores, else the inputs, else the family, else a usual one."""
    if scores is not None:
        return case_of(lesson, scores)
    if inputs is not None:
        return lesson.custom_case(inputs)
    if family is not None:
        return lesson.case(family)
    names = [case.family for case in lesson.cases()]
    return lesson.case("ascending" if "ascending" in names else names[0])


def of_run(lesson: stage.Stage, case: Case, run: Any, right: bool = False) -> Trace:
    """The trace of a run that has already happened. Where its output is `right` no state of it is
    wrong: a kernel may keep one in its own way."""
    assert lesson.attention is not None
    attention = lesson.attention(case)

    def nothing(why: str) -> Trace:
        target = "" if run is None else run.target
        return Trace(lesson.title, case.family, (), attention.n_q_heads, target, missing=why)

    if run is None:
        return nothing(
            "The real SDK runs this kernel and shows no state; the trace needs the simulator."
        )
    whole, views = attention, lesson.views(attention)
    attention, observed = divergence.view(run, whole, views, lesson.states)
    if observed is None and reads.as_read(run, whole, views)[0] is None:
        return nothing(
            "It is not known which keys each update saw, so no state is shown: the kernel reads "
            "keys twice or never, or its tiles have different sizes and are not in order, or each "
            "pass takes them in another order."
        )
    if observed is None:
        return nothing(_no_names(run))
    found = divergence.first(observed, attention, lesson.states)
    if right and found is not None:
        if found.quantity == "m" or observed.passes or observed.m is None:
            return nothing(OTHERWISE)
        found = None
    notes = _notes(observed, attention)
    rows = rows_of(observed, attention)
    wrong = None if found is None else Wrong(found.head, found.tile, found.quantity, found.expected)
    return Trace(
        lesson.title,
        case.family,
        rows,
        len({row.head for row in rows}),
        run.target,
        notes=notes,
        digits=_digits(case),
        heads_a_part=attention.heads_a_part,
        wrong=wrong,
    )


def _no_names(run: Any) -> str:
    """What to say of a kernel whose state is not known, in the words of its dialect."""
    if named_state(run.names()):
        return (
            "The kernel updates its m, l and acc in a way that does not tell which keys each "
            "update saw, so no state is shown: keep one of each for every query head, and update "
            "it once for each tile."
        )
    naming = (
        NAMING.replace("nl.fp32.min", "-3e38")
        if refusals.ran_in(run) == refusals.DIALECT
        else NAMING
    )
    return f"The kernel names none of m, l and acc. {naming}"


def _notes(observed: Observed, attention: Attention) -> list[str]:
    """What a reader of the table should know: what is absent, scaled or shared."""
    notes = []
    absent = [name for name in ("m", "l", "acc") if getattr(observed, name) is None]
    if absent:
        notes.append(f"({' and '.join(absent)}: not named, or not updated in place)")
    if observed.unit != 1.0:
        of = {-1.0: "scores, negated", LN2: "scores times log2(e)"}
        of[-LN2] = f"{of[LN2]}, negated"
        notes.append(f"(m is the max of the {of.get(observed.unit, 'unscaled scores')})")
    if len(observed.heads) < attention.n_q_heads:
        notes.append(f"({len(observed.heads)} rows of state for {attention.n_q_heads} query heads)")
    return notes


def rows_of(observed: Observed, attention: Attention) -> list[Row]:
    """One row per head and tile, as far as there are keys."""
    qk = attention.scores() / observed.unit
    n_tiles = max(attention.tiles(observed.width) or attention.n // observed.width, 1)
    rows = []
    for r, head in enumerate(observed.heads):
        before = -math.inf if observed.m_start is None else float(observed.m_start[r])
        low = before * observed.unit <= 10 * LOW
        m_old: float | None = -math.copysign(math.inf, observed.unit) if low else before
        for t in range(observed.tiles):
            first = (t % n_tiles) * observed.width
            keys = slice(first, first + observed.width)
            m_new = (
                float(observed.m[t, r]) if observed.m is not None and observed.has("m", t) else None
            )
            alpha = None
            if m_old is not None and m_new is not None and not observed.passes:
                with np.errstate(all="ignore"):
                    alpha = float(np.exp(observed.unit * (np.float64(m_old) - m_new)))
                if _shown_max(m_new, attention) == NO_KEYS:
                    alpha = None  # from no keys to no keys there is nothing to rescale
            l = float(observed.l[t, r]) if observed.l is not None and observed.has("l", t) else None
            acc = None
            if observed.acc is not None and observed.has("acc", t):
                acc = float(np.linalg.norm(observed.acc[t, r]))
            first_key, last_key, step = _places(attention, head, keys)
            if attention.starts and first >= attention.row_lengths[head]:
                continue  # a split ends with its last key
            rows.append(
                Row(
                    head,
                    t,
                    first_key,
                    last_key,
                    float((qk[head, keys] * observed.unit).max() / observed.unit),
                    _shown_max(m_old, attention) if observed.m is not None else None,
                    _shown_max(m_new, attention),
                    alpha,
                    l,
                    acc,
                    attention.label(head),
                    _binned(qk[head, keys]),
                    step,
                )
            )
            m_old = m_new
    return rows


def _places(attention: Attention, head: int, columns: slice) -> tuple[int, int, int]:
    """The first and the last key of some columns, and how far one is from the next (0: not the
    same for all)."""
    keys = attention.keys_of(head, columns)
    if attention.table is not None:  # the last chunk of blocks may be longer than the table
        there = keys[keys < attention.table.shape[1] * attention.block]
        keys = there if len(there) else keys
    steps = np.unique(np.diff(keys))
    step = 1 if not len(steps) else int(steps[0]) if len(steps) == 1 else 0
    return int(keys[0]), int(keys[-1]), step


def _binned(scores: NDArray[np.float64]) -> tuple[float, ...]:
    """So many scores as a picture has bars for: one of each run of equal ones, or the largest
    of a few neighbours."""
    starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
    run = math.gcd(*map(int, starts), len(scores))
    if len(scores) <= BINS * run:
        return tuple(float(score) for score in scores[::run])
    parts = np.array_split(scores, min(BINS, len(scores)))
    return tuple(float(part.max()) for part in parts)


def _shown_max(m: float | None, attention: Attention) -> float | None:
    """m as it is shown: the max of no keys, which a kernel may hold as the lowest number there is,
    is -inf."""
    return -math.inf if m is not None and attention.lengths is not None and m <= LOWEST else m


def _twin_trace(
    lesson: stage.Stage, case: Case, attention: Attention, twin: Callable[..., Any]
) -> Trace:
    """The trace of a NumPy twin, from the states that it yields; those of one tile may come in
    parts."""
    attention = lesson.views(attention)[0]
    merged: dict[tuple[int, int], dict[str, Any]] = {}
    for state in _quietly(twin(*case.args.values(), **case.options)):
        if not {"tile_max", "m", "l", "acc"} & set(state):
            continue  # no tile's state, but an output
        rows = (
            max(np.size(state[name]) for name in ("m", "l") if name in state)
            if {"m", "l"} & set(state)
            else 1
        )
        for r in range(rows):
            at = merged.setdefault(
                (int(state.get("head", 0)) + r, int(state["keys"][0])), {"last": state["keys"][1]}
            )
            at.update(_parts(state, r, rows))
    rows_found = []
    qk = attention.scores()
    for head in sorted({head for head, _ in merged}):
        for t, first in enumerate(sorted(first for h, first in merged if h == head)):
            part = merged[head, first]
            m_new = _shown_max(part.get("m"), attention)
            own = slice(*(key - attention.first_key(head) for key in (first, part["last"] + 1)))
            rows_found.append(
                Row(
                    head,
                    t,
                    first,
                    int(part["last"]),
                    _shown_max(part.get("tile_max"), attention),
                    _shown_max(part.get("m_old"), attention),
                    m_new,
                    None if m_new == NO_KEYS else part.get("alpha"),
                    part.get("l"),
                    part.get("acc"),
                    attention.label(head),
                    _binned(qk[head, own]) if head < len(qk) and qk[head, own].size else (),
                )
            )
    return Trace(
        f"{lesson.title}, NumPy twin",
        case.family,
        rows_found,
        attention.n_q_heads,
        digits=_digits(case),
        heads_a_part=attention.heads_a_part,
    )


def _quietly(states: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The states of a twin, without a warning of what it computes on padding and then drops."""
    with np.errstate(all="ignore"):
        yield from states


def _parts(state: Mapping[str, Any], r: int, rows: int) -> dict[str, float]:
    parts = {}
    for name in ("tile_max", "m_old", "m", "alpha", "l"):
        if name in state:
            flat = np.ravel(np.asarray(state[name], np.float64))
            parts[name] = float(flat[r if len(flat) == rows else 0])
    if "acc" in state:
        parts["acc"] = float(
            np.linalg.norm(np.asarray(state["acc"], np.float64).reshape(rows, -1)[r])
        )
    return parts
