"""Executing the general way: masks, unknown elements, run-time indices, index grids that reach out
of bounds."""

from __future__ import annotations

import copy
from types import CodeType
from typing import Any

import numpy as np

from ..isa.core import Instruction, Plan
from ..isa.dma import DMA_COPY
from ..machine.memory import EMPTY, Meta
from ..machine.values import COPY
from ..rules import source
from ..rules.errors import KernelError
from ..tensors.masks import compact
from ..tensors.tensor import IndexedTensor, Tensor
from . import unknown
from .banks import in_one_bank
from .conditions import condition, fit, kept, others, own_mask
from .execution import Execution
from .signature import General, Signature, build
from .tape import Operand, Share
from .write import admit, admit_unknown, noted, store, unknown_in_registers


def execute_masked(
    execution: Execution,
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple[Any, ...],
    space: str,
    dtype: np.dtype | None,
    mask: Any,
    extra: Tensor | None,
    counted: bool = False,
) -> Tensor:
    """The general way: masks, unknown elements, run-time indices, grids that reach out of bounds.

    `counted`: the fast way has counted the instruction before it found that it cannot do it.
    """
    given = condition(mask, api)
    signature = _signature(execution, instruction, api, dst, srcs, attrs, space, dtype, extra)
    plan = signature.plan
    if execution.suspect is not None:
        execution.settle(False)
    if not counted:
        execution.before_another()
        execution.clock += 1
    shape = signature.dst.shape
    grid = srcs[0].shape if plan.kind in ("reduce", "transpose") else shape
    where = None if given is None else fit(given, grid, api)
    arrays, operands = _read(execution, api, plan, srcs, where, grid)
    picked = type(srcs[0]) is IndexedTensor if srcs else False
    result, second = _computed(execution, signature, arrays, where, extra is not None, picked)
    keep = kept(plan, where, shape)
    lost, origin = unknown.of_result(plan, api, operands, arrays, shape, where)
    if not execution.values and (plan.depends or plan.spread) and any(operands):
        execution.undecided = True
    runs = keep is None or bool(compact(keep).any())
    frame = source.user_frame(2)
    place = frame.f_code, frame.f_lasti
    fresh = dst is None
    if dst is None:
        dst = _made(execution, signature.dst)
    index = None if fresh else admit(execution, dst, api, signature, srcs, whole=keep is None)
    if signature.one_bank:
        in_one_bank(execution.config.target, api, dst, keep)
    what = signature.general = (keep, lost, origin)
    if runs:
        _write(execution, api, plan, dst, result, arrays, what)
    elif fresh:
        dst.buf.role = "masked"
    if lost is not None and plan.stateful and not plan.forgets and extra is None:
        unknown_in_registers(api, dst, lost, origin)
    if extra is not None:  # after the result: it may lie in the same tile
        _write_reduction(execution, api, signature, srcs, extra, second, where, lost, origin, place)
    if runs:
        noted(execution, dst, *place, index, keep, marked=True)
    dst.buf.last = execution.clock
    _may_be_redirected(execution, dst if fresh and runs else None, signature, srcs, extra)
    if runs:
        _record(execution, api, signature, place, dst, srcs, extra, keep)
    if execution.lowering is not None:
        into = None if fresh else dst
        call = (execution, instruction, api, into, srcs, attrs, space, dtype, mask, extra)
        form = execution.lowering.form_of(call, signature, False)
        execution.lowering.ran(form, into, dst, srcs, extra, *place, given)
    return dst


def _may_be_redirected(
    execution: Execution,
    result: Tensor | None,
    signature: Signature,
    srcs: tuple[Tensor, ...],
    extra: Tensor | None,
) -> None:
    """Note the last instruction, in case an assignment of its new tile `result` redirects it."""
    execution.last_result = result
    execution.last_signature, execution.last_srcs = signature, srcs
    execution.last_extra = extra


def _computed(
    execution: Execution,
    signature: Signature,
    arrays: list[Any],
    where: np.ndarray | None,
    two: bool,
    picked: bool,
) -> tuple[Any, Any]:
    """The result, and the second one where there are `two`; instructions with registers see the
    mask `where`. `picked`: the first source are elements that indices picked."""
    if signature.compute is COPY and picked:  # they were copied when they were picked
        return arrays[0], None
    execution.active_mask = where if signature.plan.stateful else None
    found: Any = signature.compute(*arrays)
    execution.active_mask = None
    return found if two else (found, None)


def _write(
    execution: Execution,
    api: str,
    plan: Plan,
    dst: Tensor,
    result: Any,
    arrays: list[Any],
    what: General,
) -> None:
    """Store the result, or add the first source, where the mask keeps it. `what`: that, which of
    its elements are unknown, and why."""
    keep, lost, origin = what
    if plan.accumulates and isinstance(dst, IndexedTensor):
        admit_unknown(execution, api, dst, keep, lost, origin)
        dst.accumulate(arrays[0], keep)
    else:
        store(execution, api, dst, result.reshape(dst.shape), keep, lost, origin)


def _record(
    execution: Execution,
    api: str,
    signature: Signature,
    place: tuple[CodeType, int],
    dst: Tensor,
    srcs: tuple[Tensor, ...],
    extra: Tensor | None,
    keep: np.ndarray | None,
) -> None:
    """Note that the instruction has run: for the other core, and on the tape; for a dataflow with
    the elements that indices picked."""
    if execution.cores is not None:
        execution.cores.touches(execution, api, dst, srcs)
    tape = execution.tape
    if tape.indices is not None:
        found = {k: s.places() for k, s in enumerate(srcs) if isinstance(s, IndexedTensor)}
        if isinstance(dst, IndexedTensor):
            found[-1] = dst.places()
        if keep is not None:
            found[-2] = keep
        if found:
            tape.indices[len(tape.entries)] = found
    if execution.recording:
        written = None
        if tape.results is not None:
            written = np.array(dst.gather(keep) if isinstance(dst, IndexedTensor) else dst.array)
        tape.add(signature, *place, dst, srcs, extra, _share(dst, srcs, keep), written)


