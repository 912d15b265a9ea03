"""Arrays of other libraries as NumPy arrays, on the same memory where they allow it, and torch
tensors back. torch is never imported here: it is used where it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.shapes import ShapeOnly
from ..rules.errors import broken, shown

_SIXTEEN = {"bfloat16": dtypes.bfloat16}
_EIGHT = {
    "float8_e4m3fn": dtypes.float8_e4m3fn,
    "float8_e5m2": dtypes.float8_e5m2,
    "float8_e8m0fnu": dtypes.float8_e8m0fnu,
}


def is_foreign(value: Any) -> bool:
    """Whether it is an array of another library: torch, JAX, or any whose arrays NumPy can read."""
    if isinstance(value, (np.ndarray, np.generic, ShapeOnly)):
        return False
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return True
    return hasattr(type(value), "__array__") and hasattr(value, "ndim")


def as_array(value: Any, name: str) -> np.ndarray:
    """The foreign array `value`, the argument `name` of a kernel, as a NumPy array."""
    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(value, torch.Tensor):
            return _of_torch(torch, value, name)
        return np.asarray(value)
    except (TypeError, RuntimeError, ValueError) as error:
        said = str(error)
    broken(
        "input",
        f"the input '{name}' cannot be read as a NumPy array",
        tensor=name,
        got=f"{type(value).__name__}: {said.splitlines()[0] if said else shown(value)}",
        limit="an array in this machine's memory, of an NKI data type",
        remedy="Convert it before the call.",
    )
    raise AssertionError


def _of_torch(torch: Any, tensor: Any, name: str) -> np.ndarray:
    if tensor.device.type != "cpu":
        broken(
            "input",
            f"the input '{name}' is a torch tensor on the device '{tensor.device}'",
            tensor=name,
            got=str(tensor.device),
            limit="cpu",
            remedy="Pass tensor.cpu().",
        )
    plain = tensor.detach()
    kind = str(tensor.dtype).removeprefix("torch.")
    found: np.ndarray
    if kind in _SIXTEEN:
        found = plain.view(torch.int16).numpy().view(_SIXTEEN[kind])
    elif kind in _EIGHT:
        found = plain.view(torch.uint8).numpy().view(_EIGHT[kind])
    else:
        found = plain.numpy()
    return found


def any_torch(torch: Any, value: Any) -> bool:
    """Whether there is a torch tensor among the (nested) arguments."""
    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, (list, tuple)):
        return any(any_torch(torch, v) for v in value)
    if isinstance(value, dict):
        return any(any_torch(torch, v) for v in value.values())
    return False


def to_torch(torch: Any) -> Callable[[Any], Any]:
    """What turns output arrays into torch tensors."""

    def back(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(back(v) for v in value)
        if isinstance(value, dict):
            return {k: back(v) for k, v in value.items()}
        if not isinstance(value, np.ndarray):
            return value
        for name, dtype in {**_SIXTEEN, **_EIGHT}.items():
            if value.dtype == dtype:
                raw = torch.from_numpy(value.view(np.int16 if name in _SIXTEEN else np.uint8))
                return raw.view(getattr(torch, name))
        return torch.from_numpy(value)

    return back
