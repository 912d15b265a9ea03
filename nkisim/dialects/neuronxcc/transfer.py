"""nl.load, nl.store and their kin: data between HBM and SBUF; and nl.device_print."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import execute, make, remember
from ...execution.execution import current, running
from ...isa.copies import MEMSET, TENSOR_COPY
from ...isa.core import Call
from ...isa.dma import DMA_COPY, DMA_TRANSPOSE, same_elements
from ...machine.memory import HBM, PSUM, SBUF
from ...rules.errors import broken
from ...rules.source import here
from ...tensors.const import Const
from ...tensors.tensor import IndexedTensor, Tensor
from .support import only, rows_only, tile, want_dtype

_NO_ADD = (False,)


def _not_hbm(t: Tensor, api: str, what: str, remedy: str) -> None:
    broken(
        "memory",
        f"{api}: {what} '{t.label}' lies in {t.meta.space}",
        tensor=t.label,
        got=t.meta.describe(),
        limit="hbm",
        remedy=remedy,
    )


def load(src: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
    """Load the HBM view `src` (partition axis first, at most 128) into a new SBUF tile of its
    shape, cast to `dtype`."""
    usual = mask is dtype is None and not kwargs and type(src) is Tensor
    if usual:
        execution = running() or current("nl.load")
        known = execution.signatures.get((load, src.meta))
        if known is not None:
            return make(execution, known, "nl.load", (src,))
    if kwargs:
        only(kwargs, "nl.load", "mode")
    t = src if isinstance(src, Tensor) else tile(src, "nl.load")
    if t.meta.space != HBM:
        _not_hbm(t, "nl.load", "source", "It is on chip already: use it as it is, or nl.copy it.")
    if type(t) is IndexedTensor:
        rows_only(t, "nl.load")
    elif usual:
        made = execute(DMA_COPY, "nl.load", None, (src,), _NO_ADD)
        remember((load, src.meta), DMA_COPY, _NO_ADD, SBUF, None, (src,))
        return made
    return execute(
        DMA_COPY,
        "nl.load",
        None,
        (t,),
        _NO_ADD,
        SBUF,
        want_dtype(dtype, "nl.load") if dtype is not None else None,
        mask,
    )


def store(dst: Any, value: Any, *, mask: Any = None, **kwargs: Any) -> None:
    """Store the SBUF tile (or number) `value` into the HBM view `dst` of the same shape, casting to
    its dtype."""
    if kwargs:
        only(kwargs, "nl.store", "mode")
    t = dst if isinstance(dst, Tensor) else tile(dst, "nl.store")
    if t.meta.space != HBM:
        _not_hbm(
            t,
            "nl.store",
            "destination",
            "Only HBM tensors are stored to; assign to a tile with t[...] = value.",
        )
    if type(t) is IndexedTensor:
        rows_only(t, "nl.store")
    if isinstance(value, (int, float, np.generic)):
        value = execute(MEMSET, "nl.store", None, (Const(value),), (t.shape, None), SBUF, t.dtype)
    if not isinstance(value, Tensor):
        value = tile(value, "nl.store")
    if value.meta.space == HBM:
        broken(
            "memory",
            f"nl.store: value '{value.label}' lies in hbm",
            tensor=value.label,
            got=value.meta.describe(),
            limit="sbuf",
            remedy="nl.load it first, or copy HBM to HBM with nisa.dma_copy(dst=..., src=...).",
        )
    if value.meta.space == PSUM:  # the documented extra copy
        same_elements(
            Call("nl.store", t, (value,), _NO_ADD, SBUF, None, current("nl.store").config), value, t
        )
        value = execute(TENSOR_COPY, "nl.store", None, (value,), (None,), SBUF, None, mask)
    execute(DMA_COPY, "nl.store", t, (value,), _NO_ADD, SBUF, None, mask)


def load_transpose2d(src: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
    """Load the 2-D HBM view `src` (r, c) as a tile (c, r): a DMA transpose, at much lower bandwidth
    than a load."""
    only(kwargs, "nl.load_transpose2d")
    t = tile(src, "nl.load_transpose2d")
    if t.meta.space != HBM:
        _not_hbm(
            t, "nl.load_transpose2d", "source", "To transpose a tile on chip use nl.transpose."
        )
    if isinstance(t, IndexedTensor) and t.tiles:
        broken(
            "indirect-index",
            "nl.load_transpose2d takes no run-time indices",
            tensor=t.label,
            remedy="nl.load the rows, then nl.transpose.",
        )
    if t.ndim != 2:
        broken(
            "rank-limit" if t.ndim > 2 else "rank",
            f"nl.load_transpose2d: '{t.label}' has {t.ndim} axes",
            tensor=t.label,
            got=t.meta.describe(),
            limit="2",
            remedy="Slice one 2-D block.",
        )
        t = t.reshape((t.shape[0], -1))
    return execute(
        DMA_TRANSPOSE,
        "nl.load_transpose2d",
        None,
        (t,),
        ((1, 0),),
        SBUF,
        want_dtype(dtype, "nl.load_transpose2d"),
        mask,
    )


def device_print(prefix: str, x: Any, *, mask: Any = None, **kwargs: Any) -> None:
    """Print `prefix` and the values of `x`; the run keeps both in `run.prints`. In the simulator
    only."""
    t = Const(x) if isinstance(x, (int, float, np.generic)) else tile(x, "nl.device_print")
    current("nl.device_print").print_values(prefix, t, here().line)
