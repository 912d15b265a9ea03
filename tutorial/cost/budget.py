"""Cost, counted and never timed: HBM bytes, transfers, instructions, on-chip peaks, each against
the stage's minimum."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from ..stage import Case, Stage
from ..trace.states import named_state
from ..verdict import Counter
from .tape import products


@dataclass(frozen=True)
class Overrun:
    """A cost that defeats the lesson."""

    cause: str
    sentence: str


def counters(stage: Stage, case: Case, run: Any) -> tuple[Counter, ...]:
    """What the run cost beside the least that the stage's method needs."""
    least = stage.minimum(case)
    matmuls, transposes = products(run)
    return (
        Counter("HBM bytes read", run.hbm_bytes_read, least.hbm_bytes_read),
        Counter("HBM bytes written", run.hbm_bytes_written, least.hbm_bytes_written),
        Counter("DMA transfers", run.dma_transfers, least.dma_transfers),
        Counter("matmuls", matmuls, least.matmuls),
        Counter("transposes", transposes, least.transposes),
        Counter("peak SBUF bytes", int(run.peak_bytes("sbuf")), least.sbuf_bytes),
        Counter("peak PSUM bytes", int(run.peak_bytes("psum")), least.psum_bytes),
    )


def overrun(stage: Stage, case: Case, run: Any, names: dict[str, str]) -> Overrun | None:
    """The sentence for HBM traffic over the stage's budget, or None. `names` maps parameters to the
    kernel's names."""
    least = stage.minimum(case)
    reads = run.hbm_reads
    sizes = stage.bytes_once(case)
    for parameter, allowed in stage.reads.items():
        if parameter == "q" or not sizes[parameter]:
            continue
        times = reads.get(names.get(parameter, parameter), 0) / sizes[parameter]
        if times > allowed * 1.001:
            whole = _reads_all(run, names.get("k", "k"), case)
            return _repeated(stage, case, reads, names, parameter, allowed, whole)
    more = max(_slack(case), _q_for_each_kv_head(stage, case, reads, names))
    if run.hbm_bytes_read > least.hbm_bytes_read * 1.02 + more:
        return Overrun(
            "needless HBM traffic",
            f"The kernel reads {run.hbm_bytes_read:,} bytes from HBM where "
            f"{least.hbm_bytes_read:,} are enough: {_worst(reads, names, case)}",
        )
    if run.hbm_bytes_written > least.hbm_bytes_written * 1.02:
        return Overrun(
            "needless HBM traffic",
            f"The kernel writes {run.hbm_bytes_written:,} bytes to HBM where "
            f"{least.hbm_bytes_written:,} are enough: keep intermediate tiles in SBUF, "
            "and store only the output.",
        )
    return None


