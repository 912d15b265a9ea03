"""A timeline in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..isa.core import DMA
from ..machine.memory import HBM
from .cost import ENGINES, Cost
from .state import REASONS

if TYPE_CHECKING:
    from .report import Timeline

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


def explanation(t: Timeline) -> str:
    """The sentences of `Timeline.explain`."""
    if not len(t):
        return (
            "The model of time has nothing to place: no instruction ran, so 0 us on "
            f"{t.target.name}."
        )
    sentences = [_latency(t), _path(t), *_loading(t), *_waiting(t), *_rows(t), _roof(t)]
    return " ".join(s for s in sentences if s)


def _latency(t: Timeline) -> str:
    launch = (
        ""
        if t.launch == "none"
        else (f", {t.launch_us:.1f} us of which are start-up and tear-down ({t.launch})")
    )
    cores = "" if t.cores == 1 else f" on {t.cores} cores"
    return f"By the model, the run takes {t.latency_us:.2f} us on {t.target.name}{cores}{launch}."


def _path(t: Timeline) -> str:
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


def _loading(t: Timeline) -> list[str]:
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


def _waiting(t: Timeline) -> list[str]:
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


def _root(t: Timeline, k: int, gap: float) -> int:
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


def _first_like(t: Timeline, k: int) -> int:
    """The first record of the same instruction at the same place in the kernel."""
    signature, code, lasti, _ = t.record(k)
    return t.like.setdefault((signature.instruction.name, code, lasti), k)


def _cause(t: Timeline, reason: str, who: int) -> str:
    what = "another instruction"
    if who >= 0:
        signature, _, _, buf = t.record(who)
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


def _rows(t: Timeline) -> list[str]:
    """How well the transfers use the DMA engines."""
    transfers = [c for c in t.costs if c.engine == DMA and c.uses]
    if not transfers or (t.utilisation()["dma"] < 0.3 and t.path_shares().get(DMA, 0.0) < 0.1):
        return []  # nothing hangs on them
    worst = max(transfers, key=lambda c: c.occupancy * c.uses * (1 - _efficiency(t, c)))
    reached = _efficiency(t, worst)
    if reached > 0.9:
        return []
    return [f"Pieces of {_bytes(worst.run)} reach {100 * reached:.0f} % of the DMA engines' rate."]


def _efficiency(t: Timeline, c: Cost) -> float:
    """The share of the DMA rate that a transfer reaches while it is under way."""
    return c.moved / t.timing.dma_bandwidth / c.occupancy


def _roof(t: Timeline) -> str:
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
