"""neuronxcc.nki.typing: annotations of kernels.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki.errors.rst (mutable parameters, annotated
shapes).
"""

from __future__ import annotations

from typing import Any

from ...tensors.tensor import Tensor as _Tensor


class _ShapedMeta(type):
    def __getitem__(cls, item: Any) -> type:
        return mutable_tensor if item is mutable else cls

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _Tensor)


class tensor(metaclass=_ShapedMeta):
    """nt.tensor or nt.tensor[p, f]: a tensor (of that shape, which is checked where a local name is
    annotated)."""


class mutable_tensor(tensor):
    """nt.mutable_tensor or nt.tensor[nt.mutable]: a kernel parameter that the kernel may write, and
    then returns."""


class _Mutable:
    def __getitem__(self, item: Any) -> type:
        return mutable_tensor


mutable = _Mutable()


def scalar(value: Any = None) -> Any:
    """nt.scalar: a compile-time number."""
    return value


__all__ = ["mutable", "mutable_tensor", "scalar", "tensor"]
