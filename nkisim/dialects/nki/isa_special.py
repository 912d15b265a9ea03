"""nisa that searches, selects by ranges, gathers, summarises, shuffles partitions and draws random
numbers.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...isa.gather import LOCAL_GATHER, N_GATHER, SEQUENCE_BOUNDS
from ...isa.move import STREAM_SHUFFLE, shuffled_partitions
from ...isa.random import DROPOUT, GENERATOR, GET_STATE, RAND, RNG, SET_SEED, SET_STATE
from ...isa.search import FIND_INDEX8, MATCH_REPLACE8, MAX8
from ...isa.select import FP32_MIN, RANGE_SELECT
from ...isa.statistics import BN_AGGR, BN_STATS
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.masks import Mask
from ...tensors.tensor import Tensor
from ..functions import alu_of
from . import enums
from .compute import maximum as _maximum
from .enums import engine, reduce_cmd
from .isa_support import destination, engine_name, number, of_one_size, run, same_dtype
from .objects import NkiInstruction
from .support import operand, option, tile
from .targets import needs_trn2, needs_trn3


# -- searching -------------------------------------------------------------------------------------
def max8(dst: Any, src: Any, name: str | None = None) -> NkiInstruction:
    """dst (p, 8): the 8 largest elements of each partition of src (p, ...), the largest first."""
    api = "nisa.max8"
    return run(MAX8, api, destination(dst, api), (tile(src, api, "src"),), (3,))


def nc_find_index8(dst: Any, data: Any, vals: Any, name: str | None = None) -> NkiInstruction:
    """dst (p, 8), uint16 or uint32: where each of the 8 values of vals occurs in data; all ones
    where it does not."""
    api = "nisa.nc_find_index8"
    return run(
        FIND_INDEX8,
        api,
        destination(dst, api),
        (tile(data, api, "data"), tile(vals, api, "vals")),
        (3,),
    )


def nc_match_replace8(
    dst: Any, data: Any, vals: Any, imm: float, dst_idx: Any = None, name: str | None = None
) -> NkiInstruction:
    """dst = data with each of the 8 values per partition of vals replaced, where it occurs first,
    by the number imm.

    dst_idx (p, 8): the places. Of a value that vals has several times, the first place goes to its
    last slot.
    """
    api = "nisa.nc_match_replace8"
    srcs = (tile(data, api, "data"), tile(vals, api, "vals"), Const(float(number(imm, api, "imm"))))
    return run(
        MATCH_REPLACE8,
        api,
        destination(dst, api),
        srcs,
        (-1, False),
        None if dst_idx is None else destination(dst_idx, api, "dst_idx"),
    )


def range_select(
    dst: Any,
    on_true_tile: Any,
    comp_op0: Any,
    comp_op1: Any,
    bound0: Any,
    bound1: Any,
    reduce_cmd: Any = reduce_cmd.reset_reduce,
    reduce_res: Any = None,
    reduce_op: Any = _maximum,
    range_start: int = 0,
    on_false_value: float = FP32_MIN,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true_tile where comp_op0(place, bound0) and comp_op1(place, bound1), place =
    range_start + the free index.

    bound0, bound1: fp32 tiles (p, 1). reduce_res (p, 1): the row maxima. Elsewhere dst gets the
    least fp32.
    """
    api = "nisa.range_select"
    needs_trn2(api)
    into, t = of_one_size(dst, on_true_tile, api, "on_true_tile")
    if alu_of(reduce_op, api, "reduce_op").name != "maximum":
        broken(
            "operator",
            f"{api}: reduce_op",
            got=getattr(reduce_op, "__name__", repr(reduce_op)),
            limit="nl.maximum",
        )
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    attrs = (
        alu_of(comp_op0, api, "comp_op0"),
        alu_of(comp_op1, api, "comp_op1"),
        arguments.integer(range_start, api, "range_start"),
        cmd.value,
        float(number(on_false_value, api, "on_false_value")),
    )
    return run(
        RANGE_SELECT,
        api,
        into,
        (t, operand(bound0, api, "bound0"), operand(bound1, api, "bound1")),
        attrs,
        None if reduce_res is None else destination(reduce_res, api, "reduce_res"),
    )


