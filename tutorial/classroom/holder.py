"""The judge's end: a submission that a sandboxed child holds, as a kernel that can be checked."""

from __future__ import annotations

import inspect
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from keyword import iskeyword
from pathlib import Path
from typing import Any

import numpy as np

import nkisim
from nkisim.machine import dtypes
from nkisim.machine.running import LISTENER

from .. import stage
from ..running import refusals
from ..running.problems import Problem, Reported
from ..verdict import UNUSABLE, WRONG
from . import processes, protocol
from .files import remove
from .sandbox import Limits, environment, sandbox
from .steps import HeldStep

MOST_PROGRAM = 64 << 20  # bytes of a program's file
MOST_STEPS = 4 * protocol.MOST_INSTRUCTIONS
_KINDS = (
    "blank",
    "exception",
    "illegal access",
    "no end",
    "no kernel",
    "output",
    "own assertion",
    "signature",
    "simulator",
    "unwritten output",
)
_CAUSES = {cause for cause, _ in refusals.CAUSES.values()} | {
    "grid forgotten",
    "no end",
    "output not shared",
}
"""The kinds and causes of trouble that a child may name: they stand in the class's tables."""
_OUTCOMES = ("not attempted", "wrong", "unusable")


class Holder:
    """The server process of one worker. It is started again where a submission broke it, and before
    each one where the system cannot keep them apart."""

    def __init__(self, limits: Limits | None = None, private: Sequence[str] = ()) -> None:
        self.limits = limits or Limits()
        self.sandbox = sandbox(self.limits, private)
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = ""
        """Of the server's files, where the system does not keep submissions apart."""
        self.ended = ""
        self.open = False
        self.expired = False
        self.told = False
        """Whether the submission was given values, and not shapes alone."""
        self.quotes = True
        """Whether what it says then may be repeated: values that are hidden must not come back."""

    def start(self) -> None:
        """Start the server unless it is running."""
        if self.process is not None and self.process.poll() is None:
            return
        surroundings = environment()
        if not self.sandbox.apart:
            self.folder = tempfile.mkdtemp(prefix="submission")
            surroundings |= dict.fromkeys(("TMPDIR", "TEMP", "TMP", "HOME"), self.folder)
        here = self.folder or tempfile.gettempdir()
        self.process = processes.begin(self.sandbox.command, surroundings, here)

    def stop(self) -> None:
        """End the server, and with it all that a submission has started."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if self.sandbox.apart:
            process.kill()
        processes.end(process)
        if self.folder:
            remove(self.folder)
            self.folder = ""

    def _expire(self) -> None:
        self.expired = True
        self.stop()

    def submit(self, lesson: stage.Stage, name: str) -> None:
        """Let the server begin a submission; its text comes with the first question."""
        self.start()
        limits = {"seconds": self.limits.seconds, "memory": self.limits.memory}
        limits |= {"processes": self.limits.processes, "file": MOST_PROGRAM}
        self.ended, self.open = "", True
        self.expired = self.told = False
        timer = self.timer = threading.Timer(self.limits.seconds + 2, self._expire)
        timer.daemon = True
        timer.start()
        hidden = list(self.sandbox.hidden)
        self._send({"stage": lesson.number, "name": name, "hidden": hidden, **limits})

    def finish(self) -> None:
        """Let go of the submission; nothing of it is left behind."""
        if not self.open:
            return
        self.open = False
        ended, word = self.ended, secrets.token_hex(16)
        try:
            self._send({"do": "end", "word": word})
            header, _ = self._receive()
            in_step = header.get("ended") == word  # nobody else knows it
            if not in_step or (self.sandbox.apart and not self._receive()[0].get("ready")):
                self.stop()
        except Reported:
            self.stop()
        finally:
            self.timer.cancel()
            self.ended = ended
        if not self.sandbox.apart:
            self.stop()

    def exchange(self, header: dict[str, Any], *blobs: bytes) -> protocol.Message:
        """Ask, and read the answer. Raises Reported where the submission is gone."""
        self._send(header, *blobs)
        reply, parts = self._receive()
        said = reply.get("said")
        if not isinstance(said, dict):
            raise self._gone(str(reply.get("gone")))
        return said, parts

    def check(self, reply: dict[str, Any]) -> None:
        """Raise what a reply says is wrong with the kernel."""
        said = reply.get("problem")
        if not isinstance(said, dict):
            return
        outcome = said.get("outcome")
        outcome = outcome if outcome in _OUTCOMES else WRONG
        if self.told and not self.quotes:
            raise _refused(outcome, "exception", "It fails on the values of an input.")
        kind, sentence, cause = (
            " ".join(str(said.get(k) or "")[:4000].split()) for k in ("kind", "sentence", "cause")
        )
        kind, named = kind if kind in _KINDS else "exception", cause if cause in _CAUSES else None
        raise Reported(Problem(outcome, kind, sentence, cause=named))

    def _send(self, header: dict[str, Any], *blobs: bytes) -> None:
        process = self.process
        if process is None or process.stdin is None:
            raise self._gone("")
        try:
            protocol.send(process.stdin, header, *blobs)
        except protocol.Broken as error:
            raise self._gone("") from error

    def _receive(self) -> protocol.Message:
        process = self.process
        if process is None or process.stdout is None:
            raise self._gone("")
        try:
            return protocol.receive(process.stdout)
        except (protocol.Broken, ValueError, OSError) as error:
            closed = isinstance(error, protocol.Broken) and "pipe" in str(error)
            self.stop()
            raise self._gone("" if closed else str(error)) from error

    def _gone(self, why: str) -> Reported:
        """The problem of a submission whose process ended before it had answered."""
        if self.expired and not why:
            why = f"it took more than {self.limits.seconds:g} s"
        self.ended = why or "its process ended"
        return _refused(UNUSABLE, "ended", f"The submission could not be judged: {self.ended}.")


class Submitted:
    """A submission as a kernel: a call lowers it for the shapes of the arguments, once, and replays
    the program on their values. No text of the submission runs here."""

    lowered = True

    def __init__(self, holder: Holder, lesson: stage.Stage, text: bytes) -> None:
        self.holder = holder
        self.__name__ = lesson.entry
        self.programs: dict[Any, nkisim.Program] = {}
        self.unlowered = ""
        reply, _ = holder.exchange({"do": "open"}, text)
        holder.check(reply)
        said = reply.get("parameters")
        names = list(lesson.parameters)
        if isinstance(said, list) and len(said) == len(names) and all(map(_is_a_name, said)):
            names = said
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        wanted = [inspect.Parameter(n, kind) for n in dict.fromkeys(names)]
        extra = [
            inspect.Parameter(n, kind, default=None)
            for n in (*lesson.options, *lesson.extras)
            if n not in names
        ]
        self.__signature__ = inspect.Signature([*wanted, *extra])

    def __call__(self, *args: Any, **options: Any) -> Any:
        program = None if self.unlowered else self._program(args, options)
        if program is None:
            return self._run(args, options)
        return program(*(x for x in args if hasattr(x, "shape") and hasattr(x, "dtype")))

    def _program(self, args: tuple[Any, ...], options: dict[str, Any]) -> nkisim.Program | None:
        """The program for these arguments; None where the kernel cannot be lowered."""
        target = _target()
        shapes = [_described(x) for x in args]
        key = repr((target, shapes, sorted(options.items())))
        if key not in self.programs:
            question = {"do": "lower", "args": shapes, "options": options, "target": target}
            reply, blobs = self.holder.exchange(question)
            self.holder.check(reply)
            if "unlowered" in reply:
                self.unlowered = str(reply["unlowered"])[:4000] or "it cannot be lowered"
                return None
            made = loaded(blobs, target)
            if not self.programs:  # a kernel is the same whenever it is asked
                again, _ = self.holder.exchange({**question, "do": "digest"})
                if again.get("digest") != made.digest:
                    said = "The kernel is a different one each time it is built."
                    raise _refused(WRONG, "unsteady", said)
            self._fits(made, args)
            self.programs[key] = made
        return self.programs[key]

    def _fits(self, made: nkisim.Program, args: tuple[Any, ...]) -> None:
        """Refuse a program that is not for these arguments."""
        wanted = [(tuple(x.shape), dtypes.name(np.dtype(x.dtype))) for x in args if _is_array(x)]
        if [(tuple(i.shape), i.dtype) for i in made.inputs] != wanted:
            said = "The program is not for the shapes that were asked for."
            raise _refused(UNUSABLE, "program", said)

    def _run(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """What the child answers to values: only for a kernel that cannot be lowered."""
        self.lowered = False
        self.holder.told = True
        if not all(isinstance(x, np.ndarray) for x in args if _is_array(x)):
            said = f"The kernel cannot be lowered: {self.unlowered}"
            raise _refused(UNUSABLE, "unlowered", said)
        _, parts = protocol.described([x for x in args if _is_array(x)])
        header = [_described(x) for x in args]
        reply, blobs = self.holder.exchange(
            {"do": "run", "args": header, "options": options, "target": _target()}, *parts
        )
        self.holder.check(reply)
        made = protocol.arrays(reply.get("arrays"), blobs)
        return made[0] if len(made) == 1 else tuple(made)


def held(holder: Holder, lesson: stage.Stage, text: bytes, name: str) -> Any:
    """The entry point of a submission, to be checked like any other. Raises Reported where it has
    none; call `holder.finish()` afterwards."""
    holder.submit(lesson, name)
    found = Submitted(holder, lesson, text)
    return HeldStep(holder, lesson.entry) if lesson.judge is not None else found


def loaded(blobs: list[bytes], target: str) -> nkisim.Program:
    """A program from the bytes of its file, held to every rule again, for this target and at full
    precision. Raises Reported, or KernelError for a broken rule."""
    if len(blobs) != 1 or len(blobs[0]) > MOST_PROGRAM:
        raise _refused(UNUSABLE, "program", "The submission handed over no program.")
    try:
        made = nkisim.load(_filed(blobs[0]))
        if made.config != nkisim.Config(target=nkisim.TARGETS[target]):
            raise nkisim.ProgramFileError("it turns off rules or precision")
        if any(_of_the_old_dialect(call) for call in made.calls):
            raise nkisim.ProgramFileError("it was not lowered from the dialect that it names")
        steps = sum(len(call.steps) for call in made.calls)
        if steps <= MOST_STEPS:
            made.verify()  # loading leaves the rules of a long program to its first use
    except nkisim.ProgramFileError as error:
        raise _refused(UNUSABLE, "program", f"The submission: {error}.") from error
    if steps > MOST_STEPS or len(made) > protocol.MOST_INSTRUCTIONS:
        said = f"The kernel has {steps} steps, more than are judged."
        raise _refused(WRONG, "program", said)
    return made


def _refused(outcome: str, kind: str, sentence: str) -> Reported:
    return Reported(Problem(outcome, kind, sentence))


def _filed(program: bytes) -> Path:
    """The file that holds these bytes, until the next ones."""
    path = Path(_folder().name) / f"program-{threading.get_ident()}"
    path.write_bytes(program)
    return path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for as long as this process lives: to make one takes longer than to load a
    program."""
    return tempfile.TemporaryDirectory()


def _of_the_old_dialect(call: Any) -> bool:
    """Whether a call that says it is in `nki` has instructions of the other dialect: there they
    make their own destinations."""
    return call.dialect == "nki" and any(
        form.dst is None and form.api.startswith("nisa.") for form in call.forms
    )


def _target() -> str:
    """The target of the run that records."""
    listener = LISTENER.get()
    return "trn2" if listener is None else str(listener.config.target.name)


def _is_a_name(x: Any) -> bool:
    """Whether a parameter may be called so."""
    return isinstance(x, str) and x.isidentifier() and not iskeyword(x) and len(x) <= 64


def _is_array(x: Any) -> bool:
    return isinstance(x, (np.ndarray, nkisim.ShapeOnly))


def _described(x: Any) -> dict[str, Any]:
    if _is_array(x):
        return {"shape": list(x.shape), "dtype": dtypes.name(np.dtype(x.dtype))}
    return {"value": x.item() if isinstance(x, np.generic) else x}
