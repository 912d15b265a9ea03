"""The one way to the machine: `execute` runs an instruction, `redirect` changes where the last one
wrote.

`execute` looks the call's signature up (rules are checked once for each distinct one), checks that
what is read was written and is in scope, computes, writes, and records.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..isa.core import Instruction
from ..machine.memory import FULL, SBUF, Buffer
from ..machine.running import STATE, current
from ..rules import source
from ..tensors.tensor import IndexedTensor, Tensor
from .execution import Program
from .masked import condition, execute_masked, masked_write
from .signature import build, reduces

_getframe = sys._getframe
_new: Any = object.__new__
_INTERNAL = source.INTERNAL_FILES


def execute(
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple = (),
    space: str = SBUF,
    dtype: np.dtype | None = None,
    mask: Any = None,
    extra: Tensor | None = None,
) -> Tensor:
    """Run one instruction and return its destination.

    `dst` None makes a new tile of `dtype` (default: the first source's) in `space`. `extra` is a
    second destination (reduce_res). `mask` limits the positions that are read and written.
    """
    program = STATE.program
    if program is None:
        program = current(api)
    if mask is not None and condition(mask, api) is not None:
        return execute_masked(
            program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra
        )
    n = len(srcs)
    if n == 1:
        (a,) = srcs
        key: tuple = (instruction, attrs, space if dst is None else dst.meta, dtype, a.meta)
    elif n == 2:
        a, b = srcs
        key = (instruction, attrs, space if dst is None else dst.meta, dtype, a.meta, b.meta)
    elif n == 3:
        a, b, c = srcs
        key = (
            instruction,
            attrs,
            space if dst is None else dst.meta,
            dtype,
            a.meta,
            b.meta,
            c.meta,
        )
    else:
        key = (
            instruction,
            attrs,
            space if dst is None else dst.meta,
            dtype,
            *[s.meta for s in srcs],
        )
    if extra is not None:
        key += (extra.meta,)
    try:
        signature = program.signatures[key]
    except KeyError:
        # their layouts are never known
        if type(dst) is IndexedTensor or any(type(s) is IndexedTensor for s in srcs):
            return execute_masked(
                program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra
            )
        signature = build(program, instruction, api, dst, srcs, attrs, space, dtype, extra)
        if not signature.warned:
            program.signatures[key] = signature
    if program.suspect is not None:
        program.settle(False)
    clock = program.clock = program.clock + 1
    in_place = signature.into
    # what every source must be: written, in scope; unrolled, for this is the innermost loop of a
    # simulation
    if n == 1:
        a_buf = a.buf
        if a_buf.state != FULL and program.check_read(a, api):  # some elements are unknown
            return execute_masked(
                program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra, counted=True
            )
        if a_buf.scope.closed:
            program.check_scope(a)
        a_buf.last = clock
        if in_place is None:
            result = signature.compute(a.array)
    elif n == 2:
        a_buf, b_buf = a.buf, b.buf
        if (
            a_buf.state != FULL
            and program.check_read(a, api)
            or b_buf.state != FULL
            and program.check_read(b, api)
        ):
            return execute_masked(
                program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra, counted=True
            )
        if a_buf.scope.closed:
            program.check_scope(a)
        if b_buf.scope.closed:
            program.check_scope(b)
        a_buf.last = b_buf.last = clock
        if in_place is None:
            result = signature.compute(a.array, b.array)
    elif n == 3:
        a_buf, b_buf, c_buf = a.buf, b.buf, c.buf
        if (
            a_buf.state != FULL
            and program.check_read(a, api)
            or b_buf.state != FULL
            and program.check_read(b, api)
            or c_buf.state != FULL
            and program.check_read(c, api)
        ):
            return execute_masked(
                program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra, counted=True
            )
        if a_buf.scope.closed:
            program.check_scope(a)
        if b_buf.scope.closed:
            program.check_scope(b)
        if c_buf.scope.closed:
            program.check_scope(c)
        a_buf.last = b_buf.last = c_buf.last = clock
        result = signature.compute(a.array, b.array, c.array)
    else:
        for s in srcs:
            buf = s.buf
            if buf.state != FULL and program.check_read(s, api):
                return execute_masked(
                    program,
                    instruction,
                    api,
                    dst,
                    srcs,
                    attrs,
                    space,
                    dtype,
                    mask,
                    extra,
                    counted=True,
                )
            if buf.scope.closed:
                program.check_scope(s)
            buf.last = clock
        result = signature.compute(*[s.array for s in srcs])
    if extra is not None:
        result, second = result
    frame = _getframe(2)  # this function is called by the functions of a dialect only
    code = frame.f_code
    if code is not program.kernel_code:
        while code.co_filename in _INTERNAL:
            frame = frame.f_back  # type: ignore[assignment]
            code = frame.f_code
    lasti = frame.f_lasti
    if dst is None:
        made = _new(Buffer)  # attribute by attribute: half the time of calling the class
        made.meta = meta = signature.dst
        made.first = made.last = clock
        made.code = code
        made.lasti = lasti
        made.state = FULL
        made.scope = program.scope_at(code, lasti) if program.blocks else program.scope
        made.asked = False
        made.name = made.cells = made.tracked = made.placed = None
        made.role = "tile"
        program.buffers.append(made)
        if program.tensor is Tensor:
            dst = _new(Tensor)
            dst.buf = made
            dst.array = result
            dst.meta = meta
            dst.off = 0
        else:
            dst = program.tensor(made, result, meta, 0)
        off = 0
        program.last_result = dst
        program.last_signature = signature
        program.last_srcs = srcs
        program.last_extra = extra
        into = made
    else:
        into, off = dst.buf, dst.off
        if into.scope.closed:
            program.check_scope(dst)
        if into.role == "input":
            program.refuse_input(dst, api)
        if program.suspect is not None:
            program.settle(reduces(signature, srcs, dst))
        index = None
        if into.scope.serial < program.affine:
            index = program.note_shared_write(dst, reduces(signature, srcs, dst))
        if in_place is None:
            if program.values:
                dst.array[...] = (
                    result if result.shape == dst.meta.shape else result.reshape(dst.meta.shape)
                )
        elif n == 1:
            in_place(a.array, dst.array)
        else:
            in_place(a.array, b.array, dst.array)
        into.last = clock
        if into.state != FULL:
            program.mark_written(dst, index)
        if into.tracked is not None:
            program.note_history(dst, code, lasti)
        program.last_result = None
    # read out by an instruction of its own, after the result: it may lie in the same tile
    if extra is not None:
        _write(program, extra, program.cast(second, extra.meta.dtype))
    if program.recording:
        if extra is not None or n > 3:
            operands = srcs if extra is None else (*srcs, extra)
            where = [x for s in operands for x in (s.buf, s.off)]
            program.tape.extend((signature, code, lasti, into, off, *where, None))
        elif n == 1:
            program.tape.extend((signature, code, lasti, into, off, a_buf, a.off, None))
        elif n == 2:
            program.tape.extend(
                (signature, code, lasti, into, off, a_buf, a.off, b_buf, b.off, None)
            )
        elif n == 3:
            program.tape.extend(
                (signature, code, lasti, into, off, a_buf, a.off, b_buf, b.off, c_buf, c.off, None)
            )
        else:
            program.tape.extend((signature, code, lasti, into, off, None))
        if program.results is not None:
            program.results.append(dst.array.copy())
            program.seconds.append(None if extra is None else extra.array.copy())
    return dst


def _write(program: Program, dst: Tensor, values: np.ndarray) -> None:
    """Write a second destination in full."""
    buf = dst.buf
    if buf.scope.closed:
        program.check_scope(dst)
    if program.values:
        dst.array[...] = values.reshape(dst.meta.shape)
    buf.last = program.clock
    if buf.state != FULL:
        program.mark_written(dst)
    if buf.tracked is not None:
        frame = source.user_frame(2)
        program.note_history(dst, frame.f_code, frame.f_lasti)


def redirect(dst: Tensor, value: Tensor, attrs: tuple | None = None, held: bool = False) -> bool:
    """Make the instruction that has just run write to `dst` instead of the temporary `value`.

    What an assignment `t[...] = nl.exp(x)` compiles to. `attrs` replaces the instruction's
    attributes and `held` adds `dst` as its last source (a matmul that accumulates). False if it
    cannot be; then nothing has changed.
    """
    program = STATE.program
    assert program is not None
    last = program.last_signature
    if program.last_result is not value or last is None or type(dst) is IndexedTensor:
        return False
    srcs = program.last_srcs
    meta = dst.meta
    if meta.shape != value.meta.shape:
        return False
    signature = last.redirected.get((meta, attrs))
    if signature is None:  # checked for the first time
        all_srcs = srcs + (dst,) if held else srcs
        signature = build(
            program,
            last.instruction,
            last.api,
            dst,
            all_srcs,
            last.attrs if attrs is None else attrs,
            meta.space,
            last.dtype,
            program.last_extra,
        )
        if not signature.warned and last.general is None:
            last.redirected[meta, attrs] = signature
    buf = dst.buf
    if buf.scope.closed:
        program.check_scope(dst)
    if program.suspect is not None:
        program.settle(held or reduces(signature, srcs, dst))
    index = None
    if buf.scope.serial < program.affine:
        index = program.note_shared_write(dst, held or reduces(signature, srcs, dst))
    general = last.general
    keep: np.ndarray | None = None
    same = value.meta.dtype is meta.dtype or value.meta.dtype == meta.dtype
    if general is not None:
        keep, lost = general
        values = value.array
        if held and program.values:
            values = np.where(program.written_flags(dst), dst.array + values, values)
        masked_write(program, last.api, dst, program.cast(values, meta.dtype), keep, lost)
    elif program.values:
        if held:
            dst.array[...] = program.cast(dst.array + value.array, meta.dtype)
        else:
            dst.array[...] = value.array if same else program.cast(value.array, meta.dtype)
    buf.last = program.clock
    if buf.state != FULL and general is None:
        program.mark_written(dst, index)
    value.buf.last = -1
    program.last_result = None
    if program.recording:
        tape = program.tape
        # the record of the instruction, which now names its new destination
        at = len(tape) - last.width
        code, lasti = tape[at + 1], tape[at + 2]
        if buf.tracked is not None:
            if meta is buf.meta and same and not held and general is None:
                # the temporary is nobody else's
                buf.tracked.append((value.array, at, code, lasti, None))
            else:
                program.note_history(dst, code, lasti, keep, at)
        tape[at] = signature
        tape[at + 3] = buf
        tape[at + 4] = dst.off
        if held:
            tape[-1:-1] = (buf, dst.off)
        if program.results is not None:
            program.results[-1] = dst.array.copy()
    return True
