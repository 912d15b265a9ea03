"""Calling a kernel: arguments become HBM tensors, the function runs as Python, outputs become NumPy
arrays."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..machine import target as targets
from ..machine.config import Config
from ..machine.running import LISTENER, RUNNING
from ..machine.values import catch_up
from ..rules import calls, namespaces, scopes, source
from ..rules.errors import POLICY, KernelError, Policy, broken
from ..tensors import refusals
from ..tensors.tensor import Tensor
from . import garbage
from .ending import check_capacity, check_output, home, outputs, to_arrays, write_back
from .execution import Execution, running
from .inputs import as_array, input_tensor, mapped
from .redirect import spend_memset

__all__ = [
    "Kernel",
    "as_array",
    "check_capacity",
    "check_output",
    "home",
    "input_tensor",
    "launched",
    "mapped",
    "simulate",
    "to_arrays",
    "write_back",
]


class Kernel:
    """A function that runs as a kernel when it is called with NumPy arrays. `kernel[grid](...)`
    runs it on a grid."""

    __test__ = False  # pytest shall not collect a kernel that is called test_...

    __name__: str
    function: Callable[..., Any]
    platform_target: str | None

    def __init__(
        self,
        function: Callable[..., Any],
        dialect: Any,
        *,
        platform_target: str | None = None,
        kernel_return: bool = True,
        grid: tuple[int, ...] = (),
        options: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(function, Kernel):
            if platform_target is None:
                platform_target = function.platform_target
            function = function.function
        if not callable(function):
            raise TypeError(f"nki.jit decorates functions, not {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.function = function
        self.dialect = dialect
        self.platform_target = platform_target
        self.kernel_return = kernel_return
        self.grid = grid
        self.options = options or {}

    def __getitem__(self, grid: Any) -> Kernel:
        sizes = _grid(self, grid if isinstance(grid, tuple) else (grid,))
        if running() is not None:
            broken(
                "nested-grid",
                f"{self.__name__}[{', '.join(map(str, sizes))}] is called inside a kernel",
                remedy="Call the function without a grid, or launch it from outside.",
            )
        return type(self)(
            self.function,
            self.dialect,
            platform_target=self.platform_target,
            kernel_return=self.kernel_return,
            grid=sizes,
            options=self.options,
        )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if running() is not None:
            return self.function(*args, **kwargs)
        return simulate(self, args, kwargs)

    def check_argument(self, name: str, value: Any, annotation: Any) -> None:
        """Refuse an argument that the dialect does not take."""

    def run_on(self, program: Execution, args: list[Any], kwargs: dict[Any, Any]) -> Any:
        """Run the function for each program instance of the grid; what the last one returns."""
        positions = (
            list(itertools.product(*(range(n) for n in self.grid))) if all(self.grid) else [()]
        )
        result: Any = None
        for position in positions:
            program.start_instance(position)
            result = self.function(*args, **kwargs)
        program.end_instances()
        check_capacity(program, self)
        return result

    def outputs(self, program: Execution, result: Any, mutable: list[tuple[Tensor, Any]]) -> Any:
        """The NumPy arrays of the tensors that the function returned."""
        return outputs(program, self, result, mutable)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.function.__module__, self.function.__qualname__)

    def __repr__(self) -> str:
        grid = f"[{', '.join(map(str, self.grid))}]" if self.grid else ""
        return f"<nki kernel {self.__name__}{grid}>"


def _grid(kernel: Kernel, grid: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of a launch grid as integers. An axis of size 0 means no grid, as published kernels
    write it."""
    if not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, (bool, np.bool_)) and 0 <= n < 2**31
        for n in grid
    ):
        broken(
            "argument",
            f"{kernel.__name__}[{', '.join(map(repr, grid))}]: the sizes of a grid "
            "are not integers from 0 on",
            got=repr(grid),
            limit="integers, one an axis",
            remedy="Divide sizes with //.",
            at=home(kernel),
        )
    return tuple(int(n) for n in grid)


