"""Landlock: a Linux process gives up the right to open files, without any special rights.

Where bubblewrap is missing, as in most containers, this is what keeps a submission from reading the
solutions, the seed and other submissions. Which parts there are depends on the kernel's version of
the interface: files from 1 (Linux 5.13) on, TCP from 4 (6.7), signals to other processes from 6
(6.12). Numbers and structures: the kernel's `include/uapi/linux/landlock.h`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

NO_FILES = "no files but the interpreter and the course's library"
_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""The system calls, the same on every architecture."""
_VERSION = 1  # the flag that asks for the version of the interface
_BENEATH = 1  # the kind of a rule: a folder, or a file
_NO_NEW_PRIVILEGES = 38
_DUMPABLE = 4
_SUBREAPER = 36
_PARENT_ENDS = 1
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_OF_A_FILE = _EXECUTE | _WRITE | _READ | 1 << 14 | 1 << 15
_FILES = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
"""Version, and the rights over files that it knows."""
_TCP = 1 << 0 | 1 << 1  # bind, connect
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals


@cache
def version() -> int:
    """The kernel's version of the interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    try:
        return max(_call(_CREATE, None, 0, _VERSION), 0)
    except (OSError, AttributeError):
        return 0


def in_force() -> tuple[str, ...]:
    """What `confine` takes away on this machine, in words."""
    return (NO_FILES,) if version() else ()


def confine(readable: Iterable[str | Path], writable: Iterable[str | Path]) -> bool:
    """Take from this process, for good, every file but those beneath these paths, and what else
    the kernel can take. False where the kernel cannot."""
    found = version()
    if not found:
        return False
    rights = sum(bits for since, bits in _FILES if found >= since)
    attributes = struct.pack("<QQQ", rights, _TCP, _SCOPES)
    size = 8 if found < 4 else 16 if found < 6 else 24
    ruleset = _call(_CREATE, attributes[:size], size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, rights & (_EXECUTE | _READ | _LIST))
        for path in writable:
            _allow(ruleset, path, rights)
        no_new_privileges()
        _call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def no_new_privileges() -> None:
    """What the kernel asks of a process before it may give up rights."""
    control(_NO_NEW_PRIVILEGES, 1)


def keep_secret() -> None:
    """Let no other process of the same user read this one's memory or take its files."""
    if sys.platform == "linux":
        control(_DUMPABLE, 0)


def end_with_parent() -> None:
    """End this process when its parent ends."""
    if sys.platform == "linux":
        control(_PARENT_ENDS, signal.SIGKILL)


def adopt() -> None:
    """What the children of this process leave behind becomes its own, so that it can be ended."""
    if sys.platform == "linux":
        control(_SUBREAPER, 1)


def _allow(ruleset: int, path: str | Path, rights: int) -> None:
    try:
        beneath = os.open(path, getattr(os, "O_PATH", 0) | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be allowed
    try:
        rights &= -1 if os.path.isdir(path) else _OF_A_FILE
        _call(_ADD, ruleset, _BENEATH, struct.pack("<Qi", rights, beneath), 0)
    finally:
        os.close(beneath)


def _call(number: int, *arguments: object) -> int:
    """A system call. Raises OSError."""
    found = int(_library().syscall(ctypes.c_long(number), *map(_argument, arguments)))
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found


def _argument(x: object) -> object:
    if isinstance(x, int):
        return ctypes.c_long(x)
    return ctypes.c_char_p(x) if isinstance(x, bytes) else None


def control(what: int, *values: int) -> int:
    """The system call prctl: what it returns, below 0 for an error."""
    given = [*values, 0, 0, 0, 0][:4]
    return int(_library().prctl(ctypes.c_int(what), *map(ctypes.c_ulong, given)))


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
