"""The schedule of a run, and what can be read off it: latency, utilisation, critical path, bound,
roofline, in words."""

from __future__ import annotations

import bisect
import functools
import itertools
from array import array
from types import CodeType

import numpy as np
from numpy.typing import NDArray

from ..execution.signature import Signature
from ..execution.tape import DST, Record
from ..isa.core import DMA
from ..machine import target as targets
from ..machine.counts import sums_by
from ..machine.target import Target
from ..program.run import Run
from ..rules.source import Line
from . import timing as timings
from .cost import ENGINES, Cost
from .explain import explanation
from .results import CriticalStep, Roofline
from .schedule import place
from .state import EACH, REASONS, Options, Placed, lanes_of
from .timing import Timing


def _lane_names(cores: int, timing: Timing) -> list[str]:
    """The lanes of all cores: engines, DMA queues, and what is not run."""
    return [
        f"{f'nc{core} ' if cores > 1 else ''}{name}"
        for core in range(cores)
        for name in (
            *ENGINES,
            *(f"dma {way} {k}" for way in ("in", "out") for k in range(timing.dma_queues)),
            "not run",
        )
    ]


class Timeline:
    """When each record of a run starts and ends, by the model of time. All times in ns from the
    start of the run."""

    def __init__(
        self,
        run: Run,
        target: str | Target | None = None,
        *,
        launch: str = "none",
        hoist_loads: bool = True,
        as_compiled: bool = False,
        throttle: bool = False,
        cores: int = 1,
    ) -> None:
        self.run = run
        self.target: Target = targets.get(run.target if target is None else target)
        self.timing: Timing = timings.of(self.target)
        self.launch = launch
        if launch not in self.timing.launch:
            raise ValueError(f"launch is one of {', '.join(self.timing.launch)}, not {launch!r}")
        if cores < 1:
            raise ValueError(f"cores is 1 or more, not {cores}")
        self.options = Options(
            hoist_loads=hoist_loads, as_compiled=as_compiled, throttle=throttle, cores=cores
        )
        placed = Placed()
        self._programs = list(run.programs)
        self._lines: dict[tuple[CodeType, int], Line] = {}
        at, calls, side_by_side = self._place(placed)
        self.cores = max(cores, 2) if side_by_side else cores
        """How many cores the lanes are of."""
        self.launch_us = self.timing.launch[launch] * calls / 1e3
        self.span_ns = at
        """From the first start to the last result."""
        names = _lane_names(self.cores, self.timing)
        engines = [
            core * lanes_of(self.timing) + k
            for core in range(self.cores)
            for k in range(len(ENGINES))
        ]
        starts, busy_ends, ends, lane, cause = placed.columns()
        used = sorted({*engines, *np.flatnonzero(sums_by(lane)).tolist()})
        self.lanes: tuple[str, ...] = tuple(names[k] for k in used)
        renumber = np.zeros(len(names), np.int16)
        renumber[used] = np.arange(len(used))
        self.start: NDArray[np.float64] = starts
        self.busy_end: NDArray[np.float64] = busy_ends
        self.end: NDArray[np.float64] = ends
        self.lane: NDArray[np.int16] = renumber[lane]
        self.waited_for: NDArray[np.int32] = (cause // EACH).astype(np.int32)
        self.reason: NDArray[np.uint8] = (cause % EACH).astype(np.uint8)
        self.since: NDArray[np.float64] = self.start.copy()
        """When a record began to load what it waited for itself, its activation table or its
        stationary operand; `start` where it loaded nothing."""
        self.since[np.fromiter(placed.loading, np.int64) // EACH] = np.fromiter(
            placed.loading.values(), np.float64
        )
        self._cost_of = placed.costs
        self.costs: list[Cost] = list(placed.costs.values())
        """The cost of each distinct instruction that ran, with how often (`uses`)."""

    def _place(self, placed: Placed) -> tuple[float, int, bool]:
        """Place all programs, one behind the other: when the last ends, how many calls they are,
        and whether the two cores of a logical one ran side by side."""
        at = 0.0
        begin, calls, side_by_side = 0.0, 0, False
        for number, program in enumerate(self._programs):
            # the two cores of a logical one are two programs that share their tensors in HBM
            second = number > 0 and program.shared is self._programs[number - 1].shared
            first = (
                not second
                and number + 1 < len(self._programs)
                and program.shared is self._programs[number + 1].shared
            )
            if not second:
                begin, calls = at, calls + 1
            end = place(
                program,
                begin,
                self.timing,
                self.target,
                placed,
                self.options,
                int(second),
                1 + (first or second),
            )
            at = max(at, end)
            side_by_side = side_by_side or second
        return at, calls, side_by_side

    def __len__(self) -> int:
        return len(self.start)

    @property
    def latency_us(self) -> float:
        """The modelled latency in microseconds, with the launch overhead that was asked for (none
        by default)."""
        return self.span_ns / 1e3 + self.launch_us

    @property
    def roofline(self) -> Roofline:
        """flops and HBM bytes, against what TensorE and the memory of the cores in use can do."""
        flops = sum(c.flops * c.uses for c in self.costs)
        hbm = round(sum(c.hbm * c.uses for c in self.costs))
        seconds, cores, timing = self.span_ns * 1e-9, self.cores, self.timing
        matmuls = sum(c.flops / c.flop_rate * c.uses for c in self.costs if c.flops)
        return Roofline(
            flops=flops,
            matmul_us=matmuls / 1e3 / cores,
            hbm_bytes=hbm,
            intensity=flops / hbm if hbm else 0.0,
            achieved_flops=flops / seconds if seconds else 0.0,
            achieved_bandwidth=hbm / seconds if seconds else 0.0,
            peak_flops=cores * timing.peak_flops_bf16 * 1e9,
            peak_bandwidth=cores * timing.hbm_peak * 1e9,
            achievable_bandwidth=cores * timing.dma_bandwidth * 1e9,
        )

    def utilisation(self) -> dict[str, float]:
        """The share of the time that each resource is busy: the engines, "dma" (the DMA engines
        together) and "hbm" (bytes against the peak HBM bandwidth). Of several cores, their mean."""
        span, cores = self.span_ns or 1.0, self.cores
        busy = (
            sums_by(self.lane, self.busy_end - self.start, len(self.lanes))
            if len(self)
            else np.zeros(len(self.lanes))
        )
        out = {
            engine: float(
                sum(busy[k] for k, name in enumerate(self.lanes) if name.split()[-1] == engine)
            )
            / span
            / cores
            for engine in ENGINES
        }
        out["dma"] = sum(c.occupancy * c.uses for c in self.costs if c.engine == DMA) / span / cores
        roofline = self.roofline
        out["hbm"] = roofline.achieved_bandwidth / roofline.peak_bandwidth
        return out

    @functools.cached_property
    def path(self) -> NDArray[np.int64]:
        """The records that decide the latency, in order."""
        if not len(self):
            return np.empty(0, np.int64)
        waited_for, k = self.waited_for.tolist(), int(np.argmax(self.end))
        chain = array("q")
        while k >= 0:
            chain.append(k)
            k = waited_for[k]
        return np.frombuffer(chain, np.int64)[::-1]

    @functools.cached_property
    def on_path(self) -> NDArray[np.float64]:
        """How much of the latency belongs to each record of `path`, in ns: from its `since` until
        that of the next."""
        since = self.since[self.path]
        return np.diff(np.append(since, self.end[self.path[-1:]]))

    @functools.cached_property
    def critical_path(self) -> list[CriticalStep]:
        """The instructions that decide the latency, in order: each started when what it waited for
        allowed.

        The time in which an instruction's own activation table or stationary operand was loaded is
        its own, not that of the instruction before it: `CriticalStep.on_path_ns` of all steps add
        up to the latency (without launch overhead).
        """
        return [self.step(k, time) for k, time in zip(self.path.tolist(), self.on_path.tolist())]

    def step(self, k: int, on_path: float | None = None) -> CriticalStep:
        """Record `k` as a step of a path, of which so many ns are its own (None: until its end)."""
        record = self.record(k)
        signature, where = record.signature, (record.code, record.lasti)
        line = self._lines.get(where)
        if line is None:
            line = self._lines[where] = record.place
        since, end = float(self.since[k]), float(self.end[k])
        return CriticalStep(
            k,
            signature.engine,
            signature.instruction.name,
            line.line,
            line.text,
            float(self.start[k]),
            end,
            REASONS[self.reason[k]],
            since,
            end - since if on_path is None else on_path,
        )

    @functools.cached_property
    def _starts(self) -> tuple[list[NDArray[np.int64]], list[int]]:
        """Where the records of each program begin on its tape, and how many there are up to its
        end."""
        found = [program.tape.starts() for program in self._programs]
        return found, list(itertools.accumulate(map(len, found)))

    def record(self, k: int) -> Record:
        """Record `k` of the run."""
        starts, ends = self._starts
        number = bisect.bisect_right(ends, k)
        start = starts[number][k - (ends[number - 1] if number else 0)]
        return self._programs[number].tape.record(int(start))

    @functools.cached_property
    def places(self) -> NDArray[np.int64]:
        """Of each record a number, the same for the same instruction at the same place of the
        kernel."""
        numbers: dict[tuple[str, CodeType, int], int] = {}
        known: dict[tuple[int, int, int], int] = {}
        found = array("q")
        note, alike = found.append, known.get
        for program in self._programs:
            entries = program.tape.entries
            at, end = 0, len(entries)
            while at < end:
                signature, code, lasti = entries[at : at + DST]
                # by identity, which is cheap to look up; all of it lives as long as the run
                number = alike((id(signature), id(code), lasti))
                if number is None:
                    key = signature.instruction.name, code, lasti
                    number = numbers.setdefault(key, len(numbers))
                    known[id(signature), id(code), lasti] = number
                note(number)
                at += signature.width
        return np.frombuffer(found, np.int64) if found else np.empty(0, np.int64)

    def cost_of(self, signature: Signature) -> Cost:
        """What an instruction of this run costs."""
        return self._cost_of[signature]

    def path_shares(self) -> dict[str, float]:
        """Of the critical path's time, the share that passes in each engine ("dma" for transfers).
        Loading an activation table counts for ScalarE, loading a stationary operand for TensorE."""
        lanes = self.lane[self.path]
        out: dict[str, float] = {}
        for number in dict.fromkeys(lanes.tolist()):
            mine = np.flatnonzero(lanes == number)
            name = next((n for n in self.lanes[number].split() if n in ENGINES or n == DMA), None)
            for k in [mine] if name else mine[:, None]:  # what is not run is its engine's
                engine = name or self.record(int(self.path[k[0]])).signature.engine
                out[engine] = out.get(engine, 0.0) + float(self.on_path[k].sum())
        total = sum(out.values())
        return (
            {k: v / total for k, v in sorted(out.items(), key=lambda kv: -kv[1])} if total else {}
        )

    @property
    def bound(self) -> str:
        """The resource in which the critical path spends most of its time: an engine or "dma";
        "nothing" if nothing ran."""
        return next(iter(self.path_shares()), "nothing")

    def explain(self) -> str:
        """Plain sentences: how long by the model, what limits, what waits for what."""
        return explanation(self)

    def summary(self) -> str:
        """A few lines of text: latency, utilisation, bound."""
        overhead = (
            "not counted" if self.launch == "none" else f"{self.launch_us:.1f} us, {self.launch}"
        )
        lines = [
            f"model of time, {self.target.name}: {self.latency_us:.2f} us for {len(self)} "
            f"instructions (launch overhead {overhead})"
        ]
        lines += [
            f"  {name:8s} {100 * share:5.1f} % busy" for name, share in self.utilisation().items()
        ]
        r = self.roofline
        lines.append(
            f"  {r.hbm_bytes} HBM bytes, {r.intensity:.2f} flop/byte (knee {r.knee:.0f}); "
            f"the critical path is mostly {self.bound}"
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"<Timeline (model) on {self.target.name}: {len(self)} instructions, "
            f"{self.latency_us:.2f} us>"
        )
