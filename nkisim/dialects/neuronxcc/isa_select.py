"""Functions of neuronxcc.nki.isa that choose, search, gather and summarise elements.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py. As in `isa`, `dst=` is accepted
too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.conditions import condition
from ...execution.execute import execute
from ...isa.gather import LOCAL_GATHER, SEQUENCE_BOUNDS
from ...isa.move import STREAM_SHUFFLE, TENSOR_COPY_DYNAMIC, shuffled_partitions
from ...isa.random import DROPOUT
from ...isa.running import TENSOR_SCALAR_CUMULATIVE
from ...isa.search import FIND_INDEX8, MATCH_REPLACE8, MAX8
from ...isa.select import FP32_MIN, RANGE_SELECT, SELECT_REDUCE, TENSOR_COPY_PREDICATED
from ...isa.statistics import BN_AGGR, BN_STATS
from ...machine.memory import SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.masks import Mask
from ...tensors.tensor import Tensor
from ..functions import alu_of
from .isa_support import UNKNOWN, dst_of, engine_name, option, reduce_cmd
from .support import only, operand, tile, want_dtype

_REDUCE_CMD = reduce_cmd
"""The enumeration, under a name that no parameter has."""


def tensor_copy_predicated(
    *,
    src: Any,
    dst: Any,
    predicate: Any,
    reverse_pred: bool = False,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> None:
    """Copy `src` (tile or number) to `dst` where the uint8/16/32 tile `predicate` is not zero;
    elsewhere dst stays."""
    api = "nisa.tensor_copy_predicated"
    only(kwargs, api)
    d = tile(dst, api)
    want_dtype(dtype, api)
    execute(
        TENSOR_COPY_PREDICATED,
        api,
        d,
        (tile(predicate, api), operand(src, api), d),
        (arguments.flag(reverse_pred, api, "reverse_pred"),),
        SBUF,
        None,
        mask,
    )


def _maximum(op: Any, api: str) -> None:
    """The only reduction that a selection has."""
    if alu_of(op, api, "reduce_op").name != "maximum":
        broken(
            "operator",
            f"{api}: reduce_op '{getattr(op, '__name__', op)}' is not the maximum",
            limit="nl.max",
        )


def select_reduce(
    *,
    dst: Any,
    predicate: Any,
    on_true: Any,
    on_false: Any,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    reduce_op: Any = np.amax,
    reverse_pred: bool = False,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> None:
    """dst = on_true where `predicate` (8- or 16-bit integers) is not zero, else on_false (number or
    (p, 1)).

    With `reduce_res` (p, 1) also the row maxima, over those of earlier instructions too if
    reduce_cmd is `reduce`.
    """
    api = "nisa.select_reduce"
    only(kwargs, api)
    want_dtype(dtype, api)
    _maximum(reduce_op, api)
    srcs = (tile(predicate, api), operand(on_true, api), operand(on_false, api))
    execute(
        SELECT_REDUCE,
        api,
        tile(dst, api),
        srcs,
        (
            arguments.flag(reverse_pred, api, "reverse_pred"),
            option(reduce_cmd, _REDUCE_CMD, api, "reduce_cmd"),
        ),
        SBUF,
        None,
        mask,
        None if reduce_res is None else tile(reduce_res, api),
    )


def range_select(
    *,
    on_true_tile: Any,
    comp_op0: Any,
    comp_op1: Any,
    bound0: Any,
    bound1: Any,
    reduce_cmd: Any = reduce_cmd.idle,
    reduce_res: Any = None,
    reduce_op: Any = np.amax,
    range_start: Any = 0,
    on_false_value: Any = FP32_MIN,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """on_true_tile where (range_start + place) comp_op0 bound0 and ... comp_op1 bound1 hold, else
    the least fp32.

    on_true_tile: floats (p, ...), places counted along the flattened free axes. bounds: fp32 (p,
    1). reduce_res: (p, 1), the row maxima, over those of earlier instructions too if reduce_cmd is
    `reduce`. NeuronCore-v3 and later.
    """
    api = "nisa.range_select"
    dst = dst_of(kwargs, api) if kwargs else None
    _maximum(reduce_op, api)
    attrs = (
        alu_of(comp_op0, api, "comp_op0"),
        alu_of(comp_op1, api, "comp_op1"),
        arguments.integer(range_start, api, "range_start"),
        option(reduce_cmd, _REDUCE_CMD, api, "reduce_cmd"),
        arguments.real(on_false_value, api, "on_false_value"),
    )
    srcs = (tile(on_true_tile, api), operand(bound0, api), operand(bound1, api))
    return execute(
        RANGE_SELECT,
        api,
        dst,
        srcs,
        attrs,
        SBUF,
        want_dtype(dtype, api),
        mask,
        None if reduce_res is None else tile(reduce_res, api),
    )


def tensor_scalar_cumulative(
    *,
    dst: Any,
    src: Any,
    op0: Any,
    op1: Any,
    imm0: Any,
    imm1: Any = None,
    reduce_cmd: Any = reduce_cmd.reset_reduce,
    mask: Any = None,
    **kwargs: Any,
) -> None:
    """dst[:, i] = op1(src[:, i] op0 imm0, dst[:, i - 1]), beginning with op1's neutral number, with
    imm1 (load_reduce), or with what the engine's registers hold (reduce). imm0, imm1: numbers or
    fp32 tiles (p, 1).

    Of Neuron SDK 2.27, the last with NKI 0.1.
    """
    api = "nisa.tensor_scalar_cumulative"
    only(kwargs, api)
    numbers = [_number(imm0, api, "imm0")]
    if imm1 is not None:
        numbers.append(_number(imm1, api, "imm1"))
    cmd = option(reduce_cmd, _REDUCE_CMD, api, "reduce_cmd")
    attrs = (alu_of(op0, api, "op0"), False, alu_of(op1, api, "op1"), cmd)
    execute(
        TENSOR_SCALAR_CUMULATIVE,
        api,
        tile(dst, api),
        (tile(src, api), *numbers),
        attrs,
        SBUF,
        None,
        mask,
    )


def _number(value: Any, api: str, what: str) -> Tensor:
    """A number, as a float, or a tile."""
    if isinstance(value, Tensor):
        return value
    return operand(arguments.real(value, api, what), api)


def max8(*, src: Any, mask: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
    """The 8 largest elements of each partition, in descending order. src: tile (p, ...), 8 to 16384
    elements per partition.

    Returns a tile (p, 8) of `dtype` (default: that of `src`).
    """
    api = "nisa.max8"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(MAX8, api, dst, (tile(src, api),), (5,), SBUF, want_dtype(dtype, api), mask)


def nc_find_index8(
    *, data: Any, vals: Any, mask: Any = None, dtype: Any = None, **kwargs: Any
) -> Tensor:
    """Where each of the 8 values per partition `vals` (p, 8) occurs first in `data` (p, ...);
    `mask` is over `data`.

    Returns a tile (p, 8) of uint32 (or `dtype=nl.uint16`). Equal values name successive places; a
    missing one gets all ones.
    """
    api = "nisa.nc_find_index8"
    dst = dst_of(kwargs, api) if kwargs else None
    out = want_dtype(dtype, api) or np.dtype(np.uint32)
    return execute(FIND_INDEX8, api, dst, (tile(data, api), tile(vals, api)), (5,), SBUF, out, mask)


def nc_match_replace8(
    *,
    data: Any,
    vals: Any,
    imm: Any,
    dst_idx: Any = None,
    mask: Any = None,
    dtype: Any = None,
    **kwargs: Any,
) -> Tensor:
    """`data` (p, ...) with the first occurrence of each of the 8 values per partition `vals`
    replaced by the number `imm`.

    dst_idx: tile (p, 8), where the places are written (0 where a value is missing). `mask` limits
    what is searched; the rest of `data` comes through unchanged. Returns a tile like `data`, of
    `dtype`.
    """
    api = "nisa.nc_match_replace8"
    dst = dst_of(kwargs, api) if kwargs else None
    srcs = [tile(data, api), tile(vals, api), Const(arguments.real(imm, api, "imm"))]
    searched = condition(mask, api)
    if searched is not None:
        limit = Const(0)
        limit.array = searched
        srcs.append(limit)
    return execute(
        MATCH_REPLACE8,
        api,
        dst,
        tuple(srcs),
        (0, searched is not None),
        SBUF,
        want_dtype(dtype, api),
        None,
        None if dst_idx is None else tile(dst_idx, api),
    )


def bn_stats(data: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
    """Count, mean and variance * count of the even, then of the odd elements of each partition.

    data: tile (p, ...), at most 512 elements per partition. Returns a tile (p, 6) of `dtype`
    (default: that of `data`).
    """
    api = "nisa.bn_stats"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(BN_STATS, api, dst, (tile(data, api),), (), SBUF, want_dtype(dtype, api), mask)


def bn_aggr(data: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
    """Mean and variance of each partition, of one or more results of nisa.bn_stats side by side.

    data: tile (p, 3 k). Returns a tile (p, 2) of `dtype` (default: that of `data`).
    """
    api = "nisa.bn_aggr"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(BN_AGGR, api, dst, (tile(data, api),), (), SBUF, want_dtype(dtype, api), mask)


def local_gather(
    src_buffer: Any,
    index: Any,
    num_elem_per_idx: int = 1,
    num_valid_indices: int | None = None,
    *,
    mask: Any = None,
    **kwargs: Any,
) -> Tensor:
    """Elements of each partition of `src_buffer` at the places that its group of 16 partitions
    lists in `index`.

    src_buffer: SBUF tile (p, ...), p a multiple of 16. index: uint16 tile (p, m), read down each
    group's partitions first. num_elem_per_idx: elements read from each place on (1, 2, 4, 8, 16 or
    32). num_valid_indices: how many of the group's 16 m indices count. Returns a tile (p, m, 16,
    num_elem_per_idx), or (p, num_valid_indices, num_elem_per_idx).
    """
    api = "nisa.local_gather"
    dst = dst_of(kwargs, api) if kwargs else None
    count = arguments.integer(num_elem_per_idx, api, "num_elem_per_idx")
    valid = num_valid_indices
    if valid is not None:
        valid = arguments.integer(valid, api, "num_valid_indices")
    attrs = (count, valid)
    return execute(
        LOCAL_GATHER, api, dst, (tile(src_buffer, api), tile(index, api)), attrs, SBUF, None, mask
    )


def sequence_bounds(*, segment_ids: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
    """For each element of `segment_ids` (1, n), fp32 or int32, where its segment begins and ends: a
    tile (1, 2, n).

    The end is the place after the last. Padding (id 0) gets n and -1.
    """
    api = "nisa.sequence_bounds"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(
        SEQUENCE_BOUNDS, api, dst, (tile(segment_ids, api),), (), SBUF, want_dtype(dtype, api)
    )


def dropout(data: Any, prob: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any) -> Tensor:
    """`data` (p, ...) with elements replaced by zeros, with the probability `prob`: a number or a
    tile (p, 1).

    The random numbers are the simulator's own (nl.random_seed seeds them), the same on every run.
    Nothing is scaled.
    """
    api = "nisa.dropout"
    dst = dst_of(kwargs, api) if kwargs else None
    rate = prob if isinstance(prob, Tensor) else Const(arguments.probability(prob, api, "prob"))
    return execute(
        DROPOUT, api, dst, (tile(data, api), rate), (), SBUF, want_dtype(dtype, api), mask
    )


def nc_stream_shuffle(
    src: Any, dst: Any, shuffle_mask: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any
) -> None:
    """In each quadrant of 32 partitions, copy partition shuffle_mask[i] of `src` to partition i of
    `dst`.

    shuffle_mask: 32 integers; 255 leaves the partition of `dst` as it is. `mask` is over `dst`. One
    data type.
    """
    api = "nisa.nc_stream_shuffle"
    only(kwargs, api)
    d = tile(dst, api)
    out = want_dtype(dtype, api)
    if out is not None and out != d.dtype:
        broken(
            "dtype",
            f"{api} does not cast",
            tensor=d.label,
            got=f"dtype={out}",
            limit=f"{d.dtype}, as dst has it",
        )
    pattern = arguments.integers(shuffle_mask, api, "shuffle_mask")
    written = shuffled_partitions(pattern, d.shape) if len(pattern) == 32 else None
    if written is not None:
        mask = Mask(written) if mask is None else Mask(written) & mask
    execute(STREAM_SHUFFLE, api, d, (tile(src, api),), (pattern,), SBUF, None, mask)


def tensor_copy_dynamic_src(
    src: Any, *, mask: Any = None, dtype: Any = None, engine: Any = UNKNOWN, **kwargs: Any
) -> Tensor:
    """A copy of the on-chip elements `src`, at a run-time offset within the partitions: t[i_p,
    offsets[0, j] + i_f].

    The offset is one element of an integer tile in SBUF. Returns a tile in SBUF unless assigned
    elsewhere.
    """
    api = "nisa.tensor_copy_dynamic_src"
    dst = dst_of(kwargs, api) if kwargs else None
    return execute(
        TENSOR_COPY_DYNAMIC,
        api,
        dst,
        (tile(src, api),),
        (engine_name(engine, api),),
        SBUF,
        want_dtype(dtype, api),
        mask,
    )


def tensor_copy_dynamic_dst(
    *, dst: Any, src: Any, mask: Any = None, dtype: Any = None, engine: Any = UNKNOWN, **kwargs: Any
) -> None:
    """Copy the on-chip tile `src` to the elements `dst`, at a run-time offset within the
    partitions."""
    api = "nisa.tensor_copy_dynamic_dst"
    only(kwargs, api)
    execute(
        TENSOR_COPY_DYNAMIC,
        api,
        tile(dst, api),
        (tile(src, api),),
        (engine_name(engine, api),),
        SBUF,
        want_dtype(dtype, api),
        mask,
    )
