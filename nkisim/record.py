"""What a user holds: `record`, the run that it makes, and a run's timeline, with their charts.

The only file that knows both what ran and how it is drawn.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from . import timeline as model
from .machine import target as targets
from .machine.config import Config
from .machine.running import LISTENER, Listener
from .machine.target import Target
from .program import load as loading
from .program import lower as lowering
from .program import program as programs
from .program import run as runs
from .views import counters, trace_file
from .views.lane_chart import LaneChart
from .views.memory_chart import MemoryChart
from .views.page import Drawing, Page
from .views.roofline_chart import RooflineChart


class Timeline(model.Timeline):
    """When each instruction of a run starts and ends, by the model of time, and its charts."""

    run: Run

    def lane_chart(
        self, between: tuple[float, float] | None = None, quote: bool = True
    ) -> LaneChart:
        """What each engine and DMA queue does when; of the part `between` two moments in
        microseconds, if given. Without `quote` its text names the kernel's lines by number only."""
        return LaneChart(self, between, quote)

    def memory_chart(self) -> MemoryChart:
        """How full SBUF and PSUM are over modelled time, by owner."""
        return MemoryChart(self.run, self)

    def roofline_chart(self) -> RooflineChart:
        """Where the run stands under the roofs of HBM bandwidth and arithmetic."""
        return RooflineChart(self)

    def save_trace(self, path: str) -> None:
        """Write a trace file that ui.perfetto.dev opens: Chrome's trace-event JSON."""
        trace_file.save(self, path)


class Run(runs.Run):
    """What ran inside `nkisim.record()`. Several kernel calls add up."""

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
        return counters.text(self)

    def memory_chart(self) -> MemoryChart:
        """How full SBUF and PSUM are over the instructions, by owner: print it, or draw it with
        `.figure()`."""
        return MemoryChart(self)

    def html(
        self,
        path: str | None = None,
        timeline: Timeline | None = None,
        picture: Drawing | None = None,
    ) -> Page:
        """A page to step through the instructions, which a notebook shows; written to `path` if one
        is given.

        `timeline`: a timeline of this run, whose modelled times the page then shows. `picture`: a
        drawing of this run, such as `tutorial.pictures.of_run(run)`, in which the page marks each
        instruction. ValueError if either is another run's. Contents of tiles are shown if the run
        was recorded with `keep_results=True`.
        """
        page = Page(self, timeline, picture)
        if path is not None:
            page.save(path)
        return page


class record:
    """Record every kernel call in the block: `with nkisim.record() as run: kernel(q, k, v)`.

    `target`: "trn1", "trn2" (default) or "trn3". `config`: a whole `nkisim.Config` instead.
    `keep_results`: also keep a copy of what every instruction wrote, as `run.results`, and of the
    inputs. Nested blocks record into the innermost. A block records the kernels called in its own
    thread (and asynchronous task); a thread that it starts must open another block.

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
        base = config if config is not None else Config.from_environment()
        if target is not None:
            base = dataclasses.replace(base, target=targets.get(target))
        if keep_results and not values:
            raise ValueError(
                "keep_results=True keeps values, and values=False computes none: choose one"
            )
        self.run = Run(base, keep_results, values)
        self.run.target_asked = target is not None  # not left to the default
        self._outer: Listener | None = None

    def __enter__(self) -> Run:
        self._outer = LISTENER.get()
        LISTENER.set(self.run)
        return self.run

    def __exit__(self, *exc: Any) -> None:
        LISTENER.set(self._outer)


class Program(programs.Program):
    """A kernel, or a Python function that calls kernels, lowered for given shapes. Immutable.

    `program(*arrays)` replays it on one array for each of `inputs`, in that order, and returns what
    the direct call returns, bit by bit; inside `nkisim.record()` it leaves the same run. ValueError
    for arrays of other shapes or data types; `KernelError` for what only values decide.

    Made by `nkisim.lower` and `nkisim.load`. Counters, charts and timeline: those of `program.run`.
    """

    _runs = Run

    @property
    def run(self) -> Run:
        """What it does, as a run on shapes alone: instructions, counters, memory, timeline."""
        found = super().run
        assert isinstance(found, Run)
        return found

    def timeline(self, target: str | Target | None = None, **options: Any) -> Timeline:
        """When each instruction would run, by the model of time: see `Run.timeline`."""
        return self.run.timeline(target, **options)

    def counters(self) -> str:
        """Tables of what it does: instructions by engine and operation, HBM traffic by tensor."""
        return self.run.counters()


def lower(kernel: Any, *args: Any, **kwargs: Any) -> Program:
    """The program of `kernel` for the shapes and the Python values of these arguments.

    `kernel`: a kernel of either dialect, `kernel[grid]`, or a Python function that calls kernels
    and only reshapes what goes from one to the next. Arrays may be NumPy arrays, of which shape and
    data type count, or `nkisim.shape(...)`; each becomes an input. All else (numbers, flags) is
    part of the program. Target and configuration are those of `nkisim.record()` around it, else the
    environment's.

    `KernelError` where the kernel breaks a rule, or where a loop, a branch or an offset depends on
    values in a way that is not in a program (rule "values-needed"); ValueError where the function
    around the kernels needs values.
    """
    found = lowering.lower(Program, kernel, args, kwargs)
    assert isinstance(found, Program)
    return found


def load(path: str | Path) -> Program:
    """The program that `program.save` wrote to a file.

    Nothing in the file is believed: it is held to the rules, as a kernel is. ValueError
    (`nkisim.ProgramFileError`) with a sentence where it holds no program, `KernelError` where its
    program breaks a rule.
    """
    found = loading.load(Program, path)
    assert isinstance(found, Program)
    return found
