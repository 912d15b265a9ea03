"""Calling a kernel: arguments become HBM tensors, the function runs as Python, outputs become NumPy
arrays."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import inspect
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine import target as targets
from ..machine.config import Config
from ..machine.memory import (
    EMPTY,
    FULL,
    HBM,
    ON_CHIP,
    PSUM,
    SBUF,
    SHARED,
    Buffer,
    contiguous,
    meta_of,
)
from ..machine.occupancy import Occupancy
from ..machine.running import LISTENER, RUNNING
from ..machine.shapes import ShapeOnly
from ..rules import calls, scopes, source
from ..rules.errors import POLICY, KernelError, Policy, broken, report
from ..tensors import refusals
from ..tensors.tensor import Tensor
from . import foreign
from .execute import spend_memset
from .execution import Execution, running


def _is_array(value: Any) -> bool:
    """Whether it is an array: NumPy's, another library's, or a shape that stands for one."""
    return isinstance(value, (np.ndarray, ShapeOnly)) or (
        not isinstance(value, Tensor) and foreign.is_foreign(value)
    )


def as_array(value: Any, name: str = "an input") -> Any:
    """Arrays of other libraries as NumPy arrays, on the same memory where they allow it; all else
    as it is."""
    if isinstance(value, Tensor) or not foreign.is_foreign(value):
        return value
    return foreign.as_array(value, name)


def input_tensor(program: Execution, name: str, value: Any, mutable: bool) -> Tensor:
    """An array, or a shape, as an HBM tensor called `name`."""
    if value.dtype == np.bool_ or value.dtype in dtypes.SUPPORTED:
        dtype = value.dtype
    else:
        hint = {"float64": "x.astype(np.float32)", "int64": "x.astype(np.int32)"}.get(
            value.dtype.name, "x.astype(...)"
        )
        broken(
            "input",
            f"the input '{name}' is a NumPy array of {value.dtype}",
            tensor=name,
            got=f"{value.shape} {value.dtype}",
            limit="an NKI data type: float32, bfloat16, float16, int32, ...",
            remedy=f"Convert it before the call: {hint}.",
        )
    if 0 in value.shape:
        broken(
            "input",
            f"the input '{name}' is empty",
            tensor=name,
            got=value.shape,
            remedy="Every axis needs at least one element.",
        )
    if not program.values:
        array: Any = program.zeros(value.shape, dtype)
    elif isinstance(value, ShapeOnly):
        broken(
            "input",
            f"the input '{name}' is a shape without values",
            tensor=name,
            got=repr(value),
            limit="a NumPy array",
            remedy="Pass an array, or run the kernel on shapes alone: with "
            "nkisim.record(values=False) as run: ...",
        )
        raise AssertionError
    else:
        array = value.copy() if mutable else np.ascontiguousarray(value)
        if not program.config.precise_fp and dtypes.is_float(dtype):
            array = array.astype(np.float32)
        # views find the start of their memory by walking to it: it is this array's, whatever array
        # this one is a part of
        memory = memoryview(array.reshape(-1).view(np.uint8))
        array = np.ndarray(value.shape, array.dtype, memory)
    meta = meta_of(HBM, value.shape, contiguous(value.shape), dtype)
    buf = program.new_buffer(meta, FULL, name)
    buf.role = "mutable" if mutable else "input"
    if program.lowering is not None:
        program.lowering.input(buf, name, value, mutable)
    program.tape.keep_initial(buf, array)
    return program.tensor(buf, array, meta, 0)


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
            platform_target = platform_target or function.platform_target
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
        return _outputs(program, self, result, mutable)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.function.__module__, self.function.__qualname__)

    def __repr__(self) -> str:
        grid = f"[{', '.join(map(str, self.grid))}]" if self.grid else ""
        return f"<nki kernel {self.__name__}{grid}>"


def _grid(kernel: Kernel, grid: tuple[Any, ...]) -> tuple[int, ...]:
    """The sizes of a launch grid as integers. An axis of size 0 means no grid, as published kernels
    write it."""
    if not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, (bool, np.bool_)) and n >= 0
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
    return "mutable_tensor" in str(getattr(annotation, "__name__", annotation))


_SIGNATURES: weakref.WeakKeyDictionary[Any, inspect.Signature] = weakref.WeakKeyDictionary()
"""Of the kernels called so far: reading a signature takes longer than a small kernel."""


def _signature(function: Any) -> inspect.Signature:
    if not inspect.isfunction(function):  # an object may change, or have no hash
        return inspect.signature(function)
    found = _SIGNATURES.get(function)
    if found is None:
        found = _SIGNATURES[function] = inspect.signature(function)
    return found


def mapped(name: str, value: Any, leaf: Callable[[str, Any], Any]) -> Any:
    """An argument with `leaf(name, array)` in the place of each array in it."""

    def again(part: str, v: Any) -> Any:
        return mapped(f"{name}{part}", v, leaf)

    value = as_array(value, name)
    if _is_array(value) and value.ndim:
        return leaf(name, value)
    if isinstance(value, (list, tuple)) and any(map(_is_array, value)):
        items = [again(f"[{i}]", v) for i, v in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict) and any(map(_is_array, value.values())):
        return {k: again(f"[{k!r}]", v) for k, v in value.items()}
    if hasattr(value, "__nki_convert__"):
        return value.__nki_convert__(lambda field, v: again(f".{field}", v))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            f.name: again(f".{f.name}", getattr(value, f.name))
            for f in dataclasses.fields(value)
            if _is_array(getattr(value, f.name))
        }
        return dataclasses.replace(value, **changed) if changed else value
    return value


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


def home(kernel: Kernel) -> source.Line:
    code = getattr(kernel.function, "__code__", None)
    return source.line_of(code, 0) if code is not None else source.Line("", 0, "")


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
    if kernel.platform_target:
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
        call_args, call_kwargs, mutable = _bind(program, kernel, args, kwargs)
        result = kernel.run_on(program, call_args, call_kwargs)
        return kernel.outputs(program, result, mutable)


@contextlib.contextmanager
def launched(execution: Execution) -> Iterator[None]:
    """What runs inside is this kernel."""
    token = RUNNING.set(execution)
    policy = POLICY.set(Policy(execution.config.warn))
    collecting = gc.isenabled()
    gc.disable()  # the objects of a run form no cycles; walking them over and over only costs time
    try:
        with np.errstate(all="ignore"):
            yield
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
        RUNNING.reset(token)
        POLICY.reset(policy)
        if collecting:
            gc.enable()
        execution.last_result = None
        execution.last_srcs = ()


def check_capacity(program: Execution, kernel: Kernel) -> None:
    """The tiles in use at one time fit on chip, for the best allocator there can be.

    Those that the kernel placed itself do not count: each was held against the memory's end when it
    was made, and they share room with one another as the kernel wishes (`places`).
    """
    target = program.config.target
    buffers = program.buffers
    if program.places:
        buffers = [b for b in buffers if b.placed is None]
    occupancy: Occupancy | None = None
    for space, limit, rule in (
        (SBUF, target.sbuf_partition_bytes, "sbuf-capacity"),
        (PSUM, target.psum_partition_bytes, "psum-capacity"),
    ):
        what = f"{space}_partition_bytes"
        # even if all lived at once
        if len(buffers) < 1000 and sum(getattr(b.meta, what) for b in buffers) <= limit:
            continue
        occupancy = occupancy or Occupancy(buffers)
        total, users, when = occupancy.peak(what)
        if total <= limit:
            continue
        held = "; ".join(f"{i.label} {i.meta.shape} {i.partition_bytes} B" for i in users[:6])
        more = f"; and {len(users) - 6} more" if len(users) > 6 else ""
        last = next((b for b in reversed(users) if b.first == when), users[0])
        broken(
            rule,
            f"{space.upper()} overflows: {len(users)} tiles in use at one time need "
            f"{total} bytes per partition",
            tensor=last.label,
            got=held + more,
            limit=f"{limit} bytes per partition on {target.name}"
            + (
                f" ({target.psum_banks} banks of {target.psum_bank_bytes})" if space == PSUM else ""
            ),
            remedy="Work on smaller tiles, or use each tile up before the next is made. (The "
            "compiler would have "
            "to spill to slower memory.)"
            if space == SBUF
            else "Copy each PSUM tile to SBUF (nisa.tensor_copy) before making the next.",
            at=source.line_of(last.code, last.lasti),
        )


def to_arrays(program: Execution, kernel: Kernel, result: Any, returned: list[Buffer]) -> Any:
    """Check the returned tensors, note them in `returned`, and turn them into NumPy arrays."""

    def convert(value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.meta.space in ON_CHIP:
                _unknown_output(program, kernel, value)
                broken(
                    "output-memory",
                    f"{kernel.__name__} returns '{value.label}', which lies in {value.meta.space}",
                    tensor=value.label,
                    got=value.meta.describe(),
                    at=home(kernel),
                    limit="hbm",
                    remedy="Make an output with nl.ndarray(..., buffer=nl.shared_hbm), "
                    "nl.store the tile into it "
                    "and return that.",
                )
            returned.append(value.buf)
            check_output(program, kernel, value)
            if program.lowering is not None:
                return program.lowering.output(value)
            return value.array.copy() if program.values else value.array
        if isinstance(value, (tuple, list)):
            return tuple(convert(v) for v in value)
        if isinstance(value, (np.ndarray, np.generic)):
            broken(
                "no-output",
                f"{kernel.__name__} returns a NumPy value that no instruction of "
                "the device computed",
                got=f"{type(value).__name__} {getattr(value, 'shape', '')}",
                at=home(kernel),
                remedy="Compute on tiles with nl and nisa functions, store the result into an "
                "nl.shared_hbm tensor "
                "and return that tensor.",
            )
        broken(
            "no-output",
            f"{kernel.__name__} returns {'nothing' if value is None else type(value).__name__}",
            at=home(kernel),
            remedy="Make an output with nl.ndarray(..., "
            "buffer=nl.shared_hbm), nl.store into it, "
            "and return it.",
        )
        return None

    outputs = convert(result)
    if isinstance(outputs, tuple) and not outputs:
        broken(
            "no-output",
            f"{kernel.__name__} returns an empty tuple",
            at=home(kernel),
            remedy="Return the output tensors.",
        )
    return outputs


def _outputs(
    program: Execution, kernel: Kernel, result: Any, mutable: list[tuple[Tensor, Any]]
) -> Any:
    returned: list[Buffer] = []
    if not kernel.kernel_return:
        if result is not None:
            return to_arrays(program, kernel, result, returned)
        if mutable and all(t.buf.last == t.buf.first for t, _ in mutable):
            broken(
                "no-output",
                f"{kernel.__name__} writes to none of its parameters",
                at=home(kernel),
                remedy="nl.store the result into an output parameter.",
            )
        if program.values:
            for tensor, array in mutable:
                write_back(kernel, tensor, array)
        return None
    outputs = to_arrays(program, kernel, result, returned)
    for tensor, array in mutable:
        if tensor.buf not in returned:
            broken(
                "mutable-not-returned",
                f"the mutable parameter '{tensor.label}' of {kernel.__name__} is not returned",
                tensor=tensor.label,
                at=home(kernel),
                remedy=f"Return it: return ..., {tensor.label}",
            )
        if program.values:
            write_back(kernel, tensor, array)
    return outputs


def write_back(kernel: Kernel, tensor: Tensor, array: np.ndarray) -> None:
    """Give the caller's array the values of the parameter that it was passed for."""
    values = tensor.array.astype(array.dtype)
    if array.flags.writeable:
        array[...] = values
    elif values.tobytes() != array.tobytes():
        broken(
            "input",
            f"the parameter '{tensor.label}' of {kernel.__name__} is written, and the "
            "array given for it cannot be",
            tensor=tensor.label,
            got="a read-only array",
            limit="an array that may be written",
            at=home(kernel),
            remedy="Pass a copy: x.copy().",
        )


