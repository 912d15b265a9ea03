"""How much a kernel may do before it is taken for one that never ends: instructions, which the
simulator counts, and the CPU time of a loop that issues none."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator

from ..stage import Case

LEAST = 20_000
PER_KEY = 100
"""Instructions for each key of each query head; the slowest right kernel known, a key and a head at
a time, needs about 40."""
SECONDS = 60.0
"""Of CPU time, for one call of a kernel or for the import of its file: hundreds of times what the
slowest right kernel takes."""


class NoEnd(BaseException):
    """What runs has taken all of its time. No handler of a kernel's errors shall catch it."""

    def __str__(self) -> str:
        return f"no end within {SECONDS:g} s of CPU time"


def most_instructions(case: Case) -> int:
    """The instructions that a kernel may issue on a case, whose arrays may be shapes alone."""
    args = case.args
    if "q" not in args:
        return LEAST
    keys = (
        args["block_table"].shape[-1] * args["k_blocks"].shape[-2]
        if "k_blocks" in args
        else args["k"].shape[-1]
    )
    q = args["q"].shape  # d is the last but one
    return most(int(q[-1]) * (int(q[0]) if len(q) > 2 else 1), int(keys))


def most(heads: int, keys: int) -> int:
    """The instructions that so many query heads and keys may take."""
    return max(LEAST, PER_KEY * heads * keys)


class _Watch(threading.Thread):
    """Keeps the time of the thread that makes it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.watched = threading.get_ident()
        self.done = threading.Event()
        self.raised = False

    def run(self) -> None:
        """Wait until the work is done, or has taken its time. Blocks that run side by side share
        the CPU time of the process."""
        start, cpu = time.monotonic(), time.process_time()
        left = SECONDS
        while not self.done.wait(left):
            spent = min(time.monotonic() - start, time.process_time() - cpu)
            left = SECONDS * len(_OPEN) - spent
            if left <= 0:
                self.raised = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.watched), ctypes.py_object(NoEnd)
                )
                return


_OPEN: set[_Watch] = set()
"""Of all blocks of `ending` that this process is in."""


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Raise `NoEnd` in what runs inside, once it has taken `SECONDS` of CPU time.

    Where Python has no threads, as in a browser, nobody keeps the time.
    """
    watch = _Watch()
    _OPEN.add(watch)
    try:
        with contextlib.suppress(RuntimeError):
            watch.start()
        yield
    finally:
        watch.done.set()
        if watch.ident is not None:
            watch.join()
        _OPEN.discard(watch)
        if watch.raised:
            with contextlib.suppress(NoEnd):
                for _ in range(1000):  # what comes too late comes here
                    pass
