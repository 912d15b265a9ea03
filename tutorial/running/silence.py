"""Silence while a learner's code runs: what it prints is dropped, and what others print is not."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

_SILENT: ContextVar[bool] = ContextVar("tutorial_silent", default=False)
_LOCK = threading.Lock()


class _Stream:
    """Standard output while something is silent: what other threads print goes to the stream that
    was there."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.users = 0

    def write(self, text: str) -> int:
        return len(text) if _SILENT.get() or self.stream is None else int(self.stream.write(text))

    def flush(self) -> None:
        if self.stream is not None:
            self.stream.flush()

    def close(self) -> None:
        """Nothing: the stream is not that of the code which runs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """What this thread prints inside is dropped."""
    with _LOCK:
        made = sys.stdout if isinstance(sys.stdout, _Stream) else _Stream(sys.stdout)
        made.users += 1
        sys.stdout = made
    token = _SILENT.set(True)
    try:
        yield
    finally:
        _SILENT.reset(token)
        with _LOCK:
            made.users -= 1
            # whatever the code has put there
            sys.stdout = made if made.users else made.stream
