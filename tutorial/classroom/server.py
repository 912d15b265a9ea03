"""The process that holds submissions: one after the other, each in a separate process.

    python -m tutorial.classroom.server      (started by `holder.Holder`, inside the sandbox)

It imports the library once and forks for each submission twice: a guard, and the child in which the
text runs (`child`). The guard alone has the judge's pipe. It hands on what the judge asks and what
the child answers, says itself when the child is gone, and ends it at its limits. So a child cannot
speak for the judge's next submission. The text passes through guard and child only, which are gone
before the next one comes: its memory holds nobody else's.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

from .. import stage
from . import landlock, processes, protocol
from .child import hold
from .sandbox import FILES, readable

_POLL = 0.02  # seconds between two looks at a child
_SELDOM = 10  # looks between two at what takes longer to see
_MOST_FILES = 10_000
_MOST_LEFT = 4  # the kernel's file, and its program's


@dataclass(eq=False)
class Guard:
    """Who stands between a judge and a child. `pid` is the child's process; 0 where the system
    cannot fork, and it runs in this one."""

    reader: IO[bytes]
    writer: IO[bytes]
    job: dict[str, Any]
    folder: Path
    pid: int
    apart: bool
    why: str = "its process ended"
    done: threading.Event = field(default_factory=threading.Event)

    def serve(self, to_child: IO[bytes], from_child: IO[bytes]) -> None:
        """Hand on questions and answers until the judge ends it. Raises Broken where the judge is
        gone."""
        gone = False
        while True:
            header, blobs = protocol.receive(self.reader)
            if header.get("do") == "end":
                self.end("")
                protocol.send(self.writer, {"ended": header.get("word")})
                return
            answer: dict[str, Any] = {}
            parts: list[bytes] = []
            try:
                if not gone:
                    protocol.send(to_child, header, *blobs)
                    answer, parts = protocol.receive(from_child)
            except protocol.Broken:
                gone = True
                self.end("its process ended")
            said = {"gone": self.why} if gone else {"said": answer}
            protocol.send(self.writer, said, *parts)

    def watch(self) -> None:
        """End the child when it meets a limit."""
        begun, looks = time.monotonic(), 0
        while not self.done.wait(_POLL):
            why = ""
            if time.monotonic() - begun > self.job["seconds"]:
                why = f"it took more than {self.job['seconds']:g} s"
            elif self.apart:
                why = _too_much(self.job, True)
            elif looks % _SELDOM == 0 and self.pid:
                why = _too_much(self.job, False) or _too_large(self.folder)
            looks += 1
            if why:
                self.end(why)

    def end(self, why: str) -> None:
        """End the child and what it has started: its ends of the pipes are closed then."""
        if self.done.is_set():
            return
        self.why = why
        self.done.set()
        if self.pid:
            _kill_all(self.apart, self.pid)


def _too_much(job: dict[str, Any], apart: bool) -> str:
    """The limit that the child and all that it has started meet together; "" if none."""
    found, own = processes.table(), os.getpid()
    theirs = set(found) - {1, own} if apart else processes.descendants(found, own)
    if len(theirs) > job["processes"]:
        return f"it started more than {job['processes']} processes"
    if sum(found[pid].resident for pid in theirs) > job["memory"]:
        return f"it took more than {job['memory'] >> 20} MiB of memory"
    return ""


def _too_large(folder: Path) -> str:
    """The limit that the files in a folder meet together; "" if none. In the sandbox the system
    sees to it."""
    count, size, left = 0, 0, [str(folder)]
    while left:
        with contextlib.suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
                if size > FILES or count > _MOST_FILES:
                    return f"it wrote more than {FILES >> 20} MiB, or {_MOST_FILES} files"
    return ""


def _kill_all(apart: bool, pid: int = 0) -> None:
    """End a child and what it has started. In the sandbox (`apart`) that is every process but this
    one and the first; elsewhere what descends from this one, as far as the system tells."""
    for _ in range(3):  # once more for what was forked in between
        if apart:
            _signal(-1)
        else:
            for found in processes.descendants(processes.table(), os.getpid()):
                _signal(found)
            if pid:
                _signal(-pid)
        if pid:
            _signal(pid)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _signal(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _clean(folder: Path) -> bool:
    """Remove what a submission needs of files. False where it has left others: then this process
    ends, and all files of the sandbox, which are in memory, with it."""
    os.chdir("/")
    try:
        found = list(islice(os.scandir(folder), _MOST_LEFT + 1))
        if len(found) > _MOST_LEFT or len(list(islice(os.scandir(folder.parent), 2))) > 1:
            return False
        for entry in found:
            os.unlink(entry.path)
        os.rmdir(folder)
    except OSError:
        return False
    return True


def _guarded(
    reader: IO[bytes], writer: IO[bytes], job: dict[str, Any], folder: Path, apart: bool
) -> None:
    """Begin a child and stand before it. The child begins before its text is known here."""
    down, up = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        landlock.end_with_parent()
        os.setsid()
        for descriptor in range(3, 128):
            if descriptor not in (down[0], up[1]):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        given, told = os.fdopen(down[0], "rb", buffering=0), os.fdopen(up[1], "wb")
        try:
            hold(given, told, job, folder, readable())
        finally:
            os._exit(0)
    os.close(down[0])
    os.close(up[1])
    landlock.adopt()
    guard = Guard(reader, writer, job, folder, pid, apart)
    threading.Thread(target=guard.watch, daemon=True).start()
    try:
        guard.serve(os.fdopen(down[1], "wb"), os.fdopen(up[0], "rb", buffering=0))
    finally:
        guard.end("")


def _alone(reader: IO[bytes], writer: IO[bytes], job: dict[str, Any], folder: Path) -> None:
    """Without fork: the guard is a thread beside the submission, and the process serves once."""
    down, up = os.pipe(), os.pipe()
    guard = Guard(reader, writer, job, folder, 0, apart=False)

    def stand() -> None:
        with contextlib.suppress(protocol.Broken):
            guard.serve(os.fdopen(down[1], "wb"), os.fdopen(up[0], "rb", buffering=0))
        os._exit(0)

    threading.Thread(target=stand, daemon=True).start()
    hold(os.fdopen(down[0], "rb", buffering=0), os.fdopen(up[1], "wb"), job, folder, ())


def main() -> None:
    """Serve one submission after the other, until the pipe is closed."""
    # unbuffered: what is read ahead of a fork would be read twice
    reader = os.fdopen(os.dup(0), "rb", buffering=0)
    writer = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what a submission prints goes nowhere
        os.dup2(nothing, descriptor)
    landlock.keep_secret()
    landlock.adopt()
    apart = os.getpid() == 1  # the first process of the sandbox: all others there are a child's
    stage.stages()
    with contextlib.suppress(Exception):  # it saves time and nothing else
        importlib.import_module("tutorial.classroom.warming").warm()
    gc.freeze()  # what children share stays shared
    while True:
        try:
            job, _ = protocol.receive(reader)
        except (protocol.Broken, ValueError):
            return
        folder = Path(tempfile.mkdtemp(prefix="submission"))
        if not hasattr(os, "fork"):
            _alone(reader, writer, job, folder)
            return
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _guarded(reader, writer, job, folder, apart)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        _kill_all(apart)
        # after a bad end the pipe may hold half a message: the judge starts again, as it does after
        # every submission where the system does not keep them apart
        if status or not apart or not _clean(folder):
            return
        protocol.send(writer, {"ready": True})


if __name__ == "__main__":
    main()
