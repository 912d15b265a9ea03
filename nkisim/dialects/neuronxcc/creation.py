"""Making tensors: nl.ndarray, zeros, full and their kin."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ...execution.execute import execute
from ...execution.execution import Execution, current, running
from ...execution.redirect import redirect
from ...isa.copies import MEMSET
from ...machine import dtypes
from ...machine.memory import FULL, HBM, PSUM, SBUF, contiguous, meta_of
from ...rules import arguments
from ...rules.errors import POLICY, broken, shown
from ...rules.source import user_frame
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..layouts import known, remember
from .allocated import no_value, note
from .allocated import places_tiles as kernel_places_tiles
from .support import Memory, ParDim, only, psum, sbuf, tile, want_dtype

_MOST_IDENTITY = 4096
"""Rows of the largest identity matrix: far above the 128 that a transpose can use."""
_COMPREHENSIONS = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")


def sizes_of(shape: Any, api: str) -> tuple[tuple[int, ...], int]:
    """The shape as plain integers, and the partition axis."""
    given = (shape,) if isinstance(shape, (int, np.integer)) else shape
    sizes = arguments.sizes(given, api)
    pdim = 0
    marked = 0
    for axis, n in enumerate(given):
        if isinstance(n, ParDim):
            pdim, marked = axis, marked + 1
    if marked > 1:
        broken("partition-axis", f"{api}: two axes are marked with nl.par_dim", got=repr(shape))
    return sizes, pdim


def _column(api: str, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The shape of a tile for which one axis is named: one value per partition."""
    label = f" '{name}'" if name else ""
    broken(
        "one-axis-tile",
        f"{api}: the tile{label} has 1 axis, and is taken as ({shape[0]}, 1)",
        got=shape,
        limit="at least 2: a partition axis and a free axis",
        remedy=f"Write ({shape[0]}, 1) for one value per partition, "
        f"or (1, {shape[0]}) for one row.",
    )
    return shape[0], 1


def _check_on_chip(
    program: Execution,
    api: str,
    space: str,
    shape: tuple[int, ...],
    pdim: int,
    dtype: np.dtype,
    name: str,
) -> None:
    target = program.config.target
    label = f" '{name}'" if name else ""
    if shape[pdim] > target.partitions:
        broken(
            "partition-limit",
            f"{api}: the tile{label} has {shape[pdim]} partitions",
            got=f"{shape} in {space}",
            limit=f"{target.partitions} partitions (nl.tile_size.pmax)",
            remedy="Split the first axis into tiles of at most 128, or put the long axis second.",
        )
    free = math.prod(shape[pdim + 1 :]) * dtype.itemsize
    if space == SBUF and free > target.sbuf_partition_bytes:
        broken(
            "sbuf-capacity",
            f"{api}: the tile{label} is larger than SBUF",
            got=f"{shape}: {free} bytes per partition",
            limit=f"{target.sbuf_partition_bytes} bytes per partition on {target.name}",
            remedy="Work on a smaller tile of the free axis at a time.",
        )
    bank, banks = target.psum_bank_bytes, target.psum_banks
    if space == PSUM and (free > bank * banks or (len(shape) - pdim == 2 and free > bank)):
        broken(
            "psum-bank",
            f"{api}: the PSUM tile{label} does not fit in one bank",
            got=f"{shape}: {free} bytes per partition",
            limit=f"{bank} bytes ({target.psum_bank_fp32} fp32) per partition",
            remedy="Make PSUM tiles of at most 512 fp32 columns; several banks are written as "
            "(128, banks, 512).",
        )


def _place(buffer: Any, api: str) -> Memory:
    if buffer is None:
        return sbuf
    if isinstance(buffer, Memory):
        return buffer
    broken(
        "argument",
        f"{api}: buffer is {shown(buffer)}",
        got=type(buffer).__name__,
        limit="nl.sbuf, nl.psum, nl.hbm, nl.private_hbm or nl.shared_hbm",
    )
    raise AssertionError


