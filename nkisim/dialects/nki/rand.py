"""nl functions that draw random numbers or gather.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (rand, random_seed, dropout,
gather_flattened).
"""

from __future__ import annotations

from typing import Any

from ...execution.execute import execute
from ...isa.gather import N_GATHER
from ...isa.random import DROPOUT, GENERATOR, RAND, SET_SEED
from ...machine.memory import SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from .creation import make, sbuf
from .support import operand, tile, want_dtype


def rand(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "") -> Any:
    """A new tensor of random numbers in [0, 1): the simulator's own, the same on every run
    (nl.random_seed seeds them)."""
    api = "nl.rand"
    t = make(api, shape, dtype, buffer, name)
    return execute(RAND, api, t, (Const(0.0), Const(1.0)), (t.shape, 2))


def random_seed(seed: Any) -> None:
    """Seed the random numbers with a 32-bit tile (1, 1)."""
    api = "nl.random_seed"
    if not isinstance(seed, Tensor):
        broken(
            "argument",
            f"{api} takes a tile, not {type(seed).__name__}",
            got=repr(seed)[:80],
            limit="a tile (1, 1)",
            remedy="nl.random_seed(nl.full((1, 1), 42, dtype=nl.int32, buffer=nl.sbuf)).",
        )
    execute(SET_SEED, api, GENERATOR, (tile(seed, api),), (), SBUF)


def dropout(x: Any, rate: Any, dtype: Any = None) -> Any:
    """The tile `x` with elements replaced by zeros, with the probability `rate`: a number or a tile
    (p, 1)."""
    api = "nl.dropout"
    if not isinstance(rate, Tensor):
        rate = arguments.probability(rate, api, "rate")
    probability = operand(rate, api, "rate")
    return execute(
        DROPOUT, api, None, (tile(x, api), probability), (), SBUF, want_dtype(dtype, api)
    )


def gather_flattened(data: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Any:
    """Elements of each partition of `data` at the places that `indices` (uint32, same partitions)
    lists for it."""
    api = "nl.gather_flattened"
    if arguments.integer(axis, api, "axis") not in (0, 1):
        broken(
            "argument",
            f"{api}: axis is {axis!r}",
            got=repr(axis),
            limit="the flattened free axes of each partition",
        )
    return execute(
        N_GATHER,
        api,
        None,
        (tile(data, api), tile(indices, api)),
        (True,),
        SBUF,
        want_dtype(dtype, api),
    )


__all__ = ["dropout", "gather_flattened", "rand", "random_seed"]
