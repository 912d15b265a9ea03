"""A ladder of kernels: what each rung costs and takes by the model of time, and which rung a
reader's kernel has reached.

    from tutorial import ladder
    ladder(7)               # the worked rungs, one row each
    ladder(7, kernel)       # and the reader's kernel below them
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nkisim

from .. import stage
from ..reference.text import table
from ..running import limits, runner
from ..running.silence import silent
from ..running.worked import StandIn
from ..stage import MEANING, TIME, Case, Ladder, Rung
from .tape import products

TARGETS = ("trn2", "trn1")


@dataclass(frozen=True)
class Measured:
    """A kernel at the ladder's size: its counters, and by target the modelled time, what bounds it,
    and the share of the achievable HBM bandwidth."""

    counts: Mapping[str, float]
    latency_us: Mapping[str, float]
    bound: Mapping[str, str]
    share: Mapping[str, float]


def measured(run: Any, targets: Sequence[str] = TARGETS) -> Measured:
    """The counters of a run, and what the model of time says of it on these targets, among them
    trn2."""
    lines = {target: run.timeline(target=target) for target in targets}
    made = list(run.instructions)  # an instruction is made whenever one is looked at
    busy = [i for i in made if i.engine in ("vector", "scalar")]
    counts: dict[str, float] = {
        "HBM bytes": sum(i.hbm_bytes_read + i.hbm_bytes_written for i in made),
        "transfers": sum(i.engine == "dma" for i in made),
        "transposes": products(run)[1],
        "instructions": len(busy),
        "elements": sum(max(math.prod(o.shape[1:]) for o in i.dst + i.srcs) for i in busy),
        TIME: round(lines["trn2"].latency_us, 1),
    }
    rooflines = {target: line.roofline for target, line in lines.items()}
    return Measured(
        counts,
        {target: line.latency_us for target, line in lines.items()},
        {target: line.bound for target, line in lines.items()},
        {t: roof.achieved_bandwidth / roof.achievable_bandwidth for t, roof in rooflines.items()},
    )


def measure(
    key: int | str | stage.Stage,
    kernel: Any,
    case: Case | None = None,
    targets: Sequence[str] = TARGETS,
) -> Measured | None:
    """The kernel at the ladder's size, or on `case`, on shapes alone; None where the simulator does
    not run it, or where it stands in for a solution.

    Raises what the kernel raises.
    """
    lesson = stage.get(key)
    if case is None:
        assert lesson.ladder is not None
        case = lesson.ladder.case()
    not_simulated = isinstance(kernel, StandIn) or runner.of_the_sdk(kernel)
    if not_simulated or runner.usable(kernel, lesson) is not None:
        return None
    args = [
        nkisim.shape(x.shape, x.dtype) if hasattr(x, "shape") else x for x in case.args.values()
    ]
    config = runner.configuration(case)
    with nkisim.record(config=config, values=False) as run, silent(), limits.ending():
        kernel(*args, **case.options)
    return measured(run, targets) if len(run) else None


def unmet(rung: Rung, found: Measured) -> list[str]:
    """What a rung asks for and the kernel does not have, in words."""
    return [
        f"{MEANING[name]} at most {limit:,g}, yours {found.counts[name]:,g}"
        for name, limit in rung.budget.items()
        if found.counts[name] > limit
    ]


def reached(ladder: Ladder, found: Measured) -> int:
    """The highest rung whose budget the kernel keeps; 0 if none."""
    return max(
        (rung.number for rung in ladder.rungs if not rung.tried and not unmet(rung, found)),
        default=0,
    )


def rung_of(lesson: stage.Stage, number: int) -> Rung:
    """The rung of that number. Raises StageError if the stage has none."""
    rungs = () if lesson.ladder is None else tuple(r for r in lesson.ladder.rungs if not r.tried)
    for rung in rungs:
        if rung.number == number:
            return rung
    has = f"has the rungs {rungs[0].number} to {rungs[-1].number}" if rungs else "has no rungs"
    raise stage.StageError(f"{lesson.title} {has}, not {number}.")


def standing(lesson: stage.Stage, found: Measured) -> str:
    """One line: the rung that is reached, and what the next one asks for."""
    assert lesson.ladder is not None
    at = reached(lesson.ladder, found)
    rungs = [rung for rung in lesson.ladder.rungs if not rung.tried]
    line = f"ladder: rung {at} of {len(rungs)}" + (f" ({rungs[at - 1].name})" if at else "")
    share = f"{100 * found.share['trn2']:.0f} % of achievable bandwidth"
    line += f", {found.counts[TIME]:,.1f} us on trn2 by the model of time, {share}"
    if at == len(rungs):
        return f"{line}."
    return f"{line}. Rung {at + 1}, {rungs[at].name}: {'; '.join(unmet(rungs[at], found))}."


def _kernels(lesson: stage.Stage) -> list[tuple[Rung, Any]]:
    assert lesson.ladder is not None
    folder = stage.solutions_folder()
    if folder is None:
        return []
    files = [(rung, folder / lesson.file_name / rung.file) for rung in lesson.ladder.rungs]
    return [(rung, runner.load(file, lesson)) for rung, file in files if file.is_file()]


def ladder(
    key: int | str | stage.Stage,
    kernel: Any = None,
    case: Case | None = None,
    rungs: Sequence[int] | None = None,
) -> None:
    """Print the worked rungs of a stage (or only those of these numbers), a row and a note each,
    and `kernel` below them; on `case` instead of the ladder's own size."""
    lesson = stage.get(key)
    if lesson.ladder is None:
        raise stage.StageError(f"{lesson.title} has no ladder.")
    at = lesson.ladder.case() if case is None else case
    rows, told = [], []
    for rung, made in _kernels(lesson):
        if rungs is not None and rung.number not in rungs:
            continue
        own = at if rung.arguments is None else replace(at, args=rung.arguments(at))
        found = measure(lesson, made, own)
        if found is not None:
            number = f"{rung.number}{'*' if rung.tried else ''}"
            rows.append([f"{number} {rung.name}", *_cells(found)])
            told += textwrap.wrap(f"{number}: {rung.note}", 95, subsequent_indent="   ")
    if not rows:
        print(f"The rungs of {lesson.title} are not here.")
    if kernel is not None:
        rows += _own_row(lesson, kernel, at)
    if rows:
        _print_rows(at, rows)
    if told and kernel is None:
        print("\n".join(told))


