"""What is looked at when a kernel ends: whether its tiles fit on chip, and what it returns."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..machine import dtypes
from ..machine.memory import (
    EMPTY,
    FULL,
    ON_CHIP,
    PSUM,
    SBUF,
    SHARED,
    Buffer,
    contiguous,
)
from ..machine.occupancy import Occupancy
from ..rules import source
from ..rules.arguments import kind_of
from ..rules.errors import broken, report
from ..tensors.tensor import Tensor
from .execution import Execution


class Called(Protocol):
    """The kernel that has been called."""

    __name__: str
    function: Any
    kernel_return: bool
    """Whether it returns its outputs, or writes them to its parameters."""


def home(kernel: Called) -> source.Line:
    code = getattr(kernel.function, "__code__", None)
    return source.line_of(code, 0) if code is not None else source.Line("", 0, "")


def check_capacity(program: Execution, kernel: Called) -> None:
    """The tiles in use at one time fit on chip, for the best allocator there can be.

    Those that the kernel placed itself do not count: each was compared with the memory's end when
    it was made, and they share room with one another as the kernel wishes (`places`).
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


def to_arrays(program: Execution, kernel: Called, result: Any, returned: list[Buffer]) -> Any:
    """Check the returned tensors, note them in `returned`, and turn them into NumPy arrays."""

    def convert(value: Any) -> Any:
        if isinstance(value, Tensor):
            program.check_kernel(value)
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
        if isinstance(value, dict) and value and all(isinstance(k, str) for k in value):
            return {k: convert(v) for k, v in value.items()}
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
            f"{kernel.__name__} returns {'nothing' if value is None else kind_of(value)}",
            at=home(kernel),
            remedy="Make an output with nl.ndarray(..., "
            "buffer=nl.shared_hbm), nl.store into it, "
            "and return it.",
        )
        return None

    found = convert(result)
    if isinstance(found, tuple) and not found:
        broken(
            "no-output",
            f"{kernel.__name__} returns an empty tuple",
            at=home(kernel),
            remedy="Return the output tensors.",
        )
    return found


def outputs(
    program: Execution, kernel: Called, result: Any, mutable: list[tuple[Tensor, Any]]
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
    arrays = to_arrays(program, kernel, result, returned)
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
    return arrays


def write_back(kernel: Called, tensor: Tensor, array: np.ndarray) -> None:
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


def _unknown_output(program: Execution, kernel: Called, value: Tensor) -> None:
    """Refuse to return elements that were computed from what nobody wrote."""
    origin = program.origins.get(value.buf)
    if origin is not None and not program.written_flags(value).all():
        if origin.reaches is None:
            origin.reach(
                f"'{value.label}', which {kernel.__name__} returns", source.Line("", 0, "")
            )
        report(origin)


def check_output(program: Execution, kernel: Called, value: Tensor) -> None:
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
