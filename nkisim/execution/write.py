"""The one way to write a result: `admit` before the values are stored, `noted` after.

Plain and masked instructions, those that an assignment redirects and second destinations all come
here. Between the two calls the values are stored: in place, cast, or where a mask keeps them
(`store`).
"""

from __future__ import annotations

from types import CodeType
from typing import Any

import numpy as np

from ..machine.memory import EMPTY, FULL, HBM, PARTIAL, SHARED, ZERO
from ..rules import source
from ..rules.errors import KernelError, report
from ..tensors.masks import box_of_kept, compact, copy_where
from ..tensors.tensor import IndexedTensor, Tensor
from . import unknown
from .execution import Execution
from .signature import Signature, reduces


def admit(
    execution: Execution,
    dst: Tensor,
    api: str,
    signature: Signature,
    srcs: tuple[Tensor, ...],
    held: bool = False,
    whole: bool = True,
    frame: Any = None,
    inside: bool = False,
) -> Any:
    """Refuse a destination that is out of scope, an input, or another iteration's; the index of its
    cells, where it is known.

    `held`: the instruction adds to what the destination holds. `whole`: it writes all of it; who
    wrote which element is not noted of what a mask keeps. `inside`: it is known to be in scope.
    """
    buf = dst.buf
    if not inside and buf.scope.closed:
        execution.check_scope(dst, frame)
    if buf.role == "input":
        execution.refuse_input(dst, api)
    if execution.suspect is not None:
        read = execution.suspect[0]
        # of what is read only to be overwritten, the write is the fault
        own = read.buf is buf and read.off == dst.off and read.meta.shape == dst.meta.shape
        execution.settle(held or (whole and own) or reduces(signature, srcs, dst, api))
    if not whole or buf.scope.serial >= execution.affine or not buf.asked:
        return None
    if isinstance(dst, IndexedTensor):
        return None
    index, loop = execution.overwritten(dst, held)
    if loop is not None and not reduces(signature, srcs, dst, api):
        execution.refuse_overwriting(dst, loop)
    return index


def noted(
    execution: Execution,
    dst: Tensor,
    code: CodeType,
    lasti: int,
    index: Any = None,
    keep: np.ndarray | None = None,
    at: int | None = None,
    marked: bool = False,
) -> None:
    """Note that `dst` has been written: all of it, or where `keep` holds. `index` is that of its
    cells, `at` the place on the tape of the instruction (None: the next); `marked`: what is written
    has been noted (`store` does it)."""
    buf = dst.buf
    buf.last = execution.clock
    if buf.state != FULL and not marked:
        if buf.state == EMPTY:
            buf.first = execution.clock
        if dst.meta is buf.meta and buf.unfollowed:
            buf.state = FULL
        else:
            execution.mark_written(dst, index)
    if buf.tracked is not None:
        execution.note_history(dst, code, lasti, keep, at)


def store(
    execution: Execution,
    api: str,
    dst: Tensor,
    values: Any,
    keep: np.ndarray | None,
    lost: np.ndarray | None,
    origin: KernelError | None,
) -> None:
    """Store `values` in `dst` where `keep` holds (None: everywhere), and note what is written; of
    these, the elements `lost` become unknown: `origin` says what went wrong where, if that is
    known."""
    lost = admit_unknown(execution, api, dst, keep, lost, origin)
    buf = dst.buf
    if buf.state == EMPTY:
        buf.first = execution.clock
    if isinstance(dst, IndexedTensor):
        dst.scatter(values, keep)
        return
    if keep is None and lost is None:
        if execution.values:
            dst.array[...] = values
        if buf.state != FULL:
            execution.mark_written(dst)
        return
    kept = np.broadcast_to(True if keep is None else keep, dst.shape)
    if execution.values:
        copy_where(dst.array, values, kept)
    if buf.placed is not None:
        execution.places[dst.meta.space].wrote(dst)
    if lost is None and compact(kept).all():
        if buf.state != FULL:
            execution.mark_written(dst)
        return
    if lost is None and buf.state in (FULL, SHARED):
        return
    _mark_some(dst, kept, lost)


def admit_unknown(
    execution: Execution,
    api: str,
    dst: Tensor,
    keep: np.ndarray | None,
    lost: np.ndarray | None,
    origin: KernelError | None,
) -> np.ndarray | None:
    """The elements of `dst` that become unknown, where that does no harm yet; None if there are
    none. Unknown elements in an output are refused."""
    if lost is None:
        return None
    lost = unknown.fit(lost, dst.shape)
    lost = lost if keep is None else lost & keep
    if not lost.any():
        return None
    buf = dst.buf
    outside = dst.meta.space == HBM and buf.role != "tile"
    if outside or isinstance(dst, IndexedTensor):
        _refuse(api, dst, lost, origin, "they would be stored here")
        return None
    if not buf.asked:  # the result of an instruction, which is now written in part
        buf.asked = True
    if origin is not None:
        execution.origins[buf] = origin
    return lost


def _refuse(api: str, dst: Tensor, lost: np.ndarray, origin: KernelError | None, why: str) -> None:
    """Report unknown elements where they do harm."""
    error = origin or unknown.left_out(api, dst.label, ~lost, why)
    here = source.here(1)
    if origin is not None and (origin.filename, origin.line) != (here.filename, here.line):
        origin.reach(f"'{dst.label}'", here)
    report(error)


def unknown_in_registers(
    api: str, dst: Tensor, lost: np.ndarray, origin: KernelError | None
) -> None:
    """Refuse to accumulate unknown elements in the registers of an engine, which are read later."""
    _refuse(api, dst, lost, origin, "they are added up in the engine's registers")


def _mark_some(dst: Tensor, kept: np.ndarray, lost: np.ndarray | None) -> None:
    """Note that the elements `kept` of `dst` have been written, and that `lost` are unknown."""
    buf = dst.buf
    box = None if lost is not None else box_of_kept(kept)
    if box is not None:
        start, shape = box
        if 0 in shape:
            return
        off = dst.off + sum(a * s for a, s in zip(start, dst.meta.strides))
        buf.fill(off, shape, dst.meta.strides, dst.meta.itemsize)
    else:
        written = buf.flags(dst.off, dst.meta.shape, dst.meta.strides, dst.meta.itemsize)
        written[kept] = True
        if lost is not None:
            if buf.state == ZERO:  # from now on what is not written is unknown, not zero
                buf.known().written[...] = True
                buf.state = PARTIAL
            written[lost] = False
    if buf.state != ZERO:
        buf.state = PARTIAL
        if buf.role == "tile" and dst.meta.space != HBM:
            buf.role = "masked"
