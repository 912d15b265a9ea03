"""Lowering: a kernel runs once on shapes alone, and what it asks of the machine is kept."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from ..execution.execution import Execution
from ..execution.launch import mapped
from ..execution.lowering import Lowering
from ..execution.steps import TARGET
from ..machine import dtypes
from ..machine.config import Config
from ..machine.running import LISTENER, RUNNING
from ..machine.shapes import ShapeOnly, Symbol
from ..rules.errors import broken
from .call import Call, Given, call_of
from .program import Array, Leaf, Program

MOST_BYTES = 64 << 20
"""Of arrays that Python makes and that so become part of a program."""


class _Slots:
    """The arrays that a function works with: its arguments, what it makes, what kernels return."""

    def __init__(self) -> None:
        self.slots: list[tuple[tuple[int, ...], np.dtype]] = []
        self.constants: dict[int, np.ndarray] = {}
        self.made: dict[int, int] = {}
        self.kept: list[np.ndarray] = []

    def new(self, shape: tuple[int, ...], dtype: np.dtype) -> int:
        """Number one more array."""
        self.slots.append((shape, dtype))
        return len(self.slots) - 1

    def of(self, value: Any) -> int:
        """The number of an array that a kernel is given."""
        if isinstance(value, Symbol):
            return value.origin
        if isinstance(value, ShapeOnly):
            raise ValueError("a shape that is not an argument of the function is given to a kernel")
        found = self.made.get(id(value))
        if found is None:
            if sum(a.nbytes for a in self.kept) + value.nbytes > MOST_BYTES:
                raise ValueError(
                    f"the function gives kernels more than {MOST_BYTES >> 20} MiB of arrays that "
                    "it made itself, which would become part of the program: pass them as arguments"
                )
            self.kept.append(value)
            found = self.made[id(value)] = self.new(value.shape, value.dtype)
            self.constants[found] = value.copy()
        return found


class _Listener:
    """Notes the steps of every kernel that begins."""

    keep_results = False
    values = False

    def __init__(self, config: Config, target_asked: bool) -> None:
        self.config = config
        self.target_asked = target_asked
        self.slots = _Slots()
        self.calls: list[Call] = []
        self.started: list[Execution] = []
        self.last: Execution | None = None

    def begun(self, execution: Execution) -> None:
        """A kernel has begun; or the second core of one, which shares the first's steps."""
        if self.last is not None:
            execution.follows(self.last)
        self.last = execution
        self.started.append(execution)
        if execution.lowering is None:
            lowering = Lowering(self.slots.new)
            execution.lower(lowering)
            target = execution.config.target
            if target != self.config.target:  # the kernel asks for one itself
                name = lowering.texts.number(target.name, target.name)
                lowering.step(TARGET, name, at=(execution.kernel_code, 0))

    def finish(self) -> None:
        """Turn what ended kernels noted into calls."""
        for execution in self.started:
            lowering = execution.lowering
            if lowering is not None and execution.core == 0:
                cores = sum(e.lowering is lowering for e in self.started)
                self.calls.append(self._call(execution, lowering, cores))
        self.started.clear()

    def _call(self, execution: Execution, lowering: Lowering, cores: int) -> Call:
        given = tuple(
            Given(name, self.slots.of(value), tuple(value.shape), np.dtype(value.dtype), mutable)
            for name, value, mutable in lowering.inputs
        )
        return call_of(
            lowering,
            getattr(execution.kernel_code, "co_name", "kernel"),
            execution.dialect.name,
            execution.grid,
            cores,
            given,
            execution.undecided,
        )


def lower(made: type[Program], kernel: Any, args: tuple[Any, ...], kwargs: Any) -> Program:
    """The program, of class `made`: see `nkisim.lower`."""
    if RUNNING.get() is not None:
        broken("nested-grid", "nkisim.lower is called inside a kernel")
    outer = LISTENER.get()
    config = outer.config if outer is not None else Config.from_environment()
    listener = _Listener(config, outer is not None and outer.target_asked)
    inputs: list[Array] = []
    seen: dict[int, Symbol] = {}

    def symbol(name: str, value: Any) -> Any:
        found = seen.get(id(value))
        if found is None:
            shape = tuple(value.shape)
            slot = listener.slots.new(shape, np.dtype(value.dtype))
            inputs.append(Array(name, shape, _name(value.dtype)))
            found = seen[id(value)] = Symbol(shape, np.dtype(value.dtype), slot)
        return found

    names = _names(kernel, len(args))
    given = [mapped(name, a, symbol) for name, a in zip(names, args)]
    more = {name: mapped(name, a, symbol) for name, a in kwargs.items()}
    token = LISTENER.set(listener)
    try:
        result = kernel(*given, **more)
    finally:
        LISTENER.reset(token)
    listener.finish()
    if not listener.calls:
        raise ValueError(f"{_label(kernel)} calls no kernel: there is nothing to lower")
    return made(
        _label(kernel),
        config,
        inputs,
        listener.slots.slots,
        listener.slots.constants,
        listener.calls,
        _tree(result, _label(kernel)),
    )


def _tree(value: Any, name: str) -> Any:
    """What the function returned, with the numbers of arrays in their places."""
    if isinstance(value, Symbol):
        return Leaf(value.origin, value.shape)
    if isinstance(value, tuple):
        return tuple(_tree(v, name) for v in value)
    if isinstance(value, list):
        return [_tree(v, name) for v in value]
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: _tree(v, name) for k, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(
        f"{name} returns a {type(value).__name__}: a function that is lowered returns what its "
        "kernels return"
    )


def _name(dtype: Any) -> str:
    try:
        return dtypes.name(np.dtype(dtype))
    except (KeyError, TypeError):
        return str(dtype)


def _label(kernel: Any) -> str:
    return str(getattr(kernel, "__name__", type(kernel).__name__))


def _names(kernel: Any, n: int) -> list[str]:
    """The names of the first `n` positional parameters."""
    try:
        parameters = inspect.signature(getattr(kernel, "function", kernel)).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    found = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return (found + [f"argument {i}" for i in range(len(found), n)])[:n]
