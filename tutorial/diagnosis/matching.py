"""Which known mistake answers like a kernel: the twin with its lines, run on the inputs that the
kernel was run on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..mistakes import known
from ..reference import twins
from ..reference.mistake import Mistake
from .evidence import Evidence
from .trial import Tiling, Trial

FAR_BELOW = ("probe: lower", "probe: lowest")
SAME_FIT = 3.0  # a misfit that many times the best one is no longer as good


@dataclass(frozen=True)
class Candidate:
    """A mistake, the twin's text with its lines, and whether the heads come in turn."""

    mistake: Mistake
    text: str
    edits: twins.Way
    in_turn: bool


@dataclass(frozen=True)
class Match:
    """A candidate that answers like the kernel, and by how much it does not."""

    candidate: Candidate
    misfit: float
    tiling: Tiling


def methods(evidence: Evidence) -> list[tuple[str, ...]]:
    """The texts to look at, and those to look at after them: a stage's own method comes first."""
    problem = evidence.trials[0].problem
    texts = twins.texts(problem, "k_blocks" in evidence.trials[0].case.args)
    if problem.splits:
        return [texts]
    own = twins.PASSES if evidence.stage.number < 3 else texts[0]
    others = tuple(text for text in texts if text != own)
    return [(own,), others] if others else [(own,)]


def candidates(evidence: Evidence, texts: Sequence[str]) -> Iterator[Candidate]:
    """Every way of every mistake that can be made with these problems, in each of the texts that it
    changes."""
    problem = evidence.trials[0].problem
    several = any(trial.problem.heads_a_part > 1 for trial in evidence.trials)
    tried: set[tuple[str, bool]] = set()
    for mistake in known(evidence.stage, problem):
        if "heads" in mistake.flags and not several:
            continue
        for text in texts:
            for way in mistake.ways:
                made = twins.edited(text, way)
                for in_turn in (False, True) if "in turn" in mistake.flags else (False,):
                    if made is not None and (made + mistake.key, in_turn) not in tried:
                        tried.add((made + mistake.key, in_turn))
                        yield Candidate(mistake, made, way, in_turn)


def recognised(evidence: Evidence) -> Match | None:
    """The mistake that answers like the kernel on every probe; None if there is no such one.

    One of the cases that the check ran may disagree: their scores can be so large that fp32 rounds
    two ways apart.
    """
    trials = evidence.trials
    clear = [t for t in trials if t.says_much] or [t for t in trials if t.wrong]
    if not clear:
        return None
    first = min(clear, key=lambda trial: trial.problem.n * trial.problem.n_q_heads)
    others = [t for t in clear[1:] if t is not first] + [t for t in trials if t not in clear]
    for texts in methods(evidence):
        made = list(candidates(evidence, texts))
        for tiling in first.tilings():
            matches = [
                Match(candidate, misfit, tiling)
                for candidate in made
                if (misfit := _fit(evidence, first, others, candidate, tiling)) is not None
            ]
            if matches:
                return _best(evidence, matches)
    return None


def _fit(
    evidence: Evidence,
    first: Trial,
    others: Sequence[Trial],
    candidate: Candidate,
    tiling: Tiling,
) -> float | None:
    """The mean misfit over the trials; None if a probe does not fit, or two of the other cases.

    Where the mistake shows in numbers, scores far below zero may show another one besides: a max
    that starts too high.
    """
    total, missed = [], 0
    for trial in (first, *others):
        one = _misfit(trial, candidate, tiling if trial is first else _same_kind(trial, tiling))
        if one is not None:
            total.append(one)
            continue
        if first.says_much and trial.case.family in FAR_BELOW:
            continue
        missed += 1
        if trial is first or trial in evidence.probed or missed > 1:
            return None
    return float(np.mean(total))


def _misfit(trial: Trial, candidate: Candidate, tiling: Tiling) -> float | None:
    no_keys = "no keys" in candidate.mistake.flags
    return trial.misfit(candidate.text, tiling, candidate.in_turn, no_keys)


def _same_kind(trial: Trial, tiling: Tiling) -> Tiling:
    """The tiling as this trial has it: its own reads, or tiles as wide where they fit."""
    if tiling.read and trial.names(tiling) is None:
        return next(trial.tilings(), tiling)
    if not tiling.read and trial.names(tiling) is None:
        return Tiling(trial.problem.n, rule=tiling.rule)
    return tiling


