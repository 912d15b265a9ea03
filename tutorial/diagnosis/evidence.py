"""What a wrong kernel did, beyond its outputs: its instructions, tiles and state, each looked at
only when asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.mistake import Mistake
from ..running import computed, precision, runner
from ..running.answer import Answer
from ..running.executed import executed, is_exp
from ..running.replays import Replays
from ..stage import Case, Stage
from ..trace import blocks, divergence
from ..trace.divergence import Divergence
from ..trace.states import NAMES, Observed, named_state, state_of, widths
from ..trace.updates import LOW
from .trial import Trial, of_result, problem_of, tells, trial

OFTEN, FILLS = 4, 4  # of equal numbers in a result; of such numbers that are tried
FILLED = 1 << 20  # what a tile is filled with counts as often, and so comes first
FAR_BELOW = ("probe: lower", "probe: lowest")  # fp32 rounds two ways apart there
FEW = 4  # failing cases that are looked at for what a kernel does alike in all


class Evidence:
    """The answers of one attention kernel and what its runs show. Cases are told by their place
    among the answers.

    `failing` are the wrong ones, those of several tiles first; `first` is the first of them.
    """

    def __init__(self, stage: Stage, kernel: Any, answers: Sequence[Answer]) -> None:
        self.stage = stage
        self.kernel = kernel
        self.answers = list(answers)
        self.problems = [problem_of(stage, answer.result.case) for answer in answers]
        self.views = list(self.problems)
        failing = [i for i, answer in enumerate(answers) if answer.wrong]
        # several tiles tell more than one, and long caches take long to look at
        self.failing = sorted(failing, key=lambda i: not 128 < self.problems[i].n <= 8192)
        self.first = self.failing[0]
        self._instructions: dict[int, list[Any]] = {}
        self._exps: dict[int, set[tuple[int, tuple[int, ...]]]] = {}
        self._states: dict[int, Observed | None] = {}
        self._shapes: dict[int, tuple[int, ...] | None] = {}

    def run(self, i: int, picks: bool = True) -> Any:
        """The run of case i, None where the simulator did not run it. A replay leaves no record:
        such a case runs when it is looked at, and so does one whose loads picked blocks by indices
        that were not kept, unless these `picks` are not asked for."""
        result = self.answers[i].result
        paged = "k_blocks" in result.case.args
        asked = paged and picks and result.run is not None
        if result.replayed or (asked and not result.run.traces):
            result = runner.run(self.kernel, result.case, self.stage, traces=paged)
            if result.problem is not None:
                return None
            self.answers[i] = replace(self.answers[i], result=result)
        return result.run

    def instructions(self, i: int) -> list[Any]:
        """What ran in case i; nothing where the simulator did not run it. Those of a replay are
        those of the case that its program was tried on."""
        if i not in self._instructions:
            run = self.answers[i].result.run
            self._instructions[i] = executed(run) if run is not None else []
        return self._instructions[i]

    @cached_property
    def smallest(self) -> list[int]:
        """The failing cases, those that are quick to look at first."""
        return sorted(self.failing, key=self._size)

    @property
    def ragged(self) -> bool:
        """Whether some keys do not count: there are lengths."""
        return self.problems[self.first].lengths is not None

    # -- the state ---------------------------------------------------------------------------------
    def observed(self, i: int) -> Observed | None:
        """The kernel's own state in case i, if it names one."""
        run = self.run(i) if self.named else None
        if run is None:
            return None
        if i not in self._states:
            self.views[i], self._states[i] = divergence.view(
                run,
                self.problems[i],
                self.stage.views(self.problems[i]),
                self.stage.states,
                lambda: self.instructions(i),
            )
        return self._states[i]

    @cached_property
    def named(self) -> set[str]:
        """Which of m, l and acc the kernel names, in whatever way it updates them."""
        run = self.run(self.first, picks=False)
        return set(() if run is None else named_state(run.names()))

    def divergence(self, i: int) -> Divergence | None:
        """Where the kernel's state first leaves the oracle's in case i, if that can be said."""
        found = self._first(i)
        return None if found is None or found.quantity in self.its_own else found

    def _first(self, i: int) -> Divergence | None:
        observed = self.observed(i)
        return (
            None
            if observed is None
            else divergence.first(observed, self.views[i], self.stage.states)
        )

    @cached_property
    def its_own(self) -> set[str]:
        """The quantities that the kernel keeps in its own way: they differ from the oracle's
        where its answers are right, on most such inputs that are looked at."""
        right = [i for i in range(len(self.answers)) if i not in self.failing]
        several = sorted(right, key=lambda i: (self.problems[i].n <= 128, self._size(i)))[:FEW]
        counts: Counter[str] = Counter()
        for done, i in enumerate(several):
            if 2 * (max(counts.values(), default=0) + len(several) - done) <= len(several):
                return set()  # none can be on most of them any more
            found = self._first(i)
            counts.update([] if found is None else [found.quantity])
        return {quantity for quantity, times in counts.items() if 2 * times > len(several)}

    @cached_property
    def clearest(self) -> int:
        """The case to report: the first failing one where the state shows where it went wrong, else
        the first."""
        return next((i for i in self.failing if self.divergence(i) is not None), self.first)

    # -- the trials --------------------------------------------------------------------------------
    @cached_property
    def trials(self) -> list[Trial]:
        """What the mistakes are compared on: the stage's probes, and failing cases that are quick
        to look at.

        Where the kernel answers every probe rightly, the cases that it was checked on must do.
        """
        asked = [case.family for case in self.stage.cases()]
        own = len(self.answers) == 1 and self.answers[0].result.case.family not in asked
        probes = () if own else self.stage.probes()
        odd = [case for case in probes if case.options.get("softmax_scale", 1) <= 0]
        answered = self._tried([case for case in probes if case not in odd])
        if not any(made.wrong for made in answered):
            answered += self._tried(odd)
        wrong = any(made.wrong for made in answered)
        self.probed = [t for t in answered if wrong or t.case.family not in FAR_BELOW]
        if wrong:
            # a paged kernel goes through its blocks as their size asks: all probes have the same
            paged = "k_blocks" in answered[0].case.args
            made = [*answered, *map(self._checked, [] if paged else self.smallest[:2])]
            others = [] if any(t.says_much for t in made) else map(self._checked, self.smallest[2:])
            return [*made, *islice((t for t in others if t.says_much), 1)]
        right = sorted(
            (i for i in range(len(self.answers)) if i not in self.failing), key=self._size
        )
        return [*map(self._checked, [*self.smallest[:3], *right[:2]]), *answered]

    @cached_property
    def checked(self) -> list[Trial]:
        """All cases that the kernel was checked on, as trials."""
        return [self._checked(i) for i in range(len(self.answers))]

    def _tried(self, cases: Sequence[Case]) -> list[Trial]:
        replays = Replays(self.kernel, self.stage, cases)  # numbers and shapes are all it takes
        made = [replays.run(case) for case in cases]
        return [of_result(self.stage, self.kernel, one) for one in made if one.problem is None]

    def _checked(self, i: int) -> Trial:
        return of_result(self.stage, self.kernel, self.answers[i].result)

    def off(self, i: int) -> NDArray[np.bool_]:
        """Which rows of case i are wrong."""
        return self._checked(i).off

    def _size(self, i: int) -> int:
        return self.problems[i].n * self.problems[i].n_q_heads

    @cached_property
    def recorded(self) -> Trial | None:
        """A trial that shows the mistake, with what every instruction wrote; None where nothing
        recorded it."""
        wrong = [t for t in self.trials if t.wrong] or self.trials
        shown = next((t for t in wrong if t.says_much), wrong[0])
        if shown.result.run is None:
            return None
        return trial(self.stage, self.kernel, shown.case, keep_results=True)

    @cached_property
    def fills(self) -> list[float]:
        """The negative numbers that the kernel fills tiles with, and those that its results hold
        again and again, the most frequent first: m starts there, or the scores of the padding are
        set to one of them."""
        shown, counts = self.recorded, Counter[float]()
        run = None if shown is None else shown.result.run
        if shown is None or run is None:
            return []
        for made, result in zip(shown.instructions, run.results, strict=True):
            filled = made.op == "memset"  # the start of m is one of them
            low = result[(result < -0.5) & (result > -1e8)]
            if low.size >= OFTEN or filled:  # of most results none is; to sort all takes long
                numbers, times = np.unique(low, return_counts=True)
                often = (times >= OFTEN) | filled
                times = times + FILLED * filled
                counts.update(
                    dict(zip(numbers[often].tolist(), times[often].tolist(), strict=True))
                )
        return [number for number, _ in counts.most_common(FILLS)]

    @cached_property
    def any_number(self) -> bool:
        """Whether there is a number in any output, and not only zeros, infinities and NaN."""
        return any(tells(trial.got).any() for trial in self.trials)

    @property
    def any_zero(self) -> bool:
        """Whether an element of a wrong row is 0."""
        return any((trial.got[trial.off] == 0).any() for trial in self.trials)

    @cached_property
    def told_by_numbers(self) -> bool:
        """Whether a wrong row has numbers in it, and not only zeros, infinities and NaN; a row
        without keys where no other is wrong."""
        no_keys = not any(trial.shown(False) for trial in self.trials)
        rows = (trial.got[trial.off & (trial.has_keys | no_keys)] for trial in self.trials)
        return any(tells(row).any() for row in rows)

    @cached_property
    def silent(self) -> bool:
        """Whether all that wrong rows hold is 0, infinity or NaN, so that many mistakes answer
        alike."""
        rows = (trial.got[trial.off & trial.has_keys] for trial in self.trials)
        return not any(tells(row).any() for row in rows)

    def can_be(self, mistake: Mistake) -> int | None:
        """How many signs there are of a mistake that its answers do not show; None if there is one
        against it. Without a record there are none of a division, and none against it."""
        flags = mistake.flags & {"alpha", "no division", "division", "subtraction"}
        if not flags:
            return 0
        if not self.instructions(self.first):
            return None if "alpha" in flags else 0
        found = self.overflow[0] if self.overflow is not None else ""
        signs = {
            "alpha": self.alpha_formed,
            "no division": not self.divides,
            "division": found == "division",
            "subtraction": found not in ("", "division"),
        }
        return len(flags) if all(signs[flag] for flag in flags) else None

    @cached_property
    def reads_all_keys(self) -> bool:
        """Whether every failing case that was looked at read all of K, as far as that is known."""
        for i in self.smallest[:FEW]:
            case = self.answers[i].result.case
            k = case.args.get("k")
            if k is None:
                continue
            run = self.run(i)
            name = runner.names_in(run, self.kernel, self.stage, case).get("k", "k")
            if run is not None and run.hbm_reads.get(name, 0) < k.nbytes:
                return False
        return True

    @cached_property
    def carries_m_on(self) -> bool:
        """Whether the kernel reads all of K, and has fewer fills of m than loads of tiles."""
        shown, run = self.recorded, self.recorded and self.recorded.result.run
        if shown is None or not run or not shown.loads or not self.reads_all_keys:
            return False
        made = zip(shown.instructions, run.results, strict=True)
        starts = [x for one, x in made if one.op == "memset" and (x < LOW).all()]
        return len(starts) < len(shown.loads)

    @cached_property
    def loads_all(self) -> bool:
        """Whether the first failing case, of a paged cache, loaded every key that counts."""
        run = self.run(self.first)
        return run is not None and blocks.missed(run, self.problems[self.first]) is None

    @cached_property
    def tiles(self) -> int:
        """How many tiles the case that is reported has."""
        found = widths(self.instructions(self.clearest), self.problems[self.clearest])
        return max(self.problems[self.clearest].n // found[0], 1) if found else 1

    # -- what it computes --------------------------------------------------------------------------
    @cached_property
    def alpha_formed(self) -> bool:
        """Whether the kernel takes exp of something with one element per row, as alpha has."""
        exps = [made for made in self.instructions(self.first) if is_exp(made)]
        # p, whose last tile may have one key
        large = {made.line for made in exps if not self._is_small(made, self.first)}
        return any(made.line not in large for made in exps)

    @cached_property
    def divides(self) -> bool:
        """Whether anything is divided on the way to what the kernel stores."""
        live: set[str] = set()
        for made in reversed(self.instructions(self.first)):
            stored = made.dst[0].space == "hbm"
            if stored or any(operand.name in live for operand in made.dst):
                if _divides(made):
                    return True
                live.update(operand.name for operand in made.srcs)
        return False

    @cached_property
    def overflow(self) -> tuple[str, Any] | None:
        """The instruction that made the first infinity or NaN, and whether it has one element per
        row ("row") or more ("tile"), or divides ("division"); None if there is none in the first
        failing case."""
        looked_at = [self.first] if self.problems[0].lengths is None else self.failing
        at = next((i for i in looked_at if self.is_plain(i)), None)
        if at is None:
            return None
        answer = self.answers[at]
        if answer.result.run is None or np.isfinite(answer.output).all():
            return None
        run = runner.run(self.kernel, answer.result.case, self.stage, keep_results=True).run
        exps: set[str] = set()  # 1 / exp is not a division by l, but another way to form alpha
        for made, value in zip(run.instructions, run.results, strict=True):
            (exps.add if is_exp(made) else exps.discard)(made.dst[0].name)
            if made.dst[0].space != "hbm" and breaks(value):
                divides = _divides(made)
                divides &= not made.srcs or made.srcs[0].name not in exps
                return "division" if divides else "row" if self._is_small(
                    made, at
                ) else "tile", made
        return None

    def is_plain(self, i: int) -> bool:
        """Whether there is an infinity or a NaN in the output of a case, and none in its inputs."""
        return self._checked(i).plain and not bool(np.isfinite(self.answers[i].output).all())

    def _is_small(self, made: Any, i: int) -> bool:
        """Whether an instruction gives one element a row of the state, and not one a key."""
        shape = made.dst[0].shape
        if int(math.prod(shape)) <= self.problems[i].n_q_heads or shape == self._m_shape(i):
            return True
        if math.prod(shape[1:]) != 1:
            return False
        if i not in self._exps:
            self._exps[i] = {
                (made.line, made.dst[0].shape) for made in self.instructions(i) if is_exp(made)
            }
        if len(self._exps[i]) < 2:  # the only exp gives p, which may be a column of keys
            return (made.line, shape) not in self._exps[i]
        sizes: dict[int, int] = {}
        for line, of in self._exps[i]:
            sizes[line] = max(math.prod(of), sizes.get(line, 0))
        most = max(sizes.values())  # of several exps that of the most elements gives p
        return sizes.get(made.line) != most or min(sizes.values()) == most

    def _m_shape(self, i: int) -> tuple[int, ...] | None:
        """The shape of the tensor that the kernel names m, if it does."""
        if i not in self._shapes:
            run = self.run(i, picks=False)
            named = named_state(run.names()).get("m", []) if run is not None else []
            made = run.writes(named[0]) if named else []
            self._shapes[i] = tuple(made[0].value.shape) if made else None
        return self._shapes[i]

    def _kept_on(self, i: int) -> set[str]:
        """The names of on-chip tensors that are written again after they were read: they carry
        something on."""
        run, kept = self.run(i, picks=False), set()
        for program in () if run is None else run.programs:
            read: set[Any] = set()
            for record in program.records():
                read.update(source.buffer for source in record.srcs)
                kept |= {record.buffer.label} if record.buffer in read else set()
        return kept

    @cached_property
    def stores_zeros(self) -> bool:
        """Whether all outputs are 0, and no instruction is seen that would bring K and V there."""
        if any(answer.output.any() for answer in self.answers):
            return False
        run = self.run(self.first)
        if run is None:
            return False  # acc that stays 0, or an infinite l, looks alike
        if len(run.programs) > 1:
            return True
        case = self.answers[self.first].result.case
        names = runner.names_in(run, self.kernel, self.stage, case)
        given = {names.get(name, name) for name in self.stage.parameters if name[0] in "kv"}
        return not given & computed.origins(run)

    # -- precision ---------------------------------------------------------------------------------
    @cached_property
    def like_rounding(self) -> bool:
        """Whether all errors are no larger than what rounding to 16 bits can do."""
        return all(
            np.isfinite(self.answers[i].output).all() and _error(self.answers[i]) < 0.1
            for i in self.failing
        )

    @cached_property
    def low_precision(self) -> str | None:
        """The cause if fp32 inputs meet tiles of fewer bits, or a 16-bit kernel keeps its state in
        16 bits."""
        if self.stage.tolerance is not None:
            told = (precision.kept_short(self.instructions(i)) for i in self.smallest[:FEW])
            return next((said for said in told if said), None)
        rows: dict[str, str] = {}
        others: dict[str, str] = {}
        for i in self.smallest[:FEW]:
            if self.answers[i].result.case.args["q"].dtype != np.float32:
                return None
            kept = self._kept_on(i)
            for made in self.instructions(i):
                for operand in made.dst:
                    if _is_short(operand.dtype):
                        name = state_of(operand.name) or operand.name
                        running = name in NAMES or operand.name in kept
                        (rows if running else others)[name] = operand.dtype
        names = {name: rows[name] for name in NAMES if name in rows} or rows or others
        if not names:
            return None
        own = [name for name in names if "(" not in name]  # the reader's names, where there are any
        shown, kind = (own or list(names))[:4], next(iter(names.values()))
        what = f"{' and '.join(shown)} {'is' if len(shown) == 1 else 'are'} kept in {kind}"
        them = "it" if len(shown) == 1 else "them"
        if rows:
            return (
                f"{what}, which has too few digits to carry a running max or sum: in bf16 256 + 1 "
                f"stays 256. Keep {them} in float32."
            )
        return (
            f"{what}: the inputs of this stage are float32, and so must be what is computed "
            "from them."
        )


def _is_short(dtype: str) -> bool:
    return dtype in ("bfloat16", "float16") or dtype.startswith("float8")


def _divides(made: Any) -> bool:
    """Whether an instruction divides, or takes a reciprocal."""
    return made.op == "reciprocal" or any(
        "divide" in str(value) or "reciprocal" in str(value) for value in made.attrs.values()
    )


def breaks(numbers: NDArray[Any]) -> bool:
    """Whether there is a NaN or an infinity above all numbers."""
    return bool(np.isnan(numbers).any() or (numbers == np.inf).any())


def _error(answer: Answer) -> float:
    with np.errstate(all="ignore"):
        return float(np.abs(answer.output - answer.expected).max() / np.abs(answer.expected).max())
