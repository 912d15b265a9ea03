"""A submission: the process in which its text runs, and what it answers to whoever asks.

It is told shapes, never values: what it hands over is a program. Only where a kernel cannot be
lowered does it run on values, and only where the step of stage 10, which is Python, is called.
Whatever it says is data to who asks.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

import nkisim
from nkisim.machine import dtypes

from .. import stage
from ..running import problems, runner
from . import landlock, protocol, seccomp, steps
from .sandbox import beneath

MOST_SENTENCE = 4000
_DEVICES = ("/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(eq=False)
class Child:
    """One submission: its kernel, and what the judge asks of it."""

    reader: IO[bytes]
    writer: IO[bytes]
    lesson: stage.Stage
    file: Path
    kernel: Any = None

    def serve(self) -> None:
        """Answer until the pipe is closed."""
        answers = {"open": self.open, "lower": self.lower, "digest": self.lower}
        answers |= {"run": self.run, "step": self.step}
        while True:
            header, blobs = protocol.receive(self.reader)
            try:
                answer, parts = answers[str(header.get("do"))](header, blobs)
            except BaseException as error:
                answer, parts = self._problem(error), []
            protocol.send(self.writer, answer, *parts)

    def open(self, header: dict[str, Any], blobs: list[bytes]) -> protocol.Message:
        """Import the file; whether its entry point can be called, and its parameters' names."""
        self.file.write_bytes(blobs[0])
        self.kernel = runner.load(self.file.name, self.lesson)
        found = runner.usable(self.kernel, self.lesson)
        if found is not None:
            return self._told(found), []
        names = runner.parameter_names(self.kernel, self.lesson)
        return {"parameters": [names.get(name, name) for name in self.lesson.parameters]}, []

    def lower(self, header: dict[str, Any], blobs: list[bytes]) -> protocol.Message:
        """The program for these shapes, as the bytes of its file; or its digest alone."""
        args = [_shape(x) for x in header["args"]]
        try:
            with nkisim.record(config=_config(header), values=False):
                program = nkisim.lower(self.kernel, *args, **header["options"])
        except (nkisim.KernelError, ValueError) as error:
            if isinstance(error, nkisim.KernelError) and error.rule != "values-needed":
                raise
            return {"unlowered": problems.one_line(error)[:MOST_SENTENCE]}, []
        if header["do"] == "digest":
            return {"digest": program.digest}, []
        program.save("program")
        return {}, [Path("program").read_bytes()]

    def run(self, header: dict[str, Any], blobs: list[bytes]) -> protocol.Message:
        """What a kernel that cannot be lowered answers to values."""
        arrays = iter(protocol.arrays(header["args"], blobs))
        args = [next(arrays) if "shape" in x else x["value"] for x in header["args"]]
        with nkisim.record(config=_config(header)):
            output = self.kernel(*args, **header["options"])
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        return protocol.described([np.asarray(x) for x in outputs])

    def step(self, header: dict[str, Any], blobs: list[bytes]) -> protocol.Message:
        """One attention step of a language model; its kernel is the judge's."""
        return steps.answer(self.kernel, header, blobs, self.reader, self.writer)

    def _problem(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, protocol.Broken):
            raise error
        return self._told(problems.problem_of(error, self.kernel, self.lesson, "of these shapes"))

    def _told(self, found: problems.Problem) -> dict[str, Any]:
        sentences = {"kind": found.kind, "sentence": found.sentence, "cause": found.cause}
        return {"problem": {"outcome": found.outcome, **sentences}}


def _config(header: dict[str, Any]) -> nkisim.Config:
    """On which target, and with how many instructions at most."""
    target = nkisim.TARGETS[header["target"]]
    return nkisim.Config(target=target, most_instructions=protocol.MOST_INSTRUCTIONS)


def _shape(x: dict[str, Any]) -> Any:
    """An argument: a shape, or a Python value."""
    if "shape" in x:
        return nkisim.shape(tuple(x["shape"]), dtypes.resolve(x["dtype"]))
    return x["value"]


def hold(
    reader: IO[bytes], writer: IO[bytes], job: dict[str, Any], folder: Path, readable: Sequence[str]
) -> None:
    """Hold one submission in this process, which may write to its own `folder` and read what is
    `readable`. Its output, its exit and its exceptions are nobody's."""
    os.chdir(folder)
    restrict(job, folder, readable)
    os.environ |= dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR"), str(folder))
    tempfile.tempdir = str(folder)
    file = folder / job["name"]
    sys.argv = [file.name]
    silent = io.StringIO()
    with contextlib.suppress(protocol.Broken):  # noqa: SIM117
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            Child(reader, writer, stage.get(job["stage"]), file).serve()


def restrict(job: dict[str, Any], folder: Path, readable: Sequence[str]) -> None:
    """The operating system's limits of this process and of all that it starts."""
    try:
        import resource
    except ImportError:  # Windows has none of them
        return
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
    allowed = [path for given in readable for path in beneath(given, job["hidden"])]
    seccomp.confine()
    landlock.confine([*allowed, *_DEVICES], [folder, os.devnull])
