"""The one way to the machine: `execute` runs an instruction, `redirect` changes where the last one
wrote.

`execute` looks the call's signature up (rules are checked once for each distinct one), checks that
what is read was written and is in scope, computes, writes, and records.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

import numpy as np

from ..isa.core import Call, Instruction
from ..isa.vector import MEMSET
from ..machine.memory import FULL, SBUF, Buffer
from ..rules import source
from ..tensors.tensor import IndexedTensor, Tensor
from .execution import Execution, current, running
from .lowering import MATERIALIZE
from .masked import condition, execute_masked
from .signature import Signature, build
from .write import admit, noted, store

_getframe = sys._getframe
_new: Any = object.__new__
_INTERNAL = source.INTERNAL_FILES


def execute(  # noqa: C901
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple[Any, ...] = (),
    space: str = SBUF,
    dtype: np.dtype | None = None,
    mask: Any = None,
    extra: Tensor | None = None,
) -> Tensor:
    """Run one instruction and return its destination. Called by the functions of a dialect only.

    `dst` None makes a new tile of `dtype` (default: the first source's) in `space`. `extra` is a
    second destination (reduce_res). `mask` limits the positions that are read and written.

    One function, longer than others: each further call costs every instruction a tenth of a
    microsecond (`benchmarks/decode_speed.py`).
    """
    execution = running() or current(api)
    call = (execution, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)
    if mask is not None and condition(mask, api) is not None:
        return execute_masked(*call)
    into: Any = space if dst is None else dst.meta
    if extra is not None:
        key: tuple[Any, ...] = (instruction, attrs, into, dtype, (extra.meta,))
        key += tuple([s.meta for s in srcs])
    elif len(srcs) == 1:  # the usual numbers of sources, as fast as can be
        (a,) = srcs
        key = (instruction, attrs, into, dtype, a.meta)
    elif len(srcs) == 2:
        a, b = srcs
        key = (instruction, attrs, into, dtype, a.meta, b.meta)
    else:
        key = (instruction, attrs, into, dtype, *[s.meta for s in srcs])
    signature = execution.signatures.get(key)
    if signature is None:
        # the layouts of picked elements are never known
        if any(s.meta.pdim for s in srcs) or (dst is not None and dst.meta.pdim):
            plain = tuple(s.unblocked() for s in srcs)
            target = None if dst is None else dst.unblocked()
            changed = target is not dst or any(p is not s for p, s in zip(plain, srcs))
            if changed:  # one block is a tile
                made = execute(instruction, api, target, plain, attrs, space, dtype, mask, extra)
                return made if dst is None else dst
        picks = [t for t in (dst, *srcs) if type(t) is IndexedTensor]
        if picks:
            if mask is None:
                for t in picks:
                    t.refuse_slice()
            return execute_masked(*call)
        signature = _first(execution, key, call[1:], extra)
    if execution.suspect is not None:
        execution.settle(False)
    clock = execution.clock = execution.clock + 1
    for s in srcs:  # all that is read must be written, and in scope
        buf = s.buf
        if buf.state != FULL and execution.check_read(s, api, follows=True):
            return execute_masked(*call, counted=True)
        if buf.scope.closed:
            execution.check_scope(s)
        buf.last = clock
    in_place = signature.into
    arrays: Any = (srcs[0].array,) if len(srcs) == 1 else [s.array for s in srcs]
    result: Any = None if in_place else signature.compute(*arrays)
    if extra is not None:
        result, second = result
    frame: Any = execution.cursor or _getframe(2)
    while frame.f_code is not execution.kernel_code and frame.f_code.co_filename in _INTERNAL:
        frame = frame.f_back
    code, lasti = frame.f_code, frame.f_lasti
    if dst is None:
        dst = execution.last_result = _made(execution, signature, result, code, lasti)
        execution.last_signature, execution.last_srcs = signature, srcs
        execution.last_extra = extra
    else:
        index = admit(execution, dst, api, signature, srcs)
        if in_place is not None:
            in_place(*arrays, dst.array)
        elif execution.values:
            shape = dst.meta.shape
            dst.array[...] = result if result.shape == shape else result.reshape(shape)
        noted(execution, dst, code, lasti, index)
        execution.last_result = None
    if extra is not None:  # read out by a step of its own, after the result: it may lie in one tile
        index = admit(execution, extra, api, signature, srcs)
        if execution.values:
            values = execution.cast(second, extra.meta.dtype)
            extra.array[...] = values.reshape(extra.meta.shape)
        noted(execution, extra, code, lasti, index)
    if execution.cores is not None:
        execution.cores.touches(execution, api, dst, srcs)
    if execution.recording:
        execution.tape.add(signature, code, lasti, dst, srcs, extra)
        if execution.lowering is not None:
            execution.lowering.ran(call, signature, dst, (code, lasti))
    return dst


def _first(
    execution: Execution, key: tuple[Any, ...], call: tuple[Any, ...], extra: Tensor | None
) -> Signature:
    """The signature of a call that is seen for the first time, which is remembered."""
    instruction, api, dst, srcs, attrs, space, dtype, _, _ = call
    signature = build(
        execution.config,
        execution.values,
        instruction,
        api,
        dst,
        srcs,
        attrs,
        space,
        dtype,
        extra,
    )
    if not signature.warned:
        execution.signatures[key] = signature
    return signature


def _made(
    execution: Execution, signature: Signature, result: Any, code: CodeType, lasti: int
) -> Tensor:
    """The new tile that an instruction leaves its result in."""
    made = _new(Buffer)  # attribute by attribute: half the time of calling the class
    made.meta = meta = signature.dst
    made.first = made.last = execution.clock
    made.code = code
    made.lasti = lasti
    made.state = FULL
    made.scope = execution.scope_at(code, lasti) if execution.blocks else execution.scope
    made.asked = False
    made.name = made.cells = made.tracked = made.placed = None
    made.role = "tile"
    execution.buffers.append(made)
    if execution.tensor is not Tensor:
        return execution.tensor(made, result, meta, 0)
    tile: Tensor = _new(Tensor)
    tile.buf = made
    tile.array = result
    tile.meta = meta
    tile.off = 0
    return tile


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
    signature = _redirected(execution, last, dst, attrs, held)
    index = admit(execution, dst, last.api, signature, execution.last_srcs, held)
    keep: np.ndarray | None = None
    if last.general is not None:
        keep, lost, origin = last.general
        values = value.array
        if held and execution.values:
            values = np.where(execution.written_flags(dst), dst.array + values, values)
        store(execution, last.api, dst, execution.cast(values, meta.dtype), keep, lost, origin)
    elif execution.values:
        values = dst.array + value.array if held else value.array
        dst.array[...] = execution.cast(values, meta.dtype)
    if execution.lowering is not None:
        execution.lowering.redirected(dst, attrs, held)
    value.buf.last = -1
    execution.last_result = None
    tape = execution.tape
    at = len(tape.entries) - last.width
    place: tuple[Any, Any] = (None, 0)
    if execution.recording:
        place = tape.redirect(at, signature, dst, held)
    noted(execution, dst, *place, index, keep, at, marked=last.general is not None)
    return True


def _redirected(
    execution: Execution,
    last: Signature,
    dst: Tensor,
    attrs: tuple[Any, ...] | None,
    held: bool,
) -> Signature:
    """The signature of the last instruction, with `dst` as its destination."""
    found = last.redirected.get((dst.meta, attrs))
    if found is None:  # checked for the first time
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
    whole = t.strided_view(0, buf.meta.shape, buf.meta.strides)
    execution.tape.insert(before, signature, buf, whole)
    execution.clock += 1
