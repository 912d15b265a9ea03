"""Loops: the deprecated ranges, which unroll like Python's, and the two loops that run on the
device.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (affine_range ... while_loop),
nki/migration/index.rst (Migrating from NKI 0.5.0 to NKI 0.6.0).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...execution.execution import current
from ...rules import arguments
from ...rules.errors import broken
from .objects import VirtualRegister


def _static(kind: str, args: tuple[Any, ...], instead: str) -> range:
    current(f"nl.{kind}")
    for a in args:
        if not isinstance(a, (int, np.integer)) or isinstance(a, bool):
            broken(
                "register" if isinstance(a, VirtualRegister) else "argument",
                f"nl.{kind} takes integers",
                got=repr(a),
                remedy="Trip counts are known when the kernel is built (use // instead of /); "
                "for a count in a register "
                "use nl.fori_loop.",
            )
    warnings.warn(
        f"nl.{kind} is deprecated in NKI 0.6: use {instead}", DeprecationWarning, stacklevel=3
    )
    first, *rest = (int(a) for a in args)
    if len(rest) > 1 and not rest[1]:
        broken("argument", f"nl.{kind}: the step is 0", got=repr(args), limit="any other step")
    return range(first, *rest)


def affine_range(start: Any, stop: Any = None, step: Any = 1) -> range:
    """Python's range, deprecated: the loop is unrolled, each iteration sees what the one before
    wrote."""
    return _static("affine_range", (start,) if stop is None else (start, stop, step), "range")


def sequential_range(start: Any, stop: Any = None, step: Any = 1) -> range:
    """Python's range, deprecated: the loop is unrolled."""
    return _static("sequential_range", (start,) if stop is None else (start, stop, step), "range")


def static_range(start: Any, stop: Any = None, step: Any = 1) -> range:
    """Python's range, deprecated: the loop is unrolled."""
    return _static("static_range", (start,) if stop is None else (start, stop, step), "range")


def _bound(value: Any, api: str, what: str) -> int:
    if isinstance(value, VirtualRegister):
        return value.read(api)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    broken(
        "argument",
        f"{api}: {what} is {type(value).__name__}",
        got=repr(value)[:80],
        limit="an integer or a register",
        remedy="Load a run-time bound into a register: nisa.register_load(register, tile).",
    )
    raise AssertionError


def _step(step: Any, api: str) -> int:
    if not isinstance(step, (int, np.integer)) or isinstance(step, bool) or step < 1:
        broken(
            "argument",
            f"{api}: the step is {step!r}",
            got=repr(step),
            limit="a positive integer known at build time",
        )
    return int(step)


def _on_device(api: str) -> None:
    if current(api).ordered:
        broken(
            "argument",
            f"{api} stands inside nl.no_reorder",
            got=api,
            limit="loops that are unrolled",
            remedy="Use range, or take the loop out of the block.",
        )


MOST_TRIPS = 1 << 22
"""Iterations of the longest loop on the device that is simulated: it would take minutes."""


def _bounded(values: range, api: str) -> None:
    """Refuse a loop whose end nobody would see."""
    for bound in (values.start, values.stop):
        if not -(1 << 31) <= bound < 1 << 31:
            broken(
                "argument",
                f"{api}: a bound is {bound}",
                got=bound,
                limit="an integer of 32 bits, as a register holds",
            )
    if len(values) > MOST_TRIPS:
        broken(
            "argument",
            f"{api}: the loop runs {len(values)} times",
            got=f"from {values.start} to {values.stop} in steps of {values.step}",
            limit=f"{MOST_TRIPS} iterations, the most that are simulated",
            remedy="Simulate a smaller problem.",
        )


def dynamic_range(start: Any, stop: Any = None, step: Any = 1) -> Iterator[VirtualRegister]:
    """A loop on the device, deprecated: its variable is a register. Bounds: integers or
    registers."""
    api = "nl.dynamic_range"
    _on_device(api)
    warnings.warn(
        "nl.dynamic_range is deprecated in NKI 0.6: use nl.fori_loop",
        DeprecationWarning,
        stacklevel=2,
    )
    first, last = (0, start) if stop is None else (start, stop)
    values = range(_bound(first, api, "start"), _bound(last, api, "stop"), _step(step, api))
    _bounded(values, api)
    program = current(api)
    return (VirtualRegister(i, frozen=True) for i in program.iterate(values, False))


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[VirtualRegister], Any], step: Any = 1
) -> None:
    """Call body_fun(i) on the device for i from `lower` to `upper` (exclusive), integers or
    registers; i is a register."""
    api = "nl.fori_loop"
    _on_device(api)
    values = range(_bound(lower, api, "lower"), _bound(upper, api, "upper"), _step(step, api))
    _bounded(values, api)
    arguments.function(body_fun, api, "body_fun")
    for i in current(api).iterate(values, False):
        if body_fun(VirtualRegister(i, frozen=True)) is not None:
            broken(
                "loop-result",
                f"{api}: the body returns a value",
                got=getattr(body_fun, "__name__", "body"),
                remedy="Keep what later iterations need in SBUF or HBM, and return nothing.",
            )


def while_loop(
    init: VirtualRegister, body_fun: Callable[[VirtualRegister], VirtualRegister]
) -> None:
    """Call r = body_fun(r) on the device while the register r is not zero, starting from `init`."""
    api = "nl.while_loop"
    _on_device(api)
    if not isinstance(init, VirtualRegister):
        broken(
            "argument",
            f"{api}: init is {type(init).__name__}",
            got=repr(init)[:80],
            limit="a register",
            remedy="Make one with nisa.register_alloc.",
        )
    arguments.function(body_fun, api, "body_fun")
    program = current(api)
    outer = program.scope
    condition = init.read(api)
    trips = 0
    while condition != 0:
        trips += 1
        if trips > MOST_TRIPS:
            broken(
                "argument",
                f"{api}: the loop has run {MOST_TRIPS} times and goes on",
                got=f"a condition of {condition}",
                limit=f"{MOST_TRIPS} iterations, the most that are simulated",
                remedy="Let the body return a register that becomes zero.",
            )
        register = VirtualRegister(condition)
        scope = program.open_scope(outer)
        register = body_fun(register)
        scope.closed = True
        program.scope = outer
        if not isinstance(register, VirtualRegister):
            broken(
                "loop-result",
                f"{api}: the body returns {type(register).__name__}",
                got=repr(register)[:80],
                limit="the register of the next condition",
                remedy="End the body with: return r",
            )
        condition = register.read(api)


@contextlib.contextmanager
def no_reorder() -> Iterator[None]:
    """The instructions inside run in the order written, as they always do here; loops on the device
    may not be inside."""
    execution = current("nl.no_reorder")
    execution.ordered += 1
    try:
        yield
    finally:
        execution.ordered -= 1


__all__ = [
    "affine_range",
    "dynamic_range",
    "fori_loop",
    "no_reorder",
    "sequential_range",
    "static_range",
    "while_loop",
]
