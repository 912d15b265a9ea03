"""The process in which learners' files run: what they must not do to it, and one apart for each.

None of this is a sandbox. It keeps a file that ends the process, prints, or leaves threads behind
from being taken for one that was judged.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..stage import CLONE

SECONDS = 600.0
"""How long a file may take in a separate process."""


class Ended(SystemExit):
    """A file called os._exit."""


@contextlib.contextmanager
def staying() -> Iterator[None]:
    """While a learner's code runs, os._exit raises `Ended` in place of ending this process."""
    owner, leave = os.getpid(), os._exit

    def stay(status: int) -> NoReturn:
        if os.getpid() != owner:  # a process that the code has forked
            leave(status)
        raise Ended(status)

    os._exit = stay
    try:
        yield
    finally:
        os._exit = leave


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """While a learner's code runs, a second Ctrl-C ends the process, where that code has caught the
    first. Threads other than the main one are not asked."""
    usual, leave = signal.default_int_handler, os._exit
    asked: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if asked:
            with contextlib.suppress(OSError):
                os.write(2, b"Stopped: the file did not end at the first Ctrl-C.\n")
            leave(128 + number)
        asked.append(number)
        usual(number, frame)

    if signal.getsignal(signal.SIGINT) is not usual or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is stop:
            signal.signal(signal.SIGINT, usual)


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """What is written to standard output meanwhile, by whatever means, goes to standard error."""
    with contextlib.ExitStack() as stack:
        # where there is no standard error either, what is printed is lost
        elsewhere = sys.stderr or stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(elsewhere))
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if sys.__stdout__ is not None and sys.__stdout__.fileno() == 1 and _open(2):
                sys.__stdout__.flush()
                kept = os.dup(1)
                os.dup2(2, 1)
                stack.callback(os.close, kept)
                stack.callback(os.dup2, kept, 1)
        yield


@contextlib.contextmanager
def hosting() -> Iterator[None]:
    """While a learner's code runs: what it prints goes to standard error, os._exit does not end
    this process, and a second Ctrl-C does."""
    with own_output(), stoppable(), staying():
        yield


def _open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def leave(status: int) -> NoReturn:
    """End this process with that status, even if a learner's file left threads that do not end."""
    left = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    if left:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def surroundings() -> dict[str, str]:
    """The environment of a process that imports the course from where this one does."""
    paths = [str(CLONE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def apart(arguments: Sequence[str], seconds: float = SECONDS) -> dict[str, Any] | str:
    """The verdict that `python -m tutorial` with these arguments gives in a separate process, as
    plain data; or, where there is none, one sentence that says why.

    The verdict comes through a file, so that nothing the process prints is taken for it.
    """
    with tempfile.TemporaryDirectory() as folder:
        verdict, log = Path(folder) / "verdict.json", Path(folder) / "log"
        command = [sys.executable, "-m", "tutorial", *arguments, "--verdict-to", str(verdict)]
        with open(log, "wb") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=surroundings(),
                start_new_session=True,
            )
            try:
                status = child.wait(seconds)
            except subprocess.TimeoutExpired:
                return f"There is no verdict: the file did not end within {seconds:g} seconds."
            finally:
                _stop(child)
        try:
            found: dict[str, Any] = json.loads(verdict.read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError):
            return _no_verdict(status, log)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End the process, and those that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, 9)
    else:
        child.kill()
    child.wait()


def _no_verdict(status: int, log: Path) -> str:
    """Why there is no verdict: a signal, or a status and the last line that was printed."""
    ended = f"by signal {-status}" if status < 0 else f"with status {status}"
    with open(log, "rb") as file:
        file.seek(max(log.stat().st_size - 2000, 0))
        lines = file.read().decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"There is no verdict: the file ended the process {ended}." + (
        f" It last printed: {last[:200]}" if last else ""
    )
