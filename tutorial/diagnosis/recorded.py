"""What a kernel's instructions wrote, compared with what the twin of a mistake keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nkisim.machine import narrow

from ..mistakes.attention import ATTENTION
from ..reference import edits, evaluation, twins
from ..running.executed import is_exp
from ..trace.states import named_state
from .candidate import Match, same_kind
from .evidence import Evidence, breaks
from .trial import Tiling, Trial

TILE_ALONE = edits.ways(
    "{l = l * alpha => l = p.sum(axis=1, keepdims=True) & acc = acc * alpha => acc = p @ v_tile.T"
    "|l = l + => l = p.sum(axis=1, keepdims=True) & acc = acc + => acc = p @ v_tile.T"
    "|ls[y] = w.sum(axis=1, keepdims=True) & accs[z] = w @ values.T}"
)
"""What each tile adds, in a text of one pass and in one of several."""
MOST = 0.75  # of the maxima of a twin, which its kernel must have kept
DIGITLESS = 1e-37
RUNS = 16  # of texts that are kept: the right one and what a tile adds are those of many mistakes
FEWEST = 0.2  # of its weights: some are alike by chance, and some styles scale them in the end


class Recorded:
    """What the instructions of a kernel wrote, as sorted lists of numbers."""

    def __init__(self, evidence: Evidence, trial: Trial | None) -> None:
        self.evidence = evidence
        self.trial = trial
        self.values: dict[bool, NDArray[np.float64]] = {}
        self._run = lru_cache(maxsize=RUNS)(self._run_on)
        self._written_to: dict[str, list[list[NDArray[np.float64]]]] = {}
        if self.trial is not None:
            self._sort(self.trial)

    def _sort(self, trial: Trial) -> None:
        """All numbers, and those of results with one value per row: m, l and alpha are such."""
        few = 2 * trial.problem.n_q_heads
        kept = [np.unique(x) for x in trial.result.run.results if x.size <= 1 << 14]
        for scalar in (True, False):
            some = [x.astype(np.float64) for x in kept if not scalar or len(x) <= few]
            joined = np.unique(np.concatenate([np.zeros(2), *some]))
            self.values[scalar] = joined[np.isfinite(joined)]

    def support(self, match: Match) -> float:
        """The share of what the twin keeps tile by tile that some instruction of the kernel wrote,
        less the share of what only the right twin keeps."""
        candidate = match.candidate
        ran, right = (self._ran(text, match) for text in (candidate.text, candidate.right))
        alone = self._ran(_tile_alone(candidate.right), match)
        if self.trial is None or ran is None or right is None or alone is None:
            return 0.0
        # sums of splits may be kept in many ways, divided or as one number with m
        splits = self.trial.problem.splits
        told_by = [name for name in ran.kept if name in ("m", "alpha", "top") or not splits]
        told = [
            _either(
                self._share(name, _but(ran, name, alone)), self._share(name, _numbers(ran, name))
            )
            for name in told_by
        ]
        told += [self._as_finite(name, ran) for name in ("l", "acc")]
        told += [] if splits else [self._share("p", _numbers(ran, "p"))]
        told += [self._own_m(ran)] if splits else []
        found = self.evidence.overflow
        # a merge has factors besides, and NaN in the padding comes before any overflow
        made = None if splits or not self.trial.plain else _overflow(ran)
        if found is not None and made is not None:
            told.append(float(found[0] == made))
        against = [self._share(name, _but(right, name, alone, ran)) for name in ("l", "acc")]
        return _mean(told, 0.5) - _mean(against, 0.0)

    def _own_m(self, ran: evaluation.Ran) -> float | None:
        """The share of a twin's maxima that are in the tensor which the kernel calls m."""
        if self.trial is None or self.trial.result.run is None:
            return None
        written = _joined([x for own in self._written("m") for x in own])
        kept = _numbers(ran, "m")
        kept = kept[np.abs(kept) < 1e30]
        if not written.size or not kept.size:
            return None
        return float(_among(kept, np.unique(written)).mean())

    def may_be(self, match: Match) -> bool:
        """Whether the m and the first l that the kernel names can be those of a mistake; of a
        kernel that names no m, whether it computes the mistake's maxima at all."""
        ran, run = self._ran(match.candidate.text, match), self.trial and self.trial.result.run
        if ran is None or not run:
            return True
        plain = self.trial is None or self.trial.plain
        if plain and not (self._may_be_p(ran) and self._may_be_alpha(ran)):
            return False
        acc = _joined([x for own in self._written("acc") for x in own])
        if acc.any() and "acc" in ran.kept and not _numbers(ran, "acc").any():
            return False
        if not self._named_m(ran):
            return False
        if plain and not self._holds(ran, "top"):
            return False
        online = "alpha" in ran.kept
        if not self._written("m") and online and plain and not self._holds(ran, "m"):
            return False
        if match.candidate.mistake not in ATTENTION:
            return True  # it is about lengths, splits or blocks, which l may hold in many ways
        written = self._written("l")
        kept = [np.ravel(x) for x in ran.kept.get("l", [np.zeros(0)])]
        numbers = sum(x.size for own in written for x in own)
        # a kernel that keeps all scores writes l once, and perhaps 1 / l
        at_once = self.trial is not None and numbers <= 2 * self.trial.problem.n_q_heads
        # a kernel that loads all keys at once may update l several times for them
        sums = [x for own in written for x in (*own[:4], *(x for x in own[-1:] if _finite(x)))]
        sums = [x for x in sums if x.size == kept[0].size and x.any()]
        digits = 1e-4 if self.evidence.stage.tolerance is None else 2e-2
        near = (
            np.allclose(one, x, rtol=digits, equal_nan=True)
            for x in sums
            for one in (kept if at_once else kept[:1])
        )
        return not sums or any(near)

    def has_m(self, match: Match) -> bool:
        """Whether the m that the kernel names, if it does, can be that of a mistake."""
        ran, run = self._ran(match.candidate.text, match), self.trial and self.trial.result.run
        return ran is None or not run or self._named_m(ran)

    def _named_m(self, ran: evaluation.Ran) -> bool:
        written = self._written("m")
        made, last = (_joined([x for own in written for x in own[-n:]]) for n in (0, 1))
        online = "alpha" in ran.kept
        twin = _numbers(ran, "m" if online or "top" not in ran.kept else "top")
        return not made.size or self._may_be_m(twin, made, last, online)

    @cached_property
    def _exps(self) -> list[NDArray[Any]]:
        """What the instructions wrote that take exp of something."""
        assert self.trial is not None
        run = self.trial.result.run
        made = zip(self.trial.instructions, run.results, strict=True)
        return [value for one, value in made if is_exp(one)]

    @cached_property
    def _bursts(self) -> bool:
        """Whether one of them gives infinity."""
        return any(bool((x == np.inf).any()) for x in self._exps)

    @cached_property
    def _breaks_in(self) -> float:
        """How many elements the first result on chip with an infinity or a NaN has."""
        assert self.trial is not None
        run = self.trial.result.run
        made = zip(self.trial.instructions, run.results, strict=True)
        broken = (x.size for one, x in made if breaks(x) and one.dst[0].space != "hbm")
        return next(broken, math.inf)

    def _may_be_alpha(self, ran: evaluation.Ran) -> bool:
        """Whether the kernel computes a twin's alpha where it is wrong (where it is right, alpha
        may only say that m started low), and no factor of a row overflows in place of the twin's
        p."""
        assert self.trial is not None
        if self.trial.problem.splits:
            return True  # the tiles of a split are not always known, and a merge has factors too
        alphas = _numbers(ran, "alpha")
        share = self._share("alpha", alphas) if np.isfinite(alphas).any() else None
        if share is not None and share < MOST and self.trial.wrong:
            return False
        return self._breaks_in > self.trial.problem.n_q_heads or _overflow(ran) != "tile"

    def _may_be_p(self, ran: evaluation.Ran) -> bool:
        """Whether exp overflows in the kernel where it does in a twin, and gives some of the twin's
        weights. A merge has factors besides."""
        assert self.trial is not None
        splits = self.trial.problem.splits
        if bool(self._exps) != bool(ran.kept.get("p")) and not splits:
            return False  # one of them visits no tile
        if self._exps and not splits:
            made = [_numbers(ran, name) for name in ("p", "l", "acc", "alpha")]
            if all(map(_finite, made)) if self._bursts else (made[0] == np.inf).any():
                return False
        share = self._share("p", _numbers(ran, "p"))
        return share is None or share >= FEWEST

    def _may_be_m(
        self,
        twin: NDArray[np.float64],
        made: NDArray[np.float64],
        last: NDArray[np.float64],
        online: bool,
    ) -> bool:
        """Whether a kernel whose m holds these numbers, and some `last`, can hold a twin's maxima:
        as they are, unscaled, negated or as powers of two. Several passes may take their max in
        other parts, and the twin's is the last one then."""
        if not twin.size:
            return True  # of a merge alone
        kept, shown = _usual(twin), _usual(made)
        if not kept.size:  # the twin's m never leaves its start, or is lost to NaN
            same_side = (twin > 0).any() == (made > 0).any()
            return bool(np.isnan(twin).any() or (not shown.any() and same_side))
        if len(shown) == 1 == len(kept):
            # both stay at their starts: any number, but 0 is not another
            return bool(kept.any() == shown.any())
        beyond = np.isnan(made).any() or (0 in shown and 0 not in kept)
        if beyond:
            return True  # it read what the twin did not
        if not online:
            return not _usual(last).size or self._most(kept, _usual(last))
        if not shown.any():
            return len(made) == len(last)  # filled once, and never used
        splits = self.trial is not None and self.trial.problem.splits
        # a split without keys holds its start
        return self._most(kept, shown, None if splits else _usual(last))

    def _holds(self, ran: evaluation.Ran, name: str) -> bool:
        """Whether some instruction wrote the twin's maxima, its m or those of a merge, as far as
        these are numbers; and where it wrote some of the twin's sums, most of them."""
        kept = np.unique(_numbers(ran, name))
        kept = kept[np.abs(kept) < -evaluation.LOWEST] if name == "top" else _usual(kept)
        if not kept.any():
            return True
        if not self._most(kept, self.values[True]):
            return False
        # the last sum is alike in many a style
        sums = _usual(_joined([np.ravel(x) for x in ran.kept.get("l", [])[:-1]]))
        found = _among(sums[sums != 0], self.values[True]) if name == "m" else np.zeros(0)
        return not found.any() or bool(found.mean() >= MOST)  # one sum may be alike by chance

    def _most(
        self,
        kept: NDArray[np.float64],
        shown: NDArray[np.float64],
        last: NDArray[np.float64] | None = None,
    ) -> bool:
        """Whether most of a twin's maxima are among sorted numbers, in one of the units of m, and
        those that a kernel kept last are among the twin's."""
        scale = self.trial.problem.scale if self.trial is not None else 1.0
        own = np.zeros(0) if last is None else last
        for unit in (1.0, scale or 1.0, np.log(2), 1 / np.log(2)):
            for turned in (kept / unit, -kept / unit):
                if _among(turned, shown).mean() >= MOST:
                    return bool(_among(own, np.sort(turned)).all())
        return False

    def _as_finite(self, name: str, ran: evaluation.Ran) -> float | None:
        """Whether infinities or NaN are in the kernel's quantity as in the twin's; None where
        neither has any, or the kernel does not name it."""
        finite = bool(np.isfinite(_numbers(ran, name)).all())
        if self.trial is None or self.trial.result.run is None:
            return None
        written = [_finite(x) for own in self._written(name) for x in own]
        if not written or finite == all(written) is True:
            return None
        return float(finite == all(written))

    def _ran(self, text: str, match: Match) -> evaluation.Ran | None:
        """A text, run on the trial whose instructions were recorded."""
        if self.trial is None:
            return None
        return self._run(text, same_kind(self.trial, match.tiling), match.candidate.in_turn)

    def _run_on(self, text: str, tiling: Tiling, in_turn: bool) -> evaluation.Ran | None:
        given = self.trial and self.trial.names(tiling)
        if not given:
            return None
        return evaluation.run(text, twins.one_head_each(given) if in_turn else given)

    def _written(self, quantity: str) -> list[list[NDArray[np.float64]]]:
        """All that the run wrote to each tensor which means m, l or acc, in order."""
        if quantity not in self._written_to:
            assert self.trial is not None
            run = self.trial.result.run
            self._written_to[quantity] = [
                [np.ravel(write.value).astype(np.float64) for write in run.writes(own)]
                for own in named_state(run.names()).get(quantity, [])
            ]
        return self._written_to[quantity]

    def _share(self, name: str, numbers: NDArray[np.float64]) -> float | None:
        """How many of the numbers are among those written; None where they are 0, 1 or not finite,
        which says nothing."""
        if name == "alpha" and numbers.size and np.isnan(numbers).all():
            return 0.0  # a twin without alpha
        numbers = numbers[np.isfinite(numbers) & (numbers != 0) & (numbers != 1)]
        if name == "m" and len(numbers) and (np.abs(numbers) > 1e30).all():
            return 0.5  # a max that never leaves its start
        numbers = numbers[np.abs(numbers) < 1e30]
        if not numbers.size or (name == "l" and numbers.min() == numbers.max()):
            return None  # one number may be that of a sequence which a kernel does not visit
        written = self.values[name not in ("acc", "p")]
        signs = (1, -1) if name == "m" else (1,)  # a kernel may keep -m, to add it
        if name == "p" and self.evidence.stage.tolerance is not None:
            numbers = narrow.rounded_to_bfloat16(numbers.astype(np.float32)).astype(np.float64)
        return max(float(_among(sign * numbers, written).mean()) for sign in signs)