def _best(evidence: Evidence, matches: Sequence[Match]) -> Match | None:
    """Of the matches that fit as well as the best one, the one that what was recorded supports;
    else the earliest."""
    fewest = min(match.misfit for match in matches)
    good = [m for m in matches if m.misfit <= SAME_FIT * fewest + 1e-3]
    by_key = {match.candidate.mistake.key: match for match in reversed(good)}
    if len(by_key) == 1:
        return good[0]
    signs = [evidence.can_be(match.candidate.mistake) for match in good]
    recorded = Recorded(evidence)
    scores = [
        -1.0 if sign is None else 0.2 * sign + recorded.support(match)
        for match, sign in zip(good, signs, strict=True)
    ]
    ranked = np.round(scores, 2)
    best = {
        match.candidate.mistake.key
        for match, rank in zip(good, ranked, strict=True)
        if rank == ranked.max()
    }
    if len(best) > 1 and not any(np.isfinite(trial.got).any() for trial in evidence.trials):
        return None  # nothing but NaN, and nothing recorded that tells which of them it is
    return good[int(np.argmax(ranked))]


class Recorded:
    """What the instructions of a kernel wrote, as sorted lists of numbers."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.trial = evidence.recorded
        self.values: dict[bool, NDArray[np.float64]] = {}
        if self.trial is not None:
            self._sort(self.trial)

    def _sort(self, trial: Trial) -> None:
        """All numbers, and those of results with a value a row: m, l and alpha are such."""
        few = 2 * trial.problem.n_q_heads
        kept = [np.unique(x) for x in trial.result.run.results if x.size <= 1 << 14]
        for scalar in (True, False):
            some = [x.astype(np.float64) for x in kept if not scalar or len(x) <= few]
            joined = np.unique(np.concatenate([np.zeros(2), *some]))
            self.values[scalar] = joined[np.isfinite(joined)]

    def support(self, match: Match) -> float:
        """The share of what the twin keeps tile by tile that some instruction of the kernel
        wrote."""
        if self.trial is None:
            return 0.0
        given = self.trial.names(_same_kind(self.trial, match.tiling))
        candidate = match.candidate
        if given is None:
            return 0.0
        ran = twins.run(candidate.text, twins.one_head_each(given) if candidate.in_turn else given)
        if ran is None:
            return 0.0
        # sums of splits may be kept in many ways, divided or as one number with m
        splits = self.trial.problem.splits
        told_by = [name for name in ran.kept if name == "m" or not splits]
        shares = [self._share(name, ran.kept[name]) for name in told_by]
        told = [share for share in shares if share is not None]
        found = self.evidence.overflow
        made = None if self.trial.problem.splits else _overflow(ran)  # a merge has factors besides
        if found is not None and made is not None:
            told.append(float(found[0] == made))
        return float(np.mean(told)) if told else 0.5

    def _share(self, name: str, kept: Sequence[Any]) -> float | None:
        """How many of the numbers are among those written; None where they are 0, 1 or not finite,
        which says nothing."""
        numbers = np.concatenate([np.asarray(x, np.float64).reshape(-1) for x in kept])
        if name == "alpha" and np.isnan(numbers).all():
            return 0.0  # a twin without alpha
        numbers = numbers[np.isfinite(numbers) & (numbers != 0) & (numbers != 1)]
        if name == "m" and len(numbers) and (np.abs(numbers) > 1e30).all():
            return 0.5  # a max that never leaves its start
        numbers = numbers[np.abs(numbers) < 1e30]
        if not numbers.size:
            return None
        values = self.values[name != "acc"]
        place = np.clip(np.searchsorted(values, numbers), 1, len(values) - 1)
        near = np.minimum(np.abs(values[place] - numbers), np.abs(values[place - 1] - numbers))
        return float((near <= 1e-5 * np.abs(numbers)).mean())


def _overflow(ran: twins.Ran) -> str | None:
    """Where a twin makes its first infinity or NaN: in alpha, in p, or by the division; None where
    there is none."""
    if np.isfinite(ran.o).all():
        return None
    for name, what in (("alpha", "row"), ("l", "tile"), ("acc", "tile")):
        if not all(np.isfinite(x).all() for x in ran.kept.get(name, [])):
            return what
    return "division"
