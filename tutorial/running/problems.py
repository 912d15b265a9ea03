"""What is wrong with a kernel that gave no answer, in one sentence: what its exceptions mean, and
at which line they came."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from ..stage import Stage
from ..verdict import FAILED, NOT_ATTEMPTED, UNUSABLE, WRONG, Verdict
from . import limits, process, refusals

LONGEST = 500


@dataclass(frozen=True)
class Problem:
    """Why a kernel gave no answer. `kind` is illegal access, unwritten output, output, own
    assertion, exception, ...; `cause` the key of the mistake behind it, where one was
    recognised; `rule` the id of the simulator's rule that was broken."""

    outcome: str
    kind: str
    sentence: str
    details: str = ""
    cause: str | None = None
    rule: str = ""

    def verdict(
        self, stage: Stage, family: str | None = None, families: tuple[str, ...] = ()
    ) -> Verdict:
        """The verdict on a kernel of this stage that has the problem, on inputs of that family."""
        told = {"kind": self.kind, "message": self.details, "rule": self.rule}
        return stage.verdict(
            self.outcome,
            self.sentence,
            family=family if self.outcome == WRONG else None,
            cause=self.cause or self.kind,
            families=families,
            details={name: text for name, text in told.items() if text},
        )


class Unusable(Exception):
    """A file or an object that cannot be checked; the text is one sentence."""


class Reported(Exception):
    """A problem that another process found with the kernel that it holds."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class CheckError(Exception):
    """The check itself cannot work here, whatever the kernel; the text is one sentence."""


def problem_of(
    error: BaseException, kernel: Any, stage: Stage, sizes: str, run: Any = None
) -> Problem:
    """What an exception from a call of `kernel` means, in one sentence; `sizes` says what it was
    called with, `run` is what was recorded of the call."""
    import nkisim

    if isinstance(error, Reported):
        return error.problem
    if isinstance(error, NotImplementedError):
        return Problem(
            NOT_ATTEMPTED, "blank", f"{stage.title} is not attempted yet.", one_line(error)
        )
    if isinstance(error, nkisim.SimulatorError):
        return Problem(
            FAILED,
            "simulator",
            f"The simulator failed, not your kernel: {one_line(error)} Please report it with the "
            "kernel.",
        )
    if isinstance(error, limits.NoEnd) or getattr(error, "rule", "") == "instruction-limit":
        return _no_end(error, kernel)
    if isinstance(error, nkisim.KernelError):
        if error.rule == "outside-kernel" and package_of(kernel) != "nkisim":
            return Problem(UNUSABLE, "no kernel", plain_function(kernel))
        kind = (
            ("unwritten output")
            if error.rule in ("unwritten-output", "no-output")
            else "illegal access"
        )
        found = refusals.refused(error) if refusals.ran_in(run) == refusals.DIALECT else None
        cause, why = found or _of_a_grid(error, run) or (None, None)
        return Problem(WRONG, kind, kernel_error(error, why), said(error), cause, error.rule)
    if isinstance(error, Unusable):
        return Problem(UNUSABLE, "no kernel", str(error))
    if isinstance(error, AssertionError):
        why = one_line(error) if said(error) else f"assertion failed{line_of(error, kernel)}"
        return Problem(
            WRONG,
            "own assertion",
            f"The kernel refuses an input that the stage allows ({sizes}): {why}",
        )
    if isinstance(error, (SystemExit, GeneratorExit)):
        return Problem(
            WRONG,
            "exception",
            "The kernel ends the program instead of returning its output: it "
            f"{_ending(error)}{line_of(error, kernel)}.",
        )
    if isinstance(error, RecursionError):
        return Problem(WRONG, "exception", "The kernel calls itself without end.")
    if isinstance(error, MemoryError):
        return Problem(
            WRONG,
            "exception",
            f"The kernel asks for more memory than this machine has{line_of(error, kernel)}.",
        )
    return Problem(
        WRONG,
        "exception",
        f"The kernel raises {one_line(error)}{line_of(error, kernel)}.",
        _traceback(error),
    )


def _no_end(error: Any, kernel: Any) -> Problem:
    """The problem of a kernel that has issued too many instructions, or taken too much time."""
    rule = getattr(error, "rule", "")
    what = (
        kernel_error(error, "See that its loop ends.")
        if rule
        else f"the kernel comes to {error}{line_of(error, kernel).rstrip(':')}. See that its "
        "loop ends."
    )
    return Problem(WRONG, "no end", what[0].upper() + what[1:], cause="no end", rule=rule)


def _of_a_grid(error: Any, run: Any) -> tuple[str, str] | None:
    """(cause, sentence) where an output is only partly written since the program instances of a
    grid do not share it, or since no grid was launched; None where that is not so."""
    if error.rule != "unwritten-output" or run is None or not run.programs:
        return None
    program = run.programs[-1]
    if len(program.instances) > 1 and "nl.hbm" in getattr(error, "source", ""):
        return (
            "output not shared",
            "nl.hbm is each program instance's own: what all instances of a grid write together "
            "belongs in nl.shared_hbm.",
        )
    if len(program.instances) <= 1 and "program_id" in _names_of(program):
        return (
            "grid forgotten",
            "The kernel asks for nl.program_id and was launched without a grid, so that only "
            "instance 0 ran: kernel[n](...) launches n of them.",
        )
    return None


def _names_of(program: Any) -> tuple[str, ...]:
    code = getattr(program, "kernel_code", None)
    return () if code is None else tuple(code.co_names)


def function_of(kernel: Any) -> Any:
    """The plain function inside a jitted kernel, or the kernel itself."""
    for name in ("function", "func", "__wrapped__", "fn"):
        inner = getattr(kernel, name, None)
        if callable(inner):
            return inner
    return kernel


def package_of(kernel: Any) -> str:
    """The package whose decorator made the kernel; a plain function's own module is its
    author's."""
    return type(kernel).__module__.split(".")[0]


