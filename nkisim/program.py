"""One kernel while it runs: executing instructions, keeping records, following scopes, memory and registers.

`execute` is the one way to the machine. It looks the call's signature up (rules are checked once for each distinct
one), checks that what is read was written and is in scope, computes, writes, and records integers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import numpy as np

from . import dtypes, memory, scopes, source
from .config import Config
from .errors import SimulatorError, broken
from .isa.core import Call, Instruction, Plan
from .memory import (
    EMPTY,
    FULL,
    HBM,
    PARTIAL,
    PSUM,
    SBUF,
    SHARED,
    ZERO,
    Allocation,
    Buffer,
    Meta,
    Scope,
    TextScope,
    contiguous,
    meta_of,
)
from .tensor import IndexedTensor, Tensor

_getframe = sys._getframe
_INTERNAL = source.INTERNAL_FILES


class Signature:
    """A remembered plan: everything about a call that does not depend on where its operands lie."""

    __slots__ = ("instruction", "api", "attrs", "dtype", "plan", "compute", "engine", "dst", "srcs", "read", "written",
                 "extra", "width")

    def __init__(self, instruction: Instruction, api: str, attrs: tuple, dtype: np.dtype | None, plan: Plan,
                 compute: Callable, dst: Meta, srcs: tuple[Meta, ...], extra: Meta | None) -> None:
        self.instruction = instruction
        self.api = api
        """The name under which the reader first called it, for messages."""
        self.attrs = attrs
        self.dtype = dtype
        """The dtype asked for."""
        self.plan = plan
        self.compute = compute
        self.engine = plan.engine
        self.dst = dst
        self.srcs = srcs
        self.read = sum(m.nbytes for m in srcs if m.space == HBM)
        """HBM bytes read by one such instruction."""
        self.written = dst.nbytes if dst.space == HBM else 0
        self.extra = extra
        self.width = 6 + 2 * len(srcs)
        """Entries of one record of it on the tape."""


class Write:
    """One write to a tensor with a name."""

    __slots__ = ("value", "dtype", "index", "line", "allocation", "_where")

    def __init__(self, value: np.ndarray, dtype: str, index: int, line: int, allocation: int,
                 where: tuple[Meta, int, np.ndarray | None] | None) -> None:
        self.value = value
        """The whole tensor after the write; low-precision floats as float32."""
        self.dtype = dtype
        """The tensor's own data type, e.g. "bfloat16"."""
        self.index = index
        """Position of the writing instruction in `run.instructions`."""
        self.line = line
        """Line of the kernel that wrote."""
        self.allocation = allocation
        """Which of the tensors of that name, counted from 0 over the run."""
        self._where = where

    @property
    def region(self) -> np.ndarray | None:
        """Which elements the instruction wrote, as booleans of the tensor's shape; None for all of them."""
        if self._where is None:
            return None
        meta, off, keep = self._where
        flags = np.zeros(self.value.shape, dtype=bool)
        np.ndarray(meta.shape, np.bool_, flags, off, meta.strides)[...] = True if keep is None else keep
        return flags

    def __repr__(self) -> str:
        return f"Write(index={self.index}, allocation={self.allocation}, line={self.line}, shape={self.value.shape})"


class Printed:
    """One nl.device_print."""

    __slots__ = ("prefix", "value", "line")

    def __init__(self, prefix: str, value: np.ndarray, line: int) -> None:
        self.prefix = prefix
        self.value = value
        self.line = line

    def __iter__(self) -> Iterator[Any]:
        return iter((self.prefix, self.value))

    def __repr__(self) -> str:
        return f"Printed({self.prefix!r}, shape={self.value.shape}, line={self.line})"


_SIGNATURES: dict[tuple, dict[tuple, Signature]] = {}


