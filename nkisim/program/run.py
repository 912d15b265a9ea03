"""What a kernel did: the records of one or more kernel calls, read as instructions, bytes, memory
and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..execution.execution import Execution
from ..execution.tape import Printed, Record, Write
from ..machine import dtypes
from ..machine.config import Config
from ..machine.memory import HBM, ON_CHIP, PSUM, SBUF
from ..machine.occupancy import Occupancy
from ..rules import source
from ..rules.errors import singular
from .instruction import Instructions


class Holder(NamedTuple):
    """A tensor that held memory at the peak."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    line: int


class Peak(int):
    """Peak bytes, with who held them: `.holders`, largest first, and `.line`, the kernel line of
    the moment."""

    holders: list[Holder]
    line: int

    def __new__(cls, value: int, holders: list[Holder], line: int) -> Peak:
        self = super().__new__(cls, value)
        self.holders = holders
        self.line = line
        return self


class Run:
    """What ran inside `nkisim.record()`. Several kernel calls add up."""

    def __init__(self, config: Config, keep_results: bool = False, values: bool = True) -> None:
        self.config = config
        self.keep_results = keep_results
        self.values = values
        """Whether values were computed (`record(values=False)`: they were not)."""
        self.target_asked = False
        """Whether a target was named when the recording began."""
        self.programs: list[Execution] = []
        self.traces = False
        """Whether it is kept which elements run-time indices picked (`program.dataflow`)."""

    def begun(self, execution: Execution) -> None:
        """A kernel, or the second core of one, has begun: its records are the run's."""
        if self.programs:
            execution.follows(self.programs[-1])
        self.programs.append(execution)
        if self.traces:
            execution.tape.indices = {}

    @property
    def target(self) -> str:
        """The name of the target, e.g. "trn2": the kernels' own if they all asked for one
        (`platform_target`)."""
        ran_on = {program.config.target.name for program in self.programs}
        return ran_on.pop() if len(ran_on) == 1 else self.config.target.name

    @property
    def unchecked(self) -> dict[str, str]:
        """The rules that need values and so were not held to, or not wholly: rule id -> what went
        unchecked. Empty for a run with values."""
        return {} if self.values else dict(UNCHECKED)

    def _need_values(self, what: str) -> None:
        if not self.values:
            raise ValueError(
                f"{what} holds values, and this run has none: it was recorded with values=False. "
                "Record without that argument to have them."
            )

    # -- instructions ------------------------------------------------------------------------------
    def records(self) -> Iterator[Record]:
        """The record of every instruction, in program order."""
        for program in self.programs:
            yield from program.records()

    def __len__(self) -> int:
        return sum(program.tape.length() for program in self.programs)

    @property
    def instructions(self) -> Instructions:
        """Every instruction in program order: a sequence whose items are made when they are looked
        at, again each time. Of a million, keep the sequence and look at some."""
        return Instructions(program.tape for program in self.programs)

    def count(self, op: str | None = None, engine: str | None = None) -> int:
        """How many instructions have this op and run on this engine (None: any)."""
        return sum(
            1
            for r in self.records()
            if (op is None or r.signature.instruction.name == op)
            and (engine is None or r.signature.engine == engine)
        )

    def counts(self) -> dict[str, int]:
        """Instructions by op, most frequent first."""
        found: dict[str, int] = {}
        for r in self.records():
            name = r.signature.instruction.name
            found[name] = found.get(name, 0) + 1
        return dict(sorted(found.items(), key=lambda kv: (-kv[1], kv[0])))

    # -- traffic -----------------------------------------------------------------------------------
    def _transfers(self) -> Iterator[Record]:
        for program in self.programs:
            yield from program.tape.transfers()

    @property
    def hbm_bytes_read(self) -> int:
        """Bytes that DMA engines read from HBM."""
        return sum(r.hbm_read for r in self._transfers())

    @property
    def hbm_bytes_written(self) -> int:
        """Bytes that DMA engines wrote to HBM."""
        return sum(r.hbm_written for r in self._transfers())

    @property
    def dma_transfers(self) -> int:
        """Number of DMA instructions."""
        return self.count(engine="dma")

    @property
    def hbm_reads(self) -> dict[str, int]:
        """Bytes read from each HBM tensor, by name."""
        out: dict[str, int] = {}
        for r in self._transfers():
            for who in r.srcs:
                if who.meta.space == HBM:
                    label = who.buffer.label
                    out[label] = out.get(label, 0) + r.moved(who.meta.nbytes)
        return out

    @property
    def hbm_writes(self) -> dict[str, int]:
        """Bytes written to each HBM tensor, by name."""
        out: dict[str, int] = {}
        for r in self._transfers():
            if r.dst.meta.space == HBM:
                label = r.buffer.label
                out[label] = out.get(label, 0) + r.moved(r.dst.meta.nbytes)
        return out

    # -- memory ------------------------------------------------------------------------------------
    def peak_bytes(self, space: str) -> Peak:
        """Most bytes of "sbuf" or "psum" in use at one moment, with `.holders`.

        A tile counts from the instruction that first writes it to the last that touches it: what a
        perfect allocator needs.
        """
        if space not in ON_CHIP:
            raise ValueError(f"peak_bytes takes 'sbuf' or 'psum', not {space!r}")
        best = Peak(0, [], 0)
        for program in self.programs:
            total, users, when = Occupancy(program.buffers).peak(f"{space}_bytes")
            if total > best or not best.holders:
                holders = [
                    Holder(
                        i.label,
                        i.meta.shape,
                        dtypes.name(i.meta.dtype),
                        i.nbytes,
                        source.line_of(i.code, i.lasti).line,
                    )
                    for i in users
                ]
                starts = [i for i in users if i.first == when]
                line = source.line_of(starts[-1].code, starts[-1].lasti).line if starts else 0
                best = Peak(total, holders, line)
        return best

    # -- values ------------------------------------------------------------------------------------
    @property
    def prints(self) -> list[Printed]:
        """Every nl.device_print, in order: `.prefix`, `.value` (without values a shape that says
        so), `.line`."""
        return [p for program in self.programs for p in program.tape.prints]

    def writes(self, name: str) -> list[Write]:
        """Every write to the tensors called `name`, in order: `.value` (the whole tensor after it),
        `.index` of the instruction, `.line`, `.region` written, and `.allocation`, which counts the
        tensors of that name. ValueError if the run was recorded with values=False."""
        self._need_values("run.writes")
        found: list[Write] = []
        index = allocation = 0
        for program in self.programs:
            found += program.tape.writes(name, index, allocation)
            index += sum(1 for _ in program.records())
            allocation += len(program.tape.named.get(name, []))
        return found

    def history(self, name: str) -> list[np.ndarray]:
        """Every value that the tensors called `name` took, in order; the initial fill is the first.
        ValueError if the run was recorded with values=False."""
        self._need_values("run.history")
        found = self.writes(name)
        if not found and name not in self.names():
            known = ", ".join(self.names()) or "none"
            raise KeyError(
                f"no tensor named {name!r} was written (named tensors: {known}); give it a name "
                f"where it is made: nl.full(..., name={name!r})"
            )
        return [w.value for w in found]

    @property
    def results(self) -> list[np.ndarray]:
        """What each of `instructions` wrote, if recorded with `keep_results=True`."""
        self._need_values("run.results")
        if not self.keep_results:
            raise ValueError("results are kept only by nkisim.record(keep_results=True)")
        return [r for program in self.programs for r in program.tape.results or ()]

    def names(self) -> list[str]:
        """The names given to on-chip tensors with name=, sorted."""
        return sorted({n for program in self.programs for n in program.tape.named})

    def summary(self) -> str:
        """The counters as a few lines of text."""
        lines = [f"target {self.target}: {len(self)} instructions"]
        lines += [f"  {n:6d}  {op}" for op, n in self.counts().items()]
        lines.append(
            f"  HBM read {self.hbm_bytes_read} bytes, written {self.hbm_bytes_written} bytes, "
            f"{self.dma_transfers} DMA transfers"
        )
        lines.append(
            f"  peak SBUF {int(self.peak_bytes(SBUF))} bytes, peak PSUM "
            f"{int(self.peak_bytes(PSUM))} bytes"
        )
        if self.unchecked:
            lines.append("  on shapes alone, no values; not checked:")
            lines += [f"    {rule}: {what}" for rule, what in self.unchecked.items()]
        return singular("\n".join(lines))

    def __repr__(self) -> str:
        alone = "" if self.values else ", without values"
        return (
            f"<Run on {self.target}: {len(self.programs)} kernel calls, {len(self)} "
            f"instructions{alone}>"
        )


UNCHECKED = {
    "argument": "bounds and probabilities of random numbers",
    "out-of-bounds": "indices that are known at run time only; of a DMA with oob_mode.skip all "
    "count as inside",
    "uninitialized-read": "elements picked by run-time indices, all of a tensor once it was "
    "stored to by such, and what a "
    "selection leaves out",
}
