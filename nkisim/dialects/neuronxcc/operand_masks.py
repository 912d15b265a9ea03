"""Operand masks of a matmul: which rows of both operands are contracted, and which columns of each
are computed.

`mask=` names the axes of the result. An operand mask names the axes of one operand, of which two
may be built from the same grid.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki.api.shared.rst (NKI API Masking).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.conditions import condition, fit
from ...rules.errors import broken
from ...tensors.masks import Mask
from ...tensors.operand_mask import MaskedOperand
from ...tensors.tensor import Tensor
from .support import tile


def unmasked(x: Any, api: str) -> tuple[Tensor, np.ndarray | None]:
    """The operand `x` of a matmul, and which of its elements its mask keeps; None for all."""
    if not isinstance(x, MaskedOperand):
        return tile(x, api), None
    where = condition(x.mask, api)
    return x.tile, None if where is None else fit(where, x.tile.shape, api)


def narrowed(
    a: Tensor, b: Tensor, kept_a: np.ndarray | None, kept_b: np.ndarray | None, mask: Any, api: str
) -> tuple[Tensor, Tensor, Any]:
    """The rows of `a` (k, m) and `b` (k, n) that the operand masks keep of both, and `mask` over
    the result (m, n) with the columns that they keep."""
    if isinstance(mask, Mask):
        _over_result(mask, (a.meta.free, *b.shape[1:]), api)
    if (kept_a is None and kept_b is None) or a.shape[0] != b.shape[0]:
        return a, b, mask
    rows_a, columns_a = _rows_and_columns(a, kept_a, api)
    rows_b, columns_b = _rows_and_columns(b, kept_b, api)
    both = rows_a & rows_b
    columns = columns_a.reshape((-1,) + (1,) * (b.ndim - 1)) & columns_b[None]
    if not both.any():
        columns = np.zeros_like(columns)
    elif not both.all():
        first, last = np.flatnonzero(both)[[0, -1]].tolist()
        a, b = a[first : last + 1], b[first : last + 1]
    over = Mask(columns)
    return a, b, over if mask is None else over & mask


def _over_result(mask: Mask, shape: tuple[int, ...], api: str) -> None:
    """`mask=` fits the result, which has no contraction axis."""
    shapes = mask.shape, shape
    if len(mask.shape) > len(shape) or any(
        m not in (1, n) for m, n in zip(*(s[::-1] for s in shapes))
    ):
        broken(
            "mask",
            f"{api}: a mask of shape {mask.shape} does not fit a result of shape {shape}",
            got=mask.shape,
            limit=shape,
            remedy="mask= is over the result; a condition on the contraction axis belongs to "
            "each operand: x[i_p < n], with i_p = nl.arange(k)[:, None].",
        )


def _rows_and_columns(
    t: Tensor, kept: np.ndarray | None, api: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows (k,) of `t` a mask keeps, and which of the columns, over its free axes."""
    if kept is None:
        return np.ones(t.shape[0], dtype=bool), np.ones(t.shape[1:], dtype=bool)
    rows = np.asarray(kept.any(axis=tuple(range(1, kept.ndim))))
    columns = np.asarray(kept.any(axis=0))
    at = np.flatnonzero(rows)
    gaps = at.size and at[-1] - at[0] + 1 != at.size
    if gaps or (kept != rows.reshape((-1,) + (1,) * (kept.ndim - 1)) & columns[None]).any():
        broken(
            "mask",
            f"{api}: the mask of operand '{t.label}' keeps no range of rows and columns",
            tensor=t.label,
            got=f"{int(kept.sum())} of {kept.size} elements",
            limit="comparisons of one axis each, joined with &",
            remedy="Fill what shall not count with zeros, by nl.where or nisa.affine_select.",
        )
    return rows, columns
