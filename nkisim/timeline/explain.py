"""A timeline in plain sentences."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..execution.signature import Signature
from ..execution.tape import Record
from ..isa.core import DMA
from ..machine.counts import sums_by
from ..machine.memory import HBM
from ..machine.target import Target
from .cost import ENGINES, Cost
from .results import CriticalStep, Roofline
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
    launch: str
    launch_us: float

    def __len__(self) -> int: ...
    @property
    def latency_us(self) -> float: ...
    @property
    def roofline(self) -> Roofline: ...
    @property
    def path(self) -> NDArray[np.int64]: ...
    @property
    def places(self) -> NDArray[np.int64]: ...
    @property
    def bound(self) -> str: ...
    def utilisation(self) -> dict[str, float]: ...
    def path_shares(self) -> dict[str, float]: ...
    def record(self, k: int) -> Record: ...
    def step(self, k: int) -> CriticalStep: ...
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
        mine = np.flatnonzero(t.reason[t.path] == REASONS.index(reason))
        steps = t.path[mine]
        share = float((t.start[steps] - t.since[steps]).sum()) / t.span_ns if len(mine) else 0.0
        if share >= 0.05:
            what, times = (one, "") if len(mine) == 1 else (many, f" {len(mine)} times")
            firsts = steps[np.unique(t.places[steps], return_index=True)[1]].tolist()
            lines = [str(line) for line in sorted({t.step(k).line for k in firsts})]
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
    waits: dict[tuple[int, int], float] = {}
    first: dict[int, int] = {}
    for lane, name in enumerate(t.lanes):
        if name.split()[-1] != engine:
            continue
        mine = np.flatnonzero(t.lane == lane)
        gaps = t.start[mine] - np.concatenate(([0.0], t.busy_end[mine][:-1]))
        late = np.flatnonzero(gaps > 0)
        mine, gaps = mine[late], gaps[late]
        who = _roots(t, mine, gaps)
        places = np.where(who < 0, -1, t.places[who])
        # records of one line of the kernel are one cause
        causes, at, which = np.unique(
            np.stack([t.reason[mine], places]), axis=1, return_index=True, return_inverse=True
        )
        sums = sums_by(which.reshape(-1), gaps, causes.shape[1])
        for k in np.argsort(at).tolist():
            reason, place = causes[:, k].tolist()
            first.setdefault(place, int(who[at[k]]))
            waits[reason, place] = waits.get((reason, place), 0.0) + float(sums[k])
    span = t.span_ns * t.cores
    idle = [
        f"{NAMES[engine]} waits {100 * v / span:.0f} % of the time "
        f"{_cause(t, REASONS[reason], first[place])}"
        for (reason, place), v in sorted(waits.items(), key=lambda kv: -kv[1])[:2]
        if v >= 0.05 * span and REASONS[reason] in _WAITS
    ]
    return ["; ".join(idle) + "."] if idle else []


def _roots(t: Explained, mine: NDArray[np.int64], gaps: NDArray[np.float64]) -> NDArray[np.int64]:
    """The records that were under way for most of the gap before each of these: what one waited
    for may have waited itself. -1: none."""
    half = t.start[mine] - gaps / 2
    who = t.waited_for[mine].astype(np.int64)
    active = np.arange(len(mine))
    data = REASONS.index("data")
    while len(active):
        now = who[active]
        active = active[
            (now >= 0)
            & (t.start[now] > half[active])
            & (t.reason[now] == data)
            & (t.waited_for[now] >= 0)
        ]
        who[active] = t.waited_for[who[active]]
    return who


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
