"""Executing the general way: masks, unknown elements, run-time indices, index grids that reach out
of bounds."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..isa.core import Instruction, Plan
from ..machine import dtypes
from ..machine.memory import CONST, EMPTY, FULL, HBM, PARTIAL, SHARED, ZERO
from ..rules import source
from ..rules.errors import broken
from ..tensors.index import Mask, box_of_kept
from ..tensors.tensor import IndexedTensor, Tensor
from . import unknown
from .execution import Program
from .signature import Signature, build, reduces


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
    return None if mask.where.all() else mask.where


def _fit(where: np.ndarray, shape: tuple[int, ...], api: str) -> np.ndarray:
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


def execute_masked(
    program: Program,
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple,
    space: str,
    dtype: np.dtype | None,
    mask: Any,
    extra: Tensor | None,
    counted: bool = False,
) -> Tensor:
    """The general way: masks, unknown elements, run-time indices, grids that reach out of bounds.

    `counted`: the fast way has counted the instruction before it found that it is none of its own.
    """
    kept = condition(mask, api)
    signature = _signature(program, instruction, api, dst, srcs, attrs, space, dtype, extra)
    plan = signature.plan
    if program.suspect is not None:
        program.settle(False)
    if not counted:
        program.clock += 1
    shape = signature.dst.shape
    grid = srcs[0].shape if plan.kind in ("reduce", "transpose") else shape
    where = None if kept is None else _fit(kept, grid, api)
    arrays: list[Any] = []
    operands: list[tuple[str, np.ndarray | None]] = []
    for position, s in enumerate(srcs):
        if s.buf.scope.closed:
            program.check_scope(s)
        own = None if where is None or plan.kind == "whole" else _operand_mask(where, s, grid)
        if where is not None and s.meta.space != CONST and not where.any():
            own = np.zeros(s.shape, dtype=bool)  # left out altogether, it reads nothing
        # it is over the first
        if where is not None and plan.kind == "reduce" and position and s.meta.space != CONST:
            own = unknown.along(np.asarray(where.any(axis=plan.axes, keepdims=True)), s.shape)
        operands.append(
            (s.label, ~program.written_flags(s, own) if program.check_read(s, api, own) else None)
        )
        values = s.gather(own) if isinstance(s, IndexedTensor) else s.array
        if own is not None and plan.kind == "reduce" and not position and program.values:
            values = _others(own, values, plan.identity)
        arrays.append(values)
        s.buf.last = program.clock
        if isinstance(s, IndexedTensor):
            for tile in s.tiles or ():
                tile.buf.last = program.clock
    program.active_mask = where if plan.stateful else None
    result = signature.compute(*arrays)
    program.active_mask = None
    keep = _kept(plan, where, shape)
    lost = unknown.of_result(plan, api, operands, arrays, shape, where)
    second: Any = None
    if extra is not None:
        result, second = result
    frame = source.user_frame(2)
    fresh = dst is None
    if dst is None:
        meta = signature.dst
        dst = program.tensor(
            program.new_buffer(meta, EMPTY), program.zeros(meta.shape, meta.dtype), meta, 0
        )
    else:
        if dst.buf.role == "input":
            program.refuse_input(dst, api)
        if dst.buf.scope.closed:
            program.check_scope(dst)
    if program.suspect is not None and not fresh:
        program.settle(reduces(signature, srcs, dst))
    runs = keep is None or bool(keep.any())
    if runs:
        if dst.buf.scope.serial < program.affine and keep is None:
            program.note_shared_write(dst, reduces(signature, srcs, dst))
        if plan.accumulates and isinstance(dst, IndexedTensor):
            dst.accumulate(arrays[0], keep)
        else:
            masked_write(program, api, dst, result.reshape(dst.shape), keep, lost)
    elif fresh:
        dst.buf.role = "masked"
    if extra is not None:  # after the result: it may lie in the same tile
        _write_reduction(program, api, extra, second, where, lost)
    dst.buf.last = program.clock
    if dst.buf.tracked is not None and runs:
        program.note_history(dst, frame.f_code, frame.f_lasti, keep)
    signature.general = (keep, lost)
    program.last_result = dst if fresh and runs else None
    program.last_signature = signature
    program.last_srcs = srcs
    program.last_extra = extra
    if program.recording and runs:
        where_from = [
            x for s in (srcs if extra is None else (*srcs, extra)) for x in (s.buf, s.off)
        ]
        share: tuple | None = None if keep is None else (int(np.count_nonzero(keep)), keep.size)
        picks = [
            (t.buf, t.off, t.meta)
            for s in (*srcs, dst)
            if isinstance(s, IndexedTensor)
            for t in s.tiles or ()
        ]
        if picks:  # who reads the records for their dependencies must know the tiles of indices
            share = (*(share or (1, 1)), picks)
        program.tape += (
            signature,
            frame.f_code,
            frame.f_lasti,
            dst.buf,
            dst.off,
            *where_from,
            share,
        )
        if program.results is not None:
            program.results.append(
                np.array(dst.gather(keep) if isinstance(dst, IndexedTensor) else dst.array)
            )
            program.seconds.append(
                None if extra is None or isinstance(extra, IndexedTensor) else extra.array.copy()
            )
    return dst


_PLANNED: dict[tuple, Signature] = {}


def _signature(
    program: Program,
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple,
    space: str,
    dtype: np.dtype | None,
    extra: Tensor | None,
) -> Signature:
    """A signature of this call's own, from one that was checked before if there is one."""
    tiles = [t for t in (dst, *srcs, extra) if t is not None]
    if any(type(t) is IndexedTensor for t in tiles):
        return build(program, instruction, api, dst, srcs, attrs, space, dtype, extra)
    config = program.config
    key = (
        config.target.name,
        config.precise_fp,
        tuple(sorted(config.warn.items())),
        program.values,
        instruction,
        attrs,
        space,
        dtype,
        dst is None,
        extra is None,
        *[t.meta for t in tiles],
    )
    found = _PLANNED.get(key)
    if found is None:
        found = build(program, instruction, api, dst, srcs, attrs, space, dtype, extra)
        if not found.warned:
            _PLANNED[key] = found
    return copy.copy(found)


