"""The kernel that is running, if any, and the run that listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..rules.errors import broken

if TYPE_CHECKING:
    from ..execution.execution import Program
    from ..program.run import Run


class _State:
    __slots__ = ("program", "run")

    def __init__(self) -> None:
        self.program: Program | None = None
        self.run: Run | None = None


STATE = _State()


class _Force:
    """The dialect of the kernel that is running gives operators their meaning."""

    dialect: Any = None


FORCE = _Force()


def dialect() -> Any:
    """The dialect in force; refuses the use of a tensor outside its kernel."""
    if FORCE.dialect is None:
        broken(
            "outside-kernel",
            "a tensor was used outside its kernel",
            remedy="Return tensors from the kernel and work on the NumPy arrays it gives back.",
        )
    return FORCE.dialect


def current(api: str) -> Program:
    """The running program; refuses calls outside a kernel."""
    program = STATE.program
    if program is None:
        broken(
            "outside-kernel",
            f"{api} was called outside a kernel",
            remedy="Call it inside a function decorated with @nki.jit, and run that with NumPy "
            "arrays or "
            "nki.simulate_kernel.",
        )
    assert program is not None
    return program
