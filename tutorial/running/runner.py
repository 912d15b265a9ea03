"""Running a learner's kernel: load it from a file, call it on a case, and say in one sentence what
went wrong."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import linecache
import os
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..stage import Case, Stage
from ..verdict import FAILED, NOT_ATTEMPTED, UNUSABLE, WRONG
from . import refusals


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


@dataclass(eq=False)
class Result:
    """One call: `output` if it gave one, `run` if the simulator ran it, `problem` if something is
    wrong. `returned` is what the entry point returned, of whatever kind; `error` what it raised.
    `advice` has a sentence for each rule that the simulator only warned about, by rule and line.
    `replayed` says that the output comes from the lowered kernel (`running.replays`)."""

    case: Case
    output: np.ndarray[Any, Any] | None = None
    returned: Any = None
    error: BaseException | None = None
    run: Any = None
    problem: Problem | None = None
    advice: dict[tuple[str, int], str] = field(default_factory=dict)
    replayed: bool = False


class Unusable(Exception):
    """A file or an object that cannot be checked; the text is one sentence."""


class Reported(Exception):
    """A problem that another process found with the kernel that it holds."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


class CheckError(Exception):
    """The check itself cannot work here, whatever the kernel; the text is one sentence."""


def load(path: str | os.PathLike[str], stage: Stage) -> Callable[..., Any]:
    """The stage's entry point from a Python file. Raises Unusable if there is none."""
    file = Path(path)
    if file.is_dir():
        raise Unusable(f"{file} is a directory, not a Python file.")
    if not file.exists():
        raise Unusable(f"{file} does not exist.")
    name = f"_learner_{zlib.crc32(str(file.resolve()).encode()):08x}_{file.stem}"
    linecache.checkcache(str(file))
    try:
        file.read_bytes()
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror or said(error)}.") from error
    spec = importlib.util.spec_from_file_location(
        name, file, loader=None if file.suffix == ".py" else _loader(name, file)
    )
    if spec is None or spec.loader is None:
        raise Unusable(f"{file} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _beside(file.resolve().parent):
            spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f" line {error.lineno}" if error.lineno else ""
        raise Unusable(
            f"{file}{where}: {type(error).__name__}: {error.msg}, so the file does not import."
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        place = _line_in(error, str(file))
        raise Unusable(f"{file}{place}: the file does not import: {one_line(error)}") from error
    finally:
        sys.modules.pop(name, None)
    try:
        entry: Callable[..., Any] = getattr(module, stage.entry)
    except KeyboardInterrupt:
        raise
    except BaseException:
        raise Unusable(f"{file} has no {stage.entry}: {stage.title} checks {stage.call}.") from None
    return entry


def _loader(name: str, file: Path) -> Any:
    from importlib.machinery import SourceFileLoader

    return SourceFileLoader(name, str(file))


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let the file import its neighbours, as it could when run as a script. No compiled text is
    left beside it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def function_of(kernel: Any) -> Any:
    """The plain function inside a jitted kernel, or the kernel itself."""
    for name in ("function", "func", "__wrapped__", "fn"):
        inner = getattr(kernel, name, None)
        if callable(inner):
            return inner
    return kernel


def usable(kernel: Any, stage: Stage) -> Problem | None:
    """Why `kernel` need not be run: it is not an entry point of this stage, or an
    empty one. None if it can be."""
    if kernel is None or kernel is Ellipsis:
        return Problem(NOT_ATTEMPTED, "blank", f"{stage.title} is not attempted yet.")
    if not callable(kernel):
        return Problem(
            UNUSABLE,
            "no kernel",
            f"{stage.entry} is a {type(kernel).__name__}, not a kernel: check takes the function "
            "itself.",
        )
    try:
        signature = inspect.signature(function_of(kernel))
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(*stage.parameters, **dict.fromkeys(stage.options))
    except TypeError:
        name = getattr(kernel, "__name__", stage.entry)
        return Problem(
            UNUSABLE, "signature", f"{name}{signature} cannot be called as {stage.call}."
        )
    if is_blank(kernel):
        return Problem(NOT_ATTEMPTED, "blank", f"{stage.title} is not attempted yet.")
    return None


def is_blank(kernel: Any) -> bool:
    """Whether the function's body is empty: nothing but a docstring, `...`, `pass` or a bare
    return."""
    import ast
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function_of(kernel))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return all(
                isinstance(s, ast.Pass)
                or (
                    isinstance(s, ast.Return)
                    and (s.value is None or isinstance(s.value, ast.Constant))
                )
                or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
                for s in node.body
            )
    return False


def parameter_names(kernel: Any, stage: Stage) -> dict[str, str]:
    """The stage's parameters under the names that the kernel gives them: stage name -> the kernel's
    name."""
    try:
        names = list(inspect.signature(function_of(kernel)).parameters)
    except (TypeError, ValueError):
        names = list(stage.parameters)
    return dict(zip(stage.parameters, names, strict=False))


def run(
    kernel: Any, case: Case, stage: Stage, keep_results: bool = False, traces: bool = False
) -> Result:
    """Call the kernel on copies of the case's arguments, recording the run where the simulator runs
    it.

    `keep_results` also keeps what every instruction wrote, `traces` which elements run-time indices
    picked. Arguments that are shapes only (`nkisim.shape`) make it a run on shapes alone, which has
    no output.
    """
    import nkisim

    result = Result(case)
    values = not any(isinstance(value, nkisim.ShapeOnly) for value in case.args.values())
    args = [
        value.copy() if isinstance(value, np.ndarray) else value for value in case.args.values()
    ]
    config = configuration(case)
    try:
        if of_the_sdk(kernel):
            result.returned = _run_by_the_sdk(kernel, args, case)
        else:
            with (
                nkisim.record(
                    config=config, keep_results=keep_results, values=values
                ) as result.run,
                contextlib.redirect_stdout(io.StringIO()),
                _advice(result),
            ):
                result.run.traces = traces
                result.returned = kernel(*args, **case.options)
            if hasattr(kernel, "lowered"):  # held by another process, perhaps without a program
                result.run = result.run if kernel.lowered else None
            elif not len(result.run) and _package(kernel) != "nkisim":
                raise Unusable(_plain_function(kernel))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        result.error = error
        result.problem = problem_of(error, kernel, stage, case.sizes, result.run)
    else:
        if values:
            take(result, result.returned, stage, kernel, args)
    return result


def configuration(case: Case) -> Any:
    """How a case is simulated: on its own target, else on the environment's, and exactly as on the
    device, whatever else the environment asks for. Raises CheckError for a target that there is
    not."""
    import nkisim

    name = case.target or os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE") or "trn2"
    known = {"gen2": "trn1", "gen3": "trn2", "gen4": "trn3"}.get(name.lower(), name.lower())
    if known not in nkisim.TARGETS:
        raise CheckError(
            f"The environment asks for the target {name!r} (NEURON_PLATFORM_TARGET_OVERRIDE), "
            f"which does not exist; the targets are {', '.join(nkisim.TARGETS)}."
        )
    return nkisim.Config(target=nkisim.TARGETS[known])


def attempt(kernel: Any, case: Case, stage: Stage) -> Result:
    """`run`, or the problem of a kernel that need not be run: it is not an entry point of
    this stage, or an empty one."""
    problem = usable(kernel, stage)
    return run(kernel, case, stage) if problem is None else Result(case, problem=problem)


@contextlib.contextmanager
def _advice(result: Result) -> Iterator[None]:
    """Keep what the simulator warns about, once a rule and line; other warnings are shown as
    ever."""
    from nkisim import RuleWarning

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuleWarning)
            yield
    finally:
        for warning in caught:
            if isinstance(warning.message, RuleWarning):
                error = warning.message.error
                result.advice.setdefault((error.rule, error.line), _kernel_error(error))
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )


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
    if isinstance(error, nkisim.KernelError):
        if error.rule == "outside-kernel" and _package(kernel) != "nkisim":
            return Problem(UNUSABLE, "no kernel", _plain_function(kernel))
        kind = (
            ("unwritten output")
            if error.rule in ("unwritten-output", "no-output")
            else "illegal access"
        )
        found = refusals.refused(error) if refusals.ran_in(run) == refusals.DIALECT else None
        cause, why = found or _of_a_grid(error, run) or (None, None)
        return Problem(WRONG, kind, _kernel_error(error, why), said(error), cause, error.rule)
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
            f"The kernel ends the program instead of returning its output: it raises "
            f"{one_line(error)}{line_of(error, kernel)}.",
        )
    if isinstance(error, RecursionError):
        return Problem(WRONG, "exception", "The kernel calls itself without end.")
    return Problem(
        WRONG,
        "exception",
        f"The kernel raises {one_line(error)}{line_of(error, kernel)}.",
        _traceback(error),
    )


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


