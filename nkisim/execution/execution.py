"""One kernel while it runs: program instances, loops, registers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import numpy as np

from ..machine.config import Config
from ..machine.memory import Buffer, Scope
from ..machine.running import RUNNING, Listener
from ..rules import source
from ..rules.errors import KernelError, broken
from ..tensors.tensor import Tensor
from .allocating import Allocating
from .lowering import Lowering
from .signature import Signature
from .steps import END, INSTANCE, LOOP, NEXT, OFFER, TARGET
from .tape import Record

_SIGNATURES: dict[tuple[Any, ...], dict[tuple[Any, ...], Signature]] = {}
"""The signatures known under each configuration. They describe layouts, and hold no values."""
_getframe = sys._getframe
_MOST = 1 << 16
"""Of one configuration; then it starts again with the next kernel."""
MOST_PUT_OFF = 8192
"""Lines of work that are put off at a time: so many that the checks of their instructions come one
after the other, so few that they take little memory themselves (250 bytes each)."""


class Execution(Allocating):
    """The state of one running kernel."""

    __slots__ = (
        "cores",
        "last_extra",
        "last_result",
        "last_signature",
        "last_srcs",
        "most",
        "places_tiles",
        "signatures",
        "spend",
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
        super().__init__(config, dialect, listener)
        self.spend = spend
        self.most = MOST_PUT_OFF
        """How much may be put off (`queue`)."""
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
        self._begin_engines()
        self.signatures = self._signatures(config)

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
        self.forget_layouts()
        self.config = config
        if self.lowering is not None:
            name = config.target.name
            self.lowering.step(TARGET, self.lowering.texts.number(name, name))
        self.signatures = self._signatures(config)

    def _signatures(self, config: Config) -> dict[tuple[Any, ...], Signature]:
        """Those that are known under a configuration."""
        warned = tuple(sorted(config.warn.items()))
        key = (config.target.name, config.precise_fp, self.values, warned)
        found = _SIGNATURES.setdefault(key, {})
        if len(found) > _MOST:
            found = _SIGNATURES[key] = {}
        return found

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

    def offer(self, t: Tensor) -> None:
        """Let an assignment of `t`, which the last instruction filled, redirect that
        instruction."""
        if self.lowering is not None:
            self.lowering.step(OFFER, 0, *self.lowering.view(t))
        self.last_result = t

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