# -- gathering, statistics -------------------------------------------------------------------------
def local_gather(
    dst: Any,
    src_buffer: Any,
    index: Any,
    num_elem_per_idx: int = 1,
    num_valid_indices: int | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """Elements of each partition of src_buffer at the places that its group of 16 partitions lists
    in index (uint16)."""
    api = "nisa.local_gather"
    valid = num_valid_indices
    if valid is not None:
        valid = arguments.integer(valid, api, "num_valid_indices")
    attrs = (arguments.integer(num_elem_per_idx, api, "num_elem_per_idx"), valid)
    srcs = (tile(src_buffer, api, "src_buffer"), tile(index, api, "index"))
    return run(LOCAL_GATHER, api, destination(dst, api), srcs, attrs)


def nc_n_gather(dst: Any, data: Any, indices: Any, name: str | None = None) -> NkiInstruction:
    """Elements of each partition of data at the places that indices (uint32, the shape of dst)
    lists for it."""
    api = "nisa.nc_n_gather"
    return run(
        N_GATHER,
        api,
        destination(dst, api),
        (tile(data, api, "data"), tile(indices, api, "indices")),
        (False,),
    )


def sequence_bounds(dst: Any, segment_ids: Any, name: str | None = None) -> NkiInstruction:
    """For each element of segment_ids (1, n) where its segment begins and ends: dst (1, 2, n)."""
    api = "nisa.sequence_bounds"
    return run(
        SEQUENCE_BOUNDS, api, destination(dst, api), (tile(segment_ids, api, "segment_ids"),)
    )


def bn_stats(dst: Any, data: Any, name: str | None = None) -> NkiInstruction:
    """dst (p, 6): count, mean and variance * count of the even, then of the odd elements of each
    partition of data."""
    api = "nisa.bn_stats"
    return run(BN_STATS, api, destination(dst, api), (tile(data, api, "data"),))


def bn_aggr(dst: Any, data: Any, name: str | None = None) -> NkiInstruction:
    """dst (p, 2): mean and variance of each partition, from data (p, 3 k), results of bn_stats side
    by side."""
    api = "nisa.bn_aggr"
    return run(BN_AGGR, api, destination(dst, api), (tile(data, api, "data"),))


def nc_stream_shuffle(
    dst: Any, src: Any, shuffle_mask: Any, name: str | None = None
) -> NkiInstruction:
    """In each quadrant of 32 partitions, partition shuffle_mask[i] of src to partition i of dst;
    255 leaves it as it is."""
    api = "nisa.nc_stream_shuffle"
    into, t = destination(dst, api), tile(src, api, "src")
    pattern = arguments.integers(shuffle_mask, api, "shuffle_mask")
    written = shuffled_partitions(pattern, into.shape) if len(pattern) == 32 else None
    return run(
        STREAM_SHUFFLE, api, into, (t,), (pattern,), mask=None if written is None else Mask(written)
    )


# -- random numbers --------------------------------------------------------------------------------
def _generator(wanted: Any, api: str) -> str:
    return engine_name(wanted, api, "vector", "gpsimd") or "vector"


def rng(dst: Any, engine: Any = engine.vector, name: str | None = None) -> NkiInstruction:
    """Random bits into the integer tile dst: the simulator's own, the same on every run."""
    api = "nisa.rng"
    into = destination(dst, api)
    return run(RNG, api, into, (), (into.shape, _generator(engine, api)))


def rand2(dst: Any, min: Any, max: Any, name: str | None = None) -> NkiInstruction:
    """Random numbers, uniform between min and max (numbers or fp32 tiles (p, 1)), into dst; trn3
    only."""
    api = "nisa.rand2"
    needs_trn3(api)
    into = destination(dst, api)
    low, high = (
        v if isinstance(v, Tensor) else arguments.real(v, api, what)
        for v, what in ((min, "min"), (max, "max"))
    )
    if isinstance(low, float) and isinstance(high, float) and not low < high:
        broken("argument", f"{api}: min is not below max", got=f"{low} and {high}")
    bounds = [operand(low, api, "min"), operand(high, api, "max")]
    return run(RAND, api, into, tuple(bounds), (into.shape, 4))


def set_rng_seed(src_seeds: Any, name: str | None = None) -> NkiInstruction:
    """Seed VectorE's generator with the 32-bit tile src_seeds (1, 1)."""
    api = "nisa.set_rng_seed"
    return run(SET_SEED, api, GENERATOR, (tile(src_seeds, api, "src_seeds"),))


def rand_set_state(
    src_seeds: Any, engine: Any = engine.gpsimd, name: str | None = None
) -> NkiInstruction:
    """Set the states of an engine's generator: src_seeds uint32 (p, 6) for GpSimdE, (p, 24) for
    VectorE."""
    api = "nisa.rand_set_state"
    return run(
        SET_STATE, api, GENERATOR, (tile(src_seeds, api, "src_seeds"),), (_generator(engine, api),)
    )


def rand_get_state(
    dst: Any, engine: Any = engine.gpsimd, name: str | None = None
) -> NkiInstruction:
    """Store the states of an engine's generator into dst, uint32 (p, 6) or (p, 24)."""
    api = "nisa.rand_get_state"
    into = destination(dst, api)
    return run(GET_STATE, api, into, (), (into.shape, _generator(engine, api)))


def dropout(dst: Any, data: Any, prob: Any, name: str | None = None) -> NkiInstruction:
    """dst = data with elements replaced by zeros with the probability prob, a number or a tile (p,
    1)."""
    api = "nisa.dropout"
    into, t = of_one_size(dst, data, api, "data")
    same_dtype(into, t, api, "data")
    if not isinstance(prob, Tensor):
        prob = arguments.probability(prob, api, "prob")
    return run(DROPOUT, api, into, (t, operand(prob, api, "prob")))


__all__ = [
    "bn_aggr",
    "bn_stats",
    "dropout",
    "local_gather",
    "max8",
    "nc_find_index8",
    "nc_match_replace8",
    "nc_n_gather",
    "nc_stream_shuffle",
    "rand2",
    "rand_get_state",
    "rand_set_state",
    "range_select",
    "rng",
    "sequence_bounds",
    "set_rng_seed",
]
