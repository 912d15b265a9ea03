"""A timeline in plain sentences."""

from __future__ import annotations

from types import CodeType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..execution.signature import Signature
from ..execution.tape import Record
from ..isa.core import DMA
from ..machine.memory import HBM
from ..machine.target import Target
from .cost import ENGINES, Cost
from .results import Roofline, Step
from .state import REASONS
from .timing import Timing


class Explained(Protocol):
    """What the sentences need of a timeline (`report.Timeline`)."""

    target: Target
    timing: Timing
    lanes: tuple[str, ...]
    start: NDArray[np.float64]
    busy_end: NDArray[np.float64]
    end: NDArray[np.float64]
    lane: NDArray[np.int16]
    waited_for: NDArray[np.int32]
    reason: NDArray[np.uint8]
    since: NDArray[np.float64]
    span_ns: float
    cores: int
    costs: list[Cost]
    like: dict[tuple[str, CodeType, int], int]
    launch: str
    launch_us: float

    def __len__(self) -> int: ...
    @property
    def latency_us(self) -> float: ...
    @property
    def roofline(self) -> Roofline: ...
    @property
    def critical_path(self) -> list[Step]: ...
    @property
    def bound(self) -> str: ...
    def utilisation(self) -> dict[str, float]: ...
    def path_shares(self) -> dict[str, float]: ...
    def record(self, k: int) -> Record: ...
    def step(self, k: int) -> Step: ...
    def cost_of(self, signature: Signature) -> Cost: ...


NAMES = {
    "tensor": "TensorE",
    "vector": "VectorE",
    "scalar": "ScalarE",
    "gpsimd": "GpSimdE",
    "dma": "the DMA engines",
}
_WAITS = {
    "data": "for {what}",
    "anti": "until {what} has read what it overwrites",
    "output": "until {what} has written",
    "port": "while another engine uses the memory port that both share ({what})",
    "psum bank": "for a free PSUM bank, held for {what}",
    "memory": "for room in SBUF, held for {what}",
    "stationary load": "for its stationary operand to be loaded",
    "table load": "for its activation table to be loaded",
}


def explanation(t: Explained) -> str:
    """The sentences of `Timeline.explain`."""
    if not len(t):
        return (
            "The model of time has nothing to place: no instruction ran, so 0 us on "
            f"{t.target.name}."
        )
    sentences = [_latency(t), _path(t), *_loading(t), *_waiting(t), *_rows(t), _roof(t)]
    return " ".join(s for s in sentences if s)


def _latency(t: Explained) -> str:
    launch = (
        ""
        if t.launch == "none"
        else (f", {t.launch_us:.1f} us of which are start-up and tear-down ({t.launch})")
    )
    cores = "" if t.cores == 1 else f" on {t.cores} cores"
    return f"By the model, the run takes {t.latency_us:.2f} us on {t.target.name}{cores}{launch}."


def _path(t: Explained) -> str:
    shares = ", ".join(
        f"{100 * v:.0f} % in {NAMES[k]}" for k, v in t.path_shares().items() if v >= 0.005
    )
    busy = t.utilisation()[t.bound]
    who = NAMES[t.bound]
    verb = "are" if t.bound == DMA else "is"
    if busy >= 0.7:
        kind = (
            (f"{who} {verb} busy {100 * busy:.0f} % of the time and set the pace")
            if verb == "are"
            else (f"{who} is busy {100 * busy:.0f} % of the time and sets the pace")
        )
    else:
        kind = (
            f"{who} {verb} busy only {100 * busy:.0f} % of the time: what counts is how long one "
            "instruction waits for the other, not how much there is to do"
        )
    return f"Its critical path passes {shares}; {kind}."


def _loading(t: Explained) -> list[str]:
    """What of the critical path is the loading of activation tables and of stationary operands."""
    told = []
    for reason, who, one, many in (
        ("table load", "ScalarE", "an activation table", "activation tables"),
        ("stationary load", "TensorE", "a stationary operand", "stationary operands"),
    ):
        steps = [step for step in t.critical_path if step.reason == reason]
        share = sum(step.start_ns - step.since_ns for step in steps) / t.span_ns if steps else 0.0
        if share >= 0.05:
            what, times = (one, "") if len(steps) == 1 else (many, f" {len(steps)} times")
            lines = [str(line) for line in sorted({step.line for step in steps})]
            where = (
                f"line {lines[0]}"
                if len(lines) == 1
                else f"lines {', '.join(lines[:4])}{' and others' * (len(lines) > 4)}"
            )
            told.append(
                f"{100 * share:.0f} % of the path is {who} loading {what}{times} before "
                f"it can start {where}."
            )
    return told


