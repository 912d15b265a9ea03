"""What a kernel did: the records of one or more kernel calls, read as instructions, bytes, memory
and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..execution.execution import Printed, Program, Write
from ..machine import dtypes
from ..machine.config import Config
from ..machine.memory import CONST, HBM, ON_CHIP, PSUM, SBUF, Buffer
from ..machine.running import STATE
from ..rules import source

if TYPE_CHECKING:
    from ..machine.target import Target
    from ..timeline import Timeline
    from ..views.memory_chart import MemoryChart
    from ..views.page import Page


class Operand(NamedTuple):
    """One tile or tensor of an instruction."""

    name: str
    space: str
    """"hbm", "sbuf" or "psum"; "const" for a number."""
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Instruction:
    """One instruction that ran."""

    index: int
    engine: str
    """"tensor", "vector", "scalar", "gpsimd" or "dma"."""
    op: str
    """The instruction of the machine, e.g. "nc_matmul", "activation", "dma_copy"."""
    dst: tuple[Operand, ...]
    srcs: tuple[Operand, ...]
    hbm_bytes_read: int
    hbm_bytes_written: int
    filename: str
    line: int
    source: str
    """The stripped source line of the kernel."""
    attrs: dict[str, Any]

    def __str__(self) -> str:
        sources = ", ".join(f"{o.name}{list(o.shape)}" for o in self.srcs if o.space != "const")
        targets = ", ".join(f"{o.name}{list(o.shape)}" for o in self.dst)
        return (
            f"{self.index:5d}  {self.engine:<6} {self.op:<16} {targets} <- {sources}   line "
            f"{self.line}"
        )


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


_ATTRIBUTES: dict[str, tuple[str | None, ...]] = {
    "nc_matmul": (
        "is_stationary_onezero",
        "is_moving_onezero",
        "is_transpose",
        "tile_position",
        "tile_size",
        "accumulate",
        "perf_mode",
    ),
    "nc_matmul_mx": ("tile_position", "tile_size", "accumulate"),
    "activation": ("op", None, None, "reduce_op", "reduce_cmd"),
    "activate2": ("op", "op0", "reverse0", "op1", "reverse1", "reduce_op", "reduce_cmd"),
    "tensor_tensor": ("op", None),
    "tensor_scalar": ("op0", "reverse0", "op1", "reverse1", None),
    "scalar_tensor_tensor": ("op0", "reverse0", "op1", "reverse1"),
    "tensor_tensor_scan": ("op0", "op1", "reverse0", "reverse1"),
    "tensor_reduce": ("op", "axis", "negate", "keepdims"),
    "tensor_scalar_reduce": ("op0", "reverse0", "reduce_op", "reduce_cmd", "reduce_res_negate"),
    "tensor_scalar_cumulative": ("op0", "reverse0", "op1", "reduce_cmd"),
    "exponential": ("reduce_cmd",),
    "tensor_copy_predicated": ("reverse_pred",),
    "select_reduce": ("reverse_pred", "reduce_cmd"),
    "range_select": ("comp_op0", "comp_op1", "range_start", "reduce_cmd", None),
    "tensor_partition_reduce": ("op",),
    "nc_stream_shuffle": ("shuffle_mask",),
    "local_gather": ("num_elem_per_idx", "num_valid_indices"),
    "nonzero_with_count": ("index_offset", "padding_val"),
    "topk": ("n",),
    "rng": ("shape", None),
    "rand": ("shape", None),
    "memset": ("shape", None),
    "dma_transpose": ("axes", "dge_mode"),
    "dma_copy": ("add",),
}
"""The readable names of instructions' attributes, in order; None for one that is not shown."""


def _attributes(signature: Any) -> dict[str, Any]:
    """The attributes of an instruction by readable name."""
    names = _ATTRIBUTES.get(signature.instruction.name, ())
    return {n: getattr(v, "name", v) for n, v in zip(names, signature.attrs) if n is not None}


class Occupancy:
    """Who occupies the on-chip memories when: each tensor from the instruction that makes it to the
    last that touches it, which is what the best allocator there can be would need."""

    def __init__(self, buffers: list[Buffer]) -> None:
        n = len(buffers)
        self.buffers = buffers
        self.first = np.fromiter(map(attrgetter("first"), buffers), np.int64, n)
        self.last = np.fromiter(map(attrgetter("last"), buffers), np.int64, n)
        self.end = int(max(self.first.max(initial=0), self.last.max(initial=0))) + 2

    def peak(self, attribute: str) -> tuple[int, list[Buffer], int]:
        """The largest total of `attribute` of the tensors' layouts at one moment; whose it is; and
        when."""
        sizes = np.fromiter(
            map(attrgetter("meta." + attribute), self.buffers), np.int64, len(self.buffers)
        )
        sizes[self.last < self.first] = 0  # redirected results were never stored
        change = np.bincount(self.first, sizes, self.end)
        change -= np.bincount(np.maximum(self.last, self.first) + 1, sizes, self.end)
        totals = np.cumsum(change)
        when = int(np.argmax(totals))
        there = np.flatnonzero((self.first <= when) & (when <= self.last) & (sizes > 0))
        live = [self.buffers[i] for i in there]
        return int(totals[when]), sorted(live, key=lambda b: -b.nbytes), when