def make(
    api: str,
    shape: Any,
    dtype: Any,
    buffer: Any,
    name: str,
    value: float | None,
    kwargs: dict[Any, Any],
) -> Tensor:
    """A tensor of `shape`; filled with `value` unless that is None."""
    program = running() or current(api)
    usual = buffer is None or buffer is sbuf or buffer is psum
    if usual and not kwargs and type(name) is str:
        layout = known(program, shape, dtype, buffer is psum)
        if layout is not None:
            return _filled(program, api, program.made(layout, name=name or None), value)
    warnings = POLICY.get().warnings
    only(kwargs, api)
    sizes, pdim = sizes_of(shape, api)
    name = arguments.word(name, api, "name")
    wanted = want_dtype(dtype, api)
    if wanted is None:
        broken(
            "argument",
            f"{api}: dtype is missing",
            remedy="Say dtype=nl.float32, or the dtype of an input.",
        )
        raise AssertionError
    place = _place(buffer, api)
    space = str(place)
    if space == HBM:
        return _in_hbm(program, api, sizes, wanted, place, name, value)
    if len(sizes) < 2:
        sizes = _column(api, sizes, name)
    _check_on_chip(program, api, space, sizes, pdim, wanted, name)
    if place.placed is not None:
        note()
        if kernel_places_tiles():
            block = math.prod(sizes[pdim + 1 :]) * wanted.itemsize
            place.placed(api, sizes[:pdim], sizes[pdim], block)
        if value is not None:
            no_value(api, place)
    t = program.allocate(space, sizes, wanted, pdim=pdim, name=name or None)
    if usual and POLICY.get().warnings == warnings:
        remember(program, shape, dtype, buffer is psum, t.meta)
    return _filled(program, api, t, value)


def _in_hbm(
    program: Execution,
    api: str,
    sizes: tuple[int, ...],
    dtype: np.dtype,
    place: Memory,
    name: str,
    value: float | None,
) -> Tensor:
    """A tensor in HBM, which no instruction fills."""
    if value is not None:
        broken(
            "hbm-init",
            f"{api} cannot fill a tensor in HBM",
            got=f"{sizes} in {place!r}",
            remedy="Make it with nl.ndarray and nl.store the value into it.",
        )
    made = _hbm(program, api, sizes, dtype, place, name)
    if value is not None:  # where the rule is only warned about
        if program.values:
            made.array[...] = value
        program.mark_written(made)
    return made


def _filled(program: Execution, api: str, t: Tensor, value: float | None) -> Tensor:
    """The new on-chip tensor `t`, filled with `value` unless that is None."""
    if value is None:
        return t
    meta = t.meta
    if meta.space == PSUM and value == 0:
        # the first matmul of an accumulation overwrites: nothing is spent on zeros
        program.zero(t)
        return t
    if meta.pdim:
        return _fill_blocks(program, api, t, meta.pdim, value)
    return fill(program, api, t, value, (meta.shape, None))


def fill(program: Execution, api: str, t: Tensor, value: Any, attrs: tuple[Any, ...]) -> Tensor:
    """Fill the new tensor `t`, by an instruction that writes elsewhere instead if `t` is assigned
    to something."""
    if t.meta.space != SBUF:
        return execute(MEMSET, api, t, (Const(value),), attrs)
    made = execute(MEMSET, api, None, (Const(value),), attrs, SBUF, t.meta.dtype)
    redirect(t, made)
    program.offer(t)
    return t


def _fill_blocks(program: Execution, api: str, t: Tensor, pdim: int, value: Any) -> Tensor:
    """Fill a tensor with block axes: one memset a block, but one entry in the history of a named
    tensor."""
    program.pause_history(t.buf)
    for block in itertools.product(*[range(n) for n in t.shape[:pdim]]):
        view = t[block]
        execute(MEMSET, api, view, (Const(value),), (view.shape, None))
    program.resume_history(t)
    return t