def _package(kernel: Any) -> str:
    """The package whose decorator made the kernel; a plain function's own module is its
    author's."""
    return type(kernel).__module__.split(".")[0]


def of_the_sdk(kernel: Any) -> bool:
    """Whether the real SDK made the kernel, so that its own simulator runs it and nothing is
    recorded."""
    return _package(kernel) in ("neuronxcc", "nki")


def _plain_function(kernel: Any) -> str:
    name = getattr(kernel, "__name__", "it")
    return f"{name} is a plain Python function, not a kernel: put @nki.jit above it."


def _run_by_the_sdk(kernel: Any, args: list[Any], case: Case) -> Any:
    """Run a kernel of the real SDK in the SDK's own simulator, which records nothing."""
    if _package(kernel) == "nki":
        import nki

        return nki.simulate(kernel)(*args, **case.options)
    import neuronxcc.nki as old

    return old.simulate_kernel(kernel, *args, **case.options)


def take(result: Result, output: Any, stage: Stage, kernel: Any, args: list[Any]) -> None:
    """Check what came back, before any value is looked at."""

    def wrong(sentence: str) -> None:
        result.problem = Problem(WRONG, "output", sentence)

    for name, before, after in zip(stage.parameters, result.case.args.values(), args, strict=True):
        if isinstance(before, np.ndarray) and not _unchanged(before, after):
            swapped = (
                (" Are destination and source swapped?")
                if refusals.ran_in(result.run) == refusals.DIALECT
                else ""
            )
            return wrong(f"The kernel changes its input {name}; inputs are read-only.{swapped}")
    if isinstance(output, (tuple, list)):
        if len(output) != 1:
            return wrong(
                f"The kernel returns {len(output)} values; it must return the output tensor alone."
            )
        output = output[0]
    if output is None:
        return wrong(
            "The kernel returns nothing: allocate an output in nl.shared_hbm, store into "
            "it, and return it."
        )
    if not isinstance(output, np.ndarray):
        return wrong(
            f"The kernel returns a {type(output).__name__}; it must return its output tensor."
        )
    expected = stage.expected(result.case)
    if output.shape != expected.shape:
        return wrong(
            f"The output has shape {output.shape}, expected {expected.shape} ({stage.layout})."
        )
    dtype = next(v.dtype for v in result.case.args.values() if isinstance(v, np.ndarray))
    if output.dtype != dtype:
        return wrong(f"The output is {output.dtype}, expected {dtype} like the inputs.")
    if result.run is not None and not result.run.hbm_bytes_read:
        return wrong("The kernel reads nothing from HBM: its output does not depend on its inputs.")
    result.output = output
    return None


def _unchanged(before: np.ndarray[Any, Any], after: Any) -> bool:
    """Whether an input holds what it held; compared bit by bit first, which is soon done."""
    return (
        before is after
        or before.tobytes() == after.tobytes()
        or np.array_equal(before, after, equal_nan=True)
    )


def _kernel_error(error: Any, why: str | None = None) -> str:
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


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error, limit=-3))
    except Exception:
        return type(error).__name__


def one_line(error: BaseException) -> str:
    text = " ".join(said(error).split())
    return (
        (f"{type(error).__name__}: {text}")
        if text and not isinstance(error, AssertionError)
        else text or type(error).__name__
    )


def line_of(error: BaseException, kernel: Any) -> str:
    code = getattr(function_of(kernel), "__code__", None)
    return _line_in(error, code.co_filename) if code is not None else ""


def _line_in(error: BaseException, filename: str) -> str:
    """ ", line N: source" of the innermost frame in that file, or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == filename:
            return (
                (f", line {frame.lineno}: {without_comment(frame.line)}")
                if frame.line
                else f", line {frame.lineno}"
            )
    return ""
