"""nisa that moves data by DMA.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execute import execute
from ...execution.execution import current
from ...isa.dma import DMA_COPY, DMA_TRANSPOSE
from ...machine.memory import SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.masks import Mask
from ...tensors.tensor import IndexedTensor, Tensor
from .isa_support import (
    dge_mode,
    dst_of,
    oob_mode,
    option,
)
from .support import rows_only, tile, want_dtype

_OOB_MODE = oob_mode
"""The enumeration, under a name that no parameter has."""


def _inside(mask: Any, *operands: Tensor) -> Any:
    """`mask` without the positions at which the run-time indices of an operand lie beyond its
    tensor."""
    for t in operands:
        if isinstance(t, IndexedTensor):
            inside = Mask(t.inside())
            mask = inside if mask is None else inside & mask
    return mask


def _hardware_descriptors(mode: Any, api: str) -> None:
    """Descriptors made by hardware need NeuronCore-v3."""
    if mode is not None:
        option(mode, dge_mode, api, "dge_mode")
    target = current(api).config.target
    if mode is dge_mode.hwdge and target.nc_version < 3:
        broken(
            "target",
            f"{api}: dge_mode.hwdge needs NeuronCore-v3 or later",
            got=f"target {target.name}",
            limit="trn2 or later",
            remedy="Leave dge_mode out.",
        )


def dma_copy(
    *,
    dst: Any,
    src: Any,
    mask: Any = None,
    dst_rmw_op: Any = None,
    oob_mode: Any = oob_mode.error,
    dge_mode: Any = dge_mode.unknown,
) -> None:
    """Copy `src` to `dst` (each in HBM or SBUF, one shape), casting; with dst_rmw_op=np.add, add to
    dst."""
    api = "nisa.dma_copy"
    _hardware_descriptors(dge_mode, api)
    skips = option(oob_mode, _OOB_MODE, api, "oob_mode") == _OOB_MODE.skip
    d, s = tile(dst, api), tile(src, api)
    rows_only(d, api)
    rows_only(s, api)
    if skips:
        if dst_rmw_op is not None:
            broken(
                "argument", f"{api}: dst_rmw_op goes with oob_mode.error only", got="oob_mode.skip"
            )
        mask = _inside(mask, d, s)
    if dst_rmw_op is not None:
        if getattr(dst_rmw_op, "__name__", "") != "add":
            broken("operator", f"{api}: dst_rmw_op", got=repr(dst_rmw_op), limit="np.add")
        execute(DMA_COPY, api, d, (s, d), (True,), SBUF, None, mask)
        return
    execute(DMA_COPY, api, d, (s,), (False,), SBUF, None, mask)


def dma_transpose(
    src: Any, *, axes: Any = None, mask: Any = None, dtype: Any = None, **kwargs: Any
) -> Tensor:
    """A new SBUF tile with the axes of `src` permuted: (1, 0), (2, 1, 0) or (3, 1, 2, 0) by its
    number of axes."""
    api = "nisa.dma_transpose"
    _hardware_descriptors(kwargs.get("dge_mode"), api)
    dst = dst_of(kwargs, api) if kwargs else None
    t = tile(src, api)
    allowed = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}
    order = None if axes is None else arguments.integers(axes, api, "axes")
    if t.ndim not in allowed or order not in (None, allowed[t.ndim]):
        broken(
            "argument",
            f"{api}: axes {axes} for {t.ndim} axes",
            tensor=t.label,
            limit="(1, 0), (2, 1, 0), (3, 1, 2, 0)",
        )
    return execute(
        DMA_TRANSPOSE, api, dst, (t,), (allowed[t.ndim],), SBUF, want_dtype(dtype, api), mask
    )
