"""One call of a kernel that is compared with the twins: its answer, the right one, and the tiles
that it may have had."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..reference import evaluation, splitting, twins
from ..reference.attention import Attention
from ..running import runner, tolerance
from ..running.executed import executed, is_exp
from ..running.runner import Result
from ..stage import Case, Stage
from ..trace import reads
from ..trace.states import widths

F32 = NDArray[np.float32]
FITS = 3e-4  # relative to the largest element of a row: two fp32 ways to make the same mistake
FITS_SHORT = 2e-2  # the same for two bf16 ways
BLOCKS = "a block at a time"
POSITIONS = "some positions at a time"  # of every block: `width`, or as many as a trial shows
LANES = 128
CHUNKS = (1024, 2048, 4096, 8192)  # of keys, for a kernel that gives each partition several
MOST_TILES = 40  # so many are tried, where a kernel does not show its tiles
BETTER = 0.25  # and that much nearer than the right answer is


class Misfit(NamedTuple):
    """How far a twin's answer is from the kernel's, in parts of how far the right one is, and
    whether it explains a wrong row."""

    parts: float
    explains: bool


@dataclass(frozen=True)
class Tiling:
    """How a kernel may have taken the keys: in the order in which it read them, or in tiles of
    `width` keys from the first to the last (as wide as its widest load where `loaded`), the last
    one `filled` up; where there are splits, dealt out by a `rule`."""

    width: int = 0
    read: bool = False
    loaded: bool = False
    filled: bool = False
    rule: str = ""


@lru_cache(maxsize=256)
def problem_of(stage: Stage, case: Case) -> Attention:
    """A case as attention: one object a case, so that what is computed from it can be kept."""
    assert stage.attention is not None
    return stage.attention(case)


_OF_THE_CASE = ("q", "k", "v", "o", "k_blocks", "v_blocks")
"""What a twin reads that follows from the case and its tiles."""


def tells(output: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which elements of a wrong output say something: infinities and NaN do not, nor does 0, which
    is what is left of any acc where l is infinite."""
    return np.asarray(np.isfinite(output) & (output != 0))


@lru_cache(maxsize=256)
def digest_of(case: Case) -> bytes:
    """A short name of the arguments of a case."""
    return evaluation.digest({**case.args, **case.options})


@lru_cache(maxsize=4)
def loads_of(run: Any, name: str, d: int, n: int) -> list[reads.Load]:
    """The loads of a run: those of a program's replays are alike."""
    return reads.loads(run, name, d, n)