def _waiting(t: Explained) -> list[str]:
    """What the engine that works most waits for."""
    busy = t.utilisation()
    engine = max(ENGINES, key=lambda e: busy[e])
    if not busy[engine]:
        return []
    waits: dict[tuple[str, int], float] = {}
    for lane, name in enumerate(t.lanes):
        if name.split()[-1] != engine:
            continue
        mine = np.flatnonzero(t.lane == lane)
        before = np.concatenate(([0.0], t.busy_end[mine][:-1]))
        gaps = t.start[mine] - before
        for k, gap in zip(mine[gaps > 0], gaps[gaps > 0]):
            who = _root(t, int(k), float(gap))
            # records of one line of the kernel are one cause
            key = (REASONS[t.reason[k]], -1 if who < 0 else _first_like(t, who))
            waits[key] = waits.get(key, 0.0) + float(gap)
    span = t.span_ns * t.cores
    idle = [
        f"{NAMES[engine]} waits {100 * v / span:.0f} % of the time {_cause(t, *key)}"
        for key, v in sorted(waits.items(), key=lambda kv: -kv[1])[:2]
        if v >= 0.05 * span and key[0] in _WAITS
    ]
    return ["; ".join(idle) + "."] if idle else []


def _root(t: Explained, k: int, gap: float) -> int:
    """The record that was under way for most of the gap before record `k`: what `k` waited for may
    have waited itself."""
    half = float(t.start[k]) - gap / 2
    who = int(t.waited_for[k])
    while (
        who >= 0
        and t.start[who] > half
        and REASONS[t.reason[who]] == "data"
        and t.waited_for[who] >= 0
    ):
        who = int(t.waited_for[who])
    return who


def _first_like(t: Explained, k: int) -> int:
    """The first record of the same instruction at the same place in the kernel."""
    record = t.record(k)
    key = (record.signature.instruction.name, record.code, record.lasti)
    return t.like.setdefault(key, k)


def _cause(t: Explained, reason: str, who: int) -> str:
    what = "another instruction"
    if who >= 0:
        record = t.record(who)
        signature, buf = record.signature, record.buffer
        place = t.step(who).line
        meta = signature.dst
        if signature.engine == DMA:
            moved = t.cost_of(signature)
            what = (
                f"'{buf.label}' (line {place}: {_bytes(moved.moved)} in pieces of "
                f"{_bytes(moved.run)})"
            )
            if meta.space == HBM:
                what = f"the store to {what}"
        else:
            what = f"'{buf.label}' ({signature.instruction.name} of line {place})"
    return _WAITS[reason].format(what=what)


def _bytes(n: int) -> str:
    return (
        f"{n} B"
        if n < 1024
        else (f"{n / 1024:.3g} KiB")
        if n < 1 << 20
        else f"{n / (1 << 20):.3g} MiB"
    )


def _rows(t: Explained) -> list[str]:
    """How well the transfers use the DMA engines."""
    transfers = [c for c in t.costs if c.engine == DMA and c.uses]
    if not transfers or (t.utilisation()["dma"] < 0.3 and t.path_shares().get(DMA, 0.0) < 0.1):
        return []  # nothing hangs on them
    worst = max(transfers, key=lambda c: c.occupancy * c.uses * (1 - _efficiency(t, c)))
    reached = _efficiency(t, worst)
    if reached > 0.9:
        return []
    return [f"Pieces of {_bytes(worst.run)} reach {100 * reached:.0f} % of the DMA engines' rate."]


def _efficiency(t: Explained, c: Cost) -> float:
    """The share of the DMA rate that a transfer reaches while it is under way."""
    return c.moved / t.timing.dma_bandwidth / c.occupancy


def _roof(t: Explained) -> str:
    r = t.roofline
    if not r.hbm_bytes:
        return ""
    return (
        f"Moving its {_bytes(r.hbm_bytes)} of HBM at the achievable "
        f"{r.achievable_bandwidth / 1e9:.0f} GB/s "
        f"({100 * r.achievable_bandwidth / r.peak_bandwidth:.0f} % of the peak) would alone take "
        f"{r.hbm_bytes / r.achievable_bandwidth * 1e6:.2f} us"
        + (f", its matmuls at TensorE's peak {r.matmul_us:.2f} us." if r.flops else ".")
    )
