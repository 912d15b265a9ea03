"""Which kernel runs here, and which run listens to it.

Both belong to the context (`contextvars`), that is, to a thread or an asynchronous task: kernels in
several threads know nothing of one another, and `nkisim.record()` records the kernels that are
called in its own thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

from ..rules.errors import broken
from .config import Config


class RunningKernel(Protocol):
    """What those below the execution of a kernel ask of it."""

    dialect: Any
    """The names and operators of the kernel's dialect."""
    config: Config
    clock: int
    """How many instructions have begun."""
    values: bool
    """Whether values are computed; on shapes alone they are not."""
    lowering: Any
    """What notes the steps of a kernel that is lowered; None where none is."""

    def check_read(
        self,
        t: Any,
        api: str,
        where: np.ndarray | None = None,
        adds: bool = False,
        follows: bool = False,
        decides: bool = False,
    ) -> bool:
        """Refuse to read elements that no instruction has written."""


class Listener(Protocol):
    """What a kernel that begins asks of the run that records it."""

    config: Config
    keep_results: bool
    values: bool
    target_asked: bool
    """Whether a target was named when the recording began."""

    def begun(self, execution: Any) -> None:
        """A kernel, or the second core of one, has begun."""


RUNNING: ContextVar[RunningKernel | None] = ContextVar("nkisim_running", default=None)
LISTENER: ContextVar[Listener | None] = ContextVar("nkisim_listener", default=None)

running: Callable[[], RunningKernel | None] = RUNNING.get
"""The kernel that runs in this context; None outside any."""


def dialect() -> Any:
    """The dialect in force, which gives operators their meaning; refuses the use of a tensor
    outside its kernel."""
    kernel = RUNNING.get()
    if kernel is None:
        broken(
            "outside-kernel",
            "a tensor was used outside its kernel",
            remedy="Return tensors from the kernel and work on the NumPy arrays it gives back.",
        )
    assert kernel is not None
    return kernel.dialect