def _own_row(lesson: stage.Stage, kernel: Any, at: Case) -> list[list[str]]:
    """The row of the reader's kernel; none, and a sentence on the terminal, where it cannot be
    measured."""
    found, why = None, "There is nothing to count: the simulator does not run it."
    try:
        found = measure(lesson, kernel, at)
    except (Exception, limits.NoEnd) as error:  # check says more; this is a table
        why = f"Your kernel does not run at this size: {' '.join(str(error).split())}"
    if found is not None:
        return [["yours", *_cells(found)]]
    problem = runner.usable(kernel, lesson)
    print(problem.sentence if problem is not None else why)
    return []


def _print_rows(at: Case, rows: list[list[str]]) -> None:
    """The table, between the sizes and what the numbers mean."""
    print(at.sizes)
    counted = ["rung", "transfers", "transposes", "instr.", "elements"]
    modelled = [name for t in TARGETS for name in (f"model {t} us", "bound", "share")]
    print(table([*counted, *modelled], rows))
    print(
        "model: times are modelled, never measured. instr., elements: on VectorE and "
        "ScalarE; share: of the HBM\n"
        "bandwidth that the DMA engines of a core achieve, by the model."
    )


def _cells(found: Measured) -> list[str]:
    names = ("transfers", "transposes", "instructions", "elements")
    cells = [f"{found.counts[name]:,.0f}" for name in names]
    for t in TARGETS:
        cells += [f"{found.latency_us[t]:,.1f}", found.bound[t], f"{100 * found.share[t]:.0f} %"]
    return cells