def plain_function(kernel: Any) -> str:
    name = getattr(kernel, "__name__", f"The {type(kernel).__name__} object")
    return f"{name} is a plain Python function, not a kernel: put @nki.jit above it."


def kernel_error(error: Any, why: str | None = None) -> str:
    """One sentence: what the simulator refuses, where, and what to do: `why`, or the error's own
    remedy."""
    placed = getattr(error, "line", 0) and error.rule != "no-output"
    where = f" (line {error.line}: {without_comment(error.source)})" if placed else ""
    remedy = why or getattr(error, "remedy", None)
    return f"{error.headline}{where}.{' ' + remedy if remedy else ''}"


def without_comment(source: str) -> str:
    """A source line without its trailing comment."""
    return source.partition("  #")[0].rstrip()


def said(error: BaseException) -> str:
    """The text of an exception; nothing where making it raises too."""
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return ""


def _ending(error: BaseException) -> str:
    return "calls os._exit" if isinstance(error, process.Ended) else f"raises {one_line(error)}"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error, limit=-3))
    except Exception:
        return type(error).__name__


def one_line(error: BaseException) -> str:
    """The type and the text of an exception, in one line of at most some `LONGEST` characters in
    which a terminal finds no control characters."""
    text = " ".join(said(error).split())
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} ..."
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return (
        (f"{type(error).__name__}: {text}")
        if text and not isinstance(error, AssertionError)
        else text or type(error).__name__
    )


def line_of(error: BaseException, kernel: Any) -> str:
    code = getattr(function_of(kernel), "__code__", None)
    return line_in(error, code.co_filename) if code is not None else ""


def line_in(error: BaseException, filename: str) -> str:
    """ ", line N: source" of the innermost frame in that file, or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == filename:
            return (
                (f", line {frame.lineno}: {without_comment(frame.line)}")
                if frame.line
                else f", line {frame.lineno}"
            )
    return ""
