"""Which processes there are, whose children they are, and how much memory they take: from /proc,
and else from `ps`, which every other POSIX system has; the beginning and the end of one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Process(NamedTuple):
    """The number of its parent, and the bytes of memory that it has resident."""

    parent: int
    resident: int


def table() -> dict[int, Process]:
    """All processes that this one may see, by number; none where the system does not tell."""
    return of_proc() if os.path.isdir("/proc/1") else of_ps()


def descendants(found: Mapping[int, Process], of: int) -> set[int]:
    """Those that descend from one of them."""
    known = {of}
    while more := {pid for pid, made in found.items() if made.parent in known} - known:
        known |= more
    return known - {of}


def of_proc() -> dict[int, Process]:
    """The processes, from /proc."""
    found, page = {}, os.sysconf("SC_PAGE_SIZE")
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
                found[int(entry)] = Process(int(fields[1]), int(fields[21]) * page)
    return found


def of_ps() -> dict[int, Process]:
    """The processes, from `ps`."""
    command = ["ps", "-A", "-o", "pid=,ppid=,rss="]
    found = {}
    with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        for line in done.stdout.splitlines():
            pid, parent, kib = map(int, line.split())
            found[pid] = Process(parent, kib << 10)
    return found


def begin(
    command: Sequence[str], environment: Mapping[str, str], folder: str | None = None
) -> subprocess.Popen[bytes]:
    """A process in that folder (None: this one's), and with pipes to and from it; what it writes to
    standard error is dropped."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=folder,
        start_new_session=os.name != "nt",
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that ends by itself, with all that it has started, once its pipes are closed;
    after 5 seconds it is killed."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):  # a guard that was stopped would outlive its server
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
