"""Make malformed calls inside a kernel, and tell which are not refused as they should be."""

from __future__ import annotations

import inspect
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import nkisim
from nkisim.machine.shapes import NoValues
from tests.nkisim.dialects.malformed_calls import calls
from tests.nkisim.dialects.malformed_calls.calls import (
    HALF,
    WHOLE,
    Attempt,
    Dialect,
    Tiles,
    kind_of,
)
from tests.nkisim.dialects.malformed_calls.wrong_values import MUST_BE_REFUSED

_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")


class Fault(NamedTuple):
    """A malformed call that was not told as a broken rule."""

    what: str
    attempt: str
    place: str
    """Where the raw error comes from; empty where there is none."""

    def __str__(self) -> str:
        return f"{self.what}: {self.attempt}" + (f"  [{self.place}]" if self.place else "")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if f"{nkisim.__name__}/" in f.filename.replace("\\", "/")]
    at = inside[-1] if inside else frames[-1]
    return f"{at.filename.replace(chr(92), '/').rpartition('/nkisim/')[2]}:{at.lineno} {at.name}"


def outcome(attempt: Attempt) -> tuple[str | None, BaseException | None]:
    """The id of the rule that refused it, or None; and what was raised."""
    try:
        attempt.call()
    except nkisim.KernelError as error:
        return error.rule, error
    except NoValues as error:  # told in a sentence, if a shape was given where an array belongs
        given = [word for _, word in attempt.replaced]
        return ("values-needed", None) if given == ["a shape"] else (None, error)
    except BaseException as error:
        return None, error
    return None, None


def fault_of(attempt: Attempt, right: Any) -> Iterator[Fault]:
    """What is wrong with the answer to `attempt`; `right` is the value that was replaced."""
    rule, error = outcome(attempt)
    if error is not None and rule is None:
        said = str(error).splitlines()[0][:100] if str(error) else ""
        yield Fault(f"raw {type(error).__name__} ({said})", attempt.name, _place(error))
        return
    if isinstance(error, nkisim.KernelError):
        if not error.line or error.filename != calls.__file__:
            yield Fault("no line of the kernel", attempt.name, f"{error.filename}:{error.line}")
        if _ADDRESS.search(str(error)):
            yield Fault("prints an address", attempt.name, str(error).splitlines()[0][:80])
        if error.__context__ is not None and not error.__suppress_context__:
            yield Fault("an internal error before it", attempt.name, repr(error.__context__)[:80])
        return
    for parameter, word in attempt.replaced:
        kind = kind_of(attempt.api, parameter, right)
        if kind is not None and word in MUST_BE_REFUSED[kind]:
            yield Fault("taken silently", attempt.name, "")


def told(attempt: Attempt) -> str:
    """The rule that refuses `attempt`, or that it is taken, or the raw error."""
    rule, error = outcome(attempt)
    return rule or ("taken" if error is None else f"raw {type(error).__name__}")


def rules_of(dialect: Dialect, values: bool, chosen: Callable[[int], bool]) -> dict[str, str]:
    """What becomes of each malformed call, by its name."""
    found: dict[str, str] = {}

    def work(t: Tiles) -> None:
        for number, attempt in enumerate(calls.attempts(dialect, t)):
            if chosen(number):
                found[f"{number} {attempt.name}"] = told(attempt)

    in_a_kernel(dialect, values, work)
    return found


def in_a_kernel(
    dialect: Dialect, values: bool, work: Callable[[Tiles], None], target: str = "trn3"
) -> None:
    """Do `work` on tiles, inside a kernel."""

    def kernel(h: Any, integers: Any) -> Any:
        out = dialect.nl.ndarray((64, 64), dtype=h.dtype, buffer=dialect.nl.shared_hbm)
        dialect.nl.store(out, dialect.nl.load(h))
        work(Tiles(dialect.nl, h, integers, out))
        return out

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            with nkisim.record(target, values=values):
                dialect.nki.jit(kernel)(HALF, WHOLE)
        except nkisim.KernelError as error:
            if not error.rule.endswith("-capacity"):  # all the tiles of all the calls at once
                raise


def judged(
    dialect: Dialect, values: bool, chosen: Callable[[int], bool], count: list[int] | None = None
) -> list[Fault]:
    """The faults of the malformed calls whose numbers are `chosen`; how many were made is added to
    `count`."""
    faults: list[Fault] = []

    def work(t: Tiles) -> None:
        functions = dict(dialect.functions())
        rights: dict[str, dict[str, Any]] = {}
        for number, attempt in enumerate(calls.attempts(dialect, t)):
            if not chosen(number):
                continue
            api = attempt.api
            if api in functions and api not in rights:
                rights[api] = calls.right_arguments(dialect, api, functions[api], t)
                for p in inspect.signature(functions[api]).parameters.values():
                    rights[api].setdefault(p.name, p.default)
            right = rights.get(api, {}).get(attempt.replaced[0][0]) if attempt.replaced else None
            faults.extend(fault_of(attempt, right))
            if count is not None:
                count[0] += 1

    in_a_kernel(dialect, values, work)
    return faults
