"""Masks: which elements of an instruction's operands they let through, and of its result."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..isa.core import Plan
from ..machine import dtypes
from ..machine.memory import CONST
from ..rules.errors import broken
from ..tensors.masks import Mask, compact
from ..tensors.tensor import Tensor
from . import unknown


def condition(mask: Any, api: str) -> np.ndarray | None:
    """The mask as a boolean array; None where it keeps everything."""
    if mask is None or mask is True:
        return None
    if isinstance(mask, (bool, np.bool_)):
        return None if mask else np.zeros((1, 1), dtype=bool)
    if not isinstance(mask, Mask):
        broken(
            "mask",
            f"{api}: mask is a {type(mask).__name__}",
            got=repr(mask)[:80],
            remedy="Build masks from nl.arange, loop indices and numbers: mask=(i_p < n) & "
            "(i_f < m).",
        )
    if not mask.affine:
        broken(
            "mask",
            f"{api}: the mask is not an affine expression",
            got=repr(mask),
            remedy="Masks may add, subtract and multiply by constants; // and % are not affine.",
        )
    return None if compact(mask.where).all() else mask.where


def fit(where: np.ndarray, shape: tuple[int, ...], api: str) -> np.ndarray:
    """The mask over operands of this shape."""
    try:
        return np.broadcast_to(where, shape)
    except ValueError:
        broken(
            "mask",
            f"{api}: a mask of shape {where.shape} does not fit operands of shape {shape}",
            got=where.shape,
            limit=shape,
            remedy="Build the mask from the index grids that select the tile.",
        )
        raise


def _operand_mask(where: np.ndarray, t: Tensor, shape: tuple[int, ...]) -> np.ndarray | None:
    """The part of a mask over `shape` that concerns operand `t`, which may be a vector over the
    partitions."""
    if t.meta.space == CONST:
        return None
    if t.shape == shape:
        return where
    if t.shape[0] == shape[0] and t.meta.free == 1:
        return where.any(axis=tuple(range(1, len(shape)))).reshape(t.shape)
    return None


def own_mask(
    plan: Plan, position: int, s: Tensor, where: np.ndarray | None, grid: tuple[int, ...]
) -> np.ndarray | None:
    """What the mask `where` over `grid` lets be read of the source at `position`; None for all."""
    if where is None:
        return None
    on_tile = s.meta.space != CONST
    # a reduction's mask is over its first source
    if plan.kind == "reduce" and position and on_tile:
        return unknown.along(np.asarray(where.any(axis=plan.axes, keepdims=True)), s.shape)
    if on_tile and not where.any():  # left out altogether, it reads nothing
        return np.zeros(s.shape, dtype=bool)
    return None if plan.kind == "whole" else _operand_mask(where, s, grid)


def others(own: np.ndarray, values: np.ndarray, identity: float) -> np.ndarray:
    """`values` where the mask `own` holds, elsewhere what does not change a reduction."""
    if type(identity) is int:
        return np.where(own, values, np.asarray(identity).astype(values.dtype))
    return np.where(own, dtypes.to_fp32(values), np.float32(identity))


def kept(plan: Plan, where: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """The elements of the result that a mask keeps, over `shape`; None for all."""
    if where is None:
        return None
    if plan.kind == "reduce":
        return unknown.along(np.asarray(where.any(axis=plan.axes, keepdims=True)), shape)
    if plan.kind == "transpose":
        found: np.ndarray | None = plan.compute(where).astype(bool)
        return found
    return where
