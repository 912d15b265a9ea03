"""What assignments to tensors mean in this dialect, and that Python's operators mean nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import execute
from ...isa.alu import ALU
from ...isa.copies import MEMSET, TENSOR_COPY
from ...machine.memory import HBM
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..functions import SYMBOLS
from ..neuronxcc import elementwise as lowering
from ..neuronxcc import transfer
from .support import as_tensor, same_size, tile
from .tensor import NkiTensor

_SYMBOLS = {**SYMBOLS, "negative": "-", "abs": "abs()", "invert": "~", "positive": "+"}
_INSTEAD = {
    "divide": "nl.multiply(x, nl.reciprocal(y))",
    "matmul": "nl.matmul(x, y, transpose_x=True)",
    "mod": "nothing: the device has no remainder",
    "floor_divide": "nl.floor of a product",
    "positive": "the tensor itself",
}


class Operators:
    """The nki dialect: tensors have no operators, `t[...] = value` copies."""

    name = "nki"
    tensor = NkiTensor
    writes_inputs = True
    scoped_text = False

    def operator(self, op: str, a: Any, b: Any) -> Any:
        if op in ("equal", "not_equal") and not all(
            isinstance(x, (Tensor, int, float, np.generic, np.ndarray)) for x in (a, b)
        ):
            return NotImplemented
        t = a if isinstance(a, Tensor) else b
        use = _INSTEAD.get(op, f"nl.{op}(x, y)")
        broken(
            "tensor-operator",
            f"'{t.label}' is used with Python's operator {_SYMBOLS[op]}",
            tensor=t.label,
            got=t.meta.describe(),
            remedy=f"Use {use}, or the nisa instruction.",
        )
        if op in ("matmul", "floor_divide"):
            return NotImplemented
        if op == "divide":
            return lowering.divided(a, b)
        if op == "mod":
            return lowering.mod(a, b)
        return lowering.binary(ALU[op], f"operator {_SYMBOLS[op]}", a, b)

    def unary(self, op: str, a: Tensor) -> Any:
        broken(
            "tensor-operator",
            f"'{a.label}' is used with Python's operator {_SYMBOLS[op]}",
            tensor=a.label,
            got=a.meta.describe(),
            remedy=f"Use {_INSTEAD.get(op, f'nl.{op}(x)')}.",
        )
        return a if op == "positive" else getattr(lowering, op)(a)

    def inplace(self, op: str, dst: Tensor, value: Any) -> Any:
        broken(
            "tensor-operator",
            f"'{dst.label}' is used with Python's operator {_SYMBOLS[op]}=",
            tensor=dst.label,
            got=dst.meta.describe(),
            remedy="Name the destination: "
            f"nisa.tensor_tensor(dst={dst.label}, ...), or "
            f"{dst.label}[...] = "
            f"{_INSTEAD.get(op, f'nl.{op}({dst.label}, y)')}.",
        )
        made = self.operator(op, dst, value)
        if made is not NotImplemented:
            self.assign(dst, made)
            return dst
        return made

    def broadcast_to(self, t: Tensor, shape: tuple[int, ...]) -> Any:
        from .moving import broadcast_to

        return broadcast_to(t, shape)

    def astype(self, t: Tensor, dtype: Any) -> Any:
        broken(
            "argument",
            f"'{t.label}' has no astype",
            tensor=t.label,
            remedy="Use nl.copy(t, dtype=...).",
        )

    def has(self, name: str) -> bool:
        """Whether nl has a function of this name."""
        from .language import __all__ as names  # which is built on this module

        return name in names

    def assign(self, dst: Tensor, value: Any) -> None:
        """`t[...] = value`: a tensor_copy of a tile, a memset of a number."""
        api = "assignment"
        into = tile(dst, api, "destination")
        if into.meta.space == HBM:  # a store
            transfer.store(into, value)
            return
        if isinstance(value, (int, float, np.generic)):
            execute(MEMSET, api, into, (Const(value),), (into.shape, None))
            return
        source = tile(as_tensor(value, api, "the value"), api)
        if source.meta.space == HBM:
            broken(
                "memory",
                f"'{source.label}' lies in HBM and cannot be assigned to a tile",
                tensor=source.label,
                got=source.meta.describe(),
                limit="sbuf or psum",
                remedy="Use nl.load or nisa.dma_copy.",
            )
        same_size(into, source, api, "the value")
        execute(TENSOR_COPY, api, into, (source,), (None,))


OPERATORS = Operators()
