"""What a kernel may not ask of a tile, and what it is told to do instead."""

from __future__ import annotations

from typing import Any

from ..machine.running import RUNNING
from ..rules import source
from ..rules.errors import KernelError, broken


class KernelAttributeError(KernelError, AttributeError):
    """A tile does not have the attribute asked for."""


_NUMPY_TO_NL = {
    "absolute": "nl.abs",
    "amax": "nl.max",
    "amin": "nl.min",
    "true_divide": "nl.divide",
    "matmul": "nl.matmul",
    "dot": "nl.matmul",
    "concatenate": "slices of one larger tile",
    "float_power": "nl.power",
    "bitwise_not": "nl.invert",
    "copyto": "an assignment, t[...] = value",
    "reshape": "t.reshape((p, n))",
}


def refuse_numpy(what: str, tensor: Any) -> None:
    """Raise the error for NumPy (or Python maths) applied to a tile."""
    if what in ("float", "array"):
        asked = "a Python number" if what == "float" else "a NumPy array"
        broken(
            "numpy-on-tile",
            f"{asked} was asked of '{tensor.label}', which is a tile of the device",
            tensor=tensor.label,
            got=tensor.meta.describe(),
            remedy="Its values exist only on the device, while it runs. Compute on the tile "
            "itself with nl and nisa "
            "functions (not math or NumPy); return it to see its values.",
        )
    kernel = RUNNING.get()
    use = _NUMPY_TO_NL.get(what) or (
        f"nl.{what}" if kernel is None or kernel.dialect.has(what) else None
    )
    broken(
        "numpy-on-tile",
        f"np.{what} was called on '{tensor.label}', which is a tile of the device",
        tensor=tensor.label,
        got=tensor.meta.describe(),
        remedy=(
            f"Use {use}. "
            if use
            else f"NKI has no function named {what}: build it from nl functions. "
        )
        + "NumPy runs on the host and never sees the values of a tile.",
    )


_INSTEAD = {
    "T": "nl.transpose(t)",
    "sum": "nl.sum(t, axis=1)",
    "max": "nl.max(t, axis=1)",
    "mean": "nl.mean(t, axis=1)",
    "copy": "nl.copy(t)",
    "transpose": "nl.transpose(t)",
    "exp": "nl.exp(t)",
    "min": "nl.min(t, axis=1)",
}


def no_attribute(error: AttributeError, tensor_type: type) -> None:
    """Raise the error for an attribute that tiles do not have, if a kernel asked one for such."""
    name, trace = error.name or "__", error.__traceback__
    tensor: Any = error.obj
    asked = str(error).endswith(f" has no attribute '{name}'")  # and not set
    if not asked or not issubclass(type(tensor), tensor_type) or name.startswith("__"):
        return
    at = source.Line("", 0, "")
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename not in source.INTERNAL_FILES:
            at = source.line_of(code, trace.tb_lasti)
        trace = trace.tb_next
    told = KernelAttributeError(
        "argument",
        f"a tensor has no attribute '{name}'",
        tensor=tensor.label,
        remedy=f"Use {_INSTEAD[name]}." if name in _INSTEAD else None,
        at=at,
    )
    raise told.with_traceback(error.__traceback__) from None
