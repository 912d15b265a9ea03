"""From wrong values to a sentence: where the kernel first goes wrong, and which mistake makes it so.

Two witnesses. The outputs on all families are compared with what the known mistakes would answer (`recipes`); this
needs nothing of the kernel's style. The state trace, where the kernel has one, gives the place and the ratio
(`divergence`), and decides between mistakes that answer alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import divergence, mistakes, passing, precision, runner, splitting
from .families import Case
from .mistakes import Mistake
from .problem import Attention
from .recipes import Recipe, cook
from .runner import Result
from .stage import Known, Stage, Variant
from .states import NAMES, Observed, state_of, widths
from .text import number, short

AGREES_SHORT = 2e-2  # the same for two bf16 ways
AGREES = 3e-4  # relative to the largest finite element: two fp32 ways to make the same mistake


@dataclass(frozen=True)
class Diagnosis:
    """The sentence, the family it is about, the recognised mistake (or None), and where, for machines."""

    sentence: str
    family: str
    cause: str | None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Answer:
    """One case with the kernel's output and the right one."""

    result: Result
    expected: NDArray[np.float64]
    wrong: bool

    @property
    def output(self) -> NDArray[Any]:
        assert self.result.output is not None
        return self.result.output

    @property
    def rows(self) -> NDArray[Any]:
        """The output with one row a query head, those of a batch one after another."""
        return self.output.reshape(-1, self.output.shape[-1])


def diagnose(stage: Stage, kernel: Any, answers: Sequence[Answer]) -> Diagnosis:
    """Name the mistake behind the wrong answers of `kernel` (there is at least one)."""
    if stage.attention is None:
        from .scaling import diagnose_scaling

        return diagnose_scaling(answers)
    return _Attention(stage, kernel, answers).diagnosis()


