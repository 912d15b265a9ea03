"""What a kernel costs on one input: counted bytes and instructions, and what the model of time
makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import stage
from ..reference.text import ENGINES
from ..running import runner
from ..running.worked import StandIn
from ..stage import Case

if TYPE_CHECKING:
    from nkisim.record import Timeline
    from nkisim.views.chart import Chart

TARGETS = ("trn1", "trn2")
CHARTS: dict[str, Callable[[Timeline], Chart]] = {
    # a picture of the solution shall not quote it
    "lanes": lambda line: line.lane_chart(quote=False),
    "memory": lambda line: line.memory_chart(),
    "roofline": lambda line: line.roofline_chart(),
}
UNKNOWN = (
    "unknown   what a compiler reorders, fuses or spills, and what a device measures; nothing here "
    "has run on one"
)


@dataclass(frozen=True, repr=False)
class Tally:
    """What `tally` returns.

    The text says what is counted, what is modelled and what is unknown. `.run` is the recorded
    run (None where there is none, and then the text says why), `.timeline(target)` the model of
    time, `.chart(name)` a picture of it.
    """

    heading: str
    run: Any
    why: str = ""

    def timeline(self, target: str = "trn2") -> Timeline:
        """The modelled schedule on a target. Raises StageError where nothing ran."""
        if self.run is None:
            raise stage.StageError(self.why)
        made: Timeline = self.run.timeline(target=target)
        return made

    def chart(self, name: str, target: str = "trn2") -> Chart | Tally:
        """A picture: "lanes" (engines over modelled time), "memory" (who holds SBUF and PSUM) or
        "roofline". Where nothing ran it is this tally, whose text says why."""
        if name not in CHARTS:
            raise ValueError(f"chart is one of {', '.join(CHARTS)}, not {name!r}")
        if self.run is None:
            return self
        return CHARTS[name](self.timeline(target))

    def __str__(self) -> str:
        if self.run is None:
            return self.why
        run = self.run
        counted = Counter(instruction.engine for instruction in run.instructions)
        engines = ", ".join(f"{name} {counted[e]:,}" for e, name in ENGINES.items() if counted[e])
        lines = {target: self.timeline(target) for target in TARGETS}
        times = ", ".join(
            f"{line.latency_us:,.1f} us (model) on {target}" for target, line in lines.items()
        )
        at = lines["trn2"]
        share = 100 * at.roofline.achieved_bandwidth / at.roofline.achievable_bandwidth
        return "\n".join(
            [
                self.heading,
                f"counted   {run.hbm_bytes_read:,} HBM bytes read, {run.hbm_bytes_written:,} "
                f"written; {len(run):,} instructions: {engines}",
                f"modelled  {times}",
                f"          on trn2 mostly {ENGINES.get(at.bound, at.bound)}, {share:.1f} % of "
                "achievable HBM bandwidth (model)",
                UNKNOWN,
            ]
        )

    __repr__ = __str__


def recorded(
    kernel: Any, case: Case, lesson: stage.Stage, lacks: str = "lists no instructions"
) -> runner.Result | str:
    """What the kernel does on a case, as the simulator recorded it; or, where it did not, one
    sentence that says why."""
    if isinstance(kernel, StandIn):
        return f"The solution of {kernel.lesson.title} is not here."
    result = runner.attempt(kernel, case, lesson)
    if result.problem is not None:
        return result.problem.sentence
    if result.run is None:
        return f"The real SDK runs this kernel and {lacks}; that needs the simulator."
    return result


def tally(
    key: int | str | stage.Stage, kernel: Any, inputs: Mapping[str, Any] | None = None
) -> Tally:
    """What a kernel costs on the stage's cost case, or on your own inputs.

    `inputs` by name: arrays, or `nkisim.shape(...)` of any size, for which nothing is computed.
    What keeps the kernel from running is the text of the answer, in one sentence. Times are
    modelled, never measured.
    """
    lesson = stage.get(key)
    if inputs is None:
        case = lesson.case(lesson.cost_case)
    else:
        options = {name: inputs[name] for name in inputs if name in lesson.options}
        args = {name: inputs[name] for name in inputs if name not in options}
        case = Case(stage.OWN_INPUT, "", args, options)
    result = recorded(kernel, case, lesson, "counts nothing")
    if isinstance(result, str):
        return Tally("", None, result)
    return Tally(f"{lesson.title}, {case.sizes}", result.run)
