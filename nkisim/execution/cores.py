"""Two physical cores that run one kernel side by side, in turns: one runs until it waits for the
other, then that one runs.

Each core has its own `Execution` (memory on chip, registers, records); they share the tensors in
HBM. Turns are handed over at `Cores.wait` only, core 0 first, so that a run is the same every time.
Source: aws-neuron-sdk v2.32.0 nki/guides/nki_simulator.rst (LNC2 kernels),
nki/api/nki/isa/__init__.py (sendrecv, core_barrier).

Each core needs a thread: Python suspends a function in the midst of its calls, the kernel's and its
helpers', only in threads. Where there are none, as in a browser, such a kernel is refused.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine.running import RUNNING
from ..rules import source
from ..rules.errors import broken
from ..tensors.tensor import Tensor
from .execution import Execution, running
from .races import Races


class _Abandoned(BaseException):
    """Unwinds a core that waits after the other one has failed. No handler of a kernel shall catch
    it."""


class _Core:
    def __init__(self, program: Execution, work: Callable[[], Any], group: Cores) -> None:
        self.program = program
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.ready: Callable[[], bool] = lambda: True
        self.yields = False
        """Whether it waits only for the other core to come as far as that comes by itself."""
        self.place: source.Line | None = None
        self.what = ""
        self.turn = threading.Semaphore(0)
        context = contextvars.copy_context()
        self.thread = threading.Thread(
            target=context.run, args=(self._run, work, group), daemon=True
        )

    def _run(self, work: Callable[[], Any], group: Cores) -> None:
        RUNNING.set(self.program)
        self.turn.acquire()
        if self.program.lowering is not None:
            self.program.lowering.switch(group.number(self.program))
        try:
            if not group.abandoned:
                with np.errstate(all="ignore"):
                    self.result = work()
        except _Abandoned:
            pass
        except BaseException as error:  # handed to the caller of `Cores.run`
            self.error = error
        finally:
            self.done = True
            group.back.release()


def _start(thread: threading.Thread) -> None:
    """Start it; where Python has no threads (as in a browser), say what that means."""
    try:
        thread.start()
    except RuntimeError as error:
        raise RuntimeError(
            "a kernel on two cores needs a thread for each of them, and this Python cannot start "
            "one (in a browser it never can): launch kernel[1], or run it elsewhere"
        ) from error


class Cores:
    """The physical cores of one logical one."""

    def __init__(self) -> None:
        self.cores: list[_Core] = []
        self.back = threading.Semaphore(0)
        self.abandoned = False
        self.posted: dict[tuple[Any, ...], Any] = {}
        """What a core has laid out for another: kind, core and number of the exchange -> the
        thing."""
        self.counts: dict[tuple[Any, ...], int] = {}
        """How many exchanges of a kind each core has begun."""
        self.races = Races()
        self.marks: dict[tuple[Any, ...], int] = {}
        """How many accesses to HBM there had been when a core began an exchange."""

    def run(self, programs: list[Execution], work: Callable[[], Any]) -> list[Any]:
        """Do `work` on every core, each under its own program; the results, core 0's first."""
        self.cores = [_Core(p, work, self) for p in programs]
        for core in self.cores:
            core.program.cores = self
            _start(core.thread)
        try:
            while not all(core.done for core in self.cores):
                able = [c for c in self.cores if not c.done and c.ready()]
                if not able:
                    self._stuck()
                core = able[0]
                core.turn.release()
                self.back.acquire()
                if core.error is not None:
                    raise core.error
        finally:
            self.abandoned = True
            for core in self.cores:
                if not core.done:
                    core.turn.release()
                    self.back.acquire()
            for core in self.cores:
                core.thread.join()
                core.program.cores = None
        return [core.result for core in self.cores]

    def _stuck(self) -> None:
        waiting = [(i, c) for i, c in enumerate(self.cores) if not c.done]
        number, core = waiting[0]
        others = (
            ("the other has ended")
            if len(waiting) == 1
            else "the other waits too: "
            + "; ".join(
                f"core {i} in {c.what}, line {c.place.line if c.place else 0}"
                for i, c in waiting[1:]
            )
        )
        broken(
            "lnc",
            f"core {number} waits in {core.what} for ever: {others}",
            got=f"{len(waiting)} of {len(self.cores)} cores wait",
            at=core.place,
            remedy="Both cores run the same nisa.sendrecv and nisa.core_barrier calls, in the "
            "same order, with one pipe_id.",
        )

    def number(self, program: Execution) -> int:
        """Which of the cores runs `program`."""
        return next(i for i, c in enumerate(self.cores) if c.program is program)

    def touches(self, program: Execution, api: str, dst: Tensor, srcs: tuple[Tensor, ...]) -> None:
        """Note what an instruction of a core reads and writes in the memory that both share."""
        self.races.instruction(self.number(program), api, dst, srcs)

    def let_the_other_go_on(self) -> None:
        """Let the other core run as far as it comes by itself. Which of two cores is ahead is
        anybody's guess where nothing makes one wait."""
        me = next(c for c in self.cores if c.program is running())
        other = next(c for c in self.cores if c is not me)
        me.yields = True
        self.wait(
            lambda: other.done or other.yields or not other.ready(),
            "a read of what the other core writes",
        )
        me.yields = False

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Let the other core run until `ready` holds."""
        program = running()
        core = next(c for c in self.cores if c.program is program)
        core.ready, core.what, core.place = ready, what, source.here(2)
        if not ready():
            self.back.release()
            core.turn.acquire()
            if self.abandoned:
                raise _Abandoned
            assert program is not None
            if program.lowering is not None:
                program.lowering.switch(self.number(program))
        core.ready = lambda: True

    def exchange(self, kind: tuple[Any, ...], mine: Any, what: str) -> Any:
        """Lay out `mine` for the other core and take what it lays out in its exchange of this kind
        with the same number."""
        program = running()
        assert program is not None
        me = self.number(program)
        count = self.counts[kind, me] = self.counts.get((kind, me), 0) + 1
        self.posted[kind, me, count] = mine
        self.marks[kind, me, count] = self.races.now
        self.wait(lambda: (kind, 1 - me, count) in self.posted, what)
        self.races.meet(me, self.marks[kind, 1 - me, count])
        return self.posted[kind, 1 - me, count]
