"""Where an output is wrong, and what to look at when no known mistake explains it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention, online_states
from ..reference.text import apart
from ..running import runner
from ..running.answer import Answer, alike
from ..running.executed import is_exp
from ..trace import blocks
from ..trace.divergence import Context
from ..trace.states import NAMES
from .evidence import FEW, Evidence

NO_KEYS = (
    "In the first wrong input only sequences without keys are wrong, whose output must be 0: acc "
    "must start at 0, and every value of the padding must be 0 before p weighs it."
)


def in_the_output(
    answer: Answer, problem: Attention, off: NDArray[np.bool_]
) -> tuple[str, dict[str, Any]]:
    """Where the output is most wrong: of the rows that are `off` the first without numbers, else
    the first; its worst element."""
    got, want = answer.rows.astype(np.float64), answer.expected_rows
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(got), np.abs(got - want), np.inf)
    lost = off & ~np.isfinite(got).all(axis=1)
    h = int(np.argmax(lost if lost.any() else off))
    i = int(np.argmax(error[h]))
    label = problem.label(h)
    head = f"{label}: " if label else ""
    g, w = float(got[h, i]), float(want[h, i])
    details = {"head": h, "quantity": "o", "index": i, "got": g, "expected": w}
    shown, expected = apart(g, w)
    return f"{head}o[{i}] is {shown}, expected {expected}.", details


def factor(evidence: Evidence) -> str:
    """A sentence where every wrong row is the right one times a number; it names the number if that
    is the same quantity in all failing cases. Nothing otherwise."""
    shown = 0.0
    names: set[str] | None = None
    for i in evidence.failing:
        answer, problem = evidence.answers[i], evidence.problems[i]
        sums = online_states(problem, problem.n).l[-1]
        for h, (got, want) in enumerate(
            zip(answer.rows.astype(np.float64), answer.expected_rows, strict=True)
        ):
            ratio = _ratio(got, want)
            if ratio is None:
                return ""
            if abs(ratio - 1) < 5e-3:
                continue
            shown = shown or ratio
            made = Context(
                1.0,
                1.0,
                float(sums[h]),
                problem.group,
                float(np.sqrt(problem.d)),
                max(problem.n // 128, 1),
            )
            fitting = {name for name, value in made.names() if np.isclose(ratio, value, rtol=2e-3)}
            names = fitting if names is None else names & fitting
    if not shown:
        return ""
    name = f", which is {sorted(names)[0]} of that row" if names else ""
    return (
        f" Every wrong row is the right one times a number, the first {shown:.3g}{name}: "
        "acc is divided by something else than l, or the output is multiplied by something besides."
    )


def _ratio(got: Any, want: Any) -> float | None:
    """By what `got` is `want` times a number; None where it is not."""
    size = float(want @ want)
    if not np.isfinite(got).all() or not size:
        return None
    ratio = float(got @ want) / size
    return (
        ratio
        if abs(ratio) > 1e-30 and np.abs(got - ratio * want).max() <= 1e-3 * np.abs(got).max()
        else None
    )


def moved(evidence: Evidence, agrees: float) -> str | None:
    """A sentence if every wrong row holds the right answer of another row: the numbers are right,
    their place is not."""
    first: tuple[int, int] | None = None
    for i in evidence.failing:
        got, want = evidence.answers[i].rows, evidence.answers[i].expected_rows
        for r in range(len(got)):
            if alike(got[r : r + 1], want[r : r + 1], agrees=agrees):
                continue
            source = next(
                (
                    s
                    for s in range(len(want))
                    if want[s].any() and alike(got[r : r + 1], want[s : s + 1], agrees=agrees)
                ),
                None,
            )
            if source is None:
                return None
            if i == evidence.first and first is None:
                first = r, source
    if first is None:
        return None
    problem = evidence.problems[evidence.first]
    here, there = (problem.label(row) or f"row {row}" for row in first)
    return (
        f"Row {first[0]} of the output ({here}) holds what belongs to {there}, and every "
        "other wrong row is another row's "
        "answer too: look at which q, or which of its scores, is read, and at which row of o is "
        "written."
    )


def advice(evidence: Evidence, placed: bool) -> str:
    """What to look at when no known mistake fits."""
    right = [a.result.case.family for a in evidence.answers if not a.wrong]
    tried = len(evidence.answers)
    if 2 < tried < len(evidence.stage.cases()):  # enough were wrong: the others were not tried
        many = f"{len(right)} of the" if right else "all"
        shape = f"{'Right' if right else 'Wrong'} on {many} {tried} input families that were tried"
    elif right:
        shape = f"Right on {len(right)} of {tried} input families"
    else:
        shape = "Wrong on every input family"
    if said := missing(evidence):
        return f"{shape}. {said}"
    if not placed and (said := factor(evidence)):
        return f"{shape}.{said}"
    if placed:
        return (
            f"{shape}. No known mistake gives these values: look at the line that computes "
            "this quantity for this tile."
        )
    if evidence.overflow is not None and evidence.is_plain(evidence.first):
        return f"{shape}. {_overflowed(*evidence.overflow)}"
    i = evidence.first
    if not evidence.problems[i].row_lengths[evidence.off(i)].any():
        return f"{shape}. {NO_KEYS}"
    observed = evidence.observed(i)
    if observed is not None and all(x is not None for x in (observed.m, observed.l, observed.acc)):
        return f"{shape}. {_after_the_tiles(evidence)}"
    case = evidence.answers[evidence.first].result.case
    reveals = (
        (f" The family {case.family} reveals {case.reveals}.")
        if any(name.startswith("random") for name in right)
        else ""
    )
    if evidence.recorded is None:
        more = "Run the check with NKISIM_FORCE=1, in the course's simulator"
    elif set(NAMES) <= evidence.named:
        more = "The state has names: update m, l and acc in place, once for each tile"
    else:
        more = "Name the state (m, l, acc) with name="
    return f"{shape}.{reveals} {more}, and the check can say at which tile it goes wrong."


def _overflowed(where: str, made: Any) -> str:
    """What to look at where an instruction made the first infinity or NaN."""
    if where == "division":
        return "What it divides by is 0 or not finite there: look at how that is made."
    if is_exp(made):
        return (
            "exp gives infinity above 88: what is subtracted there must be no lower than the "
            "largest of the numbers."
        )
    return "Look at what that line reads."


def _after_the_tiles(evidence: Evidence) -> str:
    """What to look at where the named state is as it should be."""
    own = sorted(evidence.its_own)
    if own:
        return (
            f"{' and '.join(own)} {'is' if len(own) == 1 else 'are'} kept in another way than the "
            "oracle's, so that the state does not show the place. No known mistake gives these "
            "values."
        )
    merge = "the merge, " if evidence.problems[evidence.first].splits else ""
    return (
        "m, l and acc agree with the oracle wherever the kernel names them: look at what comes "
        f"after the last tile, {merge}o = acc / l, and where it is stored."
    )


def unread(evidence: Evidence) -> str | None:
    """A sentence if a part of K or V is never read, which is wrong whatever else is."""
    case, left = evidence.answers[evidence.first].result.case, _keys_left(evidence)
    for name, read, needed in _bytes_read(evidence):
        if read < needed:
            of = f"{name} up to max_length" if case.options.get("max_length") else name
            only = f"Only {read:,} of the {needed:,} bytes of {of} are read: the loop does not "
            return f"{only}visit all keys.{left}"
    return f"The loop does not visit all keys.{left}" if left else None


def _keys_left(evidence: Evidence) -> str:
    """Which keys of K no load reads, the first that are neighbours; nothing where all are read, or
    what is seen of the loads does not come to the bytes that were read."""
    trial = evidence.checked[evidence.first]
    read = next((bytes_of_k for _, bytes_of_k, _ in _bytes_read(evidence)), 0)
    n, d, heads = trial.problem.n, trial.problem.d, trial.problem.n_kv_heads
    seen = sum(len(load.keys) for load in trial.loads) * d * trial.problem.k.dtype.itemsize
    if not seen or seen != read:
        return ""
    n = trial.case.options.get("max_length") or n
    found: dict[int, str] = {}
    for head in range(heads):
        own = [load.keys for load in trial.loads if load.head == head]
        left = np.setdiff1d(np.arange(n), np.concatenate([*own, np.zeros(0, np.intp)]))
        if left.size:
            last = left[np.append(np.diff(left) > 1, True)][0]
            found[head] = f"key {last}" if last == left[0] else f"the keys {left[0]} to {last}"
    head, keys = next(iter(found.items()), (0, ""))
    per, sequence = heads // trial.problem.parts, ""
    if trial.problem.parts > 1:
        sequence = f" of sequence {head // per}"
    everywhere = len(found) == heads and len(set(found.values())) == 1
    of = "" if everywhere else f"{sequence} of KV head {head % per}"
    return f" In the first wrong input, no load reads {keys}{of}." if found else ""


def _bytes_read(evidence: Evidence) -> Iterator[tuple[str, int, int]]:
    """How many bytes of K and of V are read in the first failing case, and how many must be."""
    answer = evidence.answers[evidence.first]
    run, case = answer.result.run, answer.result.case
    if run is None or "k_blocks" in case.args:
        return
    names = runner.names_in(run, evidence.kernel, evidence.stage, case)
    longest = case.options.get("max_length")
    for name in ("k", "v"):
        size, read = case.args[name].nbytes, run.hbm_reads.get(names.get(name, name), 0)
        yield name, read, size // case.args[name].shape[-1] * longest if longest else size


def missing(evidence: Evidence) -> str | None:
    """A sentence if a part of K or V is never read, or read more often than the stage's method
    needs."""
    case = evidence.answers[evidence.first].result.case
    if "k_blocks" in case.args:
        return _missed(evidence)
    if said := unread(evidence):
        return said
    for name, read, _ in _bytes_read(evidence):
        size = case.args[name].nbytes
        if read > 1.001 * size * evidence.stage.reads.get(name, 1):
            return (
                f"{read:,} bytes of {name} are read, which has {size:,}: the loop visits some keys "
                "more often than others, or all of them too often."
            )
    return None


def _missed(evidence: Evidence) -> str | None:
    """A sentence if a sequence's blocks in a pool are not all loaded."""
    for i in evidence.smallest[:FEW]:
        run, problem = evidence.run(i), evidence.problems[i]
        missed = None if run is None else blocks.missed(run, problem)
        if missed is not None:
            b, loaded, length = missed
            return (
                f"In the family {evidence.answers[i].result.case.family} only {loaded} of the "
                f"{length} keys of sequence {b} are loaded: look at the entries of its row of the "
                "table, and at the index that picks a block and a position."
            )
    return None
