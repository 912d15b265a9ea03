"""Changing where the last instruction wrote, as an assignment does; and the zeros of PSUM tiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..isa.copies import MEMSET
from ..isa.core import Call
from ..machine.dtypes import FLOAT32, as_bits
from ..machine.memory import EMPTY, FULL
from ..machine.values import SPENT, catch_up
from ..tensors.tensor import IndexedTensor, Tensor
from .banks import in_one_bank
from .computing import put_off
from .execution import Execution, running
from .signature import Signature, build, copy_into
from .steps import MATERIALIZE
from .write import admit, noted, store


def redirect(
    dst: Tensor, value: Tensor, attrs: tuple[Any, ...] | None = None, held: bool = False
) -> bool:
    """Make the instruction that has just run write to `dst` instead of the temporary `value`.

    What an assignment `t[...] = nl.exp(x)` compiles to. `attrs` replaces the instruction's
    attributes and `held` adds `dst` as its last source (a matmul that accumulates). False if it
    cannot be; then nothing has changed.
    """
    execution = running()
    assert execution is not None
    last = execution.last_signature
    if execution.last_result is not value or last is None or type(dst) is IndexedTensor:
        return False
    meta = dst.meta
    if meta.shape != value.meta.shape:
        return False
    if held:
        execution.suspect = None
        execution.check_read(dst, "accumulation", adds=True)
    signature = last.redirected.get((meta, attrs))
    if signature is None:
        signature = _redirected(execution, last, dst, attrs, held)
    buf = dst.buf
    scope = buf.scope
    index = None
    frame: Any = None
    # `value` has no name: the statement that assigns it made it
    inside = not scope.closed or scope.admits(value.buf.code, value.buf.lasti)
    if not inside or execution.lowering is not None:
        frame = execution.kernel_frame()
    looked_at = not inside or buf.role == "input" or scope.serial < execution.affine
    if looked_at or execution.suspect is not None:
        srcs = execution.last_srcs
        index = admit(execution, dst, last.api, signature, srcs, held, frame=frame, inside=inside)
    if signature.one_bank:
        kept = None if last.general is None else last.general[0]
        in_one_bank(execution.config.target, last.api, dst, kept)
    if last.general is not None:
        _redirect_general(execution, last, dst, value, held)
    elif execution.values:
        _write_instead(execution, signature, dst, value, held)
    if execution.lowering is not None:
        execution.lowering.redirected(dst, attrs, held, (frame.f_code, frame.f_lasti))
    value.buf.last = -1
    execution.last_result = None
    tape = execution.tape
    at = len(tape.entries) - last.width
    place: tuple[Any, Any] = (None, 0)
    if execution.recording:
        place = tape.redirect(at, signature, dst, held)
    if last.general is not None:
        noted(execution, dst, *place, index, last.general[0], at, marked=True)
        return True
    buf.last = execution.clock
    if buf.state != FULL:
        if buf.state == EMPTY:
            buf.first = execution.clock
        if meta is buf.meta and buf.unfollowed:
            buf.state = FULL
        else:
            execution.mark_written(dst, index)
    if buf.tracked is not None:
        execution.note_history(dst, *place, None, at)
    return True


def _write_instead(
    execution: Execution, signature: Signature, dst: Tensor, value: Tensor, held: bool
) -> None:
    """Write to `dst` what the last instruction, which `signature` is now that of, has left in
    `value` or, as a rule, has put off."""
    queue, meta = execution.queue, dst.meta
    rounded = value.meta.dtype is not meta.dtype
    if not held and not rounded and queue and queue[-1][1] is value.held and signature.deferred:
        queue.pop()
        put_off(execution, signature, dst, execution.last_srcs)
        return
    dst.present()
    if held and not rounded and meta.dtype is FLOAT32:
        queue.append((np.add, SPENT, dst.held, value.held, dst.held))
    elif held or rounded:
        values = dst.array + value.array if held else value.array
        dst.array[...] = execution.cast(uncast(signature, values, meta.dtype), meta.dtype)
    else:
        queue.append((copy_into, SPENT, value.held, dst.held))


def _redirect_general(
    execution: Execution, last: Signature, dst: Tensor, value: Tensor, held: bool
) -> None:
    """Store in `dst` what the general way left in the temporary `value`: where its mask kept it."""
    assert last.general is not None
    keep, lost, origin = last.general
    values = value.array
    if held and execution.values:
        values = np.where(execution.written_flags(dst), dst.array + values, values)
    values = execution.cast(uncast(last, values, dst.meta.dtype), dst.meta.dtype)
    store(execution, last.api, dst, values, keep, lost, origin)


def uncast(signature: Signature, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The values of a result on their way to a destination of type `dtype`, before they are cast:
    where they are written bit for bit, they need no cast any more."""
    known = isinstance(values, np.ndarray)  # not on shapes alone
    return as_bits(values, dtype) if known and signature.plan.bits else values


def _redirected(
    execution: Execution,
    last: Signature,
    dst: Tensor,
    attrs: tuple[Any, ...] | None,
    held: bool,
) -> Signature:
    """The signature of the last instruction with `dst` as its destination, which is checked for the
    first time."""
    srcs = execution.last_srcs
    found = build(
        execution.config,
        execution.values,
        last.instruction,
        last.api,
        dst,
        srcs + (dst,) if held else srcs,
        last.attrs[: last.given] if attrs is None else attrs,
        dst.meta.space,
        last.dtype,
        execution.last_extra,
    )
    if not found.warned and last.general is None:
        last.redirected[dst.meta, attrs] = found
    return found


def spend_memset(execution: Execution, t: Tensor, before: int) -> None:
    """Fill the PSUM tile of `t` with the zeros that it counts as holding, by a memset that stands
    before the last `before` entries of the tape."""
    buf = t.buf
    t.present()
    if before and execution.lowering is not None:  # the others come about by themselves
        execution.lowering.step(MATERIALIZE, 0, *execution.lowering.view(t))
    buf.state = FULL
    buf.filled()
    if not execution.recording:
        return
    attrs = (buf.meta.shape, None)
    named = MEMSET.attributes(*attrs)
    call = Call("nl.zeros", None, (), named, buf.meta.space, buf.meta.dtype, execution.config)
    plan = MEMSET.plan(call)
    signature = Signature(MEMSET, "nl.zeros", attrs, None, plan, plan.compute, buf.meta, (), None)
    catch_up(execution.queue)
    whole = t.strided_view(0, buf.meta.shape, buf.meta.strides)
    execution.tape.insert(before, signature, buf, whole)
    execution.clock += 1
