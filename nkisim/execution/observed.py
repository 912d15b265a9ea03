"""What is kept of a running kernel for who looks at it: the histories of named tensors, and what
was printed."""

from __future__ import annotations

from types import CodeType
from typing import Any

import numpy as np

from ..machine.config import Config
from ..machine.memory import CONST, Buffer, Meta, Scope
from ..machine.values import Room, Value
from ..machine.values import keep as keep_in
from ..tensors.tensor import IndexedTensor, Tensor
from .steps import PAUSE, RESUME
from .tape import Printed, Tape
from .written import Written


class Observed(Written):
    """The part of a running kernel (`Execution`) that others look at."""

    __slots__ = ("paused", "recording", "rooms", "tape")

    config: Config

    def __init__(self, scope: Scope, recording: bool, results: bool) -> None:
        """`recording`: somebody records the kernel; `results`: and keeps what each instruction
        writes."""
        super().__init__(scope)
        self.recording = recording
        self.tape = Tape(results)
        self.rooms: dict[Meta, Value] = {}
        """Where histories of tensors of each layout are kept."""
        self.paused: list[tuple[Any, ...]] | None = None
        """The history that `pause_history` laid aside."""

    def pause_history(self, buf: Buffer) -> None:
        """Keep no history of a tensor until `resume_history`."""
        if self.lowering is not None:
            self.lowering.step(PAUSE, 0, self.lowering.numbers[buf])
        self.paused = buf.tracked
        buf.tracked = None

    def resume_history(self, t: Tensor) -> None:
        """Go on with the history of `t`, whose whole value the last instruction has completed."""
        if self.lowering is not None:
            self.lowering.step(RESUME, 0, *self.lowering.view(t))
        buf = t.buf
        buf.tracked = self.paused
        if buf.tracked is not None:
            at = self.tape.start_of_last(1)
            buf.tracked.append((Value(t.array.copy()), at, buf.code, buf.lasti, None))

    def print_values(self, prefix: str, t: Tensor, line: int) -> None:
        """Note, and unless somebody records print, what `t` holds."""
        if self.lowering is not None:
            self.lowering.printed(prefix, t)
        values: Any = np.asarray(t.array) if t.meta.space == CONST else t.array
        if t.meta.space != CONST:
            self.check_read(t, "nl.device_print")
            values = t.gather(None) if isinstance(t, IndexedTensor) else t.array
            if self.values:
                values = np.array(values)
        self.tape.prints.append(Printed(prefix, values, line))
        if self.config.print_to_stdout and not self.recording and self.lowering is None:
            print(prefix, values)

    def note_history(
        self,
        t: Tensor,
        code: CodeType | None,
        lasti: int,
        keep: np.ndarray | None = None,
        at: int | None = None,
    ) -> None:
        """Keep the value of a named tensor after a write to it by the instruction recorded at `at`
        (None: next)."""
        buf = t.buf
        tracked = buf.tracked
        assert tracked is not None
        if at is None:
            at = len(self.tape.entries)
        t.present()
        held = t.held
        where = None if keep is None else (t.meta, t.off, keep)
        if t.meta is not buf.meta:
            held = Value(t.strided_view(0, buf.meta.shape, buf.meta.strides))
            where = (t.meta, t.off, keep)  # type: ignore[assignment]
        room = self.rooms.get(buf.meta)
        if room is None:
            room = self.rooms[buf.meta] = Value(Room())
        kept = Value()
        tracked.append((kept, at, code, lasti, where))
        buf.queue.append((keep_in, kept, held, room))
