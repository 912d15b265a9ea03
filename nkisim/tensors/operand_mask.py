"""A tile under an operand mask, `t[i_f < 64]`: how a matmul is told which rows and columns of each
of its operands count.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki.api.shared.rst (NKI API Masking).
"""

from __future__ import annotations

from typing import Any

from ..rules.errors import broken
from .masks import Mask


class MaskedOperand:
    """A tile on chip, and the mask over its rows and columns. Only a matmul takes one."""

    __slots__ = ("mask", "tile")

    def __init__(self, tile: Any, mask: Mask) -> None:
        self.tile = tile
        self.mask = mask

    def refuse(self) -> None:
        """Nothing but a matmul takes its operands like this."""
        broken(
            "mask",
            f"'{self.tile.label}' is subscripted with a mask",
            tensor=self.tile.label,
            limit="an operand of nl.matmul or nisa.nc_matmul",
            remedy="Pass the condition as mask= of the function.",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.refuse()
        raise AttributeError(name)

    def _computed_on(self, *others: Any) -> Any:
        self.refuse()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _computed_on
    __truediv__ = __rtruediv__ = __pow__ = __neg__ = __getitem__ = __setitem__ = _computed_on

    def __repr__(self) -> str:
        return f"{self.tile.label}[{self.mask!r}]"
