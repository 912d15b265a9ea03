"""nki.typing: annotations of kernel parameters: nt.tensor[128, 512].

Source: aws-neuron-sdk v2.32.0 nki/migration/index.rst (nki.typing module).
"""

from __future__ import annotations

from typing import Any

from ...tensors.tensor import Tensor as _Tensor


class _ShapedMeta(type):
    shape: tuple[int, ...] | None = None

    def __getitem__(cls, shape: Any) -> type:
        sizes = shape if isinstance(shape, tuple) else (shape,)
        return _ShapedMeta(cls.__name__, (cls,), {"shape": sizes})

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _Tensor) and (cls.shape is None or value.shape == cls.shape)

    def __repr__(cls) -> str:
        return "nt.tensor" if cls.shape is None else f"nt.tensor[{', '.join(map(str, cls.shape))}]"


class tensor(metaclass=_ShapedMeta):
    """nt.tensor: a tensor; nt.tensor[p, f]: a tensor of that shape, which the launch checks."""


__all__ = ["tensor"]
