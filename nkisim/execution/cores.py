"""Two physical cores that run one kernel side by side, in turns: one runs until it waits for the
other, then that one runs.

Each core has its own `Program` (memory on chip, registers, records); HBM tensors are shared. Turns
are handed over at `Cores.wait` only, core 0 first, so that a run is the same every time. Source:
aws-neuron-sdk v2.32.0 nki/guides/nki_simulator.rst (LNC2 kernels), nki/api/nki/isa/__init__.py
(sendrecv, core_barrier).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine.running import STATE
from ..rules import source
from ..rules.errors import broken
from .execution import Program


class _Abandoned(BaseException):
    """Unwinds a core that waits after the other one has failed. No handler of a kernel shall catch
    it."""


class _Core:
    def __init__(self, program: Program, work: Callable[[], Any], group: Cores) -> None:
        self.program = program
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.ready: Callable[[], bool] = lambda: True
        self.place: source.Line | None = None
        self.what = ""
        self.turn = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._run, args=(work, group), daemon=True)

    def _run(self, work: Callable[[], Any], group: Cores) -> None:
        self.turn.acquire()
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


class Cores:
    """The physical cores of one logical one."""

    def __init__(self) -> None:
        self.cores: list[_Core] = []
        self.back = threading.Semaphore(0)
        self.abandoned = False
        self.posted: dict[tuple, Any] = {}
        """What a core has laid out for another: kind, core and number of the exchange -> the
        thing."""
        self.counts: dict[tuple, int] = {}
        """How many exchanges of a kind each core has begun."""

    def run(self, programs: list[Program], work: Callable[[], Any]) -> list[Any]:
        """Do `work` on every core, each under its own program; the results, core 0's first."""
        before = STATE.program
        self.cores = [_Core(p, work, self) for p in programs]
        for core in self.cores:
            core.program.cores = self
            core.thread.start()
        try:
            while not all(core.done for core in self.cores):
                able = [c for c in self.cores if not c.done and c.ready()]
                if not able:
                    self._stuck()
                core = able[0]
                STATE.program = core.program
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
            STATE.program = before
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

    def number(self, program: Program) -> int:
        """Which of the cores runs `program`."""
        return next(i for i, c in enumerate(self.cores) if c.program is program)

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Let the other core run until `ready` holds."""
        program = STATE.program
        core = next(c for c in self.cores if c.program is program)
        core.ready, core.what, core.place = ready, what, source.here(2)
        if not ready():
            self.back.release()
            core.turn.acquire()
            if self.abandoned:
                raise _Abandoned
            STATE.program = program
        core.ready = lambda: True

    def exchange(self, kind: tuple, mine: Any, what: str) -> Any:
        """Lay out `mine` for the other core and take what it lays out in its exchange of this kind
        with the same number."""
        assert STATE.program is not None
        me = self.number(STATE.program)
        count = self.counts[kind, me] = self.counts.get((kind, me), 0) + 1
        self.posted[kind, me, count] = mine
        self.wait(lambda: (kind, 1 - me, count) in self.posted, what)
        return self.posted[kind, 1 - me, count]
