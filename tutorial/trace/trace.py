"""The state trace: how m, l and acc of the reader's own kernel move, tile by tile.

`trace(stage, kernel)` runs the kernel on one input and shows the state that it keeps under the
names m, l and acc. `print(trace)` is the text table; `.to_dict()` the same as columns; `.figure()`
a matplotlib figure; `.steps()` a step-through view for notebooks; `.show()` the text and then the
picture.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import stage
from ..diagnosis import order as passing
from ..inputs.families import Case
from ..reference.attention import Attention
from ..running import runner
from ..text import DIGITS, number
from . import divergence
from .states import Observed
from .updates import LOW

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .stepper import Steps

HEADER = "tile  keys       tile max     m_old ->    m_new    alpha          l    |acc|"
LOWEST = -1e30  # a max at or below this is that of no keys
COLUMNS = (
    "head",
    "tile",
    "first_key",
    "last_key",
    "tile_max",
    "m_old",
    "m_new",
    "alpha",
    "l",
    "acc",
)
NAMING = (
    "To see its state, name it where it is made, and update it in place:\n"
    '    m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")\n'
    "    m[...] = m_new\n"
    'and likewise "l" and "acc".'
)


class TraceError(Exception):
    """There is nothing to draw; the text says why."""


@dataclass(frozen=True)
class Row:
    """One tile of one query head. `acc` is the Euclidean norm of the head's row of acc; None is not
    known.

    In a batch the heads are counted on: `head` b Hq + h is head h of sequence b, and `name` says
    so.
    """

    head: int
    tile: int
    first_key: int
    last_key: int
    tile_max: float | None
    m_old: float | None
    m_new: float | None
    alpha: float | None
    l: float | None
    acc: float | None
    name: str = ""

    def line(self, digits: int = DIGITS) -> str:
        """The row as the table shows it, without its head; l and |acc| with no more than `digits`
        significant digits."""
        keys = f"{self.first_key}..{self.last_key}"

        def cell(value: float | None, decimals: int, width: int, digits: int = DIGITS) -> str:
            return ("-" if value is None else number(value, decimals, width, digits)).rjust(width)

        return (
            f"{self.tile:4d}  "
            f"{keys:<10}{cell(self.tile_max, 2, 8)}{cell(self.m_old, 2, 12)}{cell(self.m_new, 2, 10)}{cell(self.alpha, 4, 10)}{cell(self.l, 4, 11, digits)}{cell(self.acc, 3, 9, digits)}"
        )


class Trace:
    """The rows of one kernel run, and what the kernel was.

    `heads` are those shown, l and |acc| with `digits` significant digits. `missing` explains an
    empty trace, and `outcome` is that of a kernel that did not run. In a batch every sequence has
    `heads_a_part` heads.
    """

    def __init__(
        self,
        title: str,
        family: str,
        rows: Sequence[Row],
        n_heads: int,
        target: str = "",
        missing: str = "",
        notes: Sequence[str] = (),
        outcome: str = "",
        digits: int = DIGITS,
        heads_a_part: int = 0,
    ) -> None:
        self.title = title
        self.family = family
        self.all_rows = tuple(rows)
        self.n_heads = n_heads
        self.target = target
        self.missing = missing
        self.notes = tuple(notes)
        self.outcome = outcome
        self.digits = digits
        self.heads_a_part = heads_a_part or n_heads
        self.heads = tuple(dict.fromkeys(row.head for row in self.all_rows))[:4]

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the shown heads."""
        return tuple(row for row in self.all_rows if row.head in self.heads)

    def only(self, heads: Iterable[int | tuple[int, int]] | int) -> Trace:
        """The same trace, showing these query heads; in a batch (or a split), pairs: (sequence,
        head).

        Raises ValueError for a head that is not there.
        """
        chosen = (heads,) if isinstance(heads, int) else tuple(heads)
        wanted = tuple(h if isinstance(h, int) else h[0] * self.heads_a_part + h[1] for h in chosen)
        known = {row.head for row in self.all_rows}
        for head in wanted:
            if self.all_rows and head not in known:
                raise ValueError(f"there is no head {head}; the trace has heads {sorted(known)}")
        made = Trace(
            self.title,
            self.family,
            self.all_rows,
            self.n_heads,
            self.target,
            self.missing,
            self.notes,
            self.outcome,
            self.digits,
            self.heads_a_part,
        )
        made.heads = wanted
        return made

    def to_dict(self) -> dict[str, list[Any]]:
        """The shown rows as columns: head, tile, first_key, last_key, tile_max, m_old, m_new,
        alpha, l, acc."""
        return {name: [getattr(row, name) for row in self.rows] for name in COLUMNS}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def caption(self) -> str:
        return (f"{self.title}, input family: {self.family}") + (
            f", on {self.target} (simulated)" if self.target else ""
        )

    def text(self) -> str:
        """The table: one line a tile, a block a head."""
        if not self.all_rows:
            return (
                self.missing
                if self.outcome or not self.n_heads
                else f"{self.caption}\n{self.missing}"
            )
        lines = [self.caption]
        for head in self.heads:
            own = [row for row in self.rows if row.head == head]
            if self.n_heads > 1 and own:
                lines.append(own[0].name)
            lines.append(HEADER)
            lines += [row.line(self.digits) for row in own]
        hidden = self.n_heads - len(self.heads)
        if hidden > 0:
            lines.append(f"({hidden} more heads: .only([...]) shows them)")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__ = text

    def figure(self) -> Figure:
        """A matplotlib figure of the shown heads. Raises TraceError if there is nothing to draw."""
        from .figure import draw

        return draw(self)

    def steps(self) -> Steps:
        """The step-through view; it displays itself in a notebook, and `.html()` is a page of its
        own."""
        from .stepper import Steps

        return Steps(self)

    def show(self) -> None:
        """Print the table, then draw the figure."""
        from .figure import show

        show(self)


