"""The process that holds submissions: it forks a child for each, which lowers its kernel on shapes.

    python -m tutorial.classroom.server      (started by `holder.Holder`, inside the sandbox)

It imports the library once. A child is told shapes, never values: what it hands over is a program.
Only where a kernel cannot be lowered does it run on values, and only where the step of stage 10,
which is Python, is called. Whatever the child says is data to who asks.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

import numpy as np

import nkisim
from nkisim.machine import dtypes

from .. import stage
from ..running import runner
from . import protocol, steps

MOST_SENTENCE = 4000
_POLL = 0.02  # seconds between two looks at a child


class Child:
    """One submission: its kernel, and what the judge asks of it."""

    def __init__(
        self, reader: IO[bytes], writer: IO[bytes], lesson: stage.Stage, file: Path
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.lesson = lesson
        self.file = file
        self.kernel: Any = None

    def serve(self) -> None:
        """Answer until the judge has no more questions."""
        answers = {"open": self.open, "lower": self.lower, "run": self.run, "step": self.step}
        while True:
            header, blobs = protocol.receive(self.reader)
            if header.get("do") == "end":
                return
            try:
                answer, parts = answers[str(header.get("do"))](header, blobs)
            except BaseException as error:
                answer, parts = self._problem(error), []
            protocol.send(self.writer, answer, *parts)

    def open(
        self, header: dict[str, Any], blobs: list[bytes]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Import the file; whether its entry point can be called, and its parameters' names."""
        self.kernel = runner.load(self.file.name, self.lesson)
        found = runner.usable(self.kernel, self.lesson)
        if found is not None:
            return self._told(found), []
        names = runner.parameter_names(self.kernel, self.lesson)
        return {"parameters": [names[name] for name in self.lesson.parameters]}, []

    def lower(
        self, header: dict[str, Any], blobs: list[bytes]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The program for these shapes, as the bytes of its file."""
        config = nkisim.Config(target=nkisim.TARGETS[header["target"]])
        args = [_shape(x) for x in header["args"]]
        try:
            with nkisim.record(config=config, values=False):
                program = nkisim.lower(self.kernel, *args, **header["options"])
        except nkisim.KernelError as error:
            if error.rule != "values-needed":
                raise
            return {"unlowered": runner.one_line(error)[:MOST_SENTENCE]}, []
        except ValueError as error:
            return {"unlowered": runner.one_line(error)[:MOST_SENTENCE]}, []
        program.save("program")
        return {"digest": program.digest}, [Path("program").read_bytes()]

    def run(self, header: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """What a kernel that cannot be lowered answers to values."""
        config = nkisim.Config(target=nkisim.TARGETS[header["target"]])
        arrays = iter(protocol.arrays(header["args"], blobs))
        args = [next(arrays) if "shape" in x else x["value"] for x in header["args"]]
        with nkisim.record(config=config):
            output = self.kernel(*args, **header["options"])
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        return protocol.described([np.asarray(x) for x in outputs])

    def step(
        self, header: dict[str, Any], blobs: list[bytes]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """One attention step of a language model; its kernel is the judge's."""
        return steps.answer(self.kernel, header, blobs, self.reader, self.writer)

    def _problem(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, protocol.Broken):
            raise error
        return self._told(runner.problem_of(error, self.kernel, self.lesson, "of these shapes"))

    def _told(self, found: runner.Problem) -> dict[str, Any]:
        sentences = {"kind": found.kind, "sentence": found.sentence, "cause": found.cause}
        return {"problem": {"outcome": found.outcome, **sentences}}


def _shape(x: dict[str, Any]) -> Any:
    """An argument: a shape, or a Python value."""
    if "shape" in x:
        return nkisim.shape(tuple(x["shape"]), dtypes.resolve(x["dtype"]))
    return x["value"]


# -- the children ----------------------------------------------------------------------------------


def main() -> None:
    """Serve one submission after the other, until the pipe is closed."""
    # unbuffered: what is read ahead of a fork would be read twice
    reader = os.fdopen(os.dup(0), "rb", buffering=0)
    writer = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what a submission prints goes nowhere
        os.dup2(nothing, descriptor)
    stage.stages()
    while True:
        try:
            job, (text,) = protocol.receive(reader)
        except (protocol.Broken, ValueError):
            return
        if not hasattr(os, "fork"):
            _child(reader, writer, job, text)
            return
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _child(reader, writer, job, text)
                status = 0
            finally:
                os._exit(status)
        why = _watch(pid, job)
        _kill_all()
        try:
            protocol.send(writer, {"ended": why})
        except protocol.Broken:
            return


def _child(reader: IO[bytes], writer: IO[bytes], job: dict[str, Any], text: bytes) -> None:
    """Hold one submission. Its output, its exit and its exceptions are nobody's."""
    _restrict(job)
    lesson = stage.get(job["stage"])
    folder = Path(tempfile.mkdtemp(prefix="submission"))
    os.chdir(folder)
    file = folder / job["name"]
    file.write_bytes(text)
    sys.argv = [file.name]
    silent = io.StringIO()
    with contextlib.suppress(protocol.Broken):  # noqa: SIM117
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            Child(reader, writer, lesson, file).serve()


def _restrict(job: dict[str, Any]) -> None:
    """The operating system's limits of the child and of all that it starts."""
    try:
        import resource
    except ImportError:  # Windows has none of them
        return
    os.setsid()
    wanted = {
        resource.RLIMIT_AS: job["memory"],
        resource.RLIMIT_CPU: int(job["seconds"]) + 1,
        resource.RLIMIT_FSIZE: job["file"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 128,
    }
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def _watch(pid: int, job: dict[str, Any]) -> str:
    """Wait for the child; why it ended: "" of itself, else the limit that it met."""
    begun = time.monotonic()
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return f"exit status {os.waitstatus_to_exitcode(status)}" if status else ""
        why = ""
        if time.monotonic() - begun > job["seconds"]:
            why = f"it took more than {job['seconds']:g} s"
        elif os.getpid() == 1:
            why = _too_much(job)
        if why:
            _kill_all()
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
            return why
        time.sleep(_POLL)


def _too_much(job: dict[str, Any]) -> str:
    """The limit that the child and all that it has started meet together; "" if none."""
    pages, count = 0, 0
    for entry in os.listdir("/proc"):
        if entry.isdigit() and entry != "1":
            count += 1
            with contextlib.suppress(OSError, ValueError, IndexError):
                pages += int(Path(f"/proc/{entry}/statm").read_text("ascii").split()[1])
    if count > job["processes"]:
        return f"it started more than {job['processes']} processes"
    if pages * os.sysconf("SC_PAGE_SIZE") > job["memory"]:
        return f"it took more than {job['memory'] >> 20} MiB of memory"
    return ""


def _kill_all() -> None:
    """Leave nothing of a submission behind: in the sandbox every process but this one is its own,
    and every file."""
    if os.getpid() != 1:
        return
    for _ in range(3):  # once more for what was forked in between
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    import shutil

    os.chdir("/")
    for path in Path(tempfile.gettempdir()).iterdir():
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True) if not path.is_dir() else None


if __name__ == "__main__":
    main()
