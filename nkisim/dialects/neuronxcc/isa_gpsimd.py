"""nisa on GpSimdE: index values, affine selection, reductions over partitions.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import execute
from ...isa.gpsimd import AFFINE_SELECT, IOTA, TENSOR_PARTITION_REDUCE
from ...machine.memory import SBUF
from ...rules import arguments
from ...rules.errors import broken, shown
from ...tensors.const import Const
from ...tensors.index import Index
from ...tensors.masks import Mask
from ...tensors.tensor import Tensor
from ..functions import alu_of
from .inserted import in_sbuf
from .isa_support import (
    dst_of,
)
from .support import tile, want_dtype


def iota(expr: Any, dtype: Any, *, mask: Any = None, **kwargs: Any) -> Tensor:
    """A tile of the index values of `expr`, an expression of nl.arange, cast to `dtype`.

    `nisa.iota(nl.arange(8)[None, :], dtype=nl.float32)` is a (1, 8) tile that holds 0, 1, ... 7;
    `nisa.iota(nl.arange(128)[:, None] * 4, dtype=nl.int32)` is (128, 1), 0, 4, 8, ...
    """
    api = "nisa.iota"
    dst = dst_of(kwargs, api) if kwargs else None
    if isinstance(expr, (int, np.integer)):
        expr = Index((1, 1), (0, 0), arguments.integer(expr, api, "expr"))
    if not isinstance(expr, Index):
        broken(
            "argument",
            f"{api}: expr is a {type(expr).__name__}",
            limit="an affine expression of nl.arange",
        )
    values = Const(0)
    values.array = expr.array()
    return execute(IOTA, api, dst, (values,), (expr.sizes,), SBUF, want_dtype(dtype, api), mask)


def affine_select(
    pred: Any,
    on_true_tile: Any,
    on_false_value: Any,
    *,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """on_true_tile where the affine predicate holds, else the number on_false_value."""
    api = "nisa.affine_select"
    dst = dst_of(kwargs, api) if kwargs else None
    if not isinstance(pred, Mask) or not pred.affine or pred.compound:
        broken(
            "mask",
            f"{api}: pred is not one affine comparison",
            got=repr(pred)[:80],
            remedy="Compare one affine expression of nl.arange, e.g. pred=(i_p >= i_f); no & "
            "or |. For anything else "
            "use nl.where.",
        )
    on_false_value = arguments.number(on_false_value, api, "on_false_value")
    # GpSimdE does not reach PSUM; published kernels (stable diffusion attention) select from it
    t = in_sbuf(tile(on_true_tile, api), api, "on_true_tile")
    where = Const(0)
    where.array = pred.where
    return execute(
        AFFINE_SELECT,
        api,
        dst,
        (t, where, Const(on_false_value)),
        (pred.where.shape, False),
        SBUF,
        want_dtype(dtype, api) or t.dtype,
        mask,
    )


def tensor_partition_reduce(
    op: Any, data: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any
) -> Tensor:
    """A reduction over the partitions: (p, ...) to (1, ...). op: add, max, bitwise_or or
    bitwise_and."""
    api = "nisa.tensor_partition_reduce"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(
        TENSOR_PARTITION_REDUCE,
        api,
        dst,
        (tile(data, api),),
        (alu_of(op, api),),
        SBUF,
        want_dtype(dtype, api),
        mask,
    )


def builtin_custom_op(
    function_name: str,
    lib_file_name: str,
    ulib_to_ucode_version: Any,
    ulib_to_isa_version: Any,
    srcs: Any,
    dsts: Any,
    **kwargs: Any,
) -> None:
    """A function of a library built for GpSimdE's processors. Refused: they run on a device
    only."""
    broken(
        "operator",
        "nisa.builtin_custom_op runs a library of the device's own processors",
        got=f"function_name={shown(function_name)}, lib_file_name={shown(lib_file_name)}",
        remedy="Write it with other nisa instructions, or simulate the rest of the kernel without "
        "it.",
    )
