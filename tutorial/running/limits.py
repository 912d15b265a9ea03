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
PER_KEY = 40
"""Instructions for each key of each query head; the slowest right kernel known, a key and a head at
a time, needs about 20."""
SECONDS = 60.0
"""Of CPU time, for one call of a kernel or for the import of its file: hundreds of times what the
slowest right kernel takes."""
_watched: set[threading.Event] = set()
"""One event for each block of `ending` that is open in this process."""


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


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Raise `NoEnd` in what runs inside, once it has taken `SECONDS` of CPU time.

    A second thread keeps the time. Where Python has no threads, as in a browser, nobody does.
    """
    done = threading.Event()
    thread = threading.get_ident()
    watch = threading.Thread(target=_watch, args=(done, thread), daemon=True)
    _watched.add(done)
    try:
        with contextlib.suppress(RuntimeError):
            watch.start()
        yield
    finally:
        _watched.discard(done)
        done.set()
        if watch.ident is not None:
            watch.join()
            _raise(thread, None)  # what was raised too late


def _watch(done: threading.Event, thread: int) -> None:
    """Wait until the work is done, or has taken its time. Blocks that run side by side share the
    CPU time of the process."""
    start, cpu = time.monotonic(), time.process_time()
    left = SECONDS
    while not done.wait(left):
        spent = min(time.monotonic() - start, time.process_time() - cpu)
        left = SECONDS * max(len(_watched), 1) - spent
        if left <= 0:
            _raise(thread, NoEnd)
            return


def _raise(thread: int, error: type[BaseException] | None) -> None:
    """Let a thread raise an error at its next instruction; None takes back what it has not raised
    yet."""
    given = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), given)