class Program:
    """The state of one running kernel."""

    def __init__(self, config: Config, dialect: Any, recording: bool, results: bool = False) -> None:
        self.config = config
        self.dialect = dialect
        self.recording = recording
        self.results: list[np.ndarray] | None = [] if results else None
        """A copy of what each instruction wrote, if asked for."""
        self.tape: list[Any] = []
        """The records, end to end: signature, code, lasti, dst buffer, dst offset, then buffer and offset of each source,
        then the share that a mask kept, or None. One flat list costs less than an object a record; read `records()`."""
        self.clock = 0
        self.buffers: list[Buffer] = []
        self.root = Scope(None)
        self.scope = self.root
        self.top = self.root
        """The scope of the kernel's top level."""
        self.serial = 0
        self.affine = 0
        """Number of the innermost affine_range iteration (or program instance) that is running; 0 outside any."""
        self.affine_loops: list[list[int]] = []
        """Of each affine_range around the current point: the numbers of its first and of its current iteration."""
        self.suspect: tuple[Tensor, str, source.Line] | None = None
        """A read across affine_range iterations, pardoned only if its instruction turns out to be a reduction."""
        self.grid: tuple[int, ...] = ()
        self.position: tuple[int, ...] = ()
        self.kernel_code: CodeType | None = None
        self.blocks = False
        """Whether the kernel's text has scoping blocks that must be followed."""
        self.registers: dict[str, np.ndarray] = {}
        self.active_mask: np.ndarray | None = None
        self.shared: list[Tensor] = []
        self.shared_next = 0
        self.named: dict[str, list[Allocation]] = {}
        """The on-chip tensors with a name, in order of allocation, while recording."""
        self.prints: list[Printed] = []
        self.rng = np.random.default_rng(0)
        self.last_result: Tensor | None = None
        """The tile that the last instruction made, if it made a new one..."""
        self.last_signature: Signature | None = None
        self.last_srcs: tuple[Tensor, ...] = ()
        self.last_extra: Tensor | None = None
        """...and of what: an assignment may yet redirect it."""
        key = (config.target.name, config.precise_fp, tuple(sorted(config.warn.items())))
        self.signatures = _SIGNATURES.setdefault(key, {})

    def records(self) -> Iterator[tuple]:
        """Each instruction as (signature, code, lasti, dst buffer, dst offset, src buffer, src offset, ..., share)."""
        tape, at = self.tape, 0
        while at < len(tape):
            end = at + tape[at].width
            yield tuple(tape[at:end])
            at = end

    # -- program instances -----------------------------------------------------------------------------------------
    def start_instance(self, position: tuple[int, ...]) -> None:
        """Begin the instance at `position` of the grid. Instances are as independent as affine_range iterations."""
        self.end_instances()
        self.position = position
        self.shared_next = 0
        self.registers = {}
        if position:
            scope = self.open_scope(self.root)
            self.affine = scope.serial
            first = self.affine_loops[0][0] if self.affine_loops else scope.serial
            self.affine_loops = [[first, scope.serial]]
        self.top = self.scope

    def end_instances(self) -> None:
        """Back to the level of the launch."""
        if self.suspect is not None:
            self.settle(False)
        if self.scope is not self.root:
            self.scope.closed = True
        self.scope = self.root

    # -- allocation ------------------------------------------------------------------------------------------------
    def storage(self, dtype: np.dtype) -> np.dtype:
        """The NumPy dtype of the arrays holding `dtype` here."""
        if not self.config.precise_fp and dtypes.is_float(dtype):
            return dtypes.FLOAT32
        return dtypes.storage(dtype)

    def cast(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """`values` rounded to `dtype` as stored here."""
        if not self.config.precise_fp and dtypes.is_float(dtype):
            return dtypes.to_fp32(values)
        return dtypes.cast(values, dtype)

    def scope_at(self, code: CodeType, lasti: int) -> Scope:
        """The scope of a tile made at this place."""
        if self.blocks:
            block = scopes.block_at(code, lasti)
            if block is not None:
                return TextScope(self.scope, block)
        return self.scope

    def new_buffer(self, meta: Meta, state: int, name: str | None = None) -> Allocation:
        """Register an allocation made by the kernel line that is executing."""
        frame = source.user_frame(2)
        code, lasti = frame.f_code, frame.f_lasti
        scope = self.root if meta.space == HBM else self.scope_at(code, lasti)
        # on chip a tensor needs its place from the next instruction on, when it can first be written
        first = self.clock if meta.space == HBM else self.clock + 1
        buf = Allocation(meta, first, code, lasti, state, scope, name)
        if name and self.recording and meta.space != HBM:
            buf.tracked = []
            self.named.setdefault(name, []).append(buf)
        self.buffers.append(buf)
        return buf

    def allocate(self, space: str, shape: tuple[int, ...], dtype: np.dtype, *, pdim: int = 0, state: int = EMPTY,
                 name: str | None = None) -> Tensor:
        """A new tensor of `shape` in `space`; zeros underneath, none of them counting as written unless `state`."""
        meta = meta_of(space, shape, contiguous(shape), dtype, pdim)
        return Tensor(self.new_buffer(meta, state, name), np.zeros(shape, dtype=self.storage(dtype)), meta, 0)

    # -- what was written ------------------------------------------------------------------------------------------
    def check_read(self, t: Tensor, api: str, where: np.ndarray | None = None) -> None:
        """Refuse to read elements that no instruction has written."""
        buf = t.buf
        if buf.state == ZERO:
            if not buf.touched(t):
                self._materialize_zeros(t)
            return
        if buf.owner is not None and self.affine_loops and not isinstance(t, IndexedTensor):
            self._check_carried(t, api)
        if buf.state in (FULL, SHARED):
            return
        if isinstance(t, IndexedTensor):
            flags = t.written_flags(where)
        elif buf.state == EMPTY:
            flags = np.zeros(t.shape, dtype=bool)
        else:
            assert isinstance(buf, Allocation)
            flags = buf.written(t.off, t.meta.shape, t.meta.strides)
        if where is not None:
            flags = flags | ~where
        if flags.all():
            if buf.mask is not None and buf.mask.all():
                buf.state = FULL if buf.owner is None else SHARED
            return
        missing = np.argwhere(~flags)
        first = tuple(int(i) for i in missing[0])
        part = "no element of it has" if len(missing) == flags.size else f"{len(missing)} of {flags.size} elements have not"
        what = "PSUM" if t.meta.space == PSUM else t.meta.space.upper()
        broken("uninitialized-read", f"{api}: '{t.label}' is read before it is written ({part} been written)",
               tensor=t.label, got=f"first at {first}",
               remedy=f"Fresh {what} holds whatever was there before: start from nl.zeros or nl.full, or write every "
                      "element first.")

    def _materialize_zeros(self, t: Tensor) -> None:
        """The zeros of a PSUM tile are needed after all: spend the memset."""
        buf = t.buf
        assert isinstance(buf, Allocation)
        buf.state, buf.mask = FULL, None
        if self.recording:
            from .isa.vector import MEMSET  # the instruction table is built above this module

            call = Call("nl.zeros", None, (), (buf.meta.shape, None), buf.meta.space, buf.meta.dtype, self.config)
            plan = MEMSET.plan(call)
            signature = Signature(MEMSET, "nl.zeros", (buf.meta.shape, None), None, plan, plan.compute, buf.meta, (), None)
            self.tape += (signature, buf.code, buf.lasti, buf, 0, None)
            if self.results is not None:
                self.results.append(t._strided(0, buf.meta.shape, buf.meta.strides).copy())
            self.clock += 1

    def mark_written(self, t: Tensor) -> None:
        buf = t.buf
        assert isinstance(buf, Allocation)
        if t.meta.size == buf.meta.size:
            buf.state, buf.mask = FULL if buf.owner is None else SHARED, None
        elif buf.state not in (FULL, SHARED):
            buf.written(t.off, t.meta.shape, t.meta.strides)[...] = True
            if buf.state != ZERO:
                buf.state = PARTIAL

    # -- independence of affine_range iterations ----------------------------------------------------------------------
    def _earlier(self, t: Tensor) -> bool:
        """Whether an earlier iteration of an affine_range that is running wrote elements of `t`."""
        assert isinstance(t.buf, Allocation)
        owners = t.buf.owners(t.meta, t.off)
        return any(bool(((owners >= first) & (owners < now)).any()) for first, now in self.affine_loops)

    def _check_carried(self, t: Tensor, api: str) -> None:
        if self.suspect is None and self._earlier(t):
            self.suspect = (t, api, source.here(2))

    def settle(self, pardoned: bool) -> None:
        """Decide on the suspect: a reduction into what it read is pardoned, anything else is refused."""
        assert self.suspect is not None
        t, api, place = self.suspect
        self.suspect = None
        if not pardoned:
            broken("affine-dependency", f"{api}: '{t.label}' holds what another iteration of the nl.affine_range wrote",
                   tensor=t.label, got=t.meta.describe(), at=place,
                   remedy="Iterations of an affine_range may run in any order and at once: use nl.sequential_range where "
                          "one needs the result of the one before.")

    def note_shared_write(self, t: Tensor, reduces: bool) -> None:
        """A tensor made outside the running affine_range is written inside it."""
        buf = t.buf
        if not isinstance(buf, Allocation) or isinstance(t, IndexedTensor):
            return
        if not reduces and buf.owner is not None and self._earlier(t):
            who = "program instance" if len(self.affine_loops) == 1 and self.position else "iteration of the nl.affine_range"
            broken("output-dependency", f"'{t.label}' is overwritten: another {who} wrote the same elements",
                   tensor=t.label, got=t.meta.describe(),
                   remedy="Make the tile inside the loop, or index it with the loop variable; if the order matters use "
                          "nl.sequential_range.")
        buf.owners(t.meta, t.off)[...] = self.scope.serial
        if buf.state == FULL:
            buf.state = SHARED

    def check_scope(self, t: Tensor) -> None:
        """Refuse a tile outside the loop iteration or branch that made it."""
        buf = t.buf
        scope: Scope | None = buf.scope
        where = "the loop iteration"
        if isinstance(scope, TextScope):
            frame = source.user_frame(2)
            line = source.line_of(frame.f_code, frame.f_lasti).line
            if scope.block.holds(frame.f_code, line):
                scope = scope.parent
                if scope is None or not scope.closed:
                    return
            else:
                where = "the branch" if scope.block.kind == "if" else "the loop"
        made = source.line_of(buf.code, buf.lasti)
        name = t.label if t.label.isidentifier() else "t"
        broken("scope", f"'{t.label}' is used outside {where} that made it (line {made.line})",
               tensor=t.label, got=f"made by: {made.text}",
               remedy="Make the tile before the loop or branch with nl.ndarray or nl.zeros, and update it in place "
                      f"inside: {name}[...] = ...")

    def note_history(self, t: Tensor, code: CodeType | None, lasti: int, keep: np.ndarray | None = None) -> None:
        """Keep the value of a named tensor after a write to it by the instruction that is recorded next."""
        buf = t.buf
        if t.meta is buf.meta:
            values = t.array
            where = None if keep is None else (t.meta, t.off, keep)
        else:
            values = t._strided(0, buf.meta.shape, buf.meta.strides)
            where = (t.meta, t.off, keep)  # type: ignore[assignment]
        buf.tracked.append((values.copy(), len(self.tape), code, lasti, where))  # type: ignore[union-attr]

    def writes(self, name: str, index_base: int = 0, allocation_base: int = 0) -> list[Write]:
        """Every write to the tensors called `name`, in order of execution."""
        numbers, at = {}, 0
        for number, record in enumerate(self.records()):
            numbers[at] = number
            at += len(record)
        found = []
        for allocation, buf in enumerate(self.named.get(name, []), allocation_base):
            dtype = buf.meta.dtype
            for value, index, code, lasti, where in buf.tracked or ():
                if dtypes.is_float(dtype):
                    value = dtypes.to_fp32(value)
                index = numbers.get(index, len(numbers)) + index_base
                found.append(Write(value, dtypes.name(dtype), index, source.line_of(code, lasti).line,
                                   allocation, where))
        return sorted(found, key=lambda w: w.index)

    # -- loops -----------------------------------------------------------------------------------------------------
    def open_scope(self, parent: Scope) -> Scope:
        """A new scope inside `parent`, which becomes the current one."""
        self.serial += 1
        self.scope = Scope(parent, self.serial)
        return self.scope

    def iterate(self, values: range, affine: bool) -> Iterator[int]:
        """Run a loop: each iteration is a scope of its own; those of an affine_range must not depend on one another."""
        parent, outer = self.scope, self.affine
        scope = None
        span: list[int] = []
        try:
            for i in values:
                if scope is not None:
                    scope.closed = True
                scope = self.open_scope(parent)
                if affine:
                    if not span:
                        span = [scope.serial, scope.serial]
                        self.affine_loops.append(span)
                    span[1] = self.affine = scope.serial
                yield i
                if self.suspect is not None:
                    self.settle(False)
        finally:
            if scope is not None:
                scope.closed = True
            if span:
                self.affine_loops = [s for s in self.affine_loops if s is not span]
            self.scope, self.affine = parent, outer


class _State:
    """The kernel that is running, if any, and the run that listens."""

    __slots__ = ("program", "run")

    def __init__(self) -> None:
        self.program: Program | None = None
        self.run: Any = None


STATE = _State()


def current(api: str) -> Program:
    """The running program; refuses calls outside a kernel."""
    program = STATE.program
    if program is None:
        broken("outside-kernel", f"{api} was called outside a kernel",
               remedy="Call it inside a function decorated with @nki.jit, and run that with NumPy arrays or "
                      "nki.simulate_kernel.")
    assert program is not None
    return program


def _build(program: Program, instruction: Instruction, api: str, dst: Tensor | None, srcs: tuple[Tensor, ...],
           attrs: tuple, space: str, dtype: np.dtype | None, extra: Tensor | None) -> Signature:
    """Check the rules of a new signature and make its plan."""
    asked = dtype
    call = Call(api, dst, srcs, attrs, space, dtype, program.config, extra)
    try:
        plan = instruction.plan(call)
    except (AssertionError, AttributeError, KeyError) as e:
        if type(e).__module__.startswith("nkisim"):
            raise
        raise SimulatorError(f"{api}: {type(e).__name__}: {e}") from e
    if dst is not None:
        meta = dst.meta
    else:
        if dtype is None:
            dtype = srcs[0].meta.dtype
        meta = meta_of(space, plan.shape, contiguous(plan.shape), dtype)
        if space == PSUM and meta.free * meta.itemsize > program.config.target.psum_bank_bytes:
            call.fail("psum-bank", "the result does not fit in one PSUM bank", got=meta.describe(),
                      limit=f"{program.config.target.psum_bank_bytes} bytes a partition",
                      remedy="Work on at most 512 fp32 columns at a time.")
        _check_sbuf_tile(call, meta)
    want = program.storage(meta.dtype)
    compute = plan.compute
    permuted = any(not _row_major(m) for m in (s.meta for s in srcs))
    exact = plan.dtype is not None and plan.dtype == want and dtypes.storage(meta.dtype) == want == meta.dtype
    if plan.stateful:
        compute = _with_registers(compute)
    if not exact or permuted:
        compute = _casting(program, compute, meta.dtype, permuted)
    return Signature(instruction, api, attrs, asked, plan, compute, meta, tuple(s.meta for s in srcs),
                     None if extra is None else extra.meta)


def _check_sbuf_tile(call: Call, meta: Meta) -> None:
    limit = call.target.sbuf_partition_bytes
    if meta.space == SBUF and meta.free * meta.itemsize > limit:
        call.fail("sbuf-capacity", "the tile is larger than SBUF", got=f"{meta.describe()}: "
                  f"{meta.free * meta.itemsize} bytes a partition", limit=f"{limit} bytes a partition on {call.target.name}",
                  remedy="Work on a smaller tile of the free axis at a time.")


def _row_major(meta: Meta) -> bool:
    previous = None
    for n, s in zip(meta.shape, meta.strides):
        if n == 1:
            continue
        if previous is not None and s > previous or s <= 0:
            return False
        previous = s
    return True


def _with_registers(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the running program, which holds the engines' registers, to a plan that uses them."""
    return lambda *arrays: inner(STATE.program, *arrays)


def _casting(program: Program, inner: Callable[..., Any], dtype: np.dtype, permuted: bool) -> Callable[..., Any]:
    cast = program.cast

    def compute(*arrays: Any) -> Any:
        out = inner(*arrays)
        if type(out) is tuple:
            return np.ascontiguousarray(cast(out[0], dtype)), out[1]
        out = cast(out, dtype)
        return np.ascontiguousarray(out) if permuted else out

    return compute


def execute(instruction: Instruction, api: str, dst: Tensor | None, srcs: tuple[Tensor, ...], attrs: tuple = (),
            space: str = SBUF, dtype: np.dtype | None = None, mask: Any = None, extra: Tensor | None = None) -> Tensor:
    """Run one instruction and return its destination.

    `dst` None makes a new tile of `dtype` (default: the first source's) in `space`. `extra` is a second destination
    (reduce_res). `mask` limits the positions that are read and written.
    """
    program = STATE.program
    if program is None:
        program = current(api)
    if mask is not None:
        return _execute_masked(program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)
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
            return _execute_masked(program, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)
        signature = _build(program, instruction, api, dst, srcs, attrs, space, dtype, extra)
        if not program.config.warn:
            program.signatures[key] = signature
    if program.suspect is not None:
        program.settle(False)
    clock = program.clock = program.clock + 1
    for s in srcs:
        buf = s.buf
        if buf.state != FULL:
            program.check_read(s, api)
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
            _refuse_input(dst, api)
        if program.suspect is not None:
            program.settle(_reduces(signature, srcs, dst))
        if buf.scope.serial < program.affine:
            program.note_shared_write(dst, _reduces(signature, srcs, dst))
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
        if n == 1:
            program.tape += (signature, code, lasti, dst.buf, dst.off, a.buf, a.off, None)
        elif n == 2:
            program.tape += (signature, code, lasti, dst.buf, dst.off, a.buf, a.off, b.buf, b.off, None)
        else:
            where = [x for s in srcs for x in (s.buf, s.off)]
            program.tape += (signature, code, lasti, dst.buf, dst.off, *where, None)
        if program.results is not None:
            program.results.append(dst.array.copy())
    return dst


_ASSOCIATIVE = {"add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "logical_xor", "bitwise_and",
                "bitwise_or", "bitwise_xor"}


def _reduces(signature: Signature, srcs: tuple[Tensor, ...], dst: Tensor) -> bool:
    """Whether the instruction combines `dst` with something else by an associative operator: a step of a reduction."""
    name, attrs = signature.instruction.name, signature.attrs
    if name == "nc_matmul":
        return bool(attrs[5])
    if name == "dma_copy":
        return bool(attrs[0])
    if name == "tensor_tensor":
        associative = attrs[0].name in _ASSOCIATIVE
    elif name == "tensor_scalar":
        associative = attrs[0].name in _ASSOCIATIVE and attrs[2] is None
    else:
        return False
    return associative and any(s.buf is dst.buf and s.off == dst.off and s.meta.shape == dst.meta.shape for s in srcs)


def _refuse_input(dst: Tensor, api: str) -> None:
    broken("immutable-parameter", f"{api}: '{dst.label}' is an input of the kernel and cannot be written",
           tensor=dst.label, remedy="Make an output: nl.ndarray(shape, dtype, buffer=nl.shared_hbm), write and return "
                                    "it; or annotate the parameter with nt.mutable_tensor and return it.")


def _write(program: Program, dst: Tensor, values: np.ndarray) -> None:
    """Write a second destination in full."""
    buf = dst.buf
    if buf.scope.closed:
        program.check_scope(dst)
    dst.array[...] = values.reshape(dst.meta.shape)
    buf.last = program.clock
    if buf.state != FULL:
        program.mark_written(dst)
    if buf.tracked is not None:
        frame = source.user_frame(2)
        program.note_history(dst, frame.f_code, frame.f_lasti)


def _condition(mask: Any, api: str) -> np.ndarray | None:
    """The mask as a boolean array; None where it keeps everything."""
    from .index import Mask

    if mask is None or mask is True:
        return None
    if isinstance(mask, (bool, np.bool_)):
        return None if mask else np.zeros((1, 1), dtype=bool)
    if not isinstance(mask, Mask):
        broken("mask", f"{api}: mask is a {type(mask).__name__}", got=repr(mask)[:80],
               remedy="Build masks from nl.arange, loop indices and numbers: mask=(i_p < n) & (i_f < m).")
    if not mask.affine:
        broken("mask", f"{api}: the mask is not an affine expression", got=repr(mask),
               remedy="Masks may add, subtract and multiply by constants; // and % are not affine.")
    return None if mask.where.all() else mask.where


def _fit(where: np.ndarray, shape: tuple[int, ...], api: str) -> np.ndarray:
    try:
        return np.broadcast_to(where, shape)
    except ValueError:
        broken("mask", f"{api}: a mask of shape {where.shape} does not fit operands of shape {shape}",
               got=where.shape, limit=shape, remedy="Build the mask from the index grids that select the tile.")
        raise


def _operand_mask(where: np.ndarray, t: Tensor, shape: tuple[int, ...], api: str) -> np.ndarray | None:
    """The part of a mask over `shape` that concerns operand `t`, which may be a vector over the partitions."""
    if t.meta.space == memory.CONST:
        return None
    if t.shape == shape:
        return where
    if t.shape[0] == shape[0] and t.meta.free == 1:
        return where.any(axis=tuple(range(1, len(shape)))).reshape(t.shape)
    return None


def _execute_masked(program: Program, instruction: Instruction, api: str, dst: Tensor | None, srcs: tuple[Tensor, ...],
                    attrs: tuple, space: str, dtype: np.dtype | None, mask: Any, extra: Tensor | None) -> Tensor:
    """The general way: masks, run-time indices, grids that reach out of bounds."""
    condition = _condition(mask, api)
    signature = _build(program, instruction, api, dst, srcs, attrs, space, dtype, extra)
    plan = signature.plan
    if program.suspect is not None:
        program.settle(False)
    program.clock += 1
    shape = signature.dst.shape
    grid = shape
    if plan.kind == "reduce" or plan.kind == "transpose":
        grid = srcs[0].shape
    where = None if condition is None else _fit(condition, grid, api)
    arrays: list[Any] = []
    for s in srcs:
        if s.buf.scope.closed:
            program.check_scope(s)
        own = None if where is None or plan.kind == "whole" else _operand_mask(where, s, grid, api)
        program.check_read(s, api, own)
        values = s.gather(own) if isinstance(s, IndexedTensor) else s.array
        if own is not None and plan.kind == "reduce":
            values = np.where(own, dtypes.to_fp32(values), np.float32(plan.identity))
        arrays.append(values)
        s.buf.last = program.clock
        if isinstance(s, IndexedTensor):
            for tile in s.tiles or ():
                tile.buf.last = program.clock
    program.active_mask = where if plan.stateful else None
    result = signature.compute(*arrays)
    program.active_mask = None
    keep = where
    if where is not None and plan.kind == "reduce":
        rows = where.any(axis=tuple(range(1, where.ndim)))
        keep = np.broadcast_to(rows.reshape((-1,) + (1,) * (len(shape) - 1)), shape)
    elif where is not None and plan.kind == "transpose":
        keep = where.reshape(where.shape[0], -1).T.reshape(shape)
    elif where is not None and plan.kind == "whole":
        keep = _fit(condition, shape, api)  # type: ignore[arg-type]
    if extra is not None:
        result, second = result
        rows_kept = None if where is None else where.any(axis=tuple(range(1, where.ndim))).reshape(-1, 1)
        _masked_write(program, extra, program.cast(second, extra.meta.dtype).reshape(extra.shape), rows_kept)
    frame = source.user_frame(2)
    fresh = dst is None
    if dst is None:
        meta = signature.dst
        array = np.zeros(meta.shape, dtype=program.storage(meta.dtype))
        dst = Tensor(program.new_buffer(meta, EMPTY), array, meta, 0)
    else:
        if dst.buf.role == "input":
            _refuse_input(dst, api)
        if dst.buf.scope.closed:
            program.check_scope(dst)
    if program.suspect is not None and not fresh:
        program.settle(_reduces(signature, srcs, dst))
    if keep is None or keep.any():
        if dst.buf.scope.serial < program.affine and keep is None:
            program.note_shared_write(dst, _reduces(signature, srcs, dst))
        _masked_write(program, dst, result.reshape(dst.shape), keep)
    dst.buf.last = program.clock
    if dst.buf.tracked is not None:
        program.note_history(dst, frame.f_code, frame.f_lasti, keep)
    program.last_result = dst if fresh and condition is None else None
    program.last_signature = signature
    program.last_srcs = srcs
    program.last_extra = extra
    kept = None if keep is None else int(np.count_nonzero(np.broadcast_to(keep, shape)))
    if program.recording and (kept is None or kept > 0):
        operands = [x for s in srcs for x in (s.buf, s.off)]
        fraction = None if kept is None else (kept, int(np.prod(shape)))
        program.tape += (signature, frame.f_code, frame.f_lasti, dst.buf, dst.off, *operands, fraction)
        if program.results is not None:
            program.results.append(np.array(dst.gather(keep) if isinstance(dst, IndexedTensor) else dst.array))
    return dst


def _masked_write(program: Program, dst: Tensor, values: np.ndarray, keep: np.ndarray | None) -> None:
    if isinstance(dst, IndexedTensor):
        dst.scatter(values, keep)
        return
    if keep is None:
        dst.array[...] = values
        program.mark_written(dst)
        return
    keep = np.broadcast_to(keep, dst.shape)
    np.copyto(dst.array, values, where=keep)
    buf = dst.buf
    if buf.state == ZERO:
        buf.state = FULL
    if buf.state not in (FULL, SHARED):
        assert isinstance(buf, Allocation)
        flags = buf.written(dst.off, dst.meta.shape, dst.meta.strides)
        flags[keep] = True
        buf.state = PARTIAL


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
    for s in srcs:
        if type(s) is IndexedTensor:
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
        signature = _build(program, instruction, api, dst, all_srcs, new_attrs, dst.meta.space, dtype, extra)
        if not program.config.warn:
            program.signatures[key] = signature
    buf = dst.buf
    if buf.scope.closed:
        program.check_scope(dst)
    if program.suspect is not None:
        program.settle(held or _reduces(signature, srcs, dst))
    if buf.scope.serial < program.affine:
        program.note_shared_write(dst, held or _reduces(signature, srcs, dst))
    if held:
        dst.array += value.array
    elif value.meta.dtype == dst.meta.dtype:
        dst.array[...] = value.array
    else:
        dst.array[...] = program.cast(value.array, dst.meta.dtype)
    buf.last = program.clock
    if buf.state != FULL:
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
            if dst.meta is buf.meta and value.meta.dtype == dst.meta.dtype and not held:
                buf.tracked.append((value.array, len(tape), code, lasti, None))  # the temporary is nobody else's
            else:
                program.note_history(dst, code, lasti)
        tape += (signature, code, lasti, buf, dst.off, *operands, None)
        if program.results is not None:
            program.results[-1] = dst.array.copy()
    return True