def _unpickle(cls: type, module: str, qualname: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _is_mutable(annotation: Any) -> bool:
    return "mutable" in str(getattr(annotation, "__name__", annotation))


_SIGNATURES: weakref.WeakKeyDictionary[Any, inspect.Signature] = weakref.WeakKeyDictionary()
"""Of the kernels called so far: reading a signature takes longer than a small kernel."""


def _signature(function: Any) -> inspect.Signature:
    if not inspect.isfunction(function):  # an object may change, or have no hash
        try:
            return inspect.signature(function)
        except ValueError:
            name = getattr(function, "__name__", type(function).__name__)
            raise TypeError(f"a kernel is a Python function; '{name}' is none") from None
    found = _SIGNATURES.get(function)
    if found is None:
        found = _SIGNATURES[function] = inspect.signature(function)
    return found


def _bind(
    program: Execution, kernel: Kernel, args: tuple[Any, ...], kwargs: dict[Any, Any]
) -> tuple[list[Any], dict[Any, Any], list[tuple[Tensor, Any]]]:
    """Arguments with arrays turned into tensors; and those that may be written, with the caller's
    arrays."""
    try:
        signature = _signature(kernel.function)
        bound = signature.bind(*args, **kwargs)
    except TypeError as e:
        broken(
            "input",
            f"{kernel.__name__} cannot be called like this: {e}",
            at=home(kernel),
            remedy="Check the number and the names of the arguments.",
        )
        raise
    mutable: list[tuple[Tensor, Any]] = []

    def convert(name: str, value: Any, may_write: bool) -> Any:
        def leaf(name: str, value: Any) -> Any:
            tensor = input_tensor(program, name, value, may_write)
            if may_write or program.dialect.writes_inputs:
                mutable.append((tensor, value))
            return tensor

        return mapped(name, value, leaf)

    parameters = signature.parameters
    for name, value in bound.arguments.items():
        parameter = parameters[name]
        may_write = not kernel.kernel_return or _is_mutable(parameter.annotation)
        value = bound.arguments[name] = as_array(value, name)
        kernel.check_argument(name, value, parameter.annotation)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            bound.arguments[name] = tuple(
                convert(f"{name}[{i}]", v, may_write) for i, v in enumerate(value)
            )
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            bound.arguments[name] = {k: convert(k, v, may_write) for k, v in value.items()}
        else:
            bound.arguments[name] = convert(name, value, may_write)
    return list(bound.args), bound.kwargs, mutable


def simulate(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> Any:
    """Run `kernel` on NumPy arrays and return its outputs as NumPy arrays (a tuple if the kernel
    returns one).

    Inside `nkisim.record(values=False)`: on arrays or shapes (`nkisim.shape`); the outputs are
    shapes.

    Raises `KernelError` where the kernel breaks a rule; what the kernel itself raises comes out
    unchanged.
    """
    if running() is not None:
        return kernel.function(*args, **kwargs)
    listener = LISTENER.get()
    config = listener.config if listener is not None else Config.from_environment()
    if kernel.platform_target is not None:
        config = dataclasses.replace(config, target=targets.get(kernel.platform_target))
    program = Execution(config, kernel.dialect, listener, spend_memset)
    program.kernel_code = getattr(kernel.function, "__code__", None)
    program.blocks = (
        kernel.dialect.scoped_text
        and program.kernel_code is not None
        and bool(scopes.blocks_of(program.kernel_code))
    )
    program.grid = kernel.grid
    if listener is not None:
        listener.begun(program)
    with launched(program):
        namespaces.check(kernel.function, kernel.dialect.name)
        call_args, call_kwargs, mutable = _bind(program, kernel, args, kwargs)
        result = kernel.run_on(program, call_args, call_kwargs)
        return kernel.outputs(program, result, mutable)


@contextlib.contextmanager
def launched(execution: Execution) -> Iterator[None]:
    """What runs inside is this kernel."""
    token = RUNNING.set(execution)
    policy = POLICY.set(Policy(execution.config.warn))
    collecting = garbage.pause()
    try:
        with np.errstate(all="ignore"):
            try:
                yield
            finally:
                catch_up(execution.queue)
    except KernelError:
        raise
    except Exception as error:
        if isinstance(error, TypeError):
            calls.explain(error)
        if isinstance(error, AttributeError):
            refusals.no_attribute(error, Tensor)
        lowered = POLICY.get().lowered
        if lowered is not None and source.is_internal(error):  # it cannot go on without the rule
            raise lowered from None
        raise
    finally:
        execution.root.closed = True  # what a kernel made is gone when it ends
        RUNNING.reset(token)
        POLICY.reset(policy)
        if collecting:
            garbage.resume(len(execution.buffers))
        execution.last_result = None
        execution.last_srcs = ()
