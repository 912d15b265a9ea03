"""The one way to the machine: `execute` runs an instruction.

It looks the call's signature up (rules are checked once for each distinct one), checks that
what is read was written and is in scope, computes, writes, and records.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

import numpy as np

from ..isa.core import Instruction
from ..machine.memory import EMPTY, FULL, SBUF, Buffer
from ..machine.values import Value, catch_up
from ..rules import source
from ..tensors.tensor import IndexedTensor, Tensor
from .banks import in_one_bank
from .computing import PUT_OFF, at_once, put_off
from .conditions import condition
from .execution import Execution, current, running
from .masked import execute_masked
from .signature import Signature, build
from .write import admit, noted

_getframe = sys._getframe
_new: Any = object.__new__
_INTERNAL = source.INTERNAL_FILES


def execute(
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple[Any, ...] = (),
    space: str = SBUF,
    dtype: np.dtype | None = None,
    mask: Any = None,
    extra: Tensor | None = None,
    depth: int = 2,
) -> Tensor:
    """Run one instruction and return its destination. Called by the functions of a dialect only.

    `dst` None makes a new tile of `dtype` (default: the first source's) in `space`. `extra` is a
    second destination (reduce_res). `mask` limits the positions that are read and written. `depth`:
    so many frames up the kernel stands, if not further.
    """
    execution = running() or current(api)
    if mask is not None and condition(mask, api) is not None:
        return execute_masked(
            execution, instruction, api, dst, srcs, attrs, space, dtype, mask, extra
        )
    key = _key(instruction, attrs, space if dst is None else dst.meta, dtype, srcs)
    if extra is not None:
        key = (*key, (extra.meta,))
    signature = execution.signatures.get(key)
    if signature is None:
        call = (execution, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)
        found = _first(key, call)
        if isinstance(found, Tensor):
            return found
        signature = found
    if dst is None:
        return make(execution, signature, api, srcs, extra, depth + 1)
    return write(execution, signature, api, dst, srcs, extra, depth + 1)


def _key(
    instruction: Instruction,
    attrs: tuple[Any, ...],
    into: Any,
    dtype: np.dtype | None,
    srcs: tuple[Tensor, ...],
) -> tuple[Any, ...]:
    """Under what the signature of such a call is kept. `into`: the memory of a new tile, or the
    layout of the destination."""
    if len(srcs) == 1:
        return (instruction, attrs, into, dtype, srcs[0].meta)
    if len(srcs) == 2:
        return (instruction, attrs, into, dtype, srcs[0].meta, srcs[1].meta)
    return (instruction, attrs, into, dtype, *[s.meta for s in srcs])


def remember(
    key: tuple[Any, ...],
    instruction: Instruction,
    attrs: tuple[Any, ...],
    into: Any,
    dtype: np.dtype | None,
    srcs: tuple[Tensor, ...],
) -> None:
    """Let a dialect find under a `key` of its own what one call of `execute`, with these arguments,
    has come down to. The key says all that the function of the dialect reads of its arguments, and
    begins with that function; then the function can call `make` or `write` itself."""
    execution = running()
    assert execution is not None
    known = signature_of(execution, instruction, attrs, into, dtype, srcs)
    if known is not None:
        execution.signatures[key] = known


def signature_of(
    execution: Execution,
    instruction: Instruction,
    attrs: tuple[Any, ...],
    into: Any,
    dtype: np.dtype | None,
    srcs: tuple[Tensor, ...],
) -> Signature | None:
    """The signature of a call that has run with these arguments, where others may use it too.
    `into`: the memory of a new tile, or the layout of the destination."""
    return execution.signatures.get(_key(instruction, attrs, into, dtype, srcs))


def make(
    execution: Execution,
    signature: Signature,
    api: str,
    srcs: tuple[Tensor, ...],
    extra: Tensor | None = None,
    depth: int = 2,
) -> Tensor:
    """Run an instruction of a known signature on sources of the layouts that this has; the new tile
    that it makes. The rest: see `execute`.

    This function and `write` are longer than others, and each walks over its sources itself: a
    further call costs every instruction a tenth of a microsecond (`benchmarks/direct_speed.py`).
    """
    if execution.suspect is not None or execution.clock >= execution.limit:
        execution.before_another()
    frame: Any = execution.cursor or _getframe(depth)
    code = frame.f_code
    while code is not execution.kernel_code and code.co_filename in _INTERNAL:
        frame = frame.f_back
        code = frame.f_code
    lasti = frame.f_lasti
    clock = execution.clock = execution.clock + 1
    for s in srcs:  # all that is read must be written, and in scope
        buf = s.buf
        if buf.state != FULL:
            if execution.check_read(s, api, follows=True):
                return _partly_unknown(execution, signature, api, None, srcs, extra)
            s.present()
        scope = buf.scope
        if scope.closed and not scope.admits(code, lasti):
            execution.check_scope(s, frame)
        buf.last = clock
    count = len(srcs)
    second = None
    held = signature.fixed
    queue = execution.queue
    if held is None:
        if signature.deferred:
            held = _new(Value)
            held.array = None
            if count == 1:
                queue.append((signature.compute, held, srcs[0].held))
            elif count == 2:
                queue.append((signature.compute, held, srcs[0].held, srcs[1].held))
            else:
                queue.append((signature.compute, held, *[s.held for s in srcs]))
            if len(queue) > execution.most:
                catch_up(queue)
        else:
            held, second = at_once(execution, signature, srcs, extra)
    buf = _new(Buffer)  # attribute by attribute: half the time of calling the class
    buf.meta = meta = signature.dst
    buf.first = buf.last = clock
    buf.code = code
    buf.lasti = lasti
    buf.state = FULL
    buf.scope = execution.scope_at(code, lasti) if execution.blocks else execution.scope
    buf.asked = False
    buf.name = buf.cells = buf.owner = buf.tracked = buf.placed = None
    buf.queue = queue
    buf.role = "tile"
    execution.buffers.append(buf)
    if execution.tensor is Tensor:
        dst: Tensor = _new(Tensor)
        dst.buf = buf
        dst.held = held
        dst.meta = meta
        dst.off = 0
    else:
        dst = execution.tensor(buf, held, meta, 0)
    execution.last_result = dst
    execution.last_signature = signature
    execution.last_srcs = srcs
    execution.last_extra = extra
    if extra is not None:
        _second(execution, api, signature, srcs, extra, second, (code, lasti))
    if execution.cores is not None:
        execution.cores.touches(execution, api, dst, srcs)
    if execution.recording:
        tape = execution.tape
        if count == 1 and extra is None and tape.results is None:
            (a,) = srcs
            tape.entries += (signature, code, lasti, buf, 0, a.buf, a.off, None)
        elif count == 2 and extra is None and tape.results is None:
            a, b = srcs
            where = tape.entries
            where += (signature, code, lasti, buf, 0, a.buf, a.off, b.buf, b.off, None)
        else:
            tape.add(signature, code, lasti, dst, srcs, extra)
    elif execution.lowering is not None:
        form = _form(execution, signature, api, None, srcs, extra)
        execution.lowering.ran(form, None, dst, srcs, extra, code, lasti)
    return dst


def write(
    execution: Execution,
    signature: Signature,
    api: str,
    dst: Tensor,
    srcs: tuple[Tensor, ...],
    extra: Tensor | None = None,
    depth: int = 2,
) -> Tensor:
    """Run an instruction of a known signature into `dst`, on sources of the layouts that this has:
    see `make`."""
    if execution.suspect is not None or execution.clock >= execution.limit:
        execution.before_another()
    frame: Any = execution.cursor or _getframe(depth)
    code = frame.f_code
    while code is not execution.kernel_code and code.co_filename in _INTERNAL:
        frame = frame.f_back
        code = frame.f_code
    lasti = frame.f_lasti
    clock = execution.clock = execution.clock + 1
    for s in srcs:
        buf = s.buf
        if buf.state != FULL:
            if execution.check_read(s, api, follows=True):
                return _partly_unknown(execution, signature, api, dst, srcs, extra)
            s.present()
        scope = buf.scope
        if scope.closed and not scope.admits(code, lasti):
            execution.check_scope(s, frame)
        buf.last = clock
    count = len(srcs)
    second = None
    buf = dst.buf
    scope = buf.scope
    index = None
    inside = not scope.closed or scope.admits(code, lasti)
    looked_at = not inside or buf.role == "input" or scope.serial < execution.affine
    if looked_at or execution.suspect is not None:
        index = admit(execution, dst, api, signature, srcs, frame=frame, inside=inside)
    if signature.one_bank:
        in_one_bank(execution.config.target, api, dst)
    if signature.deferred:
        put_off(execution, signature, dst, srcs)
    elif signature.fixed is None:
        second = at_once(execution, signature, srcs, extra, dst)[1]
    buf.last = clock
    if buf.state != FULL:
        buf.first = clock if buf.state == EMPTY else buf.first
        if dst.meta is buf.meta and buf.unfollowed:
            buf.state = FULL
        else:
            execution.mark_written(dst, index)
    if buf.tracked is not None:
        execution.note_history(dst, code, lasti)
    execution.last_result = None
    if extra is not None:
        _second(execution, api, signature, srcs, extra, second, (code, lasti))
    if execution.cores is not None:
        execution.cores.touches(execution, api, dst, srcs)
    if execution.recording:
        tape = execution.tape
        if count == 1 and extra is None and tape.results is None:
            (a,) = srcs
            tape.entries += (signature, code, lasti, buf, dst.off, a.buf, a.off, None)
        elif count == 2 and extra is None and tape.results is None:
            a, b = srcs
            where = tape.entries
            where += (signature, code, lasti, buf, dst.off, a.buf, a.off, b.buf, b.off, None)
        else:
            tape.add(signature, code, lasti, dst, srcs, extra)
    elif execution.lowering is not None:
        form = _form(execution, signature, api, dst, srcs, extra)
        execution.lowering.ran(form, dst, dst, srcs, extra, code, lasti)
    return dst


def _form(
    execution: Execution,
    signature: Signature,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    extra: Tensor | None,
) -> int:
    """The number of the form of this call in the program that the kernel is lowered to."""
    lowering = execution.lowering
    assert lowering is not None
    known = lowering.plain.get((signature, api))
    if known is not None:
        return known
    space, attrs = signature.dst.space, signature.asked
    of = signature.instruction
    call = (execution, of, api, dst, srcs, attrs, space, signature.dtype, None, extra)
    return lowering.form_of(call, signature, True)


def _partly_unknown(
    execution: Execution,
    signature: Signature,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    extra: Tensor | None,
) -> Tensor:
    """Run an instruction that reads elements which nobody knows."""
    return execute_masked(
        execution,
        signature.instruction,
        api,
        dst,
        srcs,
        signature.asked,
        signature.dst.space,
        signature.dtype,
        None,
        extra,
        counted=True,
    )


def _second(
    execution: Execution,
    api: str,
    signature: Signature,
    srcs: tuple[Tensor, ...],
    extra: Tensor,
    values: Any,
    place: tuple[CodeType, int],
) -> None:
    """Write the second destination: read out by a separate step, after the result, since both
    may lie in one tile."""
    index = admit(execution, extra, api, signature, srcs)
    if execution.values and values is not PUT_OFF:
        extra.array[...] = execution.cast(values, extra.meta.dtype).reshape(extra.meta.shape)
    noted(execution, extra, *place, index)


def _first(key: tuple[Any, ...], call: tuple[Any, ...]) -> Signature | Tensor:
    """The signature of a call that is seen for the first time, which is remembered; or the result,
    where the call goes the general way. `call`: the arguments of `execute` after the execution."""
    execution, instruction, api, dst, srcs, attrs, space, dtype, mask, extra = call
    # the layouts of picked elements are never known
    if any(s.meta.pdim for s in srcs) or (dst is not None and dst.meta.pdim):
        plain = tuple(s.unblocked() for s in srcs)
        target = None if dst is None else dst.unblocked()
        if target is not dst or any(p is not s for p, s in zip(plain, srcs)):
            # one block is a tile
            made = execute(instruction, api, target, plain, attrs, space, dtype, mask, extra)
            return made if dst is None else dst
    picks = [t for t in (dst, *srcs) if type(t) is IndexedTensor]
    if picks:
        if mask is None:
            for t in picks:
                t.refuse_slice()
        return execute_masked(*call)
    config, values = execution.config, execution.values
    given = (instruction, api, dst, srcs, attrs, space, dtype, extra)
    signature = build(config, values, *given)
    if not signature.warned:
        execution.signatures[key] = signature
    return signature
