"""What a kernel costs on one input: counted bytes and instructions, and what the model of time
makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import stage
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
_NAMES = {
    "tensor": "TensorE",
    "vector": "VectorE",
    "scalar": "ScalarE",
    "gpsimd": "GpSimdE",
    "dma": "DMA",
}
UNKNOWN = (
    "unknown   what a compiler reorders, fuses or spills, and what a device measures; nothing here "
    "has run on one"
)


class Tally:
    """The text says what is counted, what is modelled and what is unknown. `.run` is the recorded
    run (None where there is none, and then the text says why), `.timeline(target)` the model of
    time, `.chart(name)` a picture of it."""

    def __init__(self, heading: str, run: Any, why: str = "") -> None:
        self.heading = heading
        self.run = run
        self.why = why

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
        by_engine: dict[str, int] = {}
        for instruction in run.instructions:
            by_engine[instruction.engine] = by_engine.get(instruction.engine, 0) + 1
        engines = ", ".join(
            f"{_NAMES[name]} {by_engine[name]:,}" for name in _NAMES if name in by_engine
        )
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
                f"          on trn2 mostly {_NAMES.get(at.bound, at.bound)}, {share:.1f} % of "
                "achievable HBM bandwidth (model)",
                UNKNOWN,
            ]
        )

    def __repr__(self) -> str:
        return str(self)


def tally(
    key: int | str | stage.Stage, kernel: Any, inputs: Mapping[str, Any] | None = None
) -> Tally:
    """What a kernel costs on the stage's cost case, or on your own inputs.

    `inputs` by name: arrays, or `nkisim.shape(...)` of any size, for which nothing is computed.
    What keeps the kernel from running is the text of the answer, in one sentence. Times are
    modelled, never measured.
    """
    lesson = stage.get(key)
    if isinstance(kernel, StandIn):
        return Tally("", None, f"The solution of {lesson.title} is not here.")
    case = (
        lesson.case(lesson.cost_case)
        if inputs is None
        else Case(
            "your input",
            "",
            {name: inputs[name] for name in inputs if name not in lesson.options},
            {name: inputs[name] for name in inputs if name in lesson.options},
        )
    )
    heading = f"{lesson.title}, {case.sizes}"
    result = runner.attempt(kernel, case, lesson)
    if result.problem is not None:
        return Tally(heading, None, result.problem.sentence)
    if result.run is None:
        return Tally(
            heading,
            None,
            "The real SDK runs this kernel and counts nothing; that needs the simulator.",
        )
    return Tally(heading, result.run)
