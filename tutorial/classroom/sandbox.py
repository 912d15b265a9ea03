"""What a submission may not do, and who sees to it.

On Linux with bubblewrap the process that holds submissions sees the interpreter, its libraries and
this package, read-only, and nothing else of the disk: neither other submissions nor solutions nor
grades. It has no network, its own processes, and files in memory only. Elsewhere the limits of the
operating system are what there is. `Sandbox.in_force` says which, for the report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import nkisim

from .. import stage

FILES = 256 << 20  # bytes of files in memory, for all of a submission
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/alternatives",
    "/etc/ld.so.cache",
)


@dataclass(frozen=True)
class Limits:
    """What one submission of one stage may use: seconds of wall time, bytes of memory, processes.
    What it prints is dropped."""

    seconds: float = 60.0
    memory: int = 4 << 30
    processes: int = 16


@dataclass(frozen=True)
class Sandbox:
    """How the process that holds submissions is started. `apart` says that nothing it starts can
    outlive it or be seen by it; else it serves one submission only."""

    command: tuple[str, ...]
    in_force: tuple[str, ...]
    apart: bool


def sandbox(limits: Limits) -> Sandbox:
    """The strictest sandbox that this machine has."""
    server = (sys.executable, "-s", "-m", "tutorial.classroom.server")
    own = (
        f"{limits.seconds:g} s",
        f"{limits.memory >> 20} MiB of memory",
    )
    if not _bubblewrap():
        if sys.platform == "win32":
            return Sandbox(server, (f"{limits.seconds:g} s",), False)
        return Sandbox(server, own, False)
    words = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--as-pid-1", "--die-with-parent"]
    words += ["--new-session", "--cap-drop", "ALL", "--clearenv"]
    for path in _readable():
        words += ["--ro-bind", path, path]
    for hidden in _hidden():
        words += ["--tmpfs", hidden]
    words += ["--proc", "/proc", "--dev", "/dev", "--size", str(FILES), "--tmpfs", "/tmp"]
    words += ["--chdir", "/tmp"]
    for name, value in environment().items():
        words += ["--setenv", name, value]
    said = (
        "no network",
        "no files but the interpreter and the course's library",
        f"{limits.processes} processes",
        f"{FILES >> 20} MiB of files",
    )
    return Sandbox((*words, *server), (*own, *said), True)


def environment() -> dict[str, str]:
    """All that a submission's process sees of the environment."""
    root = Path(nkisim.__file__).resolve().parent.parent
    found = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(root), *_libraries()]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    for name in ("SYSTEMROOT", "TEMP", "TMP", "OPENBLAS_CORETYPE"):
        if name in os.environ and (sys.platform == "win32" or name.startswith("OPENBLAS")):
            found[name] = os.environ[name]
    return found


@cache
def _bubblewrap() -> bool:
    """Whether bubblewrap is here and may do its work."""
    found = shutil.which("bwrap")
    if found is None or sys.platform != "linux":
        return False
    trial = [found, "--unshare-all", "--as-pid-1", "--die-with-parent", "--ro-bind", "/", "/"]
    try:
        done = subprocess.run([*trial, "true"], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _libraries() -> list[str]:
    """The folders in which NumPy and ml_dtypes lie, where the interpreter would not find them."""
    folders = {Path(np.__file__).parent.parent, Path(np.__file__).resolve().parent.parent}
    return sorted(str(folder) for folder in folders)


def _readable() -> list[str]:
    """What the process may read: system libraries, the interpreter, NumPy, and these packages."""
    root = Path(nkisim.__file__).resolve().parent.parent
    wanted = [*_SYSTEM, sys.prefix, sys.base_prefix, *_libraries()]
    wanted += [str(Path(os.path.realpath(sys.executable)).parent.parent)]
    wanted += [str(root / name) for name in ("nkisim", "tutorial")]
    return [path for path in dict.fromkeys(wanted) if os.path.exists(path)]


def _hidden() -> list[str]:
    """Of what lies in those folders: the worked solutions and the notebooks."""
    folders = [stage.course_folder(name) for name in ("solutions", "notebooks", "docs")]
    seen = [Path(path) for path in _readable()]
    return sorted(
        str(folder.resolve())
        for folder in folders
        if folder is not None and any(p in folder.resolve().parents for p in seen)
    )
