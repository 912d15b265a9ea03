"""One kernel while it runs: allocations, program instances, loops, registers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import numpy as np

from ..machine.config import Config
from ..machine.memory import (
    EMPTY,
    HBM,
    PSUM,
    ZERO,
    Buffer,
    Meta,
    Scope,
    TextScope,
    contiguous,
    meta_of,
)
from ..machine.running import RUNNING, Listener
from ..machine.shapes import shape_only
from ..machine.values import Blank, Queue, Value
from ..rules import scopes, source
from ..rules.errors import KernelError, broken
from ..rules.listing import Cursor
from ..tensors.tensor import Tensor
from .creation import begins_a_bank, creatable
from .lowering import (
    END,
    INSTANCE,
    LOOP,
    NEXT,
    OFFER,
    PLACE,
    TARGET,
    Lowering,
)
from .lowering import ZERO as ZERO_STEP
from .observed import Observed
from .places import Places
from .signature import Signature
from .tape import Record

_SIGNATURES: dict[tuple[Any, ...], dict[tuple[Any, ...], Signature]] = {}
"""The signatures known under each configuration. They describe layouts, and hold no values."""
_new: Any = object.__new__
_getframe = sys._getframe
_MOST = 1 << 16
"""Of one configuration; then it starts again with the next kernel."""
MOST_PUT_OFF = 8192
"""Lines of work that are put off at a time: so many that the checks of their instructions come one
after the other, so few that they take little memory themselves (250 bytes each)."""


class Execution(Observed):
    """The state of one running kernel."""

    # what every instruction touches; slots are read faster than the entries of a dictionary this
    # large
    __slots__ = (
        "__dict__",
        "blocks",
        "buffers",
        "clock",
        "cores",
        "cursor",
        "kernel_code",
        "last_extra",
        "last_result",
        "last_signature",
        "last_srcs",
        "limit",
        "lowering",
        "most",
        "places_tiles",
        "queue",
        "signatures",
        "spend",
        "tensor",
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
        super().__init__(
            self.root, listener is not None, listener is not None and listener.keep_results
        )
        self.config = config
        self.dialect = dialect
        self.tensor: type[Tensor] = dialect.tensor
        """The class of the tensors that the kernel holds."""
        self.values = listener is None or listener.values
        """Whether values are computed. If not, every array is a `ShapeOnly`."""
        self.lowering: Lowering | None = None
        """What notes the kernel's steps, if it is lowered."""
        self.cursor: Cursor | None = None
        """Where the program stands that is replayed; None for a kernel that runs as Python."""
        self.spend = spend
        self.clock = 0
        self.limit = config.most_instructions
        """What the clock may come to."""
        self.most_tensors = 2 * self.limit + 1000  # an instruction makes one and asks for one
        self.queue: Queue = []
        """What has been put off: see `machine.values`."""
        self.most = MOST_PUT_OFF
        """How much of it there may be."""
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
        self.core = 0
        self.numbered: list[Buffer] = []
        """Of a replay that has ended, the buffers by the program's numbers."""
        self.places_tiles = False
        """Whether the kernel placed a tile itself, by the allocators of nki.compiler."""
        self.first_addresses: dict[tuple[CodeType, int], int] = {}
        """Of each place in the text that gave an allocator an address: the first iteration's."""
        self.origins: dict[Buffer, KernelError] = {}
        """Of tensors with elements that nobody has given a value: what went wrong where, in case
        they reach an output."""
        self.instances: list[int] = []
        """Where on the tape each program instance begins."""
        self.kernel_code: CodeType | None = None
        self.blocks = False
        """Whether the kernel's text has scoping blocks that must be followed."""
        self.text_blocks: dict[tuple[int, int], tuple[CodeType, scopes.Block | None]] = {}
        """Of each place in the text where a tile was made, by its code's id: the block around it,
        and the code, which lives as long as its id is used."""
        self.text_scope: TextScope | None = None
        """The last that was opened: tiles are made in one and the same, one after the other."""
        self._begin_engines()
        self.signatures: dict[tuple[Any, ...], Signature] = {}
        self.retarget(config)

    def _begin_engines(self) -> None:
        """Nothing has run yet: the registers are empty, and there is no last result."""
        self.registers: dict[str, np.ndarray] = {}
        self.active_mask: np.ndarray | None = None
        self.shared: list[Tensor] = []
        self.shared_next = 0
        self.rng = np.random.default_rng(0)
        self.undecided = False
        """Whether a selection, in a run on shapes alone, may or may not take unknown elements."""
        self.last_result: Tensor | None = None
        """The tile that the last instruction made, if it made a new one..."""
        self.last_signature: Signature | None = None
        self.last_srcs: tuple[Tensor, ...] = ()
        self.last_extra: Tensor | None = None
        """...and of what: an assignment may yet redirect it."""

    def retarget(self, config: Config) -> None:
        """Go on under another configuration."""
        self.created: set[Meta] = set()
        """Layouts of which a tensor has been made."""
        self.like: dict[tuple[Any, ...], Meta] = {}
        """Of on-chip tensors that were made, what was asked for: what a dialect need not read
        again."""
        self.blanks: dict[Meta, Any] = {}
        """What stands for the array of a new tensor of each layout: a `Blank` or a `ShapeOnly`."""
        self.rooms = {}
        self.config = config
        if self.lowering is not None:
            name = config.target.name
            self.lowering.step(TARGET, self.lowering.texts.number(name, name))
        key = (
            config.target.name,
            config.precise_fp,
            self.values,
            tuple(sorted(config.warn.items())),
        )
        self.signatures = _SIGNATURES.setdefault(key, {})
        if len(self.signatures) > _MOST:
            self.signatures = _SIGNATURES[key] = {}

    def follows(self, other: Execution) -> None:
        """Have as many instructions left as another kernel of the same run has."""
        self.limit = max(other.limit - other.clock, 0)

    def before_another(self) -> None:
        """Refuse what the instructions so far have left to decide, and an instruction beyond the
        limit."""
        if self.suspect is not None:
            self.settle(False)
        if self.clock >= self.limit:
            self.refuse_more()

    def refuse_more(self, what: str = "issues more than {} instructions") -> None:
        """Refuse what a kernel does beyond its limit."""
        most = f"{self.config.most_instructions:,}"
        broken(
            "instruction-limit",
            f"the kernel {what.format(most)}",
            limit=f"{most} instructions (nkisim.Config, most_instructions)",
            remedy="See that its loop ends.",
        )

    def records(self) -> Iterator[Record]:
        """Each instruction that was recorded, in order."""
        return self.tape.records()

    def lower(self, lowering: Lowering, core: int = 0) -> None:
        """Note the steps of the kernel from now on; of two cores, this is `core`."""
        self.lowering = lowering
        self.recording = False  # the steps are enough
        self.core = core
        lowering.place(self.kernel_code, 0)  # the first: that of the kernel itself

    def kernel_frame(self) -> Any:
        frame: Any = self.cursor or _getframe(2)
        code = frame.f_code
        while code is not self.kernel_code and (
            code.co_filename in source.INTERNAL_FILES or code.co_filename.startswith(source.NUMPY)
        ):
            frame = frame.f_back
            code = frame.f_code
        return frame

    def materialize_zeros(self, t: Tensor, before: int = 0) -> None:
        self.spend(self, t, before)

    # -- program instances -------------------------------------------------------------------------
    def start_instance(self, position: tuple[int, ...]) -> None:
        """Begin the instance at `position` of the grid. Instances are as independent as
        affine_range iterations."""
        self.end_instances()
        self.position = position
        self.instances.append(len(self.tape.entries))
        if self.lowering is not None:
            self.lowering.step(INSTANCE, 0, *position, at=(self.kernel_code, 0))
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

    def built_with(self, buf: Buffer, values: np.ndarray) -> None:
        """A tensor in HBM holds values that are known when the kernel is built."""
        if self.lowering is not None:
            self.lowering.constant(buf, values)

    def cast(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """`values` rounded to `dtype` as stored here."""
        if not self.values:
            stored = self.config.storage(dtype)
            return shape_only(values.shape, stored)  # type: ignore[return-value]
        return self.config.cast(values, dtype)

    def scope_at(self, code: CodeType, lasti: int) -> Scope:
        """The scope of a tile made at this place."""
        if not self.blocks:
            return self.scope
        # by identity: hashing a code by value takes longer than an instruction
        found = self.text_blocks.get((id(code), lasti))
        if found is None:
            found = self.text_blocks[id(code), lasti] = code, scopes.block_at(code, lasti)
        scope, block = self.scope, found[1]
        if block is None:
            return scope
        text = self.text_scope
        if text is None or text.block is not block or text.parent is not scope:
            text = self.text_scope = TextScope(scope, block)
        return text

    def new_buffer(self, meta: Meta, state: int, name: str | None = None, depth: int = 2) -> Buffer:
        """Register an allocation made by the kernel line that is executing; the kernel stands
        `depth` frames up, if not further."""
        frame: Any = self.cursor or _getframe(depth)
        code = frame.f_code
        while code is not self.kernel_code and code.co_filename in source.INTERNAL_FILES:
            frame = frame.f_back
            code = frame.f_code
        lasti = frame.f_lasti
        buf: Buffer = _new(Buffer)  # attribute by attribute: half the time of calling the class
        buf.meta = meta
        # on chip a tensor needs its place from the next instruction on, when it can first be
        # written
        on_chip = meta.space != HBM
        buf.first = buf.last = self.clock + 1 if on_chip else self.clock
        buf.code = code
        buf.lasti = lasti
        buf.state = state
        if not on_chip:
            buf.scope = self.root
        else:
            buf.scope = self.scope_at(code, lasti) if self.blocks else self.scope
        buf.asked = True
        buf.name = name
        buf.cells = buf.owner = buf.tracked = buf.placed = buf.mark = None
        buf.queue = self.queue
        buf.role = "tile"
        if name and on_chip and self.recording:
            buf.tracked = [] if self.values else None
            self.tape.named.setdefault(name, []).append(buf)
        self.buffers.append(buf)
        if len(self.buffers) > self.most_tensors:
            self.refuse_more("makes more tensors than {} instructions need")
        return buf

    def allocate(
        self,
        space: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        pdim: int = 0,
        pstart: int = 0,
        state: int = EMPTY,
        name: str | None = None,
    ) -> Tensor:
        """A new tensor of `shape` in `space`; zeros underneath, none of them counting as written
        unless `state`."""
        meta = meta_of(space, shape, contiguous(shape), dtype, pdim, pstart)
        if meta not in self.created:
            creatable(self.config.target, meta)
            self.created.add(meta)
        return self.made(meta, state, name)

    def made(
        self, meta: Meta, state: int = EMPTY, name: str | None = None, depth: int = 2
    ) -> Tensor:
        """A new tensor of a layout that its memory can hold."""
        buf = self.new_buffer(meta, state, name, depth + 1)
        if self.lowering is not None:
            self.lowering.allocated(buf, meta)
        blank = self.blanks.get(meta)
        if blank is None:
            stored = self.config.storage(meta.dtype)
            stand_in: Any = Blank if self.values else shape_only
            blank = self.blanks[meta] = stand_in(meta.shape, stored)
        if not self.values:
            return self.tensor(buf, blank, meta, 0)
        held: Value = _new(Value)
        held.array = blank if state == EMPTY else blank.zeros()
        return self.tensor(buf, held, meta, 0)

    def place(self, t: Tensor, partition: int, byte: int) -> None:
        """Note that the kernel chose the place of a new tensor: what is written there later
        overwrites it."""
        begins_a_bank(self.config.target, t.meta, byte)
        t.buf.placed = (partition, byte)
        if self.lowering is not None:
            self.lowering.step(PLACE, 0, self.lowering.numbers[t.buf], partition, byte)
        if t.meta.space not in self.places:
            target = self.config.target
            self.places[t.meta.space] = Places(
                target.partitions,
                max(
                    target.psum_partition_bytes,
                    target.sbuf_partition_bytes if t.meta.space != PSUM else 0,
                ),
            )

    def zero(self, t: Tensor) -> None:
        """Let the new PSUM tile `t` count as holding zeros, on which nothing is spent unless they
        are needed: the first matmul of an accumulation overwrites."""
        if self.lowering is not None:
            self.lowering.step(ZERO_STEP, 0, *self.lowering.view(t))
        t.buf.state = ZERO
        if t.buf.tracked is not None:
            self.note_history(t, t.buf.code, t.buf.lasti)

    def nothing_added(self, t: Tensor) -> None:
        """Let the unwritten PSUM tile `t` count as holding a sum of nothing, so far."""
        if self.lowering is not None:
            self.lowering.step(ZERO_STEP, 1, *self.lowering.view(t))
        t.buf.state = ZERO

    def offer(self, t: Tensor) -> None:
        """Let an assignment of `t`, which the last instruction filled, redirect that
        instruction."""
        if self.lowering is not None:
            self.lowering.step(OFFER, 0, *self.lowering.view(t))
        self.last_result = t

    # -- loops -------------------------------------------------------------------------------------
    def open_scope(self, parent: Scope) -> Scope:
        """A new scope inside `parent`, which becomes the current one."""
        self.serial += 1
        self.scope = Scope(parent, self.serial)
        return self.scope

    def iterate(self, values: range, affine: bool) -> Iterator[int]:
        """Run a loop: each iteration is a separate scope; those of an affine_range must not
        depend on one another."""
        parent, outer = self.scope, self.affine
        scope = None
        span: list[int] = []
        lowering = self.lowering
        if lowering is not None:
            frame = self.kernel_frame()
            at = frame.f_code, frame.f_lasti
            lowering.step(LOOP, int(affine), len(values), at=at)
        try:
            for i in values:
                if lowering is not None:
                    lowering.step(NEXT, 0, i, at=at)
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
            if lowering is not None:
                lowering.step(END, at=at)


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
