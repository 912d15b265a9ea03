"""nisa on GpSimdE: index values, affine selection, reductions over partitions; the core's version.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

import math
from typing import Any

from ...execution.execution import current
from ...isa.alu import AVERAGE
from ...isa.gpsimd import AFFINE_SELECT, IOTA, TENSOR_PARTITION_REDUCE
from ...rules.arguments import integer, pairs
from ...rules.errors import broken, shown
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..functions import alu_of
from . import enums
from .compute import equal as _equal
from .isa_support import destination, number, of_one_size, run
from .objects import NkiInstruction, VirtualRegister
from .support import tile

_WORD = 2**31
"""Affine values are integers of 32 bits."""


def _grid(dst: Tensor, pattern: Any, offset: Any, channel_multiplier: int, api: str) -> Any:
    """The affine values of a pattern over the partitions and free elements of `dst`, as a
    constant."""
    steps = pairs(pattern, api, "pattern", most=_WORD - 1)
    free = math.prod(count for _, count in steps)
    if len(steps) > 4 or free != dst.meta.free or min(count for _, count in steps) < 1:
        broken(
            "shape-mismatch",
            f"{api}: the pattern names {free} elements per partition, "
            f"'{dst.label}' has {dst.meta.free}",
            tensor=dst.label,
            got=shown(pattern),
            limit=f"up to 4 pairs [step, count] of {dst.meta.free} elements together",
        )
    from ...tensors.index import affine_grid

    if not isinstance(offset, VirtualRegister):
        start = integer(offset, api, "offset", least=-_WORD, most=_WORD - 1)
    elif offset.known or current(api).lowering is not None:
        start = offset.read(api)
    else:
        start = 0
    across = integer(channel_multiplier, api, "channel_multiplier", least=-_WORD, most=_WORD - 1)
    values = affine_grid(dst.meta.partitions, steps, start, across, dst.shape)
    constant = Const(0)
    constant.array = values
    return constant


def iota(
    dst: Any, pattern: Any, offset: Any = 0, channel_multiplier: int = 0, name: str | None = None
) -> NkiInstruction:
    """dst[p, w, z, y, x] = offset + p * channel_multiplier + the steps of `pattern`, [[step,
    count], ...]."""
    api = "nisa.iota"
    into = destination(dst, api)
    return run(
        IOTA, api, into, (_grid(into, pattern, offset, channel_multiplier, api),), (into.shape,)
    )


def affine_select(
    dst: Any,
    pattern: Any,
    channel_multiplier: int,
    on_true_tile: Any,
    on_false_value: Any,
    cmp_op: Any = _equal,
    offset: Any = 0,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true_tile where cmp_op(the affine value of `pattern`, 0) holds, else the number
    on_false_value."""
    api = "nisa.affine_select"
    into, t = of_one_size(dst, on_true_tile, api, "on_true_tile")
    op = alu_of(cmp_op, api, "cmp_op")
    if not op.boolean or op.name.startswith("logical"):
        broken(
            "operator",
            f"{api}: cmp_op '{op.name}' compares nothing",
            got=op.name,
            limit="nl.equal, not_equal, greater, greater_equal, less, less_equal",
        )
    where = _grid(t, pattern, offset, channel_multiplier, api)
    where.array = op.function(where.array, 0) != 0
    return run(
        AFFINE_SELECT,
        api,
        into,
        (t, where, Const(float(number(on_false_value, api, "on_false_value")))),
        (t.shape, True),
    )


def tensor_partition_reduce(
    dst: Any, op: Any, data: Any, name: str | None = None
) -> NkiInstruction:
    """A reduction over the partitions: data (p, ...) to dst (1, ...). op: add, average, maximum,
    bitwise_or, bitwise_and."""
    api = "nisa.tensor_partition_reduce"
    name = op if isinstance(op, str) else getattr(op, "__name__", "")
    what = AVERAGE if name == "average" else alu_of(op, api)
    return run(
        TENSOR_PARTITION_REDUCE, api, destination(dst, api), (tile(data, api, "data"),), (what,)
    )


def get_nc_version() -> enums.nc_version:
    """The NeuronCore generation of the target in force."""
    return enums.nc_version(current("nisa.get_nc_version").config.target.nc_version)


def get_nc_sub_version() -> int:
    """The revision of the silicon inside its generation: 0, the first."""
    current("nisa.get_nc_sub_version")
    return 0


__all__ = [
    "affine_select",
    "get_nc_sub_version",
    "get_nc_version",
    "iota",
    "tensor_partition_reduce",
]