def _made(execution: Execution, meta: Meta) -> Tensor:
    """A new tile, of which nothing is written yet."""
    buf = execution.new_buffer(meta, EMPTY)
    return execution.tensor(buf, execution.zeros(meta.shape, meta.dtype), meta, 0)


def _read(
    execution: Execution,
    api: str,
    plan: Plan,
    srcs: tuple[Tensor, ...],
    where: np.ndarray | None,
    grid: tuple[int, ...],
) -> tuple[list[Any], list[unknown.Source | None]]:
    """The values of the sources where the mask `where` over `grid` lets them be read; and of each
    its unknown elements, if it has any."""
    arrays: list[Any] = []
    operands: list[unknown.Source | None] = []
    for position, s in enumerate(srcs):
        if s.buf.scope.closed:
            execution.check_scope(s)
        own = own_mask(plan, position, s, where, grid)
        lacks = None
        if execution.check_read(s, api, own, follows=True):
            flags = ~execution.written_flags(s, own)
            lacks = unknown.Source(s.label, flags, execution.origins.get(s.buf))
        operands.append(lacks)
        values = s.gather(own) if isinstance(s, IndexedTensor) else s.array
        if own is not None and plan.kind == "reduce" and not position and execution.values:
            values = others(own, values, plan.identity)
        arrays.append(values)
        s.buf.last = execution.clock
        if isinstance(s, IndexedTensor):
            for tile in s.tiles or ():
                tile.buf.last = execution.clock
    return arrays, operands


def _share(dst: Tensor, srcs: tuple[Tensor, ...], keep: np.ndarray | None) -> Share | None:
    """What a record tells of the mask, and of the indices that pick elements."""
    share = None
    if keep is not None:
        few = compact(keep)
        share = Share(int(np.count_nonzero(few)) * (keep.size // max(1, few.size)), keep.size)
    # code that reads the records for their dependencies must know the tiles of indices
    picks = tuple(
        Operand(t.buf, t.off, t.meta)
        for s in (*srcs, dst)
        if isinstance(s, IndexedTensor)
        for t in s.tiles or ()
    )
    if not picks:
        return share
    return Share(1, 1, picks) if share is None else share._replace(picks=picks)


_PLANNED: dict[tuple[Any, ...], Signature] = {}
_MOST = 1 << 14
"""Plans remembered; then all are forgotten."""


_PLANNED_BY_SHAPE = (DMA_COPY,)
"""Instructions that ask no more of elements that indices pick than their shape, type and memory."""


def _form(t: Tensor) -> Any:
    """What a plan that is remembered depends on. The layouts of picked elements are each their own,
    and alike where their shapes, types and memories are."""
    if type(t) is not IndexedTensor:
        return t.meta
    return (IndexedTensor, t.meta.space, t.meta.shape, t.meta.dtype, t.array.dtype)


def _signature(
    execution: Execution,
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple[Any, ...],
    space: str,
    dtype: np.dtype | None,
    extra: Tensor | None,
) -> Signature:
    """A signature of this call's own, from one that was checked before if there is one."""
    config = execution.config
    call = (config, execution.values, instruction, api, dst, srcs, attrs, space, dtype, extra)
    tiles = [t for t in (dst, *srcs, extra) if t is not None]
    picked = any(type(t) is IndexedTensor for t in tiles)
    if picked and instruction not in _PLANNED_BY_SHAPE:
        return build(*call)
    key = (
        config.target.name,
        config.precise_fp,
        tuple(sorted(config.warn.items())),
        execution.values,
        instruction,
        attrs,
        space,
        dtype,
        dst is None,
        extra is None,
        *((api, *map(_form, tiles)) if picked else [t.meta for t in tiles]),
    )
    found = _PLANNED.get(key)
    if found is None:
        found = build(*call)
        if not found.warned:
            if len(_PLANNED) >= _MOST:
                _PLANNED.clear()
            _PLANNED[key] = found
    return copy.copy(found)


def _write_reduction(
    execution: Execution,
    api: str,
    signature: Signature,
    srcs: tuple[Tensor, ...],
    extra: Tensor,
    values: np.ndarray,
    where: np.ndarray | None,
    lost: np.ndarray | None,
    origin: KernelError | None,
    place: tuple[CodeType, int],
) -> None:
    """Write `reduce_res` in the rows that the mask keeps."""
    kept = gone = None
    if where is not None:
        kept = unknown.along(
            np.asarray(where.any(axis=tuple(range(1, where.ndim)), keepdims=True)), extra.shape
        )
    to_extra = signature.plan.spread_to_extra
    if lost is not None and to_extra is not None:
        gone = to_extra(lost).reshape(extra.shape)
    elif lost is not None:
        some, mixed = unknown.rows(lost, where, tuple(range(1, lost.ndim)))
        gone = unknown.along(some, extra.shape)
        if mixed and origin is None:
            origin = unknown.left_out(
                api, extra.label, ~lost, "they are mixed with known ones here"
            )
    index = admit(execution, extra, api, signature, srcs, whole=kept is None)
    cast = execution.cast(values, extra.meta.dtype).reshape(extra.shape)
    store(execution, api, extra, cast, kept, gone, origin)
    noted(execution, extra, *place, index, kept, marked=True)
