"""Running a learner's kernel: load it from a file and call it on a case."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import linecache
import math
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..stage import Case, Stage
from ..verdict import NOT_ATTEMPTED, UNUSABLE, WRONG
from . import limits, refusals
from .problems import (
    CheckError,
    Problem,
    Unusable,
    function_of,
    kernel_error,
    line_in,
    one_line,
    package_of,
    plain_function,
    problem_of,
    said,
)
from .silence import silent


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


def load(path: str | os.PathLike[str], stage: Stage) -> Callable[..., Any]:
    """The stage's entry point from a Python file. Raises Unusable if there is none."""
    file = Path(path)
    if file.is_dir():
        raise Unusable(f"{file} is a directory, not a Python file.")
    if not file.exists():
        raise Unusable(f"{file} does not exist.")
    if file.suffix == ".ipynb":
        raise Unusable(
            f"{file} is a notebook, not a Python file: run check({stage.number}, {stage.entry}) in "
            "one of its cells."
        )
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
        with _beside(file.resolve().parent), limits.ending():
            spec.loader.exec_module(module)
    except SyntaxError as error:
        where = f" line {error.lineno}" if error.lineno else ""
        raise Unusable(
            f"{file}{where}: {type(error).__name__}: {error.msg}, so the file does not import."
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        import nkisim

        if isinstance(error, nkisim.KernelError):  # it names its line
            raise Unusable(f"{file}: the file does not import: {kernel_error(error)}") from error
        place = line_in(error, str(file.absolute()))
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


def usable(kernel: Any, stage: Stage) -> Problem | None:
    """Why `kernel` need not be run: it is not an entry point of this stage, takes its arguments in
    another order, or is empty. None if it can be."""
    if kernel is None or kernel is Ellipsis:
        return Problem(NOT_ATTEMPTED, "blank", f"{stage.title} is not attempted yet.")
    if not callable(kernel):
        return Problem(
            UNUSABLE,
            "no kernel",
            f"{stage.entry} is of type {type(kernel).__name__}, which cannot be called: check "
            "takes the kernel function itself.",
        )
    try:
        signature = inspect.signature(function_of(kernel))
    except (TypeError, ValueError):
        return None
    name = getattr(kernel, "__name__", stage.entry)
    try:
        signature.bind(*stage.parameters, **dict.fromkeys(stage.options))
    except TypeError:
        why = f"{name}{signature} cannot be called as {stage.call}."
        return Problem(UNUSABLE, "signature", why)
    known = [each for each in signature.parameters if each in stage.parameters]
    if known != list(stage.parameters) and set(known) == set(stage.parameters):
        why = f"{name}{signature} takes its arguments in another order than {stage.call}."
        return Problem(WRONG, "signature", why, cause="arguments in another order")
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


def names_in(run: Any, kernel: Any, stage: Stage, case: Case) -> dict[str, str]:
    """The stage's parameters under the names that a run gives them. An entry point in plain Python
    may hand them to a kernel that calls them otherwise: there they are told by their sizes."""
    names = parameter_names(kernel, stage)
    buffers = run.programs[0].buffers if run is not None and run.programs else ()
    inputs = {b.label: b.meta for b in buffers if b.role in ("input", "mutable")}
    left = [label for label in inputs if label not in names.values()]
    for name, own in names.items():
        given = case.args.get(name)
        if own in inputs or given is None or not hasattr(given, "shape"):
            continue
        size = math.prod(given.shape)
        found = next((label for label in left if math.prod(inputs[label].shape) == size), None)
        if found is not None:
            names[name] = found
            left.remove(found)
    return names


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
            result.returned = by_the_sdk(kernel)(*args, **case.options)
        else:
            with (
                nkisim.record(
                    config=config, keep_results=keep_results, values=values
                ) as result.run,
                silent(),
                _advice(result),
                limits.ending(),
            ):
                result.run.traces = traces
                result.returned = kernel(*args, **case.options)
            if hasattr(kernel, "lowered"):  # held by another process, perhaps without a program
                result.run = result.run if kernel.lowered else None
            elif not len(result.run) and package_of(kernel) != "nkisim":
                raise Unusable(plain_function(kernel))
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
    """How a case is simulated: on its own target, else on the environment's, exactly as on the
    device, whatever else the environment asks for, and with a limit of instructions. Raises
    CheckError for a target that there is not."""
    import nkisim

    name = case.target or os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE") or "trn2"
    known = {"gen2": "trn1", "gen3": "trn2", "gen4": "trn3"}.get(name.lower(), name.lower())
    if known not in nkisim.TARGETS:
        raise CheckError(
            f"The environment asks for the target {name!r} (NEURON_PLATFORM_TARGET_OVERRIDE), "
            f"which does not exist; the targets are {', '.join(nkisim.TARGETS)}."
        )
    most = limits.most_instructions(case)
    return nkisim.Config(target=nkisim.TARGETS[known], most_instructions=most)


def attempt(kernel: Any, case: Case, stage: Stage, traces: bool = False) -> Result:
    """`run`, or the problem of a kernel that need not be run: it is not an entry point of
    this stage, or an empty one."""
    problem = usable(kernel, stage)
    if problem is not None:
        return Result(case, problem=problem)
    return run(kernel, case, stage, traces=traces)


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
                result.advice.setdefault((error.rule, error.line), kernel_error(error))
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )


def of_the_sdk(kernel: Any) -> bool:
    """Whether the real SDK made the kernel, so that its own simulator runs it and nothing is
    recorded."""
    return package_of(kernel) in ("neuronxcc", "nki")


def by_the_sdk(kernel: Any) -> Callable[..., Any]:
    """A kernel of the real SDK as a call that the SDK's own simulator runs, which records
    nothing."""
    if package_of(kernel) == "nki":
        import nki

        found: Callable[..., Any] = nki.simulate(kernel)
        return found
    import neuronxcc.nki as old

    return partial(old.simulate_kernel, kernel)


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