def _hbm(
    program: Execution, api: str, sizes: tuple[int, ...], dtype: np.dtype, place: Memory, name: str
) -> Tensor:
    if not place.shared:
        return program.allocate(HBM, sizes, dtype, name=name or None)
    frame = user_frame(2)
    # functions of their own before Python 3.12
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_back is not None:
        frame = frame.f_back
    if program.scope is not program.top or (
        program.blocks and program.scope_at(frame.f_code, frame.f_lasti) is not program.top
    ):
        broken(
            "shared-hbm-level",
            f"{api}: a shared_hbm tensor is made inside a loop or a branch",
            got=f"{sizes}",
            remedy="Make it before the loop, at the top of the kernel.",
        )
    if frame.f_code is not program.kernel_code and program.kernel_code is not None:
        broken(
            "shared-hbm-level",
            f"{api}: a shared_hbm tensor is made in a function that the kernel calls",
            got=f"{sizes}",
            remedy="Make it in the kernel itself and pass it to the function.",
        )
    turn = program.shared_next
    program.shared_next += 1
    if turn < len(program.shared):  # another program instance of the grid: the same tensor
        again = program.shared[turn]
        if again.shape != sizes or again.dtype != dtype:
            broken(
                "shared-hbm-level",
                f"{api}: program instances make different shared tensors",
                got=f"{sizes} {dtypes.name(dtype)}",
                limit=again.meta.describe(),
            )
        return again
    t = program.allocate(HBM, sizes, dtype, name=name or None)
    t.buf.role = "output"
    program.shared.append(t)
    return t


def ndarray(shape: Any, dtype: Any, *, buffer: Any = None, name: str = "", **kwargs: Any) -> Tensor:
    """A new tensor of `shape` and `dtype` in `buffer` (default nl.sbuf). Nothing in it counts as
    written."""
    return make("nl.ndarray", shape, dtype, buffer, name, None, kwargs)


def zeros(shape: Any, dtype: Any, *, buffer: Any = None, name: str = "", **kwargs: Any) -> Tensor:
    """A new on-chip tensor filled with 0."""
    return make("nl.zeros", shape, dtype, buffer, name, 0.0, kwargs)


def ones(shape: Any, dtype: Any, *, buffer: Any = None, name: str = "", **kwargs: Any) -> Tensor:
    """A new on-chip tensor filled with 1."""
    return make("nl.ones", shape, dtype, buffer, name, 1.0, kwargs)


def full(
    shape: Any, fill_value: Any, dtype: Any, *, buffer: Any = None, name: str = "", **kwargs: Any
) -> Tensor:
    """A new on-chip tensor filled with the number `fill_value`."""
    value = arguments.number(fill_value, "nl.full", "fill_value")
    return make("nl.full", shape, dtype, buffer, name, value, kwargs)


def empty_like(
    a: Any, dtype: Any = None, *, buffer: Any = None, name: str = "", **kwargs: Any
) -> Tensor:
    """nl.ndarray with the shape (and dtype) of `a`, in `buffer` (default nl.sbuf)."""
    t = tile(a, "nl.empty_like")
    return make(
        "nl.empty_like", t.shape, t.dtype if dtype is None else dtype, buffer, name, None, kwargs
    )


def zeros_like(
    a: Any, dtype: Any = None, *, buffer: Any = None, name: str = "", **kwargs: Any
) -> Tensor:
    """nl.zeros with the shape (and dtype) of `a`, in `buffer` (default nl.sbuf)."""
    t = tile(a, "nl.zeros_like")
    return make(
        "nl.zeros_like", t.shape, t.dtype if dtype is None else dtype, buffer, name, 0.0, kwargs
    )


def shared_constant(constant: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
    """An HBM tensor that holds the NumPy array `constant`, known when the kernel is built."""
    program = current("nl.shared_constant")
    only(kwargs, "nl.shared_constant")
    values = arguments.array(constant, "nl.shared_constant", "constant")
    wanted = want_dtype(dtype if dtype is not None else values.dtype, "nl.shared_constant")
    assert wanted is not None
    meta = meta_of(HBM, values.shape, contiguous(values.shape), wanted)
    buf = program.new_buffer(meta, FULL)
    buf.role = "input"
    array = program.constant(values, wanted)
    program.built_with(buf, values)
    program.tape.keep_initial(buf, array)
    return Tensor(buf, array, meta, 0)


def shared_identity_matrix(n: int, dtype: Any = np.uint8, **kwargs: Any) -> Tensor:
    """An HBM tensor (n, n) with ones on the diagonal."""
    size = arguments.integer(n, "nl.shared_identity_matrix", "n", least=1, most=_MOST_IDENTITY)
    return shared_constant(np.eye(size, dtype=np.uint8), dtype=dtype, **kwargs)


__all__ = [
    "empty_like",
    "full",
    "make",
    "ndarray",
    "ones",
    "shared_constant",
    "shared_identity_matrix",
    "zeros",
    "zeros_like",
]
