"""From wrong values to a sentence: where the kernel first goes wrong, and which mistake makes it
so.

Two witnesses. The outputs on all families are compared with what the known mistakes would answer
(`matching`); this needs nothing of the kernel's style. The state trace, where the kernel has one,
gives the place and the ratio (`divergence`), and decides between mistakes that answer alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..running import problems
from ..running.answer import Answer, Diagnosis
from ..running.executed import is_exp
from ..stage import Stage
from . import left_out, matching, order
from . import place as placing
from .evidence import Evidence
from .scaling import diagnose_scaling
from .trial import FITS, FITS_SHORT

ZEROS = ("zeros stored", "The output is 0 everywhere: nothing of K or V reaches it.")
NO_NUMBERS = "no numbers"
"""The cause where no output says anything and nothing was recorded: no more can be said."""
NAN = (
    "No output is a number: exp overflows where the old and the new max are exchanged (alpha is "
    "exp(m_old - m_new), p is exp(qk - m_new)), and 0 / 0 is NaN where l is never updated."
)
SLIP = "No known mistake gives these values; the method does, in NumPy, {}."
ZERO = (
    "No output is a number other than 0: acc is 0 where nothing is added to it, and acc / l is 0 "
    "where l is infinite since exp overflows in what it sums."
)


def diagnose(stage: Stage, kernel: Any, answers: Sequence[Answer]) -> Diagnosis:
    """Name the mistake behind the wrong answers of `kernel` (there is at least one)."""
    if stage.attention is None:
        return diagnose_scaling(answers)
    evidence = Evidence(stage, kernel, answers)
    done = order.seen(answers[evidence.first].result.run)
    if done is not None:
        return _report(evidence, evidence.clearest, *done)
    if evidence.stores_zeros:
        more = f" {said}" if (said := placing.missing(evidence)) else ""
        return _report(evidence, evidence.first, ZEROS[0], ZEROS[1] + more)
    left = _left_out(evidence, left_out.MAX, unread=False) if _is_low(evidence) else None
    if left is not None:
        return left
    low = evidence.low_precision if evidence.like_rounding else None
    match = None if low is not None else matching.recognised(evidence)
    if match is not None:
        found = match.candidate.mistake
        return _report(evidence, evidence.clearest, found.key, _fill(evidence, found.sentence))
    if evidence.recorded is None and not evidence.any_number:
        said = ZERO if evidence.any_zero else NAN
        return _report(evidence, evidence.first, NO_NUMBERS, said)
    low = low or evidence.low_precision
    if low is not None:
        return _report(evidence, evidence.clearest, "low precision", low)
    place = evidence.divergence(evidence.first)
    moved = placing.moved(evidence, FITS if stage.tolerance is None else FITS_SHORT)
    if moved is not None:
        return _report(evidence, evidence.first, "rows exchanged", moved)
    unread = placing.unread(evidence)
    if unread is not None:
        return _report(evidence, evidence.first, "keys never read", unread)
    for op in (left_out.MAX, left_out.SUM):
        left = _left_out(evidence, op)
        if left is not None:
            return left
    slip = matching.slipped(evidence)
    if slip is not None:
        made = slip.candidate.mistake
        return _report(evidence, evidence.first, made.key, SLIP.format(made.sentence))
    return _report(evidence, evidence.first, None, placing.advice(evidence, place is not None))


def _left_out(evidence: Evidence, op: str, unread: bool = True) -> Diagnosis | None:
    """The diagnosis of a max, or a sum, that leaves numbers out; not where keys do not count."""
    run = evidence.run(evidence.first)
    if run is None or evidence.ragged:
        return None
    said = left_out.of_a_reduction(run, op, unread)
    return None if said is None else _report(evidence, evidence.first, left_out.CAUSES[op], said)


def _is_low(evidence: Evidence) -> bool:
    """Whether m shows too low, or exp overflows and nothing else is wrong."""
    i = evidence.first
    if evidence.ragged or not evidence.is_plain(i):
        return False
    place = evidence.divergence(i)
    if place is not None and place.quantity == "m":
        return place.got < place.expected
    found = evidence.overflow
    return evidence.silent and found is not None and is_exp(found[1])


def _report(evidence: Evidence, i: int, cause: str | None, text: str) -> Diagnosis:
    """The place in case i, and then the text."""
    place = evidence.divergence(i)
    answer = evidence.answers[i]
    details: dict[str, Any] = {
        "failing": [evidence.answers[j].result.case.family for j in evidence.failing]
    }
    if place is not None:
        details |= {
            "tile": place.tile,
            "head": place.head,
            "quantity": place.quantity,
            "got": place.got,
            "expected": place.expected,
            "ratio": place.ratio,
        }
        where = place.sentence
    else:
        where, more = placing.in_the_output(answer, evidence.problems[i], evidence.off(i))
        details |= more
        if i == evidence.first and evidence.overflow is not None and evidence.is_plain(i):
            made = evidence.overflow[1]
            where += (
                f" The first infinity or NaN comes from line {made.line}: "
                f"{problems.without_comment(made.source)}."
            )
            details["line"] = made.line
    return Diagnosis(f"{where} {text}", answer.result.case.family, cause, details)


def _fill(evidence: Evidence, cause: str) -> str:
    """A cause with the sizes of the case that is reported."""
    i = evidence.clearest
    problem = evidence.problems[i]
    group = problem.group if problem.group > 1 else max(p.group for p in evidence.problems)
    root = f"{float(np.sqrt(problem.d)):.2f}".removesuffix(".00")
    values = {
        "G": group,
        "sqrt_d": root,
        "tiles": evidence.tiles,
        "S": problem.splits,
    }
    if problem.splits or problem.lengths is not None:  # they have tiles each
        owner = "split" if problem.splits else "sequence"
        cause = cause.replace("all {tiles} tiles", f"all tiles of the {owner}")
    for name, value in values.items():
        cause = cause.replace("{" + name + "}", str(value))
    return cause