class _Instructions(dict[int, list[Any]]):
    """The instructions of each case's run, made when they are asked for."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        super().__init__()
        self.answers = answers

    def __missing__(self, i: int) -> list[Any]:
        run = self.answers[i].result.run
        self[i] = run.instructions if run is not None else []
        return self[i]


class _Attention:
    """The diagnosis of one attention kernel."""

    def __init__(self, stage: Stage, kernel: Any, answers: Sequence[Answer]) -> None:
        assert stage.attention is not None and stage.states is not None
        self.stage = stage
        self.kernel = kernel
        self.answers = answers
        self.agrees = AGREES if stage.tolerance is None else AGREES_SHORT
        self.problems = [_problem(stage, answer.result.case) for answer in answers]
        self.views = list(self.problems)
        failing = [i for i, answer in enumerate(answers) if answer.wrong]
        self.failing = sorted(failing, key=lambda i: self.problems[i].n <= 128)  # several tiles tell more than one
        self.first = self.failing[0]
        self.instructions = _Instructions(answers)

    def diagnosis(self) -> Diagnosis:
        done = passing.seen(self.answers[self.first].result.run)
        if done is not None:
            return self._report(self._telling(), *done)
        known = self._known()
        if known is not None:
            return self._report(self._telling(), known.key, self._fill(known.cause, self.first))
        low = self._low_precision()
        found = None if low is not None and self._like_rounding() else self._recognised()
        if found is not None:
            return self._report(self._telling(), found.key, self._fill(found.cause, self.first))
        if low is not None:
            return self._report(self._telling(), "low precision", low)
        place = self._divergence(self.first)
        if place is not None and place.cause:
            cause = next(m for m in mistakes.known(self.problems[0]) if m.key == place.cause)
            return self._report(self.first, cause.key, self._fill(cause.cause, self.first))
        known = self._known(last=True)
        if known is not None:
            return self._report(self._telling(), known.key, self._fill(known.cause, self.first))
        return self._report(self.first, None, self._advice(place is not None))

    # -- the mistakes of this stage alone ------------------------------------------------------------------------------
    def _known(self, last: bool = False) -> Known | None:
        """The stage's own mistake that answers like the kernel where it is wrong, and right where it is right; one family in
        six may disagree. `last` looks at those that are to be tried after all others."""
        failing = sorted(self.failing, key=lambda i: self.problems[i].n * self.problems[i].n_q_heads)
        right = [i for i in range(len(self.answers)) if i not in failing]
        best: tuple[int, Known] | None = None
        for known in self.stage.known:
            for variant in known.variants if known.last == last else ():
                if not any(self._fits(i, variant) for i in failing[:2]):
                    continue
                misses = sum(not self._fits(i, variant) for i in failing)
                if misses <= len(failing) // 6 and sum(not self._fits(i, variant) for i in right) <= len(right) // 6:
                    if best is None or misses < best[0]:
                        best = misses, known
        return None if best is None else best[1]

    def _fits(self, i: int, variant: Variant) -> bool:
        """Whether case i comes out as with this mistake; a mistake that changes nothing there leaves the right answer."""
        answer = self.answers[i]
        with np.errstate(all="ignore"):
            predicted = variant(answer.result.case, answer.output)
        if predicted is None:
            return not answer.wrong
        return alike(answer.rows, predicted.reshape(answer.rows.shape), agrees=self.agrees)

    # -- the known mistakes ----------------------------------------------------------------------------------------
    def _recognised(self) -> Mistake | None:
        """The mistake that answers like the kernel; None if there is no such one.

        One family in six may disagree: a kernel may treat a single tile, or the first one, apart.
        """
        by_size = sorted(self.failing, key=lambda i: (not self._says_much(i), self.problems[i].n * self.problems[i].n_q_heads))
        telling = by_size[:2]
        by_size += [i for i in range(len(self.answers)) if i not in by_size]
        allowed = len(by_size) // 6
        best: tuple[float, Mistake] | None = None
        fewest = allowed + 1
        for width in self._widths(self.first):
            if self.stage.known and self.problems[telling[0]].n > 64 * width:
                continue  # a kernel that is right on short caches has its tiles as wide as those are
            for mistake, recipe in mistakes.each(self.problems[0], max(p.n_q_heads for p in self.problems) > 1, self._deals()):
                if not any(self._agrees(i, width, recipe) for i in telling):
                    continue
                misses = 0
                for i in by_size:
                    misses += not self._agrees(i, width, recipe)
                    if misses > allowed:
                        break
                else:
                    fewest = min(fewest, misses)
                    score = -misses + 0.5 * self._trace_agreement(mistake, recipe, width)
                    if best is None or score > best[0] + 1e-9:
                        best = score, mistake
            if fewest == 0 and (self.problems[0].lengths is not None or self.problems[0].splits):
                break  # nothing to explain is left for tiles of another width
            if best is not None and self.stage.known:
                break  # the widest tiles come first there, and explain it
        return None if best is None else best[1]

    def _deals(self) -> tuple[str, ...]:
        """How the kernel deals out its tiles, where its state shows it; else both ways."""
        for i in self.failing:
            observed = self._observed(i) if self.problems[i].splits else None
            if observed is not None and len(observed.heads) == self.views[i].n_q_heads and self._divergence(i) is None:
                starts = [view.starts for view in self.stage.views(self.problems[i])]
                if starts[0] != starts[1]:
                    return (splitting.RIGHT[starts.index(self.views[i].starts)],)
        return splitting.RIGHT

    def _says_much(self, i: int) -> bool:
        """Whether a failing case has wrong numbers; in a batch, NaN is what many mistakes give."""
        rows, problem = self.answers[i].rows, self.problems[i]
        if problem.lengths is None:
            return True
        finite = np.isfinite(rows).all(axis=1)
        expected = self.answers[i].expected.reshape(rows.shape)
        return bool((finite & (np.abs(rows - expected).max(axis=1) > 1e-5 * np.abs(expected).max(axis=1))).any())

    def _agrees(self, i: int, width: int, recipe: Recipe) -> bool:
        problem = self.problems[i]
        width = width if problem.tiles(width) else problem.n
        predicted = _predicted(self.stage, self.answers[i].result.case, width, recipe)
        return alike(self.answers[i].rows, predicted, self._settled(i), self.agrees)

    def _settled(self, i: int) -> NDArray[np.bool_]:
        """The rows without keys that the kernel answers rightly: what it does there is its own affair."""
        answer = self.answers[i]
        return (self.problems[i].row_lengths == 0) & ~answer.rows.any(axis=1)

    def _trace_agreement(self, mistake: Mistake, recipe: Recipe, width: int) -> float:
        """0 to 1: how well the mistake's own trace, or its use of alpha, fits what the kernel did."""
        score = 0.0
        if mistake.alpha_formed is not None and self.instructions[self.first]:
            score += 0.25 if mistake.alpha_formed == self._alpha_formed() else -0.25
        if mistake.states_right is not None and self._observed(self.first) is not None:
            score += 0.25 if mistake.states_right == (self._divergence(self.first) is None) else -0.25
        if mistake.overflows is not None and self.overflow is not None:
            score += 0.25 if mistake.overflows == self.overflow[0] else -0.25
        observed = self._observed(self.first)
        problem = self.problems[self.first]
        if problem.splits or observed is None or observed.width != width or not problem.tiles(width):
            return score
        states = cook(problem, width, recipe).states
        if len(states) != observed.tiles or len(observed.heads) != problem.n_q_heads:
            return score
        return score + 0.75 * _same_states(observed, states, problem.row_lengths > 0)

    def _alpha_formed(self) -> bool:
        """Whether the kernel takes exp of something with one element a row, as alpha has."""
        problem = self.problems[self.first]
        small = 0
        for instruction in self.instructions[self.first]:
            if instruction.op == "activation" and "exp" in str(instruction.attrs.get("op", "exp")):
                shape = instruction.dst[0].shape
                small += int(np.prod(shape[1:])) == 1 or int(np.prod(shape)) <= problem.n_q_heads
        return small > 0

    @cached_property
    def overflow(self) -> tuple[str, Any] | None:
        """The instruction that made the first infinity or NaN, and whether it has one element a row ("row") or more
        ("tile"); None if there is none in the first failing case."""
        looked_at = [self.first] if self.problems[0].lengths is None else self.failing
        at = next((i for i in looked_at if self._is_plain(i)), None)
        if at is None:
            return None
        answer = self.answers[at]
        if answer.result.run is None or np.isfinite(answer.output).all():
            return None
        run = runner.run(self.kernel, answer.result.case, self.stage, keep_results=True).run
        for instruction, value in zip(run.instructions, run.results, strict=True):
            if instruction.dst[0].space != "hbm" and bool(np.any(np.isnan(value) | (value == np.inf))):
                shape = instruction.dst[0].shape
                small = int(np.prod(shape[1:])) == 1 or int(np.prod(shape)) <= self.problems[at].n_q_heads
                divides = instruction.op == "reciprocal" or "divide" in map(str, instruction.attrs.values())
                return "division" if divides else "row" if small else "tile", instruction
        return None

    def _is_plain(self, i: int) -> bool:
        """Whether there is an infinity or a NaN in the output of a case, and none in its inputs."""
        args = self.answers[i].result.case.args.values()
        return (all(np.isfinite(x).all() for x in args if isinstance(x, np.ndarray))
                and not np.isfinite(self.answers[i].output).all())

    def _widths(self, i: int) -> list[int]:
        observed = self._observed(i)
        found = widths(self.instructions[i], self.problems[i])
        loads = [made.dst[0].shape[-1] for made in self.instructions[i] if made.op == "dma_copy" and made.srcs[0].name == "k"]
        found = [w for w in dict.fromkeys(loads) if w > 512 and self.problems[i].n % w == 0] + found
        return list(dict.fromkeys([observed.width, *found] if observed is not None else found))[:4]

    def _telling(self) -> int:
        """The case to report: the first failing one where the state shows where it went wrong, else the first."""
        for i in self.failing:
            if self._divergence(i) is not None:
                return i
        return self.first

    # -- precision -------------------------------------------------------------------------------------------------
    def _like_rounding(self) -> bool:
        """Whether all errors are no larger than what rounding to 16 bits can do."""
        return all(np.isfinite(self.answers[i].output).all() and _error(self.answers[i]) < 0.1 for i in self.failing)

    def _low_precision(self) -> str | None:
        """The cause if fp32 inputs meet tiles of fewer bits, or a 16-bit kernel keeps its state in 16 bits."""
        if self.stage.tolerance is not None:
            told = (precision.kept_short(self.instructions[i]) for i in self.failing)
            return next((said for said in told if said), None)
        rows: dict[str, str] = {}
        others: dict[str, str] = {}
        for i in self.failing:
            if self.answers[i].result.case.args["q"].dtype != np.float32:
                return None
            for instruction in self.instructions[i]:
                for operand in instruction.dst:
                    if operand.dtype in ("bfloat16", "float16") or operand.dtype.startswith("float8"):
                        name = state_of(operand.name) or operand.name
                        (rows if name in NAMES or int(np.prod(operand.shape[1:])) == 1 else others)[name] = operand.dtype
        names = {name: rows[name] for name in NAMES if name in rows} or rows or others
        if not names:
            return None
        shown, kind = list(names)[:4], next(iter(names.values()))
        what = f"{' and '.join(shown)} {'is' if len(shown) == 1 else 'are'} kept in {kind}"
        them = "it" if len(shown) == 1 else "them"
        if rows:
            return (f"{what}, which has too few digits to carry a running max or sum: in bf16 256 + 1 stays 256. Keep {them} "
                    "in float32.")
        return f"{what}: the inputs of this stage are float32, and so must be what is computed from them."

    # -- the place -------------------------------------------------------------------------------------------------
    def _observed(self, i: int) -> Observed | None:
        run = self.answers[i].result.run
        if run is None:
            return None
        if not hasattr(self, "_cache"):
            self._cache: dict[int, Observed | None] = {}
        if i not in self._cache:
            self.views[i], self._cache[i] = divergence.view(run, self.stage.views(self.problems[i]), self.stage.states)
        return self._cache[i]

    def _divergence(self, i: int) -> divergence.Divergence | None:
        observed = self._observed(i)
        assert self.stage.states is not None
        return None if observed is None else divergence.first(observed, self.views[i], self.stage.states)

    def _report(self, i: int, cause: str | None, text: str) -> Diagnosis:
        place = self._divergence(i)
        answer = self.answers[i]
        details: dict[str, Any] = {"failing": [self.answers[j].result.case.family for j in self.failing]}
        if place is not None:
            details |= {"tile": place.tile, "head": place.head, "quantity": place.quantity, "got": place.got,
                        "expected": place.expected, "ratio": place.ratio}
            where = place.sentence
        else:
            where, more = _output_place(answer, self.problems[i])
            details |= more
            if i == self.first and self.overflow is not None and self._is_plain(i):
                made = self.overflow[1]
                where += f" The first infinity or NaN comes from line {made.line}: {runner.without_comment(made.source)}."
                details["line"] = made.line
        return Diagnosis(f"{where} {text}", answer.result.case.family, cause, details)

    def _fill(self, cause: str, i: int) -> str:
        problem = self.problems[i]
        width = self._widths(i)[0]
        root = number(float(np.sqrt(problem.d)), 2)
        values = {"G": max(p.group for p in self.problems), "sqrt_d": root.removesuffix(".00"),
                  "tiles": max(problem.n // width, 1), "S": problem.splits}
        for name, value in values.items():
            cause = cause.replace("{" + name + "}", str(value))
        return cause

    def _advice(self, placed: bool) -> str:
        """What to look at when no known mistake fits."""
        right = [a.result.case.family for a in self.answers if not a.wrong]
        shape = (f"Right on {len(right)} of {len(self.answers)} input families" if right
                 else "Wrong on every input family")
        missing = self._unread()
        if missing:
            return f"{shape}. {missing}"
        observed = self._observed(self.first)
        if placed:
            return f"{shape}. No known mistake gives these values: look at the line that computes this quantity for this tile."
        if observed is not None:
            return (f"{shape}. m, l and acc agree with the oracle wherever the kernel names them: look at what comes after "
                    "the last tile, o = acc / l, and where it is stored.")
        reveals = self.answers[self.first].result.case.reveals
        return (f"{shape}. This family reveals {reveals}. Name the state (m, l, acc) with name=, and the check can say at "
                "which tile it goes wrong.")

    def _unread(self) -> str | None:
        """A sentence if a part of K or V is never read."""
        run = self.answers[self.first].result.run
        if run is None:
            return None
        case = self.answers[self.first].result.case
        names = runner.parameter_names(self.kernel, self.stage)
        for name in ("k", "v"):
            if name not in case.args:
                continue  # a pool of blocks holds more than what is to be read
            size, read = case.args[name].nbytes, run.hbm_reads.get(names.get(name, name))
            if read is not None and read < size:
                return f"Only {read:,} of the {size:,} bytes of {name} are read: the loop does not visit all keys."
        return None


@lru_cache(maxsize=8192)
def _predicted(stage: Stage, case: Case, width: int, recipe: Recipe) -> NDArray[np.float32]:
    """The output of a recipe on a case; kept, since every wrong kernel asks for the same ones."""
    return cook(_problem(stage, case), width, recipe).o


@lru_cache(maxsize=256)
def _problem(stage: Stage, case: Case) -> Attention:
    """A case as attention: one object a case, so that what is computed from it can be kept."""
    assert stage.attention is not None
    return stage.attention(case)


def alike(got: NDArray[Any], predicted: NDArray[Any], settled: NDArray[np.bool_] | None = None,
          agrees: float = AGREES) -> bool:
    """Whether two wrong outputs are the same up to rounding; any NaN or infinity counts as any other.

    Rows that are `settled` do not count.
    """
    if settled is not None and got.shape == predicted.shape:
        got, predicted = got[~settled], predicted[~settled]
    finite = np.isfinite(predicted)
    if got.shape != predicted.shape or not np.array_equal(finite, np.isfinite(got)):
        return False
    if not finite.any():
        return True
    for g, p, ok in zip(got, predicted, finite, strict=True):
        if ok.any() and not np.abs(g[ok] - p[ok]).max() <= agrees * np.abs(p[ok]).max() + 1e-30:
            return False
    return True


def _same_states(observed: Observed, states: list[dict[str, Any]], heads: NDArray[np.bool_]) -> float:
    """The share of m, l and acc of these heads that a recipe's trace reproduces, as far as the kernel names them."""
    known = [name for name in ("m", "l", "acc") if getattr(observed, name) is not None]
    good = 0.0
    for name in known:
        got = getattr(observed, name) * (observed.unit if name == "m" else 1.0)
        rows = [np.asarray(state[name], np.float64).reshape(got.shape[1:])[heads] for state in states]
        got = got[:, heads]
        same = []
        for t, want in enumerate(rows):
            if observed.has(name, t):
                both = np.isfinite(got[t]) & np.isfinite(want)
                kind = np.array_equal(np.isnan(got[t]), np.isnan(want)) and np.array_equal(np.isinf(got[t]), np.isinf(want))
                near = not both.any() or np.abs(got[t][both] - want[both]).max() <= 2e-3 * max(np.abs(want[both]).max(), 1e-6)
                same.append(kind and bool(near))
        good += float(np.mean(same)) if same else 0.0
    return good / len(known) if known else 0.0


def _error(answer: Answer) -> float:
    with np.errstate(all="ignore"):
        return float(np.abs(answer.output - answer.expected).max() / np.abs(answer.expected).max())


def _output_place(answer: Answer, problem: Attention) -> tuple[str, dict[str, Any]]:
    """Where the output is most wrong: the first bad head, its worst element."""
    got, want = answer.rows.astype(np.float64), answer.expected.reshape(-1, answer.expected.shape[-1])
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(got), np.abs(got - want), np.inf)
    rows = error.max(axis=1) / np.maximum(np.abs(want).max(axis=1), 1e-30)
    h = int(np.flatnonzero(rows > 1e-5)[0]) if (rows > 1e-5).any() else int(np.argmax(rows))
    i = int(np.argmax(error[h]))
    label = problem.label(h)
    head = f"{label}: " if label else ""
    g, w = float(got[h, i]), float(want[h, i])
    details = {"head": h, "quantity": "o", "index": i, "got": g, "expected": w}
    return f"{head}o[{i}] is {short(g)}, expected {short(w)}.", details