def _unknown_output(program: Execution, kernel: Kernel, value: Tensor) -> None:
    """Refuse to return elements that were computed from what nobody wrote."""
    origin = program.origins.get(value.buf)
    if origin is not None and not program.written_flags(value).all():
        if origin.reaches is None:
            origin.reach(
                f"'{value.label}', which {kernel.__name__} returns", source.Line("", 0, "")
            )
        report(origin)


def check_output(program: Execution, kernel: Kernel, value: Tensor) -> None:
    buf = value.buf
    if buf.state in (FULL, SHARED):
        return
    shape = buf.meta.shape
    if buf.state == EMPTY:
        flags = np.broadcast_to(np.False_, shape)
    else:
        assert buf.cells is not None
        if buf.cells.written.all():
            return
        flags = buf.written(0, shape, contiguous(shape), buf.meta.itemsize)
    # which rows it gets is known at run time only; the others hold garbage
    if buf.role == "scattered":
        if program.values and value.shape == flags.shape and dtypes.is_float(value.dtype):
            value.array[~flags] = np.nan
        return
    _unknown_output(program, kernel, value)
    for origin in program.origins.values():
        if origin.likely is not None:  # a mistake that was seen on the way, and may be why
            report(origin)
    missing = flags.size - int(np.count_nonzero(flags))
    first = tuple(int(i) for i in np.unravel_index(int(np.argmin(flags)), shape))
    part = (
        "never written"
        if missing == flags.size
        else (f"not written in {missing} of {flags.size} elements")
    )
    broken(
        "unwritten-output",
        f"the output '{value.label}' of {kernel.__name__} is {part}",
        tensor=value.label,
        got=f"first unwritten element {first} of shape {value.shape}",
        at=source.line_of(buf.code, buf.lasti),
        remedy="nl.store every element; check the loop's trip count and the store's slice.",
    )
