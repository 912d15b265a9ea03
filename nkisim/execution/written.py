"""What is known of the elements of a kernel's tensors while it runs: which have been written, by
which iteration, in which scope they may be used."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine.memory import EMPTY, FULL, HBM, PARTIAL, PSUM, SHARED, ZERO, Buffer, Scope, TextScope
from ..rules import source
from ..rules.errors import KernelError, broken, fault, report
from ..tensors.tensor import IndexedTensor, Tensor
from . import unknown
from .lowering import Lowering
from .places import Places
from .steps import CLEAR

_lowest, _highest = np.minimum.reduce, np.maximum.reduce
_FEW = 64


def _every(flags: Any) -> bool:
    """Whether all flags are set."""
    if flags.size == 1:
        return bool(flags.item())
    return bool(flags.all())


class Written:
    """The half of a running kernel (`Execution`) that knows what has been written."""

    __slots__ = (
        "affine",
        "affine_loops",
        "dialect",
        "places",
        "position",
        "scope",
        "suspect",
        "values",
    )

    values: bool
    lowering: Lowering | None
    dialect: Any
    cores: Any
    origins: dict[Buffer, KernelError]
    position: tuple[int, ...]

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
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

    def kernel_frame(self) -> Any:
        """Where the kernel stands, or in a replay the program."""
        raise NotImplementedError

    def materialize_zeros(self, t: Tensor, before: int = 0) -> None:
        """The zeros of a PSUM tile are needed after all: spend the memset, `before` the last
        entries of the tape."""
        raise NotImplementedError

    def check_read(
        self,
        t: Tensor,
        api: str,
        where: np.ndarray | None = None,
        adds: bool = False,
        follows: bool = False,
        decides: bool = False,
    ) -> bool:
        """Refuse to read elements that no instruction has written; `where` tells which are read
        (None: all). `adds`: the instruction adds to what it reads, so that it may be what another
        iteration left. `follows`: who reads goes on with the unknown elements, and notes which of
        its result they reach; then reading them is no error yet (see `unknown`). `decides`: what
        happens next depends on the values.

        True if some of them are unknown, because nobody wrote them or a mask left them out.
        """
        buf = t.buf
        if buf.placed is not None:
            self.places[t.meta.space].check(t, api, self.written_flags(t))
        if buf.state == ZERO:
            if not buf.touched(t):
                self.materialize_zeros(t)
            return False
        cells = buf.cells
        owned = buf.owner is not None and not adds and self.suspect is None
        if owned and type(t) is not IndexedTensor and self._made_earlier(buf.owner or 0):
            self.suspect = (t, api, source.here(1))
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
            if where is None and buf.state == PARTIAL and _every(cells.written[index]):
                if _every(cells.written):
                    self._full(buf)
                return False
        if buf.state in (FULL, SHARED):
            return False
        flags = self.written_flags(t, where)
        if flags.all():
            return False
        if self.cores is not None and t.meta.space == HBM and buf.role != "tile":
            self.cores.let_the_other_go_on()  # it may write them, in no order with this read
            flags = self.written_flags(t, where)
            if flags.all():
                return False
        return self._unknown(t, api, flags, follows, decides)

    def _unknown(
        self, t: Tensor, api: str, flags: np.ndarray, follows: bool, decides: bool
    ) -> bool:
        """Elements of `t` other than `flags` are read, which nobody has written: refuse it, unless
        who reads goes on with them (see `check_read`); whether it does."""
        buf = t.buf
        error = self.origins.get(buf)
        if error is None and buf.role != "masked":
            error = self._never_written(t, api, flags)
            if follows:
                self.origins[buf] = error
        if decides:
            error = error or unknown.left_out(api, t.label, flags, "a decision depends on them")
        if error is not None and not follows:
            if error.line != source.here(1).line:
                error.reach(f"{api}, where a decision depends on it", source.here(1))
            report(error)
            return False
        return True

    def _never_written(self, t: Tensor, api: str, flags: np.ndarray) -> KernelError:
        """What is wrong with a read of `t`, of which only the elements `flags` have been
        written."""
        missing = np.argwhere(~flags)
        first = tuple(int(i) for i in missing[0])
        part = (
            "no element of it has"
            if len(missing) == flags.size
            else f"{len(missing)} of {flags.size} elements have not"
        )
        what = "PSUM" if t.meta.space == PSUM else t.meta.space.upper()
        return fault(
            "uninitialized-read",
            f"{api}: '{t.label}' is read before it is written ({part} been written)",
            tensor=t.label,
            got=f"first at {first}",
            remedy=f"Fresh {what} holds whatever was there before: start from nl.zeros or "
            "nl.full, or write every element first.",
        )

    def written_flags(self, t: Tensor, where: np.ndarray | None = None) -> np.ndarray:
        """Which elements of `t` have been written; those beyond `where` count as such."""
        buf = t.buf
        if isinstance(t, IndexedTensor):
            flags = t.written_flags(where)
        elif buf.state == EMPTY or not buf.asked:
            flags = np.full(t.shape, buf.state != EMPTY)
        else:
            flags = buf.written(t.off, t.meta.shape, t.meta.strides, t.meta.itemsize)
        return flags if where is None else flags | ~where

    def mark_written(self, t: Tensor, index: Any = None) -> None:
        """Note that `t` has been written; `index` is that of its cells, where it is known."""
        buf = t.buf
        if buf.placed is not None:
            self.places[t.meta.space].wrote(t)
        elif buf.state == SHARED:
            return
        if t.meta is buf.meta or (t.meta.nbytes == buf.meta.nbytes and t.meta.dense):
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
        if self.lowering is not None:
            self.lowering.step(CLEAR, 0, *self.lowering.view(t))
        if self.values:
            t.array[~self.written_flags(t)] = 0
        self.mark_written(t)

    # -- independence of affine_range iterations ---------------------------------------------------
    def _earlier(self, owners: Any) -> list[int] | None:
        """Which of the affine_ranges that are running (the grid is the outermost) has an earlier
        iteration that wrote one of the elements with these owners; None if none has."""
        if owners.size == 1:
            return self._made_earlier(owners.item())
        few = owners.size <= _FEW
        if few:  # NumPy takes longer to begin than Python to finish
            some = owners.ravel().tolist()
            low, high = min(some), max(some)
        else:
            low, high = _lowest(owners, None), _highest(owners, None)
        for loop in reversed(self.affine_loops):
            if low >= loop[1]:  # all by the iterations that are running
                return None
            if high >= loop[0]:
                break
        else:  # all before the loops
            return None
        for loop in self.affine_loops:
            first, now = loop
            if (
                any(first <= owner < now for owner in some)
                if few
                else ((owners >= first) & (owners < now)).any()
            ):
                return loop
        return None

    def _made_earlier(self, owner: int) -> list[int] | None:
        """Which of the affine_ranges that are running has an earlier iteration of this number."""
        for loop in self.affine_loops:
            if loop[0] <= owner < loop[1]:
                return loop
        return None

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

    def overwritten(self, t: Tensor, held: bool) -> tuple[Any, list[int] | None]:
        """A tensor made outside the running affine_range is about to be written inside it: the
        index of its cells, which from now on are this iteration's; and the loop of which another
        iteration wrote some of them, if one has: not asked where what they hold is added to."""
        buf = t.buf
        if buf.cells is None and t.meta is buf.meta:  # always as a whole, so far
            before = buf.owner
            buf.owner = self.scope.serial
            if buf.state == FULL:
                buf.state = SHARED
            return ..., None if before is None or held else self._made_earlier(before)
        cells = buf.cells or buf.known()
        new = cells.owner is None
        index = buf.index(t)
        owner = cells.own()  # after `index`, which may replace it
        loop = None if new or held else self._earlier(owner[index])
        owner[index] = self.scope.serial
        if buf.state == FULL:
            buf.state = SHARED
        return index, loop

    def refuse_overwriting(self, t: Tensor, loop: list[int]) -> None:
        """Refuse to overwrite what another iteration of `loop` wrote."""
        instances = self.position and loop is self.affine_loops[0]
        who = "program instance" if instances else "iteration of the nl.affine_range"
        broken(
            "output-dependency",
            f"'{t.label}' is overwritten: another {who} wrote the same elements",
            tensor=t.label,
            got=t.meta.describe(),
            remedy="Each instance of the grid writes its own part: index it with "
            "nl.program_id(axis)."
            if instances
            else "Make the tile inside the loop, or index it with the loop variable; if the "
            "order matters, or to reduce into it, use nl.sequential_range. (Two "
            "reductions are allowed: matmuls summed in PSUM, and t[...] += x.)",
        )

    def check_kernel(self, t: Tensor) -> None:
        """Refuse a tensor that a kernel made which has ended."""
        scope: Scope = t.buf.scope
        while scope.parent is not None:
            scope = scope.parent
        if not scope.closed:
            return
        made = source.line_of(t.buf.code, t.buf.lasti)
        broken(
            "outside-kernel",
            f"'{t.label}' is a tensor of another kernel, which has ended",
            tensor=t.label,
            got=f"made by: {made.text}" if made.text else t.meta.describe(),
            remedy="Return it from that kernel, and pass the array to this one.",
        )

    def check_scope(self, t: Tensor, frame: Any = None) -> None:
        """Refuse a tile outside the loop iteration or branch that made it. `frame`: the kernel's,
        if it is known."""
        buf = t.buf
        scope: Scope | None = buf.scope
        self.check_kernel(t)
        where = "the loop iteration"
        if type(scope) is TextScope:
            if frame is None:
                frame = self.kernel_frame()
            if scope.block.holds(frame.f_code, frame.f_lasti):
                scope = scope.parent
                if scope is None or not scope.closed:
                    return
            else:
                where = "the branch" if scope.block.kind == "if" else "the loop"
        made = source.line_of(buf.code, buf.lasti)
        used = frame if frame is not None else source.user_frame(2)
        elsewhere = source.line_of(used.f_code, used.f_lasti).line != made.line
        name = t.label if t.label.isidentifier() else "t"
        broken(
            "scope",
            f"'{t.label}' is used outside {where} that made it"
            + (f", in line {made.line}" if elsewhere else ""),
            tensor=t.label,
            got=f"made by: {made.text}",
            remedy="Make the tile before the loop or branch with nl.ndarray or nl.zeros, and "
            "update it in place "
            f"inside: {name}[...] = ...",
        )
