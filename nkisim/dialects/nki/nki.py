"""nki: the decorator, the simulator's entry points, and launching on one or two physical cores.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/__init__.py, nki/guides/nki_simulator.rst,
nki/migration/index.rst.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ...execution import foreign
from ...execution.cores import Cores
from ...execution.execution import Execution, running
from ...execution.launch import Kernel, check_capacity, home, to_arrays
from ...execution.launch import simulate as _simulate
from ...machine.memory import HBM, Buffer
from ...machine.running import LISTENER
from ...machine.shapes import ShapeOnly
from ...rules.errors import broken
from ...tensors.tensor import Tensor
from . import acceptance
from .operators import OPERATORS
from .tensor import NkiTensor as tensor
from .typing import _ShapedMeta


class NkiKernel(Kernel):
    """A kernel of this dialect. `kernel[lnc](...)` runs it on `lnc` physical cores, 1 or 2."""

    def __getitem__(self, grid: Any) -> Kernel:
        sizes = grid if isinstance(grid, tuple) else (grid,)
        if (
            len(sizes) != 1
            or not isinstance(sizes[0], (int, np.integer))
            or int(sizes[0]) not in (1, 2)
        ):
            broken(
                "lnc",
                f"{self.__name__} is launched with [{', '.join(map(repr, sizes))}]",
                got=repr(grid),
                limit="kernel[1] or kernel[2]",
                remedy="The number in brackets is the LNC degree: how many "
                "physical "
                "cores form the logical one.",
            )
        return super().__getitem__(grid)

    def with_schedule(self, *dependencies: Any, **kwargs: Any) -> NkiKernel:
        """The kernel with scheduling hints. Instructions run in the order written here, which meets
        all of them."""
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if running() is not None:
            return self.function(*args, **kwargs)
        return run(self, args, kwargs)

    def check_argument(self, name: str, value: Any, annotation: Any) -> None:
        if isinstance(value, list):
            broken(
                "python-subset",
                f"the argument '{name}' of {self.__name__} is a list",
                got=f"list of {len(value)}",
                at=home(self),
                remedy="Pass a tuple.",
            )
        if isinstance(annotation, str):  # from __future__ import annotations
            try:
                annotation = eval(annotation, getattr(self.function, "__globals__", {}))
            except Exception:
                annotation = None
        if (
            isinstance(annotation, _ShapedMeta)
            and annotation.shape is not None
            and isinstance(value, (np.ndarray, ShapeOnly))
        ) and value.shape != annotation.shape:
            broken(
                "annotation",
                f"the argument '{name}' of {self.__name__} does not have the annotated shape",
                tensor=name,
                got=value.shape,
                limit=annotation.shape,
                at=home(self),
            )

    def run_on(self, program: Execution, args: list[Any], kwargs: dict[Any, Any]) -> Any:
        acceptance.check(self.function)
        program.registers = {}
        program.shared_next = 0
        cores = self.grid[0] if self.grid else 1
        if cores == 1:
            program.position = (0,) if self.grid else ()
            result = self.function(*args, **kwargs)
            check_capacity(program, self)
            return result
        if program.config.target.nc_version < 3:
            broken(
                "lnc",
                f"{self.__name__}[2]: NeuronCore-v2 has no logical cores of two",
                at=home(self),
                got=f"target {program.config.target.name}",
                limit="trn2 or trn3",
                remedy="Set NEURON_PLATFORM_TARGET_OVERRIDE=trn2, or launch kernel[1].",
            )
        listener = LISTENER.get()
        other = Execution(program.config, program.dialect, listener, program.spend)
        if program.lowering is not None:
            other.lower(program.lowering, 1)
        other.kernel_code, other.grid = program.kernel_code, program.grid
        other.shared, other.queue = program.shared, program.queue  # in the order of their turns
        if listener is not None:
            listener.begun(other)
        program.position, other.position = (0,), (1,)
        results = Cores().run([program, other], lambda: self.function(*args, **kwargs))
        for core in (program, other):
            check_capacity(core, self)
        return results[0]

    def outputs(self, program: Execution, result: Any, mutable: list[tuple[Tensor, Any]]) -> Any:
        changed = [(t, array) for t, array in mutable if t.buf.role == "mutable"]
        for t, array in changed:
            if program.values and not np.shares_memory(t.array, array):  # a copy was made to run on
                array[...] = t.array.astype(array.dtype)
        if result is None:
            if not changed:
                broken(
                    "no-output",
                    f"{self.__name__} returns nothing and writes to none of its inputs",
                    at=home(self),
                    remedy="Return an nl.shared_hbm tensor, or write to an input tensor.",
                )
            return None
        returned: list[Buffer] = []
        outputs = to_arrays(program, self, result, returned)
        for buf in returned:
            if buf.meta.space == HBM and buf.role == "tile":
                broken(
                    "output-buffer",
                    f"{self.__name__} returns '{buf.label}', which lies in private HBM",
                    tensor=buf.label,
                    got="nl.private_hbm",
                    at=home(self),
                    remedy="Make it with buffer=nl.shared_hbm.",
                )
        return outputs


def run(kernel: Kernel, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> Any:
    """Simulate `kernel` on NumPy arrays or torch tensors; the outputs are of the kind that the
    inputs were."""
    torch = sys.modules.get("torch")
    if torch is None or not foreign.any_torch(torch, (args, kwargs)):
        return _simulate(kernel, args, kwargs)
    return foreign.to_torch(torch)(_simulate(kernel, args, kwargs))


_OLD = {
    "mode": "is ignored: what a kernel runs on follows from its arguments",
    "platform_target": "is no longer taken: set NEURON_PLATFORM_TARGET_OVERRIDE",
}


def jit(fn: Any = None, **kwargs: Any) -> Any:
    """Make a kernel of a function: @nki.jit or @nki.jit(). Called with NumPy arrays or torch
    tensors it is simulated."""
    for name, why in _OLD.items():
        if name in kwargs:
            broken(
                "keyword-argument",
                f"nki.jit: {name}= {why}",
                got=f"{name}={kwargs[name]!r}",
                remedy="Leave it out.",
            )

    def decorate(f: Any) -> NkiKernel:
        return NkiKernel(
            f,
            OPERATORS,
            platform_target=kwargs.get("platform_target"),
            grid=f.grid if isinstance(f, Kernel) else (),
            options={**(f.options if isinstance(f, Kernel) else {}), **kwargs},
        )

    return decorate if fn is None else decorate(fn)


def simulate(kernel: Any) -> Any:
    """The callable that simulates `kernel` (or `kernel[2]`, or a plain function):
    nki.simulate(kernel)(a, b)."""
    made = (
        kernel
        if isinstance(kernel, NkiKernel)
        else NkiKernel(kernel, OPERATORS, grid=kernel.grid if isinstance(kernel, Kernel) else ())
    )

    def simulated(*args: Any, **kwargs: Any) -> Any:
        return run(made, args, kwargs)

    simulated.__name__ = f"simulate({made.__name__})"
    return simulated


def simulate_kernel(kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """nki.simulate under its old name: simulate_kernel(kernel, a, b)."""
    return simulate(kernel)(*args, **kwargs)


class NoDeviceError(RuntimeError):
    """A function that needs a NeuronDevice was called where there is none."""


def _gone(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise NoDeviceError(
            f"nki.{name} needs a NeuronDevice and ended with NKI 0.1; this is nkisim, a CPU "
            "simulator. To simulate a kernel call it with NumPy arrays, or "
            "nki.simulate(kernel)(...)."
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"nki.{name} of NKI 0.1: needs a NeuronDevice. Raises NoDeviceError."
    return function


baremetal = _gone("baremetal")
benchmark = _gone("benchmark")
profile = _gone("profile")
dtype = np.dtype

__all__ = [
    "NoDeviceError",
    "baremetal",
    "benchmark",
    "dtype",
    "jit",
    "profile",
    "simulate",
    "simulate_kernel",
    "tensor",
]
