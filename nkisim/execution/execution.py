"""One kernel while it runs: allocations, program instances, loops, registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import numpy as np

from ..machine.config import Config
from ..machine.memory import (
    EMPTY,
    HBM,
    PSUM,
    Buffer,
    Meta,
    Scope,
    TextScope,
    contiguous,
    meta_of,
)
from ..machine.running import RUNNING, Listener
from ..machine.shapes import shape_only
from ..rules import scopes, source
from ..rules.errors import broken
from ..tensors.tensor import Tensor
from .places import Places
from .signature import Signature
from .tape import Record, Tape
from .written import Written

_SIGNATURES: dict[tuple, dict[tuple, Signature]] = {}
"""The signatures known under each configuration. They describe layouts, and hold no values."""


class Execution(Written):
    """The state of one running kernel."""

    # what every instruction touches; slots are read faster than the entries of a dictionary this
    # large
    __slots__ = (
        "recording",
        "tape",
        "clock",
        "buffers",
        "kernel_code",
        "blocks",
        "signatures",
        "tensor",
        "last_result",
        "last_signature",
        "last_srcs",
        "last_extra",
        "spend",
        "__dict__",
    )

    def __init__(
        self,
        config: Config,
        dialect: Any,
        listener: Listener | None,
        spend: Callable[[Execution, Tensor, int], None],
    ) -> None:
        """`listener`: the run that records the kernel, if any; `spend`: fills a PSUM tile with its
        zeros (`execute.spend_memset`)."""
        self.root = Scope(None)
        super().__init__(self.root)
        self.config = config
        self.dialect = dialect
        self.tensor: type[Tensor] = dialect.tensor
        """The class of the tensors that the kernel holds."""
        self.recording = listener is not None
        self.values = listener is None or listener.values
        """Whether values are computed. If not, every array is a `ShapeOnly`."""
        self.tape = Tape(listener is not None and listener.keep_results)
        self.spend = spend
        self.clock = 0
        self.buffers: list[Buffer] = []
        self.top = self.root
        """The scope of the kernel's top level."""
        self.serial = 0
        self.accumulators: set[Buffer] = set()
        """The PSUM buffers that a matmul wrote."""
        self.cores: Any = None
        """The cores that run side by side (`cores.Cores`), while they do."""
        self.grid: tuple[int, ...] = ()
        self.ordered = 0
        """How many blocks of nl.no_reorder are open."""
        self.places_tiles = False
        """Whether the kernel placed a tile itself, by the allocators of nki.compiler."""
        self.instances: list[int] = []
        """Where on the tape each program instance begins."""
        self.kernel_code: CodeType | None = None
        self.blocks = False
        """Whether the kernel's text has scoping blocks that must be followed."""
        self.registers: dict[str, np.ndarray] = {}
        self.active_mask: np.ndarray | None = None
        self.shared: list[Tensor] = []
        self.shared_next = 0
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

    def records(self) -> Iterator[Record]:
        """Each instruction that was recorded, in order."""
        return self.tape.records()

    def materialize_zeros(self, t: Tensor, before: int = 0) -> None:
        self.spend(self, t, before)

    # -- program instances -------------------------------------------------------------------------
    def start_instance(self, position: tuple[int, ...]) -> None:
        """Begin the instance at `position` of the grid. Instances are as independent as
        affine_range iterations."""
        self.end_instances()
        self.position = position
        self.instances.append(len(self.tape.entries))
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
    def zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        """An array for a new tensor; without values, what stands for it."""
        stored = self.config.storage(dtype)
        return np.zeros(shape, dtype=stored) if self.values else shape_only(shape, stored)

    def constant(self, values: np.ndarray, dtype: np.dtype) -> Any:
        """An array for a tensor that holds `values`; without values, what stands for it."""
        return (
            np.array(self.cast(values, dtype)) if self.values else self.zeros(values.shape, dtype)
        )

    def cast(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """`values` rounded to `dtype` as stored here."""
        if not self.values:
            stored = self.config.storage(dtype)
            return shape_only(values.shape, stored)  # type: ignore[return-value]
        return self.config.cast(values, dtype)

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
            self.tape.named.setdefault(name, []).append(buf)
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
            (values.copy(), len(self.tape.entries) if at is None else at, code, lasti, where)
        )

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


running: Callable[[], Execution | None] = RUNNING.get  # type: ignore[assignment]
"""The kernel that runs in this context; None outside any."""


def current(api: str) -> Execution:
    """The running kernel; refuses calls outside one."""
    execution = running()
    if execution is None:
        broken(
            "outside-kernel",
            f"{api} was called outside a kernel",
            remedy="Call it inside a function decorated with @nki.jit, and run that with NumPy "
            "arrays or "
            "nki.simulate_kernel.",
        )
    assert execution is not None
    return execution
