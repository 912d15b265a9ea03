"""Which known mistake answers like a kernel: the twin with its lines, run on the inputs that the
kernel was run on."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from ..mistakes import known
from ..reference import edits, evaluation, slips, twins
from ..reference.mistake import Mistake
from ..running.executed import is_exp
from ..trace import reads
from .candidate import Candidate, Match, same_kind
from .evidence import FAR_BELOW, Evidence
from .recorded import Recorded
from .trial import LANES, Misfit, Tiling, Trial, problem_of
from .trial import trial as tried_on

AS_GOOD = 0.05  # a share of what was recorded that is less by so little is as good
_LEFT = re.compile(r"\bleft\(\"\w+\", None")  # what the head before left there
BEGINS = 15  # to begin with a candidate takes as long as so many updates of a state
RIGHT = 8  # so many times as seldom does a candidate fail where the kernel is right
SAME_FIT = 3.0  # a misfit that many times the best one is no longer as good


def methods(evidence: Evidence) -> list[tuple[str, ...]]:
    """The texts to look at, and those to look at after them: a stage's own method comes first, with
    the states of all heads at once where a kernel keeps them so."""
    problem = evidence.trials[0].problem
    texts = twins.texts(problem, "k_blocks" in evidence.trials[0].case.args)
    if problem.splits:
        return [texts, twins.MERGES]
    passes = evidence.stage.number < 3 and not evidence.alpha_formed
    own = [twins.PASSES if passes else texts[0]]
    own += [twins.STATES_IN_TURN] if at_once(evidence) else []
    others = tuple(text for text in texts if text not in own)
    return [tuple(own), others] if others else [tuple(own)]


def candidates(evidence: Evidence, texts: Sequence[str]) -> Iterator[Candidate]:
    """Every way of every mistake that can be made with these problems, in each of the texts that it
    changes."""
    problem = evidence.trials[0].problem
    several = any(trial.problem.heads_a_part > 1 for trial in evidence.trials)
    tiled = any(trial.problem.n > LANES for trial in evidence.trials)
    one_by_one = not at_once(evidence)
    tried: set[tuple[str, bool]] = set()
    for mistake in known(evidence.stage, problem):
        if ("heads" in mistake.flags and not several) or ("tiles" in mistake.flags and not tiled):
            continue
        for text in texts:
            for way in mistake.ways:
                turns = (False, True) if "in turn" in mistake.flags else (False,)
                for made, in_turn in product(_filled(edits.edited(text, way), evidence), turns):
                    if (made + mistake.key, in_turn) not in tried and (
                        one_by_one or not _LEFT.search(made)
                    ):
                        tried.add((made + mistake.key, in_turn))
                        yield Candidate(mistake, made, text, in_turn)


@lru_cache(maxsize=1)
def at_once(evidence: Evidence) -> bool:
    """Whether a kernel keeps the states of several KV heads at the same time."""
    return any(map(_heads_at_once, evidence.trials))


def _heads_at_once(trial: Trial) -> bool:
    """Whether a kernel goes on with one head after it has begun another: exp comes before the last
    of its loads of K, and these come back to a head."""
    if not reads.together(trial.loads):
        return False
    made = trial.instructions
    begun = next((i for i, one in enumerate(made) if is_exp(one)), len(made))
    return any(s.name == trial.k_name for one in reversed(made[begun + 1 :]) for s in one.srcs)


def _filled(text: str | None, evidence: Evidence) -> Sequence[str]:
    """The texts that a text with FILL stands for: one for each number that the kernel may have put
    there."""
    if text is None or "FILL" not in text:
        return [] if text is None else [text]
    return [text.replace("FILL", f"float32({number!r})") for number in evidence.fills]


def recognised(evidence: Evidence) -> Match | None:
    """The mistake that answers like the kernel on every probe; None if there is no such one.

    One of the cases that the check ran may disagree, where all inputs are finite: their scores can
    be so large that fp32 rounds two ways apart.
    """
    order = _first_and_others(evidence)
    if order is None:
        return None
    first, others = order
    for i, texts in enumerate(methods(evidence)):
        made = list(candidates(evidence, texts))
        found: list[Match] = []
        # the loads of a paged cache leave open several tilings; of other methods one is enough
        one = i > 0 and "k_blocks" in first.case.args
        for tiling in itertools.islice(first.tilings(), 1 if one else None):
            matches = _matches(_quickest_first(evidence, first, others, tiling), made, tiling)
            possible = _possible(evidence, matches)
            found += possible
            best = _best(evidence, found) if possible else None
            # the loads of a paged cache do not say which keys they bring: another tiling may fit,
            # and scores kept on chip in one text of the method are those of another
            paged = "k_blocks" in first.case.args
            one_way = evidence.recorded is None or evidence.alpha_formed
            if best or (not paged and (possible or (matches and one_way))):
                return best
    return None


def slipped(evidence: Evidence) -> Match | None:
    """The small change of the stage's own method that answers like the kernel; None if there is no
    such one. It says no more than that, and is looked for where no known mistake fits and wrong
    rows have numbers in them."""
    order = _first_and_others(evidence)
    if order is None or not evidence.told_by_numbers:
        return None
    first, others = order
    tiling = next(first.tilings(), None)
    if tiling is None:
        return None
    tried = _quickest_first(evidence, first, others, tiling)
    for texts in _to_change(evidence):
        if matches := _matches(tried, _slips(texts), tiling):
            return _best(evidence, matches)
    return None


def _to_change(evidence: Evidence) -> Iterator[Sequence[str]]:
    """The texts whose small changes are looked for, those that are quick to try before others."""
    texts = methods(evidence)[0]
    if evidence.trials[0].problem.splits:
        yield twins.USUAL_MERGES
        seen, place = evidence.observed(evidence.first), evidence.divergence(evidence.first)
        if seen is not None and seen.acc is not None and place is None:
            return  # the splits leave what they must
    more = {twins.ONE_PASS: twins.AVERAGES, twins.PASSES: twins.ONE_PASS}
    yield (*texts, *(more[text] for text in texts if text in more))


def _slips(texts: Sequence[str]) -> Iterator[Candidate]:
    """The small changes of the texts; of what they share, those of the first."""
    told: set[str] = set()
    for text in texts:
        for slip in slips.slips(text):
            if slip.told not in told:
                yield Candidate(Mistake(slip.told, slip.told, ()), slip.text, text, False)
        told |= {slip.told for slip in slips.slips(text)}


def _first_and_others(evidence: Evidence) -> tuple[Trial, list[Trial]] | None:
    """The trial that tells the most candidates from the kernel at the least cost, and the others;
    None where no trial says anything."""
    trials = evidence.trials
    clear = [t for t in trials if t.says_much] or [t for t in trials if t.wrong]
    if not clear:
        return None
    first = min(clear, key=lambda t: (_far_below(t), t.problem.n * t.problem.n_q_heads))
    return first, [t for t in dict.fromkeys((*clear, *trials)) if t is not first]


class _Asked(NamedTuple):
    """A trial with its tiling. A candidate that does not fit is not the one if that `decides`; it
    `may_differ` where scores far below zero may show another mistake besides."""

    trial: Trial
    tiling: Tiling
    decides: bool
    may_differ: bool


def _quickest_first(
    evidence: Evidence, first: Trial, others: Sequence[Trial], tiling: Tiling
) -> list[_Asked]:
    """The trials with their tilings, those that turn down the most candidates for their time first:
    wrong ones nearly all, others a few. Those that decide nothing come last."""
    tried = [(first, tiling), *((trial, same_kind(trial, tiling)) for trial in others)]
    says_much, asked = first.says_much, []
    for trial, own in tried:
        # where the mistake shows in numbers, a max that starts too high may show there as well
        may_differ = trial is not first and says_much and _far_below(trial)
        decides = trial is first or trial in evidence.probed or not trial.plain
        asked.append(_Asked(trial, own, decides and not may_differ, may_differ))

    def place(one: _Asked) -> tuple[bool, int]:
        time = BEGINS + one.trial.work(one.tiling)
        return one.may_differ, time * (1 if one.trial.shown(False) else RIGHT)

    return sorted(asked, key=place)


def _matches(tried: Sequence[_Asked], made: Iterable[Candidate], tiling: Tiling) -> list[Match]:
    """The candidates that fit, with their misfits."""
    fits = ((candidate, _fit(tried, candidate)) for candidate in made)
    return [Match(candidate, fit, tiling) for candidate, fit in fits if fit is not None]


def _fit(tried: Sequence[_Asked], candidate: Candidate) -> float | None:
    """The mean misfit over the trials; None if a probe does not fit, or two of the other cases, or
    if no wrong row is explained."""
    no_keys = "no keys" in candidate.mistake.flags
    if not any(one.trial.shown(no_keys) for one in tried):
        return None
    # what other kernels were compared with is there already, and most candidates fail on any
    for trial, tiling, decides, _ in tried if evaluation.is_known(candidate.text) else ():
        known = decides and trial.is_known(candidate.text, tiling, candidate.in_turn)
        if known and _misfit(trial, candidate, tiling) is None:
            return None
    total: list[Misfit] = []
    missed = 0
    for trial, tiling, decides, may_differ in tried:
        one = _misfit(trial, candidate, tiling)
        if one is not None:
            total.append(one)
        elif not may_differ:
            missed += 1
            if decides or missed > 1:
                return None
    explains = any(one.explains for one in total)
    return float(np.mean([one.parts for one in total])) if explains else None


def _far_below(trial: Trial) -> bool:
    """Whether the scores of a trial are far below zero."""
    return trial.case.family in FAR_BELOW


def _misfit(trial: Trial, candidate: Candidate, tiling: Tiling) -> Misfit | None:
    no_keys = "no keys" in candidate.mistake.flags
    return trial.misfit(candidate.text, tiling, candidate.in_turn, no_keys)


def _possible(evidence: Evidence, matches: Sequence[Match]) -> Sequence[Match]:
    """The matches that nothing which was recorded speaks against."""
    if not evidence.reads_all_keys:
        matches = [m for m in matches if "all keys" not in m.candidate.mistake.flags]
    if any("other blocks" in m.candidate.mistake.flags for m in matches) and evidence.loads_all:
        matches = [m for m in matches if "other blocks" not in m.candidate.mistake.flags]
    matches = [m for m in matches if _fits_the_longest(evidence, m)]
    if evidence.carries_m_on:
        matches = [m for m in matches if "starts again" not in m.candidate.mistake.flags]
    if matches and evidence.silent:
        matches = [match for match in matches if all(one.may_be(match) for one in _seen(evidence))]
    return matches


def _fits_the_longest(evidence: Evidence, match: Match) -> bool:
    """Whether a mistake that says where a kernel ends answers like it on the stage's longest case
    as well."""
    if "long" not in match.candidate.mistake.flags:
        return True
    longest = _of_many_tiles(evidence)
    if longest is None:
        return True
    return _misfit(longest, match.candidate, same_kind(longest, match.tiling)) is not None


@lru_cache(maxsize=1)
def _of_many_tiles(evidence: Evidence) -> Trial | None:
    """The kernel run on the longest case of its stage."""
    cases = evidence.stage.cases()
    return tried_on(
        evidence.stage, evidence.kernel, max(cases, key=lambda c: problem_of(evidence.stage, c).n)
    )


def _best(evidence: Evidence, matches: Sequence[Match]) -> Match | None:
    """Of the matches that fit as well as the best one, the one that what was recorded supports;
    else the earliest."""
    if evidence.recorded is None:
        matches = [m for m in matches if "recorded" not in m.candidate.mistake.flags]
    fewest = min((match.misfit for match in matches), default=0.0)
    good = [m for m in matches if m.misfit <= SAME_FIT * fewest + 1e-3]
    recorded = evidence.recorded is not None
    if not recorded and not evidence.any_number:
        return None  # so answers many a mistake, known or not
    if len({match.candidate.mistake.key for match in good}) < 2:
        return next(iter(good), None)
    best = _supported(evidence, good, evidence.recorded)
    if evidence.told_by_numbers or (recorded and evidence.any_number):
        return best[0]
    if not recorded:
        best = [match for match in best if _fits_all(evidence, match)]
    # zeros, infinities and NaN in the same places: nothing tells which of several mistakes it is
    shown = [match for match in best if "shown" in match.candidate.mistake.flags]
    best = shown or best
    if recorded and _kinds(best) > 1:
        best = _supported(evidence, best, _longest(evidence))
    return best[0] if _kinds(best) == 1 else None


def _kinds(matches: Sequence[Match]) -> int:
    return len({match.candidate.mistake.kind for match in matches})


def _longest(evidence: Evidence) -> Trial | None:
    """The wrong trial with the most keys: more of what a kernel carries on shows there."""
    longest = max((t for t in evidence.trials if t.wrong), key=lambda t: t.problem.n)
    return tried_on(evidence.stage, evidence.kernel, longest.case, keep_results=True)


@lru_cache(maxsize=1)
def _seen(evidence: Evidence) -> list[Recorded]:
    """What was recorded where the kernel is wrong, and where it is right."""
    return [_recorded(evidence, one) for one in (evidence.recorded, _right_one(evidence))]


@lru_cache(maxsize=4)
def _recorded(evidence: Evidence, trial: Trial | None) -> Recorded:
    """What was recorded of a trial, looked through once."""
    return Recorded(evidence, trial)


def _right_one(evidence: Evidence) -> Trial | None:
    """A trial that the kernel answers rightly, with what every instruction wrote: there its m may
    differ from that of a mistake that shows nowhere else."""
    right = [t for t in evidence.trials if not t.wrong and t.result.run is not None]
    if evidence.recorded is None or not right:
        return None
    best = min(right, key=lambda t: (_far_below(t), t.problem.n <= LANES, t.problem.n))
    return tried_on(evidence.stage, evidence.kernel, best.case, keep_results=True)


def _supported(evidence: Evidence, good: Sequence[Match], trial: Trial | None) -> list[Match]:
    """The matches that what was recorded of a trial supports most."""
    signs = [evidence.can_be(match.candidate.mistake) for match in good]
    recorded = _recorded(evidence, trial)
    scores = [
        -1.0 if sign is None or not recorded.has_m(match) else 0.2 * sign + recorded.support(match)
        for match, sign in zip(good, signs, strict=True)
    ]
    return [m for m, score in zip(good, scores, strict=True) if score >= max(scores) - AS_GOOD]


def _fits_all(evidence: Evidence, match: Match) -> bool:
    """Whether a candidate answers like the kernel on all cases of the check."""
    return all(
        _misfit(trial, match.candidate, same_kind(trial, match.tiling)) is not None
        for trial in evidence.checked
    )
