"""The one way to the machine: `execute` runs an instruction, `redirect` changes where the last one wrote.

`execute` looks the call's signature up (rules are checked once for each distinct one), checks that what is read was
written and is in scope, computes, writes, and records.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import source
from .isa.core import Instruction
from .masked import condition, execute_masked, masked_write
from .memory import FULL, SBUF, Buffer
from .program import Program
from .signature import build, reduces
from .state import STATE, current
from .tensor import IndexedTensor, Tensor

_getframe = sys._getframe
_INTERNAL = source.INTERNAL_FILES


def execute(instruction: Instruction, api: str, dst: Tensor | None, srcs: tuple[Tensor, ...], attrs: tuple = (),
            space: str = SBUF, dtype: np.dtype | None = None, mask: Any = None, extra: Tensor | None = None) -> Tensor:
    """Run one instruction and return its destination.

    `dst` None makes a new tile of `dtype` (default: the first source's) in `space`. `extra` is a second destination
    (reduce_res). `mask` limits the positions that are read and written.
    """
    program = STATE.program
    if program is None:
        program = current(api)
    if mask is not None and condition(mask, api) is not None:
        return execute_masked(program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)
    into: Any = space if dst is None else dst.meta
    n = len(srcs)
    if n == 1:
        (a,) = srcs
        key: tuple = (instruction, attrs, into, dtype, a.meta)
    elif n == 2:
        a, b = srcs
        key = (instruction, attrs, into, dtype, a.meta, b.meta)
    else:
        key = (instruction, attrs, into, dtype, *[s.meta for s in srcs])
    if extra is not None:
        key += (extra.meta,)
    try:
        signature = program.signatures[key]
    except KeyError:
        if type(dst) is IndexedTensor or any(type(s) is IndexedTensor for s in srcs):  # their layouts are never known
            return execute_masked(program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)
        signature = build(program, instruction, api, dst, srcs, attrs, space, dtype, extra)
        if not program.config.warn:
            program.signatures[key] = signature
    if program.suspect is not None:
        program.settle(False)
    clock = program.clock = program.clock + 1
    for s in srcs:
        buf = s.buf
        if buf.state != FULL and program.check_read(s, api):  # some elements are unknown
            return execute_masked(program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)
        if buf.scope.closed:
            program.check_scope(s)
        buf.last = clock
    if n == 1:
        result = signature.compute(a.array)
    elif n == 2:
        result = signature.compute(a.array, b.array)
    else:
        result = signature.compute(*[s.array for s in srcs])
    if extra is not None:
        result, second = result
        _write(program, extra, program.cast(second, extra.meta.dtype))
    frame = _getframe(2)  # this function is called by the functions of a dialect only
    code = frame.f_code
    if code is not program.kernel_code:
        while code.co_filename in _INTERNAL:
            frame = frame.f_back  # type: ignore[assignment]
            code = frame.f_code
    lasti = frame.f_lasti
    if dst is None:
        meta = signature.dst
        made = Buffer(meta, clock, code, lasti, FULL,
                      program.scope_at(code, lasti) if program.blocks else program.scope)
        program.buffers.append(made)
        dst = program.last_result = Tensor(made, result, meta, 0)
        program.last_signature = signature
        program.last_srcs = srcs
        program.last_extra = extra
    else:
        buf = dst.buf
        if buf.scope.closed:
            program.check_scope(dst)
        if buf.role == "input":
            program.refuse_input(dst, api)
        if program.suspect is not None:
            program.settle(reduces(signature, srcs, dst))
        if buf.scope.serial < program.affine:
            program.note_shared_write(dst, reduces(signature, srcs, dst))
        if program.values:
            dst.array[...] = result if result.shape == dst.meta.shape else result.reshape(dst.meta.shape)
        buf.last = clock
        if buf.state != FULL:
            program.mark_written(dst)
        if buf.tracked is not None:
            if dst.meta is buf.meta and result.dtype == dst.array.dtype and result.shape == dst.meta.shape:
                # written in full from an array that nobody else holds: keep that instead of a copy
                buf.tracked.append((result, len(program.tape), code, lasti, None))
            else:
                program.note_history(dst, code, lasti)
        program.last_result = None
    if program.recording:
        if n == 1 and extra is None:
            program.tape += (signature, code, lasti, dst.buf, dst.off, a.buf, a.off, None)
        elif n == 2 and extra is None:
            program.tape += (signature, code, lasti, dst.buf, dst.off, a.buf, a.off, b.buf, b.off, None)
        else:
            operands = srcs if extra is None else (*srcs, extra)
            where = [x for s in operands for x in (s.buf, s.off)]
            program.tape += (signature, code, lasti, dst.buf, dst.off, *where, None)
        if program.results is not None:
            program.results.append(dst.array.copy())
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

    What an assignment `t[...] = nl.exp(x)` compiles to. `attrs` replaces the instruction's attributes and `held`
    adds `dst` as its last source (a matmul that accumulates). False if it cannot be; then nothing has changed.
    """
    program = STATE.program
    assert program is not None
    last = program.last_signature
    if program.last_result is not value or last is None or type(dst) is IndexedTensor:
        return False
    srcs = program.last_srcs
    if dst.meta.shape != value.meta.shape:
        return False
    instruction, api, dtype = last.instruction, last.api, last.dtype
    new_attrs = last.attrs if attrs is None else attrs
    all_srcs = srcs + (dst,) if held else srcs
    key = (instruction, new_attrs, dst.meta, dtype, *[s.meta for s in all_srcs])
    extra = program.last_extra
    if extra is not None:
        key += (extra.meta,)
    signature = program.signatures.get(key)
    if signature is None:
        signature = build(program, instruction, api, dst, all_srcs, new_attrs, dst.meta.space, dtype, extra)
        if not program.config.warn and last.general is None:
            program.signatures[key] = signature
    buf = dst.buf
    if buf.scope.closed:
        program.check_scope(dst)
    if program.suspect is not None:
        program.settle(held or reduces(signature, srcs, dst))
    if buf.scope.serial < program.affine:
        program.note_shared_write(dst, held or reduces(signature, srcs, dst))
    keep: np.ndarray | None = None
    if last.general is not None:
        keep, lost = last.general
        values = value.array
        if held and program.values:
            values = np.where(program.written_flags(dst), dst.array + values, values)
        masked_write(program, api, dst, program.cast(values, dst.meta.dtype), keep, lost)
    elif not program.values:
        pass
    elif held:
        dst.array[...] = program.cast(dst.array + value.array, dst.meta.dtype)
    elif value.meta.dtype == dst.meta.dtype:
        dst.array[...] = value.array
    else:
        dst.array[...] = program.cast(value.array, dst.meta.dtype)
    buf.last = program.clock
    if buf.state != FULL and last.general is None:
        program.mark_written(dst)
    value.buf.last = -1
    program.last_result = None
    if program.recording:
        tape = program.tape
        old = tape[-last.width:]
        del tape[-last.width:]
        code, lasti = old[1], old[2]
        operands = (*old[5:-1], buf, dst.off) if held else old[5:-1]
        if buf.tracked is not None:
            if dst.meta is buf.meta and value.meta.dtype == dst.meta.dtype and not held and last.general is None:
                buf.tracked.append((value.array, len(tape), code, lasti, None))  # the temporary is nobody else's
            else:
                program.note_history(dst, code, lasti, keep)
        tape += (signature, code, lasti, buf, dst.off, *operands, old[-1])
        if program.results is not None:
            program.results[-1] = dst.array.copy()
    return True
