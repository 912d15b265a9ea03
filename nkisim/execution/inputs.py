"""The arguments of a kernel: arrays become tensors in HBM."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import (
    FULL,
    HBM,
    contiguous,
    meta_of,
)
from ..machine.shapes import ShapeOnly
from ..rules.errors import broken
from ..tensors.tensor import Tensor
from . import foreign
from .execution import Execution


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
    if value.dtype in dtypes.SUPPORTED + dtypes.PACKED:
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


def mapped(name: str, value: Any, leaf: Callable[[str, Any], Any]) -> Any:
    """An argument with `leaf(name, array)` instead of each array in it."""

    def again(part: str, v: Any) -> Any:
        return mapped(f"{name}{part}", v, leaf)

    if isinstance(value, Tensor):
        broken(
            "input",
            f"the argument '{name}' is a tensor of another kernel, which has ended",
            tensor=name,
            got=value.meta.describe(),
            remedy="Pass the array that the other kernel returned.",
        )
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