def trace(
    key: int | str | stage.Stage,
    kernel: Callable[..., Any],
    family: str | None = None,
    *,
    inputs: Any = None,
) -> Trace:
    """The state trace of `kernel` at a stage (number or name), on one of its input families or on
    `inputs`.

    Without a family: "ascending" where the stage has it, its first otherwise. `kernel` may also be
    a NumPy twin, a generator that yields its state. A kernel that does not run, or names nothing,
    gives an empty trace that says so. Raises StageError and InputError if the stage, the family or
    the inputs are not there.
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
    case = lesson.custom_case(inputs) if inputs is not None else _default_case(lesson, family)
    attention = lesson.attention(case)
    if getattr(kernel, "lesson", None) is lesson:  # the stand-in for a solution that is not here
        kernel = lesson.twin
    if inspect.isgeneratorfunction(kernel):
        return _twin_trace(lesson, case, attention, kernel)
    problem = runner.usable(kernel, lesson)
    result = (
        runner.Result(case, problem=problem)
        if problem is not None
        else runner.run(kernel, case, lesson)
    )
    if result.problem is not None:
        return Trace(
            lesson.title,
            case.family,
            (),
            attention.n_q_heads,
            missing=result.problem.sentence,
            outcome=result.problem.outcome,
        )
    return of_run(lesson, case, result.run)


def _digits(case: Case) -> int:
    """Scores that are not exact cost a digit: they, and so their sums, differ a little between
    machines."""
    return DIGITS if case.exact else DIGITS - 1


def _default_case(lesson: stage.Stage, family: str | None) -> Case:
    if family is not None:
        return lesson.case(family)
    names = [case.family for case in lesson.cases()]
    return lesson.case("ascending" if "ascending" in names else names[0])


def of_run(lesson: stage.Stage, case: Case, run: Any) -> Trace:
    """The trace of a run that has already happened."""
    assert lesson.attention is not None
    attention = lesson.attention(case)
    if run is None:
        return Trace(
            lesson.title,
            case.family,
            (),
            attention.n_q_heads,
            missing="The real SDK runs this kernel and shows no state; the trace needs "
            "the simulator.",
        )
    attention, observed = divergence.view(run, lesson.views(attention), lesson.states)
    if observed is None:
        naming = (
            NAMING.replace("nl.fp32.min", "-3e38")
            if passing.ran_in(run) == passing.DIALECT
            else NAMING
        )
        return Trace(
            lesson.title,
            case.family,
            (),
            attention.n_q_heads,
            run.target,
            missing=f"The kernel names none of m, l and acc. {naming}",
        )
    notes = []
    absent = [name for name in ("m", "l", "acc") if getattr(observed, name) is None]
    if absent:
        notes.append(f"({' and '.join(absent)}: not named, or not updated in place)")
    if observed.unit != 1.0:
        notes.append("(m is the max of the unscaled scores)")
    if len(observed.heads) < attention.n_q_heads:
        notes.append(f"({len(observed.heads)} rows of state for {attention.n_q_heads} query heads)")
    rows = rows_of(observed, attention)
    return Trace(
        lesson.title,
        case.family,
        rows,
        len({row.head for row in rows}),
        run.target,
        notes=notes,
        digits=_digits(case),
        heads_a_part=attention.heads_a_part,
    )


def rows_of(observed: Observed, attention: Attention) -> list[Row]:
    """One row a head and tile, as far as there are keys."""
    qk = attention.scores() / observed.unit
    n_tiles = max(attention.tiles(observed.width) or attention.n // observed.width, 1)
    rows = []
    for r, head in enumerate(observed.heads):
        before = -math.inf if observed.m_start is None else float(observed.m_start[r])
        m_old: float | None = -math.inf if before <= 10 * LOW else before
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
                if _shown_max(m_new, attention) == -math.inf:
                    alpha = 1.0  # from no keys to no keys
            l = float(observed.l[t, r]) if observed.l is not None and observed.has("l", t) else None
            acc = None
            if observed.acc is not None and observed.has("acc", t):
                acc = float(np.linalg.norm(observed.acc[t, r]))
            begin, end = attention.first_key(head), min(first + observed.width, attention.n) - 1
            if attention.starts and first >= attention.row_lengths[head]:
                continue  # a split ends with its last key
            rows.append(
                Row(
                    head,
                    t,
                    begin + first,
                    begin + end,
                    float(qk[head, keys].max()),
                    _shown_max(m_old, attention) if observed.m is not None else None,
                    _shown_max(m_new, attention),
                    alpha,
                    l,
                    acc,
                    attention.label(head),
                )
            )
            m_old = m_new
    return rows


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
    for head in sorted({head for head, _ in merged}):
        for t, first in enumerate(sorted(first for h, first in merged if h == head)):
            part = merged[head, first]
            rows_found.append(
                Row(
                    head,
                    t,
                    first,
                    int(part["last"]),
                    _shown_max(part.get("tile_max"), attention),
                    _shown_max(part.get("m_old"), attention),
                    _shown_max(part.get("m"), attention),
                    part.get("alpha"),
                    part.get("l"),
                    part.get("acc"),
                    attention.label(head),
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
