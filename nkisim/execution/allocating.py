"""The tensors of a running kernel: where they are made, how large they may be, in which scope they
live."""

from __future__ import annotations

import sys
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
from ..machine.running import Listener
from ..machine.shapes import shape_only
from ..machine.values import Blank, Queue, Value
from ..rules import scopes, source
from ..rules.errors import broken
from ..rules.listing import Cursor
from ..tensors.tensor import Tensor
from .creation import begins_a_bank, creatable
from .lowering import Lowering
from .observed import Observed
from .places import Places
from .steps import PLACE
from .steps import ZERO as ZERO_STEP

_new: Any = object.__new__
_getframe = sys._getframe


class Allocating(Observed):
    """The part of a running kernel (`Execution`) that makes its tensors."""

    # what every instruction touches; slots are read faster than the entries of a dictionary this
    # large
    __slots__ = (
        "__dict__",
        "blocks",
        "buffers",
        "clock",
        "cursor",
        "kernel_code",
        "limit",
        "lowering",
        "queue",
        "tensor",
    )

    def __init__(self, config: Config, dialect: Any, listener: Listener | None) -> None:
        """`listener`: the run that records the kernel, if any."""
        self.root = Scope(None)
        recorded = listener is not None
        super().__init__(self.root, recorded, listener is not None and listener.keep_results)
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
        self.clock = 0
        self.limit = config.most_instructions
        """What the clock may come to."""
        self.most_tensors = 2 * self.limit + 1000  # an instruction makes one and asks for one
        self.queue: Queue = []
        """What has been put off: see `machine.values`."""
        self.buffers: list[Buffer] = []
        self.kernel_code: CodeType | None = None
        self.blocks = False
        """Whether the kernel's text has scoping blocks that must be followed."""
        self.text_blocks: dict[tuple[int, int], tuple[CodeType, scopes.Block | None]] = {}
        """Of each place in the text where a tile was made, by its code's id: the block around it,
        and the code, which lives as long as its id is used."""
        self.text_scope: TextScope | None = None
        """The last that was opened: tiles are made in one and the same, one after the other."""
        self.forget_layouts()

    def forget_layouts(self) -> None:
        """No tensor has been made yet, under the configuration from now on."""
        self.created: set[Meta] = set()
        """Layouts of which a tensor has been made."""
        self.like: dict[tuple[Any, ...], Meta] = {}
        """Of on-chip tensors that were made, what was asked for: what a dialect need not read
        again."""
        self.blanks: dict[Meta, Any] = {}
        """What stands for the array of a new tensor of each layout: a `Blank` or a `ShapeOnly`."""
        self.rooms = {}

    def refuse_more(self, what: str = "issues more than {} instructions") -> None:
        """Refuse what a kernel does beyond its limit."""
        most = f"{self.config.most_instructions:,}"
        broken(
            "instruction-limit",
            f"the kernel {what.format(most)}",
            limit=f"{most} instructions (nkisim.Config, most_instructions)",
            remedy="See that its loop ends.",
        )

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
        # on chip a tensor that holds something needs its place from the next instruction on, any
        # other from its first write
        on_chip = meta.space != HBM
        buf.first = buf.last = self.clock + 1 if on_chip else self.clock
        if on_chip and state == EMPTY:
            buf.last -= 1
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
        name: str | None = None,
    ) -> Tensor:
        """A new tensor of `shape` in `space`; zeros underneath, none of them counting as
        written."""
        meta = meta_of(space, shape, contiguous(shape), dtype, pdim, pstart)
        if meta not in self.created:
            creatable(self.config.target, meta)
            self.created.add(meta)
        return self.made(meta, name=name)

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