def _q_for_each_kv_head(
    stage: Stage, case: Case, reads: dict[str, int], names: dict[str, str]
) -> int:
    """The bytes that loading all of q for each KV head costs: little beside a cache."""
    if stage.attention is None or "q" not in stage.reads:
        return 0
    size = stage.bytes_once(case)["q"]
    again = reads.get(names.get("q", "q"), 0) - size * stage.reads["q"]
    attention = stage.attention(case)
    return min(max(again, 0), size * (attention.n_kv_heads // attention.parts - 1))


def shortfall(stage: Stage, case: Case, run: Any, names: dict[str, str]) -> Overrun | None:
    """The sentence for a kernel that reads less than any right one must, or None: what it answers
    cannot be computed from its inputs."""
    reads, needed = run.hbm_reads, stage.bytes_needed(case)
    if set(names.values()) & set(reads):
        for parameter, least in needed.items():
            read = reads.get(names.get(parameter, parameter), 0)
            if read < least:
                return Overrun(
                    "reads too little",
                    f"The kernel reads {read:,} bytes of {_shown(parameter)}, and no right answer "
                    f"can do with fewer than {least:,}: every key that counts must be read.",
                )
    total = sum(needed.values())
    if run.hbm_bytes_read < total:
        return Overrun(
            "reads too little",
            f"The kernel reads {run.hbm_bytes_read:,} bytes from HBM, and no right answer can do "
            f"with fewer than {total:,}: its inputs must be read.",
        )
    return None


def _reads_all(run: Any, name: str, case: Case) -> bool:
    """Whether one program instance reads as many bytes of K as there are."""
    if "k" not in case.args:
        return False
    for program in run.programs:
        part = copy.copy(run)
        part.programs = [program]
        if part.hbm_reads.get(name, 0) >= case.args["k"].nbytes:
            return True
    return False


def _slack(case: Case) -> int:
    """q is small beside K and V; reading it once per tile is forgiven."""
    q = case.args.get("q")
    if q is None:
        return 0
    keys = case.args["k"].shape[-1] if "k" in case.args else int(case.args["lengths"].max())
    # a batch's lengths and block table are smaller still; so is the mask of a tile
    small = sum(case.args[p].nbytes for p in ("lengths", "block_table") if p in case.args)
    heads = case.args["k_blocks"].shape[1] if "k_blocks" in case.args else 1
    return int(q.nbytes) * max(keys // 128, 1) + int(small) * max(heads, int(q.shape[-1]))


def _repeated(
    stage: Stage,
    case: Case,
    reads: dict[str, int],
    names: dict[str, str],
    parameter: str,
    allowed: int,
    whole: bool,
) -> Overrun:
    """The sentence for a parameter that is read too often; `whole` says that some program instance
    reads all of it."""
    sizes = stage.bytes_once(case)
    times = {p: reads.get(names.get(p, p), 0) / max(sizes[p], 1) for p in stage.reads}
    least = stage.minimum(case).hbm_bytes_read
    total = sum(reads.values())
    bytes_ = f"{total:,} bytes from HBM where {least:,} are enough"
    attention = None if stage.attention is None else stage.attention(case)
    splits = attention.splits if attention is not None else 0
    each = [times[p] for p in stage.reads if p[0] in "kv"]
    if splits > 1 and whole and all(abs(n - splits) < 0.01 for n in each):
        return Overrun(
            "all keys in every split",
            f"Every split reads all of K and V: {bytes_}. The output is right, since the {splits} "
            "states are alike and merge to the same; split s visits its own tiles, by "
            "nl.program_id(0).",
        )
    if attention is not None and attention.group > 1:
        group = attention.group
        shared = [p for p in stage.reads if p[0] in "kv" and times[p] > group - 0.01]
        if shared:
            what = " and ".join(map(_shown, shared))
            verb = "are" if len(shared) > 1 else "is"
            often = _times(max(times[p] for p in shared))
            return Overrun(
                "loaded once per query head",
                f"{what} {verb} loaded once per query head: read {often} (G = {group}), {bytes_}. "
                "The output is right; load each tile once per KV head and let the group's query "
                "heads share it.",
            )
    shown = ", ".join(f"{_shown(p)} {_times(times[p])}" for p in stage.reads if p != "q")
    return Overrun(
        "read too often",
        f"{_shown(parameter)} is read {_times(times[parameter])}, and this stage's budget is "
        f"{_times(allowed)} ({shown}; {bytes_}): {stage.cost_budget}.",
    )


def _shown(parameter: str) -> str:
    """K and V are written large in sentences."""
    return parameter.upper() if parameter in ("k", "v") else parameter


def _times(x: float) -> str:
    if abs(x - round(x)) < 0.005:
        whole = round(x)
        return {1: "once", 2: "twice"}.get(whole, f"{whole} times")
    return f"{x:.2f} times"


def _worst(reads: dict[str, int], names: dict[str, str], case: Case) -> str:
    own = {names.get(p, p) for p in case.args}
    spilled = {name: size for name, size in reads.items() if name not in own}
    if spilled:
        name, size = max(spilled.items(), key=lambda item: item[1])
        return (
            f"{size:,} of them come from {name or 'a scratch tensor'}, an intermediate that "
            "could stay in SBUF."
        )
    parts = [
        f"{_shown(p)} {_times(reads.get(names.get(p, p), 0) / value.nbytes)}"
        for p, value in case.args.items()
        if hasattr(value, "nbytes")
    ]
    if promise := case.options.get("max_length"):
        return f"the tiles beyond max_length = {promise} need not be read."
    return f"read {', '.join(parts)}."


def notes(stage: Stage, case: Case, run: Any, found: tuple[Counter, ...]) -> tuple[str, ...]:
    """Remarks on a right kernel that costs more than it must, short of defeating the lesson."""
    remarks = []
    if stage.ladder is None:  # its rungs tell more
        by_name = {c.name: c for c in found}
        remarks += _more(by_name["DMA transfers"])
        fewer = [c.name for c in found if c.yours < c.minimum]
        if fewer:
            named = " and ".join(filter(None, [", ".join(fewer[:-1]), fewer[-1]]))
            remarks.append(f"fewer {named} than this lesson's method needs with tiles of 128.")
        remarks += _more(by_name["transposes"])
        keys = case.args.get("k", case.args.get("k_blocks"))
        peak = by_name["peak SBUF bytes"].yours
        if stage.number >= 2 and keys is not None and peak > 1.5 * keys.nbytes:
            remarks.append(
                "the whole of K or V is on chip at once; that works until the cache outgrows SBUF."
            )
    if stage.attention is not None and not named_state(run.names()):
        remarks.append(
            'the kernel names no state; with nl.full(..., name="m"), "l" and '
            '"acc", updated in place, trace '
            "shows how they move, and a wrong value is placed at its tile."
        )
    return tuple(f"note: {remark}" for remark in remarks)


def _more(counter: Counter) -> list[str]:
    """The remark on a cost of more than twice the minimum."""
    if counter.yours <= 2 * counter.minimum:
        return []
    enough = f"{counter.minimum:,} are enough with tiles of 128."
    return [f"{counter.yours:,} {counter.name}; {enough}"]