class Run:
    """What ran inside `nkisim.record()`. Several kernel calls add up."""

    def __init__(self, config: Config, keep_results: bool = False, values: bool = True) -> None:
        self.config = config
        self.keep_results = keep_results
        self.values = values
        self.target_asked = False
        """Whether values were computed (`record(values=False)`: they were not)."""
        self.programs: list[Program] = []

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
        return {} if self.values else dict(_UNCHECKED)

    def _need_values(self, what: str) -> None:
        if not self.values:
            raise ValueError(
                f"{what} holds values, and this run has none: it was recorded with values=False. "
                "Record without that argument to have them."
            )

    # -- instructions ------------------------------------------------------------------------------
    def _raw(self) -> Iterator[tuple[Program, tuple]]:
        for program in self.programs:
            for record in program.records():
                yield program, record

    def __len__(self) -> int:
        return sum(1 for _ in self._raw())

    @property
    def instructions(self) -> list[Instruction]:
        """Every instruction in program order, as objects (made anew on each access: keep the
        list)."""
        out = []
        for index, (_, record) in enumerate(self._raw()):
            signature, code, lasti = record[0], record[1], record[2]
            place = source.line_of(code, lasti)
            written_to = [(record[3], signature.dst)]
            if signature.extra is not None:
                written_to.append((record[-3], signature.extra))
            dst = tuple(
                Operand(b.label, m.space, m.shape, dtypes.name(m.dtype)) for b, m in written_to
            )
            srcs = tuple(
                Operand(
                    b.label if m.space != CONST else "constant",
                    m.space,
                    m.shape,
                    dtypes.name(m.dtype),
                )
                for b, m in zip(record[5:-1:2], signature.srcs)
            )
            read, written = _hbm(record)
            out.append(
                Instruction(
                    index,
                    signature.engine,
                    signature.instruction.name,
                    dst,
                    srcs,
                    read,
                    written,
                    place.filename,
                    place.line,
                    place.text,
                    _attributes(signature),
                )
            )
        return out

    def count(self, op: str | None = None, engine: str | None = None) -> int:
        """How many instructions have this op and run on this engine (None: any)."""
        return sum(
            1
            for _, r in self._raw()
            if (op is None or r[0].instruction.name == op)
            and (engine is None or r[0].engine == engine)
        )

    def counts(self) -> dict[str, int]:
        """Instructions by op, most frequent first."""
        found: dict[str, int] = {}
        for _, r in self._raw():
            found[r[0].instruction.name] = found.get(r[0].instruction.name, 0) + 1
        return dict(sorted(found.items(), key=lambda kv: (-kv[1], kv[0])))

    # -- traffic -----------------------------------------------------------------------------------
    @property
    def hbm_bytes_read(self) -> int:
        """Bytes that DMA engines read from HBM."""
        return sum(_hbm(r)[0] for _, r in self._raw())

    @property
    def hbm_bytes_written(self) -> int:
        """Bytes that DMA engines wrote to HBM."""
        return sum(_hbm(r)[1] for _, r in self._raw())

    @property
    def dma_transfers(self) -> int:
        """Number of DMA instructions."""
        return self.count(engine="dma")

    @property
    def hbm_reads(self) -> dict[str, int]:
        """Bytes read from each HBM tensor, by name."""
        out: dict[str, int] = {}
        for _, r in self._raw():
            for who, meta in zip(r[5:-1:2], r[0].srcs):
                if meta.space == HBM:
                    label = who.label
                    out[label] = out.get(label, 0) + _scaled(meta.nbytes, r[-1])
        return out

    @property
    def hbm_writes(self) -> dict[str, int]:
        """Bytes written to each HBM tensor, by name."""
        out: dict[str, int] = {}
        for _, r in self._raw():
            if r[0].dst.space == HBM:
                label = r[3].label
                out[label] = out.get(label, 0) + _scaled(r[0].dst.nbytes, r[-1])
        return out

    # -- memory ------------------------------------------------------------------------------------
    def peak_bytes(self, space: str) -> Peak:
        """Most bytes of "sbuf" or "psum" in use at one moment, with `.holders`.

        A tile counts from the instruction that makes it to the last that touches it: what a perfect
        allocator needs.
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
        return [p for program in self.programs for p in program.prints]

    def writes(self, name: str) -> list[Write]:
        """Every write to the tensors called `name`, in order: `.value` (the whole tensor after it),
        `.index` of the instruction, `.line`, `.region` written, and `.allocation`, which counts the
        tensors of that name. ValueError if the run was recorded with values=False."""
        self._need_values("run.writes")
        found: list[Write] = []
        index = allocation = 0
        for program in self.programs:
            found += program.writes(name, index, allocation)
            index += sum(1 for _ in program.records())
            allocation += len(program.named.get(name, []))
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
        return [r for program in self.programs for r in program.results or ()]

    def names(self) -> list[str]:
        """The names given to on-chip tensors with name=, sorted."""
        return sorted({n for program in self.programs for n in program.named})

    # -- time --------------------------------------------------------------------------------------
    def timeline(
        self,
        target: str | Target | None = None,
        *,
        launch: str = "none",
        hoist_loads: bool = True,
        as_compiled: bool = False,
        throttle: bool = False,
        cores: int = 1,
    ) -> Timeline:
        """When each instruction would run, by the model of time: see `nkisim.timeline.Timeline`.

        `target`: the run's own if None. `launch`: which start-up and tear-down to add to the
        latency: "none", "profile" or "benchmark". `hoist_loads`: loads do not wait for stores that
        the kernel issues before them, as a compiler would have it. `as_compiled`: what a compiler
        seems to have done to published kernels, a guess: what an engine would compute again from
        the same, unchanged tiles takes no time, and copies for which the kernel names no engine go
        to VectorE or ScalarE, whichever is free first. `throttle`: TensorE of trn2 and trn3 starts
        at half its clock (documented). `cores`: program instances are dealt out to so many cores;
        on one core they run one after another.
        """
        from ..timeline import Timeline

        return Timeline(
            self,
            target,
            launch=launch,
            hoist_loads=hoist_loads,
            as_compiled=as_compiled,
            throttle=throttle,
            cores=cores,
        )

    # -- views -------------------------------------------------------------------------------------
    def counters(self) -> str:
        """Tables of what was counted: instructions by engine and operation, HBM traffic by
        tensor."""
        from ..views import counters

        return counters.text(self)

    def memory_chart(self) -> MemoryChart:
        """How full SBUF and PSUM are over the instructions, by owner: print it, or draw it with
        `.figure()`."""
        from ..views.memory_chart import MemoryChart

        return MemoryChart(self)

    def html(self, path: str | None = None, timeline: Timeline | None = None) -> Page:
        """A page to step through the instructions, which a notebook shows; written to `path` if one
        is given.

        `timeline`: a timeline of this run, whose modelled times the page then shows; ValueError if
        it is another run's. Contents of tiles are shown if the run was recorded with
        `keep_results=True`.
        """
        from ..views.page import Page

        page = Page(self, timeline)
        if path is not None:
            page.save(path)
        return page

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
        return "\n".join(lines)

    def __repr__(self) -> str:
        alone = "" if self.values else ", without values"
        return (
            f"<Run on {self.target}: {len(self.programs)} kernel calls, {len(self)} "
            f"instructions{alone}>"
        )


_UNCHECKED = {
    "argument": "bounds and probabilities of random numbers",
    "out-of-bounds": "indices that are known at run time only; of a DMA with oob_mode.skip all "
    "count as inside",
    "uninitialized-read": "elements picked by run-time indices, all of a tensor once it was "
    "stored to by such, and what a "
    "selection leaves out",
}


def _scaled(nbytes: int, fraction: tuple[int, int] | None) -> int:
    """Bytes moved by a masked transfer: (elements kept, elements named)."""
    return nbytes if fraction is None else nbytes * fraction[0] // fraction[1]


def _hbm(record: tuple) -> tuple[int, int]:
    return _scaled(record[0].read, record[-1]), _scaled(record[0].written, record[-1])


class record:  # noqa: N801  (used as a verb: `with nkisim.record() as run:`)
    """Record every kernel call in the block: `with nkisim.record() as run: kernel(q, k, v)`.

    `target`: "trn1", "trn2" (default) or "trn3". `config`: a whole `nkisim.Config` instead.
    `keep_results`: also keep a copy of what every instruction wrote, as `run.results`, and of the
    inputs. Nested blocks record into the innermost.

    `values=False` runs the kernels on shapes alone: the same records, counters and rules
    (`run.unchecked` names the exceptions), no arithmetic and no memory for tensors. Arguments are
    arrays or `nkisim.shape(shape, dtype)`, outputs are shapes. ValueError together with
    `keep_results`.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        config: Config | None = None,
        keep_results: bool = False,
        values: bool = True,
    ) -> None:
        from ..machine import target as targets

        base = config if config is not None else Config.from_environment()
        if target is not None:
            from dataclasses import replace

            base = replace(base, target=targets.get(target))
        if keep_results and not values:
            raise ValueError(
                "keep_results=True keeps values, and values=False computes none: choose one"
            )
        self.run = Run(base, keep_results, values)
        self.run.target_asked = target is not None  # not left to the default
        self._outer: Any = None

    def __enter__(self) -> Run:
        self._outer = STATE.run
        STATE.run = self.run
        return self.run

    def __exit__(self, *exc: Any) -> None:
        STATE.run = self._outer