@dataclass(eq=False)
class Trial:
    """`got` and `want` have one row per query head, those of a batch one after another."""

    stage: Stage
    result: Result
    want: NDArray[np.float64]
    allowed: NDArray[np.float64]
    k_name: str
    _twins: dict[Tiling, dict[str, Any] | None] = field(default_factory=dict)
    _read: dict[tuple[Tiling, bool], tuple[dict[str, Any], bytes]] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        return self.result.case

    @cached_property
    def problem(self) -> Attention:
        return problem_of(self.stage, self.case)

    @cached_property
    def got(self) -> NDArray[np.float64]:
        assert self.result.output is not None
        return self.result.output.astype(np.float64).reshape(self.want.shape)

    @cached_property
    def instructions(self) -> list[Any]:
        run = self.result.run
        return [] if run is None else executed(run)

    @cached_property
    def off(self) -> NDArray[np.bool_]:
        """Which rows are wrong."""
        with np.errstate(all="ignore"):
            right: NDArray[np.bool_] = np.abs(self.got - self.want) <= self.allowed
        return np.asarray(~right.all(axis=1))

    @cached_property
    def has_keys(self) -> NDArray[np.bool_]:
        return self.problem.row_lengths > 0

    @cached_property
    def plain(self) -> bool:
        """Whether all inputs are finite."""
        given = self.case.args.values()
        return all(np.isfinite(x).all() for x in given if isinstance(x, np.ndarray))

    @cached_property
    def wrong(self) -> bool:
        """Whether a row is wrong."""
        return bool(self.off.any())

    def shown(self, no_keys: bool) -> bool:
        """Whether a row with keys is wrong, or with `no_keys` any row: what a twin may explain."""
        return self.wrong if no_keys else self._shown

    @cached_property
    def _shown(self) -> bool:
        return bool((self.off & self.has_keys).any())

    @property
    def says_much(self) -> bool:
        """Whether there are wrong rows with keys and numbers in them, other than 0."""
        numbers = np.isfinite(self.got).all(axis=1) & tells(self.got).any(axis=1)
        return bool((self.off & self.has_keys & numbers).any())

    # -- tiles -------------------------------------------------------------------------------
    @cached_property
    def loads(self) -> list[reads.Load]:
        run, k = self.result.run, self.case.args.get("k")
        if run is None or k is None:
            return []
        return loads_of(getattr(run, "first", run), self.k_name, *k.shape[-2:])

    @property
    def _n(self) -> int:
        """How many keys there are; of a paged cache, as many as the table has entries for."""
        if "k_blocks" in self.case.args:
            return int(self.case.args["block_table"].shape[1] * self.case.args["k_blocks"].shape[2])
        return self.problem.n

    @cached_property
    def _loaded(self) -> list[tuple[int, ...]]:
        """The shapes of the tiles that a kernel of a paged cache loads."""
        tiles = (made.dst[0].shape for made in self.instructions if made.op.startswith("dma"))
        return [shape for shape in tiles if len(shape) > 1 and shape[-1] == self.problem.d]

    @property
    def step(self) -> int:
        """How many positions of every block it takes at a time; all where no load shows it."""
        return next((shape[1] for shape in self._loaded if len(shape) == 3), LANES)

    @property
    def _lanes(self) -> int:
        """How many blocks it takes at a time, one on each partition; 128 where no load shows it."""
        return max((shape[0] for shape in self._loaded), default=LANES)

    @property
    def _in_lanes(self) -> bool:
        """Whether it loads blocks with one on each partition."""
        block = int(self.case.args["k_blocks"].shape[2])
        return any(len(shape) == 3 and shape[0] != block for shape in self._loaded)

    @property
    def _several_blocks(self) -> bool:
        """Whether it takes the keys of several blocks at a time: whether it loads so many, a key to
        a partition, or forms their scores in one matmul."""
        block, d = int(self.case.args["k_blocks"].shape[2]), self.problem.d
        keys = [shape[0] for shape in self._loaded if len(shape) == 2]
        matmuls = [made.srcs for made in self.instructions if made.op == "nc_matmul"]
        keys += [operand.shape[-1] for own in matmuls if own[0].shape[0] == d for operand in own]
        return any(n > block and n % block == 0 for n in keys)

    @cached_property
    def _weighed(self) -> list[set[int]]:
        """How many keys an exp takes at a time, for each number of heads that its tile may have
        rows for: those of a KV head, all of them, and one."""
        sizes = {math.prod(made.dst[0].shape) for made in self.instructions if is_exp(made)}
        heads = (self.problem.group, self.problem.heads_a_part, 1)
        return [{size // rows for size in sizes} for rows in heads]

    def tilings(self) -> Iterator[Tiling]:
        """What is worth trying, the most likely first: of what the loads leave open, not what needs
        an exp of so many keys as there is none of."""
        found = list(self._tilings())
        told = not self.problem.splits and any(t.read or t.rule for t in found)
        likely = (tiling for tiling in found if told and self._is_likely(tiling))
        first = next(likely, None)
        if first is None:
            yield from found
        else:
            yield first
            yield from likely

    def _is_likely(self, tiling: Tiling) -> bool:
        if tiling.read or (tiling == Tiling(rule=POSITIONS) and self._in_lanes):
            return True
        given = self.names(tiling)
        if given is None:
            return False
        own = {len(keys) for keys in given["tiles"]}
        if "k_blocks" in self.case.args:
            return any(max(own) in weighed for weighed in self._weighed)
        last = self.problem.n % max(own)
        return len(given["tiles"]) > 1 and any(
            own <= weighed and (last in own or last not in weighed) for weighed in self._weighed
        )

    def _tilings(self) -> Iterator[Tiling]:
        problem = self.problem
        shown = [w for w in widths(self.instructions, problem) if w <= problem.n]
        known = bool(self.instructions)
        if problem.splits:
            if reads.dealt(self.loads, problem.n):
                yield Tiling(read=True)
            for rule in splitting.DEALS:
                yield from (Tiling(w, rule=rule) for w in shown[: 1 if known else 3])
            return
        if "k_blocks" in self.case.args:  # its loads do not say which keys they bring
            block = int(self.case.args["k_blocks"].shape[2])
            lanes = self._in_lanes
            if self._several_blocks and not lanes:  # else each partition has a block
                yield Tiling(LANES)
            yield Tiling(rule=POSITIONS)
            if self._n <= MOST_TILES * block and not lanes:
                yield Tiling(rule=BLOCKS)
            yield Tiling(1, rule=POSITIONS)
            if self._n < problem.n:
                yield Tiling(LANES * block, filled=True)
            return
        order = reads.tiles(self.loads, problem.n)
        if order:
            yield Tiling(read=True)
        elif self.loads:
            yield Tiling(loaded=True)
        done = {max(map(len, order))} if order else set()
        more = () if known else CHUNKS
        usual = [w for w in (*shown, *more) if w not in done and problem.n <= MOST_TILES * w]
        if order:
            usual.sort(key=lambda width: not any(width in seen for seen in self._weighed))
        for width in usual[: (1 if order else 2) if known else None]:
            yield Tiling(width)
        width = max(done, default=128)
        if problem.lengths is not None and problem.n % width:
            yield Tiling(width, filled=True)

    def names(self, tiling: Tiling) -> dict[str, Any] | None:
        """What the twin reads, with these tiles; None where they do not fit."""
        if tiling not in self._twins:
            self._twins[tiling] = self._names(tiling)
        return self._twins[tiling]

    def work(self, tiling: Tiling) -> int:
        """How many updates of a state a twin makes, with these tiles."""
        given = self.names(tiling)
        return 0 if given is None else len(given["tiles"]) * given["B"] * given["Hkv"]

    def _names(self, tiling: Tiling) -> dict[str, Any] | None:
        problem = self.problem
        tiles, splits = self._tiles(tiling)
        if tiles is None:
            return None
        given = twins.names(problem, tiles, splits)
        args = self.case.args
        if problem.splits and (ran := evaluation.run(twins.SPLIT_STATES, given)) is not None:
            given |= {name: ran.kept[name][-1] for name in "MLA"}
        if "k_blocks" in args:
            block = int(args["k_blocks"].shape[2])
            more = max(-(-problem.n // block) - args["block_table"].shape[1], 0)
            given |= {name: args[name] for name in ("k_blocks", "v_blocks")}
            given["block_table"] = np.pad(args["block_table"], ((0, 0), (0, more)))
            given |= {"block": block, "used": max(-(-int(problem.row_lengths.max()) // block), 1)}
            given["spreads"] = self.case.target == "trn1"  # a transpose is a matmul there
        return given

    def _tiles(self, tiling: Tiling) -> tuple[list[reads.Keys] | None, list[list[reads.Keys]]]:
        problem = self.problem
        if tiling.read:
            if problem.splits:
                splits = reads.dealt(self.loads, problem.n)
                if splits is None or len(splits) > problem.splits:
                    return None, []
                splits += [[] for _ in range(problem.splits - len(splits))]
                return [keys for own in splits for keys in own], splits
            return reads.tiles(self.loads, problem.n), []
        if tiling.rule in (POSITIONS, BLOCKS):
            block = int(self.case.args["k_blocks"].shape[2])
            if tiling.rule == BLOCKS:
                return [np.arange(at, at + block) for at in range(0, self._n, block)], []
            step = min(tiling.width or self.step, block)
            lanes = self._lanes
            chunks = range(0, self._n, lanes * block)
            return [
                (
                    np.arange(first, min(first + lanes * block, self._n), block)[:, None] + own
                ).ravel()
                for first in chunks
                for own in np.split(np.arange(block), range(step, block, step))
            ], []
        width = min(tiling.width, problem.n)
        if tiling.loaded:
            width = max((len(load.keys) for load in self.loads), default=problem.n)
        if problem.lengths is None and problem.n % width:
            return None, []
        if tiling.filled:
            ends = [(a, a + width) for a in range(0, problem.n, width)]
        else:
            ends = [(a, min(a + width, self._n)) for a in range(0, self._n, width)]
        tiles = [np.arange(*end) for end in ends]
        if not problem.splits:
            return tiles, []
        dealt = splitting.tiles(len(tiles), problem.splits, tiling.rule)
        return tiles, [[tiles[t] for t in own] for own in dealt]

    # -- comparison --------------------------------------------------------------------------
    def misfit(self, text: str, tiling: Tiling, in_turn: bool, no_keys: bool) -> Misfit | None:
        """How far the twin's answer is from the kernel's; None if it does not fit."""
        if self.names(tiling) is None:
            return None
        counted = self.has_keys | no_keys

        def wrong(o: F32, done: NDArray[np.bool_]) -> bool:
            return self._compare(o, counted & done.reshape(-1)) is None

        with np.errstate(all="ignore"):
            made = evaluation.answer(text, *self._read_by(tiling, in_turn), wrong)
            if made is None or made.done is not None:
                return None
            if made.least < evaluation.SMALLEST:
                return Misfit(0.0, False)
            return self._compare(made.o, counted, made.finite)

    def is_known(self, text: str, tiling: Tiling, in_turn: bool) -> bool:
        """Whether the twin's answer was computed before, for this kernel or another one."""
        if self.problem.splits and tiling not in self._twins:
            return False  # the states of the splits take longer than the answer
        read = self._read.get((tiling, in_turn))
        if read is None:
            if self.names(tiling) is None:
                return False
            read = self._read_by(tiling, in_turn)
        return evaluation.is_known(text, read[1])

    def _read_by(self, tiling: Tiling, in_turn: bool) -> tuple[dict[str, Any], bytes]:
        """What the twin reads, perhaps with the heads in turn, and its digest."""
        key = (tiling, in_turn)
        if key not in self._read:
            given = self.names(tiling)
            assert given is not None
            given = twins.one_head_each(given) if in_turn else given
            rest = {name: x for name, x in given.items() if name not in _OF_THE_CASE}
            self._read[key] = (
                evaluation.sharing(given, self._turn),
                digest_of(self.case) + evaluation.digest(rest),
            )
        return self._read[key]

    @cached_property
    def _turn(self) -> list[int]:
        """The sequences, those first whose answers tell the most twins from the kernel: wrong ones
        with numbers, then wrong ones."""
        parts = self.problem.parts
        finite = np.asarray(np.isfinite(self.got).all(axis=1))
        told = np.asarray((self.off & finite).reshape(parts, -1).any(axis=1))
        wrong = np.asarray(self.off.reshape(parts, -1).any(axis=1))
        return sorted(range(parts), key=lambda b: (not told[b], not wrong[b]))

    @cached_property
    def _finite(self) -> NDArray[np.bool_]:
        """Which numbers of the answer are neither infinite nor NaN."""
        return np.asarray(np.isfinite(self.got))

    @cached_property
    def _zero(self) -> NDArray[np.bool_]:
        """Which rows of the answer are 0."""
        return np.asarray(~self.got.any(axis=1))

    @cached_property
    def _error(self) -> NDArray[np.float64]:
        """How far the finite numbers of each row are from the right ones, at most; infinite where
        all of them are right, and only what is not finite is wrong."""
        with np.errstate(all="ignore"):
            error = np.where(self._finite, np.abs(self.got - self.want), 0)
        wrong = (error > self.allowed).any(axis=1)
        return np.where(wrong, error.max(axis=1), np.inf)

    @cached_property
    def _clear(self) -> int:
        """The row whose numbers are furthest from the right ones."""
        return int(np.argmax(np.where(np.isfinite(self._error), self._error, 0)))

    @cached_property
    def _fits(self) -> float:
        return FITS if self.stage.tolerance is None else FITS_SHORT

    def _compare(self, o: F32, counted: NDArray[np.bool_], divided: bool = True) -> Misfit | None:
        """The misfit of the rows that are counted; None if one of them does not fit. `divided` says
        that a NaN of the twin's can only be 0 / 0."""
        # most candidates fail here, and so it is short; what is not finite does not fail
        made, clear = o.reshape(self.got.shape), self._clear
        if counted[clear]:
            row = made[clear]
            far_off = np.abs(self.got[clear] - row).max()
            if far_off > self._fits * np.abs(row).max() + 1e-30:
                return None
        rows = counted.nonzero()[0]
        own = made[rows]
        got = self.got[rows]
        far = np.maximum.reduce(np.abs(got - own), axis=1)
        size = np.maximum.reduce(np.abs(own), axis=1)
        if np.count_nonzero(far > self._fits * size + 1e-30):
            return None
        explains = bool(self.off[rows].any())
        made = own.astype(np.float64)
        finite = np.asarray(np.isfinite(made))
        lost = np.asarray(~finite.any(axis=1))
        none = ~(finite | self._finite[rows] | self.has_keys[rows, None])
        if (np.isnan(made) != np.isnan(got))[none].any():
            return None  # a sequence without keys: NaN and infinity are made in different ways
        if divided and lost.any():
            # where l is 0 a kernel gives 0 / 0, or 0 if it sees to it that l is not 0
            left = ~(np.isnan(made).all(axis=1) & self._zero[rows])
            rows, made, finite, lost = rows[left], made[left], finite[left], lost[left]
        if not np.array_equal(finite, self._finite[rows]):
            return None
        off, error = self.off[rows], self._error[rows]
        far = np.where(finite, np.abs(self.got[rows] - made), 0).max(axis=1, initial=0)
        size = np.where(finite, np.abs(made), 0).max(axis=1, initial=0)
        near = far <= self._fits * size + 1e-30
        if not (near & ((far <= BETTER * error) | ~off | lost)).all():
            return None
        told = off & ~lost
        parts = float((far[told] / error[told]).mean()) if told.any() else 0.0
        return Misfit(parts, explains)


def trial(stage: Stage, kernel: Any, case: Case, keep_results: bool = False) -> Trial | None:
    """The kernel run on a case; None if it gives no answer to it."""
    result = runner.run(kernel, case, stage, keep_results=keep_results)
    return None if result.problem is not None else of_result(stage, kernel, result)


def of_result(stage: Stage, kernel: Any, result: Result) -> Trial:
    """A call that was made already."""
    expected = stage.expected(result.case)
    want = expected.reshape(-1, expected.shape[-1])
    if stage.tolerance is not None:
        allowed = stage.tolerance(result.case).reshape(want.shape)
    else:
        assert stage.attention is not None
        allowed = tolerance.bound_of(stage.attention, result.case)
    names = runner.names_in(result.run, kernel, stage, result.case)
    return Trial(stage, result, want, allowed, names.get("k", "k"))
