"""nl functions that draw random numbers, gather, add to memory, and reduce over loops or program
instances.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/language/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.conditions import condition
from ...execution.execute import execute
from ...execution.execution import current
from ...isa.copies import MEMSET, TENSOR_COPY
from ...isa.dma import DMA_COPY
from ...isa.gather import N_GATHER
from ...isa.random import DROPOUT, GENERATOR, RAND, SET_SEED
from ...isa.vector import TENSOR_TENSOR
from ...machine.memory import EMPTY, HBM, PARTIAL, SBUF
from ...rules import arguments
from ...rules import source as _source
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.index import MGrid, mgrid
from ...tensors.tensor import IndexedTensor, Tensor
from ..functions import alu_of
from .creation import sizes_of
from .moving import broadcast_to, to_sbuf
from .support import is_const, only, operand, tile, want_dtype


# -- random numbers --------------------------------------------------------------------------------
def rand(shape: Any, dtype: Any = np.float32, **kwargs: Any) -> Tensor:
    """An SBUF tile of random numbers in [0, 1): the simulator's own, the same on every run
    (nl.random_seed seeds them)."""
    only(kwargs, "nl.rand")
    sizes, _ = sizes_of(shape, "nl.rand")
    if len(sizes) < 2:
        broken(
            "rank",
            f"nl.rand: the tile has {len(sizes)} axis",
            got=sizes,
            limit="at least 2: partitions and a free axis",
        )
    return execute(
        RAND,
        "nl.rand",
        None,
        (Const(0.0), Const(1.0)),
        (sizes, 2),
        SBUF,
        want_dtype(dtype, "nl.rand"),
    )


def random_seed(seed: Any, *, mask: Any = None, **kwargs: Any) -> None:
    """Seed the random numbers with a 32-bit number (or a tile of one element)."""
    only(kwargs, "nl.random_seed")
    value = operand(seed, "nl.random_seed")
    if is_const(value) and not isinstance(value.array, int):
        broken(
            "argument", "nl.random_seed takes an integer", got=repr(seed), limit="a 32-bit integer"
        )
    kept = condition(mask, "nl.random_seed")
    if kept is None or kept.any():
        execute(SET_SEED, "nl.random_seed", GENERATOR, (to_sbuf(value, "nl.random_seed"),))


def dropout(x: Any, rate: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any) -> Tensor:
    """The tile `x` with elements replaced by zeros, with the probability `rate`: a number or a tile
    of one element."""
    api = "nl.dropout"
    only(kwargs, api)
    t = tile(x, api)
    probability = (
        rate if isinstance(rate, Tensor) else operand(arguments.probability(rate, api, "rate"), api)
    )
    if not is_const(probability) and probability.meta.size == 1 and t.shape[0] > 1:
        probability = broadcast_to(probability, shape=(t.shape[0], 1))
    return execute(DROPOUT, api, None, (t, probability), (), SBUF, want_dtype(dtype, api), mask)


# -- gathering, adding to memory -------------------------------------------------------------------
def gather_flattened(
    data: Any, indices: Any, *, mask: Any = None, dtype: Any = None, **kwargs: Any
) -> Tensor:
    """Elements of each partition of `data` at the places that `indices` (uint32, same partitions)
    lists for it.

    Places count along the flattened free axes. Returns a tile of the shape of `indices`.
    """
    api = "nl.gather_flattened"
    only(kwargs, api)
    srcs = (to_sbuf(tile(data, api), api), to_sbuf(tile(indices, api), api))
    return execute(N_GATHER, api, None, srcs, (True,), SBUF, want_dtype(dtype, api), mask)


def atomic_rmw(dst: Any, value: Any, op: Any, *, mask: Any = None, **kwargs: Any) -> None:
    """dst = dst + value, for rows of an HBM tensor that a tile of run-time indices picks; op is
    np.add.

    A row that is picked several times gets all of its addends. value: tile or number.
    """
    api = "nl.atomic_rmw"
    only(kwargs, api)
    t = tile(dst, api)
    if t.meta.space != HBM:
        broken(
            "memory",
            f"{api}: '{t.label}' lies in {t.meta.space}",
            tensor=t.label,
            got=t.meta.describe(),
            limit="hbm",
        )
    if not (isinstance(t, IndexedTensor) and t.tiles):
        broken(
            "indirect-index",
            f"{api}: the rows of '{t.label}' are not picked by run-time indices",
            tensor=t.label,
            got=t.meta.describe(),
            remedy="Subscript it with a tile of indices: t[idx, i_f].",
        )
    if alu_of(op, api).name != "add":
        broken(
            "operator",
            f"{api}: op '{getattr(op, '__name__', op)}' does not exist here",
            limit="np.add",
        )
    added = operand(value, api)
    if is_const(added):
        added = execute(MEMSET, api, None, (added,), (t.shape, None), SBUF, t.dtype)
    execute(DMA_COPY, api, t, (to_sbuf(added, api), t), (True,), SBUF, None, mask)


# -- reductions over loops and program instances ---------------------------------------------------
class LoopReduction:
    """What nl.loop_reduce returns to a subscript assignment, which says where the reduction
    accumulates."""

    def __init__(self, x: Tensor, op: Any, mask: Any) -> None:
        self.x = x
        self.op = op
        self.mask = mask

    def into(self, dst: Tensor) -> Tensor:
        """Combine with what `dst` holds; a place that has never been written takes the value as it
        is."""
        buf = dst.buf
        fresh = buf.asked and buf.state in (EMPTY, PARTIAL) and not buf.touched(dst, every=False)
        if fresh:
            return execute(
                TENSOR_COPY, "nl.loop_reduce", dst, (self.x,), (None,), SBUF, None, self.mask
            )
        return execute(
            TENSOR_TENSOR,
            "nl.loop_reduce",
            dst,
            (dst, self.x),
            (self.op, None),
            SBUF,
            None,
            self.mask,
        )


def loop_reduce(
    x: Any, op: Any, loop_indices: Any, *, dtype: Any = None, mask: Any = None, **kwargs: Any
) -> Any:
    """Reduce the tile `x` over a loop, into what the result is assigned to: `b[...] =
    nl.loop_reduce(x, np.add, [k])`.

    The same as `b = b op x`, so b is made before the loop (nl.zeros for a sum). A name that is
    assigned, `b = ...`, must hold that tile already.
    """
    api = "nl.loop_reduce"
    only(kwargs, api)
    t = tile(x, api)
    want_dtype(dtype, api)
    operator = alu_of(op, api)
    if operator.reduce is None:
        broken(
            "operator",
            f"{api}: '{operator.name}' is not a reduction",
            got=operator.name,
            limit="add, multiply, max, min, the logical and bitwise and/or/xor",
        )
    for index in loop_indices if isinstance(loop_indices, (list, tuple)) else (loop_indices,):
        if not isinstance(index, (int, np.integer)) or isinstance(index, bool):
            broken(
                "argument",
                f"{api}: loop_indices holds {index!r}",
                got=repr(loop_indices),
                limit="indices of loops",
            )
    made = LoopReduction(t, operator, mask)
    frame = _source.user_frame(1)
    name = _source.assigned_name(frame.f_code, frame.f_lasti)
    if name is None or not name.isidentifier():
        return made
    target = frame.f_locals.get(name)
    if not isinstance(target, Tensor) or target.shape != t.shape:
        broken(
            "argument",
            f"{api}: '{name}' holds no tile to reduce into",
            tensor=t.label,
            got="nothing" if target is None else repr(target),
            limit=f"a tile of shape {t.shape}",
            remedy=f"Make {name} before the loop, e.g. with nl.zeros, and write {name}[...] = "
            "nl.loop_reduce(...).",
        )
        raise AssertionError
    return made.into(target)


def all_reduce(
    x: Any,
    op: Any,
    program_axes: Any,
    *,
    dtype: Any = None,
    mask: Any = None,
    parallel_reduce: bool = True,
    asynchronous: bool = False,
    **kwargs: Any,
) -> Tensor:
    """Reduce the tile `x` over the program instances along grid axes: here only along axes of one
    instance.

    The instances run one after the other, so that one cannot wait for what the others will have.
    """
    api = "nl.all_reduce"
    only(kwargs, api)
    arguments.flag(parallel_reduce, api, "parallel_reduce")
    arguments.flag(asynchronous, api, "asynchronous")
    t = tile(x, api)
    alu_of(op, api)
    grid = current(api).grid or (1,)
    for axis in program_axes if isinstance(program_axes, (list, tuple)) else (program_axes,):
        if not isinstance(axis, (int, np.integer)) or not 0 <= axis < len(grid):
            broken(
                "argument",
                f"{api}: the grid has no axis {axis!r}",
                got=repr(program_axes),
                limit=f"0..{len(grid) - 1}",
            )
        if grid[axis] > 1:
            broken(
                "argument",
                f"{api} over {grid[axis]} program instances is not simulated",
                tensor=t.label,
                got=f"grid {grid}, axis {axis}",
                limit="axes of one instance",
                remedy="Let each instance store its part to HBM and reduce them in a second "
                "kernel.",
            )
    return execute(TENSOR_COPY, api, None, (t,), (None,), SBUF, want_dtype(dtype, api), mask)


# -- index grids of matmul operands ----------------------------------------------------------------
def gemm_grid() -> MGrid:
    """The index grid of the largest matmul result, and moving operand: (128, 512). Assumed: the
    reference says no more."""
    target = current("nl.gemm_grid").config.target
    return mgrid[0 : target.partitions, 0 : target.moving_free_max]


def gemm_stationary_grid() -> MGrid:
    """The index grid of the largest stationary operand: (128, 128). Assumed: the reference says no
    more."""
    target = current("nl.gemm_stationary_grid").config.target
    return mgrid[0 : target.partitions, 0 : target.stationary_free_max]