def _finite(numbers: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(numbers).all())


def _usual(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which numbers there are, without infinities, NaN, what stands for infinity, and what is so
    near to 0 that it has few digits."""
    usual = np.isfinite(numbers) & (np.abs(numbers) < 1e30) & (np.abs(numbers) >= DIGITLESS)
    return np.unique(numbers[usual | (numbers == 0)])


def _either(share: float | None, other: float | None) -> float | None:
    """The first of two shares that says something."""
    return other if share is None else share


def _mean(shares: Sequence[float | None], default: float) -> float:
    """The mean of the shares that say something; the default where none does."""
    told = [share for share in shares if share is not None]
    return float(np.mean(told)) if told else default


@cache
def _tile_alone(text: str) -> str:
    """A text in which l and acc are what the tile alone adds."""
    ways = (edits.edited(text, way) for way in TILE_ALONE)
    return next((made for made in ways if made is not None), text)  # else a merge of states


def _but(ran: evaluation.Ran, name: str, *others: evaluation.Ran) -> NDArray[np.float64]:
    """What a twin kept of a quantity; of l and acc without what the others kept, too."""
    own = _numbers(ran, name)
    if name not in ("l", "acc"):
        return own
    for other in others:
        kept = _numbers(other, name)
        kept = np.unique(np.concatenate([np.zeros(2), kept[np.isfinite(kept)]]))
        own = np.where(_among(own, kept), np.nan, own)
    return own


def _among(numbers: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the numbers are among sorted values, up to rounding."""
    values = np.concatenate([values, values[-1:]])
    place = np.clip(np.searchsorted(values, numbers), 1, len(values) - 1)
    with np.errstate(all="ignore"):
        near = np.minimum(np.abs(values[place] - numbers), np.abs(values[place - 1] - numbers))
        return np.asarray(near <= 1e-5 * np.abs(numbers))


def _numbers(ran: evaluation.Ran, name: str) -> NDArray[np.float64]:
    """All that a twin kept of a quantity, in order."""
    return _joined([np.asarray(x, np.float64).reshape(-1) for x in ran.kept.get(name, [])])


def _joined(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([*parts, np.zeros(0)])


def _overflow(ran: evaluation.Ran) -> str | None:
    """Where a twin makes its first infinity or NaN: in a factor of a row (of l or acc alone), in p,
    which is in both, or by the division; None where there is none."""
    if np.isfinite(ran.o).all():
        return None
    alpha, l, acc = (np.isfinite(_numbers(ran, name)).all() for name in ("alpha", "l", "acc"))
    if l and acc:
        return "division"
    return "tile" if alpha and not l and not acc else "row"