def _others(own: np.ndarray, values: np.ndarray, identity: float) -> np.ndarray:
    """`values` where the mask `own` holds, elsewhere what does not change a reduction."""
    if type(identity) is int:
        return np.where(own, values, np.asarray(identity).astype(values.dtype))
    return np.where(own, dtypes.to_fp32(values), np.float32(identity))


def _kept(plan: Plan, where: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """The elements of the result that a mask keeps, over `shape`; None for all."""
    if where is None:
        return None
    if plan.kind == "reduce":
        return unknown.along(np.asarray(where.any(axis=plan.axes, keepdims=True)), shape)
    if plan.kind == "transpose":
        return plan.compute(where).astype(bool)
    return where


def _write_reduction(
    program: Program,
    api: str,
    extra: Tensor,
    values: np.ndarray,
    where: np.ndarray | None,
    lost: np.ndarray | None,
) -> None:
    """Write `reduce_res` in the rows that the mask keeps."""
    kept = gone = None
    if where is not None:
        kept = unknown.along(
            np.asarray(where.any(axis=tuple(range(1, where.ndim)), keepdims=True)), extra.shape
        )
    if lost is not None:
        got = f"{int(lost.sum())} of {lost.size} elements left out"
        gone = unknown.along(
            unknown.rows(
                lost,
                where,
                tuple(range(1, lost.ndim)),
                lambda: unknown.refuse(
                    api, extra.label, got, "they are mixed with known ones here"
                ),
            ),
            extra.shape,
        )
    if extra.buf.scope.closed:
        program.check_scope(extra)
    masked_write(
        program, api, extra, program.cast(values, extra.meta.dtype).reshape(extra.shape), kept, gone
    )
    extra.buf.last = program.clock
    if extra.buf.tracked is not None:
        frame = source.user_frame(2)
        program.note_history(extra, frame.f_code, frame.f_lasti, kept)


def masked_write(
    program: Program,
    api: str,
    dst: Tensor,
    values: np.ndarray,
    keep: np.ndarray | None,
    lost: np.ndarray | None,
) -> None:
    """Write `values` to `dst` where `keep` holds (None: everywhere); of these, the elements `lost`
    become unknown."""
    buf = dst.buf
    if lost is not None:
        lost = unknown.fit(lost, dst.shape)
        lost = lost if keep is None else lost & keep
        if not lost.any():
            lost = None
        elif dst.meta.space == HBM:
            unknown.refuse(
                api,
                dst.label,
                f"{int(lost.sum())} of {lost.size} elements",
                "they would be stored here",
            )
        elif not buf.asked or isinstance(dst, IndexedTensor):
            unknown.refuse(
                api,
                dst.label,
                f"{int(lost.sum())} of {lost.size} elements",
                "they would overwrite known ones",
            )
    if isinstance(dst, IndexedTensor):
        dst.scatter(values, keep)
        return
    if keep is None and lost is None:
        if program.values:
            dst.array[...] = values
        if buf.state != FULL:
            program.mark_written(dst)
        return
    kept = np.broadcast_to(True if keep is None else keep, dst.shape)
    if program.values:
        np.copyto(dst.array, values, where=kept)
    if buf.placed is not None:
        program.places[dst.meta.space].wrote(dst)
    if buf.state in (FULL, SHARED) and lost is None:
        return
    box = None if lost is not None else box_of_kept(kept)
    if box is not None:
        start, shape = box
        if 0 in shape:
            return
        off = dst.off + sum(a * s for a, s in zip(start, dst.meta.strides))
        buf.fill(off, shape, dst.meta.strides)
    else:
        written = buf.flags(dst.off, dst.meta.shape, dst.meta.strides)
        written[kept] = True
        if lost is not None:
            written[lost] = False
    if buf.state != ZERO:
        buf.state = PARTIAL
        if buf.role == "tile" and dst.meta.space != HBM:
            buf.role = "masked"
