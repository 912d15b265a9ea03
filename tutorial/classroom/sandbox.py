"""What a submission may not do, and who sees to it.

On Linux with bubblewrap the process that holds submissions sees the interpreter, its libraries and
this package, read-only, and nothing else of the disk: neither other submissions nor solutions nor
grades. It has no network, its own processes, and files in memory only. Elsewhere on Linux Landlock
takes the files from it, and seccomp the network. On other systems limits on time are what there is,
and on memory, processes and files, but for Windows. `Sandbox.in_force` says which, for the report.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import nkisim

from .. import stage
from . import landlock, seccomp

FILES = 256 << 20  # bytes of files in memory, for all of a submission
_WORKSHOP = "/submission"
"""The only folder in the sandbox that can be written to."""
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
    outlive it or be seen by it; else it serves one submission only. `hidden` are folders that no
    submission may see."""

    command: tuple[str, ...]
    in_force: tuple[str, ...]
    apart: bool
    hidden: tuple[str, ...]


def sandbox(limits: Limits, private: Sequence[str] = ()) -> Sandbox:
    """The strictest sandbox that this machine has. `private` are folders that no submission may
    see, such as that of the submissions."""
    server = (sys.executable, "-s", "-m", "tutorial.classroom.server")
    own = [f"{limits.seconds:g} s"]
    if sys.platform != "win32":
        own.append(f"{limits.memory >> 20} MiB of memory")
        own.append(f"{limits.processes} processes")
        own.append(f"{FILES >> 20} MiB of files")
    kept = hidden(private)
    if not _bubblewrap():
        alone = ("no network",) if seccomp.here() else ()
        return Sandbox(server, (*own, *alone, *landlock.in_force()), False, kept)
    words = [shutil.which("bwrap") or "bwrap", "--unshare-all", "--as-pid-1", "--die-with-parent"]
    words += ["--new-session", "--cap-drop", "ALL", "--clearenv"]
    for path in sorted({*readable(), *kept}, key=lambda path: len(Path(path).parts)):
        # what lies deeper comes later, and counts
        words += ["--tmpfs", path] if path in kept else ["--ro-bind", path, path]
    words += ["--proc", "/proc", "--dev", "/dev", "--size", str(FILES), "--tmpfs", _WORKSHOP]
    words += ["--chdir", _WORKSHOP, "--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in {**environment(), "TMPDIR": _WORKSHOP, "HOME": _WORKSHOP}.items():
        words += ["--setenv", name, value]
    said = ("no network", landlock.NO_FILES)
    return Sandbox((*words, *server), (*own, *said), True, kept)


def environment() -> dict[str, str]:
    """All that a submission's process sees of the environment."""
    found = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(_root()), *_libraries()]),
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


def readable() -> list[str]:
    """What the process may read: system libraries, the interpreter, NumPy, and these packages."""
    wanted = [*_SYSTEM, sys.prefix, sys.base_prefix, *_libraries()]
    wanted += [str(Path(os.path.realpath(sys.executable)).parent.parent)]
    wanted += [str(_root() / name) for name in ("nkisim", "tutorial")]
    return [path for path in dict.fromkeys(wanted) if os.path.exists(path)]


def hidden(private: Sequence[str] = ()) -> tuple[str, ...]:
    """Of what lies in those folders: solutions, notebooks and tests of the course, wherever a copy
    of it is found, and what is `private`."""
    seen = [Path(path).resolve() for path in readable()]
    prefixes = {Path(sys.prefix), Path(sys.base_prefix)}
    places = [*stage.course_places(), *map(Path, private)]
    for prefix in prefixes:
        places += prefix.glob("lib/python*/site-packages/tutorial/material")
    if (_root() / "pyproject.toml").is_file():  # a clone; its packages are named in `readable`
        places.append(_root())
    found = {place.resolve() for place in places if place.is_dir()}
    inside = (p for p in found if p not in seen and any(path in p.parents for path in seen))
    return tuple(sorted(map(str, inside)))


def beneath(path: str, hidden: Sequence[str]) -> list[str]:
    """The folder itself; where something beneath it is hidden, what else lies in it."""
    own = Path(path)
    real = own.resolve()
    within = [Path(h) for h in hidden if real in Path(h).parents]
    if str(real) in hidden:
        return []
    if not within:
        return [path]
    try:
        entries = sorted(os.listdir(own))
    except OSError:
        return []
    return [found for name in entries for found in beneath(str(own / name), hidden)]


def _root() -> Path:
    return Path(nkisim.__file__).resolve().parent.parent
