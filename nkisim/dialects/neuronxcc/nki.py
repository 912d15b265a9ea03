"""neuronxcc.nki: decorators and entry points.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execution import Execution
from ...execution.launch import Kernel, simulate
from ...tensors.tensor import Tensor as tensor
from .annotations import watching
from .operators import OPERATORS

_MODES = ("auto", "simulation", "trace", "baremetal", "benchmark", "jax", "torchxla", "profile")


class NoDeviceError(RuntimeError):
    """A function that needs a NeuronDevice was called where there is none."""


class NkiKernel(Kernel):
    """A kernel of this dialect."""

    def run_on(self, program: Execution, args: list[Any], kwargs: dict[Any, Any]) -> Any:
        """Run the function for each program instance of the grid; what the last one returns."""
        with watching(self.function):
            return super().run_on(program, args, kwargs)


class DeviceKernel(NkiKernel):
    """A kernel for nki.baremetal, nki.benchmark or nki.profile: it can be made anywhere, and runs
    on a device only."""

    needs = "nki.baremetal"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NoDeviceError(
            f"{self.needs} runs '{self.__name__}' on a NeuronDevice, and this is nkisim, a CPU "
            f"simulator without one. To simulate it call nki.simulate_kernel({self.__name__}, "
            "...); to measure it run the same file on a Trainium or Inferentia2 instance with "
            "AWS's neuronxcc."
        )


class _Benchmark(DeviceKernel):
    needs = "nki.benchmark"


class _Profile(DeviceKernel):
    needs = "nki.profile"


class FrameworkKernel:
    """The documented base of a framework's own binding to NKI. It hands a kernel to the compiler,
    which is not here: subclasses can be written and made, and `dump_config` raises
    NoDeviceError."""

    def __init__(
        self, func: Any = None, func_name: str = "", grid: tuple[int, ...] = (), **kwargs: Any
    ) -> None:
        self.func = func
        self.func_name = func_name or getattr(func, "__name__", "")
        self.grid = grid
        self.options = kwargs

    def dump_config(self, *args: Any, **kwargs: Any) -> Any:
        """The compiler's configuration for these arguments, of which there is none here."""
        raise NoDeviceError(
            f"FrameworkKernel.dump_config compiles '{self.func_name}' for a framework, and this is "
            "nkisim, a CPU simulator without a compiler. To simulate the kernel call "
            "nki.simulate_kernel with NumPy arrays."
        )

    def translate_to_neuron_dtype(self, _dtype: Any) -> Any:
        """A framework's data type as NKI's; the subclass says so."""
        raise NotImplementedError

    def is_framework_tensor(self, t: Any) -> bool:
        """Whether `t` is a tensor of the framework; the subclass says so."""
        raise NotImplementedError

    def map_framework_tensor(self, t: Any) -> Any:
        """Shape and data type of a framework's tensor; the subclass says so."""
        raise NotImplementedError


_BY_MODE: dict[str, type[Kernel]] = {
    "baremetal": DeviceKernel,
    "benchmark": _Benchmark,
    "profile": _Profile,
}


def _decorator(
    kind: type[Kernel], func: Any, kernel_return: bool | None, kwargs: dict[str, Any]
) -> Any:
    """`kernel_return` None: as the kernel has it, where `func` is one already."""

    def decorate(f: Any) -> Kernel:
        inner = f if isinstance(f, Kernel) else None
        returns = inner.kernel_return if kernel_return is None and inner else kernel_return
        return kind(
            f,
            OPERATORS,
            platform_target=kwargs.get("platform_target"),
            kernel_return=returns is not False,
            grid=inner.grid if inner is not None else (),
            options={**(inner.options if inner is not None else {}), **kwargs},
        )

    return decorate if func is None else decorate(func)


def jit(func: Any = None, mode: str = "auto", **kwargs: Any) -> Any:
    """Make a kernel of a function: @nki.jit, @nki.jit(), @nki.jit(mode="simulation"), nki.jit(f,
    mode=...).

    Called with NumPy arrays it simulates and returns NumPy arrays; called inside another kernel it
    runs inline.
    """
    if not isinstance(mode, str) or mode not in _MODES:
        raise ValueError(f"nki.jit has no mode {mode!r}; there are {', '.join(_MODES)}")
    returns = kwargs.pop("kernel_return", None)
    return _decorator(
        _BY_MODE.get(mode, NkiKernel), func, None if returns is None else bool(returns), kwargs
    )


def trace(func: Any = None, **kwargs: Any) -> Any:
    """A kernel in the older style: it returns nothing and writes its last parameters in place."""
    return _decorator(NkiKernel, func, False, kwargs)


def baremetal(kernel: Any = None, **kwargs: Any) -> Any:
    """A kernel to run on a NeuronDevice without a framework. Calling it without a device raises
    NoDeviceError."""
    return _decorator(DeviceKernel, kernel, None, kwargs)


def benchmark(kernel: Any = None, **kwargs: Any) -> Any:
    """A kernel to time on a NeuronDevice. Calling it without a device raises NoDeviceError."""
    return _decorator(_Benchmark, kernel, None, kwargs)


def profile(func: Any = None, **kwargs: Any) -> Any:
    """A kernel to profile on a NeuronDevice. Calling it without a device raises NoDeviceError."""
    return _decorator(_Profile, func, None, kwargs)


def simulate_kernel(kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """Run `kernel` on the CPU with NumPy arrays; returns NumPy arrays. `kernel[grid]` runs it on a
    grid."""
    if not isinstance(kernel, Kernel) or isinstance(kernel, DeviceKernel):
        kernel = NkiKernel(
            kernel,
            OPERATORS,
            kernel_return=getattr(kernel, "kernel_return", True),
            grid=getattr(kernel, "grid", ()),
        )
    return simulate(kernel, args, kwargs)


__all__ = [
    "FrameworkKernel",
    "NoDeviceError",
    "baremetal",
    "benchmark",
    "jit",
    "profile",
    "simulate_kernel",
    "tensor",
    "trace",
]
