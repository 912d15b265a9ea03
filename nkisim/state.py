"""The kernel that is running, if any, and the run that listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import broken

if TYPE_CHECKING:
    from .program import Program
    from .run import Run


class _State:
    __slots__ = ("program", "run")

    def __init__(self) -> None:
        self.program: Program | None = None
        self.run: Run | None = None


STATE = _State()


def current(api: str) -> Program:
    """The running program; refuses calls outside a kernel."""
    program = STATE.program
    if program is None:
        broken("outside-kernel", f"{api} was called outside a kernel",
               remedy="Call it inside a function decorated with @nki.jit, and run that with NumPy arrays or "
                      "nki.simulate_kernel.")
    assert program is not None
    return program
