"""torch tensors as NumPy arrays on the same memory, and back. torch is never imported here: it is
used where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...machine import dtypes
from ...rules.errors import broken

_SIXTEEN = {"bfloat16": dtypes.bfloat16}
_EIGHT = {
    "float8_e4m3fn": dtypes.float8_e4m3fn,
    "float8_e5m2": dtypes.float8_e5m2,
    "float8_e8m0fnu": dtypes.float8_e8m0fnu,
}


def any_torch(torch: Any, value: Any) -> bool:
    """Whether there is a torch tensor among the (nested) arguments."""
    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, (list, tuple)):
        return any(any_torch(torch, v) for v in value)
    if isinstance(value, dict):
        return any(any_torch(torch, v) for v in value.values())
    return False


def _array(torch: Any, tensor: Any) -> np.ndarray:
    if tensor.device.type != "cpu":
        broken(
            "input",
            f"a torch tensor lies on the device '{tensor.device}'",
            got=str(tensor.device),
            limit="cpu",
            remedy="Pass tensor.cpu().",
        )
    plain = tensor.detach()
    name = str(tensor.dtype).removeprefix("torch.")
    if name in _SIXTEEN:
        values = plain.view(torch.int16).numpy().view(_SIXTEEN[name])
    elif name in _EIGHT:
        values = plain.view(torch.uint8).numpy().view(_EIGHT[name])
    else:
        values = plain.numpy()
    found: np.ndarray = values
    return found


def convert(torch: Any, value: Any) -> Any:
    """The (nested) arguments with NumPy arrays, on the same memory, in place of torch tensors."""
    if isinstance(value, torch.Tensor):
        return _array(torch, value)
    if isinstance(value, (list, tuple)):
        items = [convert(torch, v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {k: convert(torch, v) for k, v in value.items()}
    return value


def to_torch(torch: Any) -> Callable[[Any], Any]:
    """What turns output arrays into torch tensors."""

    def back(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(back(v) for v in value)
        if not isinstance(value, np.ndarray):
            return value
        for name, dtype in {**_SIXTEEN, **_EIGHT}.items():
            if value.dtype == dtype:
                raw = torch.from_numpy(value.view(np.int16 if name in _SIXTEEN else np.uint8))
                return raw.view(getattr(torch, name))
        return torch.from_numpy(value)

    return back
