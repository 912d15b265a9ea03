"""seccomp: a Linux process gives up system calls, without any special rights.

A child needs no socket, no look into another process, and no memory, message or key that outlives
it. Where bubblewrap is missing, this takes the whole network from it, of which Landlock takes TCP
alone. Numbers: the kernel's `include/uapi/linux/{seccomp,filter,audit}.h` and its tables of system
calls.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from functools import cache

from . import landlock

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED = {
    # socket, ptrace, process_vm_readv, process_vm_writev, io_uring_setup (which makes sockets too);
    # what outlives a process: shmget, semget, msgget, mq_open, add_key, request_key, keyctl
    "x86_64": (41, 101, 310, 311, 425, 29, 64, 68, 240, 248, 249, 250),
    "aarch64": (198, 117, 270, 271, 425, 194, 190, 186, 180, 217, 218, 219),
}
_X32 = 0x40000000  # from here on the numbers of another interface to the same kernel
_LOAD, _EQUAL, _FROM, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # where they lie in what a filter is shown
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_GET, _SET, _FILTER = 21, 22, 2  # of prctl


@cache
def here() -> bool:
    """Whether the kernel has filters, and this file the numbers of the machine."""
    if sys.platform != "linux" or platform.machine() not in _REFUSED:
        return False
    return landlock.control(_GET, 0) >= 0


def confine() -> bool:
    """Take sockets, the memory of other processes, and what would outlive it from this process, for
    good. False where that cannot be done."""
    if not here():
        return False
    landlock.no_new_privileges()
    program = _program(platform.machine())
    steps = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
    held = ctypes.create_string_buffer(filter_, len(filter_))
    return landlock.control(_SET, _FILTER, ctypes.addressof(held)) == 0


def _program(machine: str) -> bytes:
    """The filter: a list of (code, steps to skip if true, if false, operand)."""
    refused = _REFUSED[machine]
    last = len(refused) + 2  # the place of the step that refuses, counted from the first test
    tests = [(_FROM, last - 1, 0, _X32)]
    tests += [(_EQUAL, last - 2 - i, 0, number) for i, number in enumerate(refused)]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _NUMBER),
        *tests,
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
