"""One kernel while it runs: allocations, scopes, what was written, records, registers."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType
from typing import Any

import numpy as np

from ..isa.core import Call
from ..machine import dtypes
from ..machine.config import Config
from ..machine.memory import (
    EMPTY,
    FULL,
    HBM,
    PARTIAL,
    PSUM,
    SHARED,
    ZERO,
    Buffer,
    Meta,
    Scope,
    TextScope,
    contiguous,
    meta_of,
)
from ..machine.shapes import ShapeOnly, shape_only
from ..rules import scopes, source
from ..rules.errors import broken
from ..tensors.tensor import IndexedTensor, Tensor
from .places import Places
from .signature import Signature


class Write:
    """One write to a tensor with a name."""

    __slots__ = ("value", "dtype", "index", "line", "allocation", "_where")

    def __init__(
        self,
        value: np.ndarray,
        dtype: str,
        index: int,
        line: int,
        allocation: int,
        where: tuple[Meta, int, np.ndarray | None] | None,
    ) -> None:
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
        """Which elements the instruction wrote, as booleans of the tensor's shape; None for all of
        them."""
        if self._where is None:
            return None
        meta, off, keep = self._where
        flags = np.zeros(self.value.shape, dtype=bool)
        np.ndarray(meta.shape, np.bool_, flags, off, meta.strides)[...] = (
            True if keep is None else keep
        )
        return flags

    def __repr__(self) -> str:
        return (
            f"Write(index={self.index}, allocation={self.allocation}, line={self.line}, "
            f"shape={self.value.shape})"
        )


class Printed:
    """One nl.device_print. Of a run without values, `value` is a `ShapeOnly`."""

    __slots__ = ("prefix", "value", "line")

    def __init__(self, prefix: str, value: np.ndarray | ShapeOnly, line: int) -> None:
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

    # what every instruction touches; slots are read faster than the entries of a dictionary this
    # large
    __slots__ = (
        "values",
        "recording",
        "results",
        "tape",
        "clock",
        "buffers",
        "scope",
        "affine",
        "suspect",
        "kernel_code",
        "blocks",
        "signatures",
        "tensor",
        "last_result",
        "last_signature",
        "last_srcs",
        "last_extra",
        "__dict__",
    )

    def __init__(
        self,
        config: Config,
        dialect: Any,
        recording: bool,
        results: bool = False,
        values: bool = True,
    ) -> None:
        self.config = config
        self.dialect = dialect
        self.tensor: type[Tensor] = dialect.tensor
        """The class of the tensors that the kernel holds."""
        self.recording = recording
        self.values = values
        """Whether values are computed. If not, every array is a `ShapeOnly`."""
        self.results: list[np.ndarray] | None = [] if results else None
        """A copy of what each instruction wrote, if asked for."""
        self.seconds: list[np.ndarray | None] = []
        """With `results`, for each of them: a copy of what the instruction wrote to its second
        destination, if it has one."""
        self.initial: dict[Buffer, np.ndarray] = {}
        """With `results`: what the inputs and constants in HBM held when the kernel began."""
        self.tape: list[Any] = []
        """The records, end to end: signature, code, lasti, dst buffer, dst offset, then buffer and
        offset of each source and of the second destination where there is one (reduce_res), then
        the share that a mask kept, or None. One flat list costs less than an object a record; read
        `records()`."""
        self.clock = 0
        self.buffers: list[Buffer] = []
        self.root = Scope(None)
        self.scope = self.root
        self.top = self.root
        """The scope of the kernel's top level."""
        self.serial = 0
        self.affine = 0
        """Number of the innermost affine_range iteration (or program instance) that is running; 0
        outside any."""
        self.affine_loops: list[list[int]] = []
        """Of each affine_range around the current point: the numbers of its first and of its
        current iteration."""
        self.suspect: tuple[Tensor, str, source.Line] | None = None
        """A read across affine_range iterations, pardoned only if its instruction turns out to be a
        reduction."""
        self.places: dict[str, Places] = {}
        """Of each memory, what the tensors that the kernel placed itself wrote."""
        self.accumulators: set[Buffer] = set()
        """The PSUM buffers that a matmul wrote."""
        self.cores: Any = None
        """The cores that run side by side (`cores.Cores`), while they do."""
        self.grid: tuple[int, ...] = ()
        self.position: tuple[int, ...] = ()
        self.instances: list[int] = []
        """Where on the tape each program instance begins."""
        self.kernel_code: CodeType | None = None
        self.blocks = False
        """Whether the kernel's text has scoping blocks that must be followed."""
        self.registers: dict[str, np.ndarray] = {}
        self.active_mask: np.ndarray | None = None
        self.shared: list[Tensor] = []
        self.shared_next = 0
        self.named: dict[str, list[Buffer]] = {}
        """The on-chip tensors with a name, in order of allocation, while recording."""
        self.prints: list[Printed] = []
        self.rng = np.random.default_rng(0)
        self.last_result: Tensor | None = None
        """The tile that the last instruction made, if it made a new one..."""
        self.last_signature: Signature | None = None
        self.last_srcs: tuple[Tensor, ...] = ()
        self.last_extra: Tensor | None = None
        """...and of what: an assignment may yet redirect it."""
        self.signatures: dict[tuple, Signature] = {}
        self.retarget(config)

    def retarget(self, config: Config) -> None:
        """Go on under another configuration."""
        self.config = config
        key = (
            config.target.name,
            config.precise_fp,
            self.values,
            tuple(sorted(config.warn.items())),
        )
        self.signatures = _SIGNATURES.setdefault(key, {})

    def records(self) -> Iterator[tuple]:
        """Each instruction as (signature, code, lasti, dst buffer, dst offset, src buffer, src
        offset, ..., share)."""
        tape, at = self.tape, 0
        while at < len(tape):
            end = at + tape[at].width
            yield tuple(tape[at:end])
            at = end

    # -- program instances -------------------------------------------------------------------------
    def start_instance(self, position: tuple[int, ...]) -> None:
        """Begin the instance at `position` of the grid. Instances are as independent as
        affine_range iterations."""
        self.end_instances()
        self.position = position
        self.instances.append(len(self.tape))
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

    # -- allocation --------------------------------------------------------------------------------
    def storage(self, dtype: np.dtype) -> np.dtype:
        """The NumPy dtype of the arrays holding `dtype` here."""
        if not self.config.precise_fp and dtypes.is_float(dtype):
            return dtypes.FLOAT32
        return dtypes.storage(dtype)

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        """An array for a new tensor; without values, what stands for it."""
        stored = self.storage(dtype)
        return np.zeros(shape, dtype=stored) if self.values else shape_only(shape, stored)

    def constant(self, values: np.ndarray, dtype: np.dtype) -> Any:
        """An array for a tensor that holds `values`; without values, what stands for it."""
        return (
            np.array(self.cast(values, dtype)) if self.values else self.zeros(values.shape, dtype)
        )

    def cast(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """`values` rounded to `dtype` as stored here."""
        if not self.values:
            return shape_only(values.shape, self.storage(dtype))  # type: ignore[return-value]
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

    def new_buffer(self, meta: Meta, state: int, name: str | None = None) -> Buffer:
        """Register an allocation made by the kernel line that is executing."""
        frame = source.user_frame(2)
        code, lasti = frame.f_code, frame.f_lasti
        scope = self.root if meta.space == HBM else self.scope_at(code, lasti)
        # on chip a tensor needs its place from the next instruction on, when it can first be
        # written
        first = self.clock if meta.space == HBM else self.clock + 1
        buf = Buffer(meta, first, code, lasti, state, scope, name)
        if name and self.recording and meta.space != HBM:
            buf.tracked = [] if self.values else None
            self.named.setdefault(name, []).append(buf)
        self.buffers.append(buf)
        return buf

    def allocate(
        self,
        space: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        pdim: int = 0,
        state: int = EMPTY,
        name: str | None = None,
    ) -> Tensor:
        """A new tensor of `shape` in `space`; zeros underneath, none of them counting as written
        unless `state`."""
        meta = meta_of(space, shape, contiguous(shape), dtype, pdim)
        return self.tensor(self.new_buffer(meta, state, name), self.zeros(shape, dtype), meta, 0)

    def place(self, t: Tensor, partition: int, byte: int) -> None:
        """Note that the kernel chose the place of a new tensor: what is written there later
        overwrites it."""
        t.buf.placed = (partition, byte)
        if t.meta.space not in self.places:
            target = self.config.target
            self.places[t.meta.space] = Places(
                target.partitions,
                max(
                    target.psum_partition_bytes,
                    target.sbuf_partition_bytes if t.meta.space != PSUM else 0,
                ),
            )

    # -- what was written --------------------------------------------------------------------------
    def check_read(
        self, t: Tensor, api: str, where: np.ndarray | None = None, adds: bool = False
    ) -> bool:
        """Refuse to read elements that no instruction has written; `where` tells which are read
        (None: all). `adds`: the instruction adds to what it reads, so that it may be what another
        iteration left.

        True if some of them are unknown because a mask left them out: reading those is no error yet
        (see `unknown`).
        """
        buf = t.buf
        if buf.placed is not None:
            self.places[t.meta.space].check(t, api, self.written_flags(t))
        if buf.state == ZERO:
            if not buf.touched(t):
                self.materialize_zeros(t)
            return False
        cells = buf.cells
        if cells is not None and not isinstance(t, IndexedTensor):
            index = buf.index(t)
            if (
                cells.owner is not None
                and self.affine_loops
                and not adds
                and self.suspect is None
                and self._earlier(cells.owner[index])
            ):
                self.suspect = (t, api, source.here(1))
            if where is None and buf.state == PARTIAL and cells.written[index].all():
                if cells.written.all():
                    self._full(buf)
                return False
        if buf.state in (FULL, SHARED):
            return False
        flags = self.written_flags(t, where)
        if flags.all():
            return False
        if buf.role == "masked":
            return True
        missing = np.argwhere(~flags)
        first = tuple(int(i) for i in missing[0])
        part = (
            ("no element of it has")
            if len(missing) == flags.size
            else (f"{len(missing)} of {flags.size} elements have not")
        )
        what = "PSUM" if t.meta.space == PSUM else t.meta.space.upper()
        broken(
            "uninitialized-read",
            f"{api}: '{t.label}' is read before it is written ({part} been written)",
            tensor=t.label,
            got=f"first at {first}",
            remedy=f"Fresh {what} holds whatever was there before: start from nl.zeros or "
            "nl.full, or write every "
            "element first.",
        )
        return False

    def written_flags(self, t: Tensor, where: np.ndarray | None = None) -> np.ndarray:
        """Which elements of `t` have been written; those beyond `where` count as such."""
        buf = t.buf
        if isinstance(t, IndexedTensor):
            flags = t.written_flags(where)
        elif buf.state == EMPTY or not buf.asked:
            flags = np.full(t.shape, buf.state != EMPTY)
        else:
            off, shape, strides = buf.region(t)
            flags = buf.flags(off, shape, strides)
            # a view of other items: known as a whole or not at all
            if t.meta.itemsize != buf.meta.itemsize:
                flags = np.full(t.shape, flags.all())
        return flags if where is None else flags | ~where

    def keep_initial(self, buf: Buffer, array: np.ndarray) -> None:
        """Note what an input or a constant holds, if results are kept. The array may be the
        caller's: it is copied."""
        if self.results is not None:
            self.initial[buf] = array.copy()

    def materialize_zeros(self, t: Tensor, before: int = 0) -> None:
        """The zeros of a PSUM tile are needed after all: spend the memset, `before` the last
        entries of the tape."""
        buf = t.buf
        buf.state = FULL
        buf.filled()
        if self.recording:
            from ..isa.vector import MEMSET

            call = Call(
                "nl.zeros",
                None,
                (),
                (buf.meta.shape, None),
                buf.meta.space,
                buf.meta.dtype,
                self.config,
            )
            plan = MEMSET.plan(call)
            signature = Signature(
                MEMSET,
                "nl.zeros",
                (buf.meta.shape, None),
                None,
                plan,
                plan.compute,
                buf.meta,
                (),
                None,
            )
            at = len(self.tape) - before
            self.tape[at:at] = (signature, buf.code, buf.lasti, buf, 0, None)
            if self.results is not None:
                self.results.insert(
                    len(self.results) - (1 if before else 0),
                    t._strided(0, buf.meta.shape, buf.meta.strides).copy(),
                )
                self.seconds.insert(len(self.seconds) - (1 if before else 0), None)
            self.clock += 1

    def mark_written(self, t: Tensor, index: Any = None) -> None:
        """Note that `t` has been written; `index` is that of its cells, where it is known."""
        buf = t.buf
        if buf.placed is not None:
            self.places[t.meta.space].wrote(t)
        elif buf.state == SHARED:
            return
        if t.meta.nbytes == buf.meta.nbytes:
            self._full(buf)
        elif buf.state not in (FULL, SHARED):
            if index is None:
                index = buf.index(t)
            buf.known().written[index] = True
            if buf.state != ZERO:
                buf.state = PARTIAL

    def _full(self, buf: Buffer) -> None:
        """All elements of `buf` have been written."""
        # of what is placed, or written by several iterations, each read and write is looked at:
        # never simply full
        buf.state = SHARED if buf.owned or buf.placed is not None else FULL
        buf.filled()

    def refuse_input(self, dst: Tensor, api: str) -> None:
        """Refuse to write to an argument of the kernel, unless the dialect updates them in
        place."""
        if self.dialect.writes_inputs:
            if self.values and not dst.array.flags.writeable:
                broken(
                    "input",
                    f"{api}: the input '{dst.label}' is a NumPy array that cannot be written",
                    tensor=dst.label,
                    got="a read-only array",
                    remedy="Pass a copy: x.copy().",
                )
            dst.buf.role = "mutable"
            return
        broken(
            "immutable-parameter",
            f"{api}: '{dst.label}' is an input of the kernel and cannot be written",
            tensor=dst.label,
            remedy="Make an output: nl.ndarray(shape, dtype, "
            "buffer=nl.shared_hbm), write and return "
            "it; or annotate the parameter with nt.mutable_tensor and "
            "return it.",
        )

    def clear_unwritten(self, t: Tensor) -> None:
        """Zeros where nothing has been written of `t`: a matmul that adds to the rest of it
        overwrites there."""
        if self.values:
            t.array[~self.written_flags(t)] = 0
        self.mark_written(t)

    # -- independence of affine_range iterations ---------------------------------------------------
    def _earlier(self, owners: Any) -> list[int] | None:
        """Which of the affine_ranges that are running (the grid is the outermost) has an earlier
        iteration that wrote one of the elements with these owners; None if none has."""
        if owners.size == 1:
            owner = owners.item()
            return next((loop for loop in self.affine_loops if loop[0] <= owner < loop[1]), None)
        high = int(owners.max())
        if high < self.affine_loops[0][0]:  # written before the outermost loop, if at all
            return None
        return next(
            (
                loop
                for loop in self.affine_loops
                if ((owners >= loop[0]) & (owners < loop[1])).any()
            ),
            None,
        )

    def settle(self, pardoned: bool) -> None:
        """Decide on the suspect: a reduction into what it read is pardoned, anything else is
        refused."""
        assert self.suspect is not None
        t, api, place = self.suspect
        self.suspect = None
        if not pardoned:
            broken(
                "affine-dependency",
                f"{api}: '{t.label}' holds what another iteration of the nl.affine_range wrote",
                tensor=t.label,
                got=t.meta.describe(),
                at=place,
                remedy="Iterations of an affine_range may run in any order and at once: use "
                "nl.sequential_range where "
                "one needs the result of the one before.",
            )

    def note_shared_write(self, t: Tensor, reduces: bool) -> Any:
        """A tensor made outside the running affine_range is written inside it. The index of its
        cells, if it has any."""
        buf = t.buf
        if not buf.asked or isinstance(t, IndexedTensor):
            return None
        cells = buf.known()
        new = cells.owner is None
        index = buf.index(t)
        owner = cells.own()  # after `index`, which may make it anew
        loop = None if new or reduces else self._earlier(owner[index])
        if loop is not None:
            instances = self.position and loop is self.affine_loops[0]
            who = "program instance" if instances else "iteration of the nl.affine_range"
            broken(
                "output-dependency",
                f"'{t.label}' is overwritten: another {who} wrote the same elements",
                tensor=t.label,
                got=t.meta.describe(),
                remedy="Each instance of the grid writes a part of its own: index it with "
                "nl.program_id(axis)."
                if instances
                else "Make the tile inside the loop, or index it with the loop "
                "variable; if the order matters use "
                "nl.sequential_range.",
            )
        owner[index] = self.scope.serial
        if buf.state == FULL:
            buf.state = SHARED
        return index

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
        broken(
            "scope",
            f"'{t.label}' is used outside {where} that made it (line {made.line})",
            tensor=t.label,
            got=f"made by: {made.text}",
            remedy="Make the tile before the loop or branch with nl.ndarray or nl.zeros, and "
            "update it in place "
            f"inside: {name}[...] = ...",
        )

    def note_history(
        self,
        t: Tensor,
        code: CodeType | None,
        lasti: int,
        keep: np.ndarray | None = None,
        at: int | None = None,
    ) -> None:
        """Keep the value of a named tensor after a write to it by the instruction recorded at `at`
        (None: next)."""
        buf = t.buf
        if t.meta is buf.meta:
            values = t.array
            where = None if keep is None else (t.meta, t.off, keep)
        else:
            values = t._strided(0, buf.meta.shape, buf.meta.strides)
            where = (t.meta, t.off, keep)  # type: ignore[assignment]
        assert buf.tracked is not None
        buf.tracked.append(
            (values.copy(), len(self.tape) if at is None else at, code, lasti, where)
        )

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
                found.append(
                    Write(
                        value,
                        dtypes.name(dtype),
                        index,
                        source.line_of(code, lasti).line,
                        allocation,
                        where,
                    )
                )
        return sorted(found, key=lambda w: w.index)

    # -- loops -------------------------------------------------------------------------------------
    def open_scope(self, parent: Scope) -> Scope:
        """A new scope inside `parent`, which becomes the current one."""
        self.serial += 1
        self.scope = Scope(parent, self.serial)
        return self.scope

    def iterate(self, values: range, affine: bool) -> Iterator[int]:
        """Run a loop: each iteration is a scope of its own; those of an affine_range must not
        depend on one another."""
        parent, outer = self.scope, self.affine
        scope = None
        span: list[int] = []
        try:
            for i in values:
                if scope is not None:
                    scope.closed = True
                self.serial += 1
                scope = self.scope = Scope(parent, self.serial)
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
