"""Which known mistake answers like a kernel: outputs compared on all cases, and decided by what the
kernel did."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.families import Case
from ..mistakes import attention as mistakes
from ..mistakes.attention import Mistake
from ..reference import splitting
from ..reference.attention import Attention
from ..reference.recipes import Recipe, cook
from ..running.answer import AGREES, AGREES_SHORT, alike
from ..stage import Known, Stage, Variant
from ..trace.states import Observed
from .evidence import Evidence, problem_of

# what it counts against a mistake that the kernel is right where there is but one tile
EXCUSED = 0.05


@lru_cache(maxsize=8192)
def _predicted(
    stage: Stage, case: Case, width: int, recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The output of a recipe on a case, and its rows with l = 0; kept, since every wrong kernel
    asks for the same ones."""
    dish = cook(problem_of(stage, case), width, recipe)
    return dish.o, dish.underflowed


@lru_cache(maxsize=256)
def _one_row(stage: Stage, case: Case, row: int) -> Attention:
    """One row of a case as a problem of its own."""
    whole = problem_of(stage, case)
    part, kv = slice(row // whole.heads_a_part, row // whole.heads_a_part + 1), row // whole.group
    lengths = None if whole.lengths is None else np.asarray(whole.lengths)[part]
    return replace(
        whole,
        q=whole.q[row : row + 1],
        k=whole.k[kv : kv + 1],
        v=whole.v[kv : kv + 1],
        lengths=lengths,
        parts=1,
    )


@lru_cache(maxsize=8192)
def _predicted_row(
    stage: Stage, case: Case, row: int, width: int, recipe: Recipe
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """As `_predicted`, of one row."""
    dish = cook(_one_row(stage, case, row), width, recipe)
    return dish.o, dish.underflowed


class Matcher:
    """Compares the answers of one kernel with those of the known mistakes."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.stage, self.answers, self.problems = (
            evidence.stage,
            evidence.answers,
            evidence.problems,
        )
        self._rows: dict[int, int] = {}
        self.agrees = AGREES if self.stage.tolerance is None else AGREES_SHORT

    # -- the mistakes of this stage alone ----------------------------------------------------------
    def known(self, last: bool = False) -> Known | None:
        """The stage's own mistake that answers like the kernel where it is wrong, and right where
        it is right; one family in six may disagree. `last` looks at those that are to be tried
        after all others."""
        failing = [i for i in self.evidence.smallest if self._with_keys(i).any()]
        right = [i for i in range(len(self.answers)) if not self.answers[i].wrong]
        best: tuple[int, Known] | None = None
        for known in self.stage.known:
            for variant in known.variants if known.last == last else ():
                if not any(self._fits(i, variant) for i in failing[:2]):
                    continue
                misses = sum(not self._fits(i, variant) for i in failing)
                if (
                    misses <= len(failing) // 6
                    and sum(not self._fits(i, variant) for i in right) <= len(right) // 6
                ):
                    if best is None or misses < best[0]:
                        best = misses, known
        return None if best is None else best[1]

    def _with_keys(self, i: int) -> NDArray[np.bool_]:
        """Which rows of case i are wrong and have keys, (rows,)."""
        answer = self.answers[i]
        return _off(answer.rows, answer.expected_rows, 1e-5) & (self.problems[i].row_lengths > 0)

    def _fits(self, i: int, variant: Variant) -> bool:
        """Whether case i comes out as with this mistake; a mistake that changes nothing there
        leaves the right answer. Rows without keys do not count: what a kernel does there is no
        mistake of a stage's own."""
        answer, without = self.answers[i], self.problems[i].row_lengths == 0
        with np.errstate(all="ignore"):
            predicted = variant(answer.result.case, answer.output)
        if predicted is None:
            return not answer.wrong
        return alike(answer.rows, predicted.reshape(answer.rows.shape), without, self.agrees)

    # -- the known mistakes ------------------------------------------------------------------------
    def recognised(self) -> Mistake | None:
        """The mistake that answers like the kernel; None if there is no such one."""
        found = self._recognised(self._deals())
        return (
            self._recognised(("strided",)) if found is None and self.problems[0].splits else found
        )

    def _recognised(self, deals: tuple[str, ...]) -> Mistake | None:
        """The same for these ways to deal out tiles among splits.

        One family in six may disagree. Families of a single tile that the kernel answers rightly do
        not count: it may treat the first tile, or the only one, apart.
        """
        evidence = self.evidence
        by_size = sorted(
            evidence.failing, key=lambda i: (not self._says_much(i), evidence.smallest.index(i))
        )
        telling = by_size[:2]
        by_size += [i for i in range(len(self.answers)) if i not in by_size]
        allowed = len(by_size) // 6
        several = max(p.n_q_heads for p in self.problems) > 1
        best: tuple[float, Mistake] | None = None
        fewest = allowed + 1
        tried: set[tuple[int, ...]] = set()
        for width in (*evidence.widths(evidence.first), 0):
            if width and self.stage.known and self.problems[telling[0]].n > 64 * width:
                # a kernel that is right on short caches has its tiles as wide as those are
                continue
            if not width and (best is not None or self.problems[0].lengths is not None):
                break
            tiling = tuple(evidence.width(i, width) for i in evidence.failing)
            if tiling in tried:
                continue
            tried.add(tiling)
            apart = all(not self.answers[i].wrong for i in by_size if self._is_one_tile(i, width))
            for mistake, recipe in mistakes.each(self.problems[0], several, deals):
                if not self._can_be(mistake, recipe):
                    continue
                if recipe.tail == "narrow" and evidence.tail == "zero":
                    recipe = replace(recipe, tail="zero")
                if not any(
                    self._may_agree(i, width, recipe) and self._agrees(i, width, recipe)
                    for i in telling
                ):
                    continue
                misses = excused = 0
                for i in by_size:
                    if not self._agrees(i, width, recipe):
                        if apart and self._is_one_tile(i, width):
                            excused += 1
                        else:
                            misses += 1
                    if misses > allowed:
                        break
                else:
                    fewest = min(fewest, misses)
                    score = -misses - EXCUSED * excused + self._support(mistake, recipe, width)
                    if best is None or score > best[0] + 1e-9:
                        best = score, mistake
            if fewest == 0 and (self.problems[0].lengths is not None or self.problems[0].splits):
                break  # nothing to explain is left for tiles of another width
            if best is not None and self.stage.known:
                break  # the widest tiles come first there, and explain it
        return None if best is None else best[1]

    def _is_one_tile(self, i: int, width: int) -> bool:
        """Whether case i has but one tile, where others have several."""
        problem = self.problems[i]
        return problem.lengths is None and problem.n <= self.evidence.width(i, width) < max(
            p.n for p in self.problems
        )

    def _deals(self) -> tuple[str, ...]:
        """How the kernel deals out its tiles, where its state shows it; else all the ways."""
        evidence = self.evidence
        for i in evidence.failing:
            observed = evidence.observed(i) if self.problems[i].splits else None
            if (
                observed is not None
                and len(observed.heads) == evidence.views[i].n_q_heads
                and evidence.divergence(i) is None
            ):
                starts = [view.starts for view in self.stage.views(self.problems[i])]
                if starts[0] != starts[1]:
                    return (splitting.RIGHT[starts.index(evidence.views[i].starts)],)
        return splitting.RIGHT

    def _can_be(self, mistake: Mistake, recipe: Recipe) -> bool:
        """Whether what the kernel did allows this mistake, made in this way."""
        evidence = self.evidence
        masked = (recipe.v_mask, recipe.max_mask, recipe.exp_mask) != ("clean", "low", "low")
        if masked and self._only_without_keys and not mistake.without_keys:
            return False
        if mistake.does and not evidence.does(mistake.does):
            return False
        if recipe.method == "passes" and evidence.alpha_formed and not self.problems[0].splits:
            return False
        return not (
            mistake.overflows in ("row", "tile")
            and evidence.overflow is not None
            and evidence.overflow[0] == "division"
        )

    @cached_property
    def _only_without_keys(self) -> bool:
        return not any(self._with_keys(i).any() for i in self.evidence.failing)

    def _may_agree(self, i: int, width: int, recipe: Recipe) -> bool:
        """Whether one wrong row of case i alone comes out as with this recipe: quick to know where
        rows do not mix."""
        if recipe.mixes_rows:
            return True
        row = self._telling_row(i)
        predicted, underflowed = _predicted_row(
            self.stage, self.answers[i].result.case, row, self.evidence.width(i, width), recipe
        )
        got = self.answers[i].rows[row : row + 1]
        return alike(got, predicted, underflowed & ~got.any(axis=1), self.agrees)

    def _telling_row(self, i: int) -> int:
        """A wrong row of case i that has keys and finite numbers, if there is one."""
        if i not in self._rows:
            wrong = self._with_keys(i)
            finite = wrong & np.isfinite(self.answers[i].rows).all(axis=1)
            self._rows[i] = int(np.argmax(finite if finite.any() else wrong))
        return self._rows[i]

    def _says_much(self, i: int) -> bool:
        """Whether a failing case has wrong numbers; in a batch, NaN is what many mistakes give."""
        if self.problems[i].lengths is None:
            return True
        rows = self.answers[i].rows
        return bool(
            (np.isfinite(rows).all(axis=1) & _off(rows, self.answers[i].expected_rows, 1e-5)).any()
        )

    def _agrees(self, i: int, width: int, recipe: Recipe) -> bool:
        problem, answer = self.problems[i], self.answers[i]
        predicted, underflowed = _predicted(
            self.stage, answer.result.case, self.evidence.width(i, width), recipe
        )
        # A row without keys that is right, or one whose l is 0 that is 0 and not 0 / 0, is the
        # kernel's own affair.
        settled = ((problem.row_lengths == 0) | underflowed) & ~answer.rows.any(axis=1)
        return alike(answer.rows, predicted, settled, self.agrees)

    # -- what the kernel did -----------------------------------------------------------------------
    def _support(self, mistake: Mistake, recipe: Recipe, width: int) -> float:
        """How well what a mistake does, and its own trace, fit what the kernel did."""
        evidence = self.evidence
        first = evidence.first
        signs: list[bool] = []
        if evidence.instructions(first):
            signs += (
                []
                if mistake.alpha_formed is None
                else [mistake.alpha_formed == evidence.alpha_formed]
            )
            signs += [] if mistake.divides is None else [mistake.divides == evidence.divides]
            signs += [True] if mistake.does else []
        if mistake.states_right is not None and evidence.observed(first) is not None:
            signs.append(mistake.states_right == (evidence.divergence(first) is None))
        if mistake.overflows is not None and evidence.overflow is not None:
            signs.append(mistake.overflows == evidence.overflow[0])
        score = sum(0.125 if sign else -0.125 for sign in signs)
        observed, problem, width = (
            evidence.observed(first),
            self.problems[first],
            evidence.width(first, width),
        )
        if (
            problem.splits
            or observed is None
            or observed.width != width
            or not problem.tiles(width)
        ):
            return score
        states = cook(problem, width, recipe).states
        if len(states) != observed.tiles or len(observed.heads) != problem.n_q_heads:
            return score
        return score + 0.375 * _same_states(observed, states, problem.row_lengths > 0)


def _off(rows: NDArray[Any], expected: NDArray[np.float64], allowed: float) -> NDArray[np.bool_]:
    """Which rows are wrong, (rows,)."""
    with np.errstate(all="ignore"):
        wrong: NDArray[np.bool_] = ~(
            np.abs(rows - expected).max(axis=1) <= allowed * np.abs(expected).max(axis=1)
        )
    return wrong


def _same_states(
    observed: Observed, states: list[dict[str, Any]], heads: NDArray[np.bool_]
) -> float:
    """The share of m, l and acc of these heads that a recipe's trace reproduces, as far as the
    kernel names them."""
    known = [name for name in ("m", "l", "acc") if getattr(observed, name) is not None]
    good = 0.0
    for name in known:
        got = getattr(observed, name) * (observed.unit if name == "m" else 1.0)
        rows = [
            np.asarray(state[name], np.float64).reshape(got.shape[1:])[heads] for state in states
        ]
        got = got[:, heads]
        same = []
        for t, want in enumerate(rows):
            if observed.has(name, t):
                both = np.isfinite(got[t]) & np.isfinite(want)
                kind = np.array_equal(np.isnan(got[t]), np.isnan(want)) and np.array_equal(
                    np.isinf(got[t]), np.isinf(want)
                )
                near = not both.any() or np.abs(got[t][both] - want[both]).max() <= 2e-3 * max(
                    np.abs(want[both]).max(), 1e-6
                )
                same.append(kind and bool(near))
        good += float(np.mean(same)) if same else 0.0
    return good / len(known) if known else 0.0
