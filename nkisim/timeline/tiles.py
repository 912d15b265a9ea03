"""Where the operands of a program's records lie: the wait until they hold what is read, until they
may be overwritten, and for room for a new tile."""

from __future__ import annotations

from typing import Any

from ..execution.tape import DST, FIRST, OPERAND
from ..machine.memory import HBM, PSUM, Meta
from ..machine.target import Target
from .broadcast import Broadcasts
from .regions import (
    AVAIL,
    BANKED,
    ENGINE,
    LAST,
    LAYOUT,
    NEED,
    OTHERS,
    READ,
    READER,
    WRITER,
    Region,
    find,
    first_of,
    forget,
    inside,
    last_use,
    over,
    regions_of,
)
from .state import ANTI, DATA, OUTPUT, Core


class Tiles:
    """The tensors of a program while its records are placed: each has memory while it is used."""

    def __init__(self, tape: list[Any], target: Target) -> None:
        self.tape = tape
        self.bank = target.psum_bank_bytes
        self.rows: Broadcasts | None = None
        """The rows that are spread over partitions; None where there are none."""
        self.written: list[Any] = []
        """The tensors in HBM that were written, whose marks nobody else clears."""

    def read(
        self, buf: Any, meta: Any, offset: int, t: float, cause: int
    ) -> tuple[Region, float, int]:
        """The region that is read, and the wait until it is written."""
        region = find(buf, meta, offset)
        if region[AVAIL] > t:
            t, cause = region[AVAIL], region[WRITER] | DATA
        for other in region[OTHERS]:
            if other[AVAIL] > t:
                t, cause = other[AVAIL], other[WRITER] | DATA
        return region, t, cause

    def view(
        self, buf: Any, meta: Any, offset: int, t: float, cause: int
    ) -> tuple[Region, float, int]:
        """`read` for the short way, of a tile that is not simply one region. TypeError: the record
        must go the general way."""
        if self.rows is not None and buf in self.rows.in_psum:
            raise TypeError("how long it takes depends on where this source really lies")
        return self.read(buf, meta, offset, t, cause)

    def destination(
        self,
        core: Core,
        at: int,
        where: int,
        meta: Any,
        me: int,
        t: float,
        cause: int,
        renames: bool,
    ) -> tuple[Region, float, int]:
        """The region that the record at `at` writes, which the tape names at `where`, and the wait
        until it can be. `renames`: whether what it overwrites may stay where it is, and the new
        values lie elsewhere."""
        buf, offset = self.tape[where], self.tape[where + 1]
        if meta is None:  # its elements are picked: any part of the buffer
            meta, offset, renames = buf.meta, 0, False
        last = buf.mark
        into = find(buf, meta, offset)
        if last.__class__ is int and meta.space == HBM:
            self.written.append(buf)
        elif last.__class__ is int:
            t, cause = self._new(core, buf, into, last, t, cause)
        elif renames and over((into,))[0] > t and self._movable(at, buf, meta):
            t, cause = self.renamed(core, buf, into, me, t, cause)
        for other in (into, *into[OTHERS]):
            if other[READ] > t:
                t, cause = other[READ], other[READER] | ANTI
            if other[AVAIL] > t and (other[ENGINE] != me or me < 0):
                t, cause = other[AVAIL], other[WRITER] | OUTPUT
        return into, t, cause

    def _new(
        self, core: Core, buf: Any, into: Region, last: int, t: float, cause: int
    ) -> tuple[float, int]:
        """The wait for the memory of a tile of which `into` is the first region."""
        layout = buf.meta
        into[BANKED] = layout.space == PSUM
        into[NEED] = (
            -(-layout.psum_partition_bytes // self.bank)
            if into[BANKED]
            else layout.sbuf_partition_bytes
        )
        if self.rows is not None and (buf in self.rows.in_psum or buf in self.rows.kept):
            buf.mark = [None, into, last]
        elif into[0] is layout:
            into[LAST] = last
        return core.pools[into[BANKED]].take(into[NEED], t, cause)

    def _movable(self, at: int, buf: Any, meta: Any) -> bool:
        """Whether what the record at `at` writes, a view of `buf`, may lie elsewhere than what it
        overwrites: nobody placed the tile, and the record does not read it. PSUM is given away in
        banks, so only whole blocks of a tile there."""
        if buf.placed is not None or any(source is buf for source in self._sources(at)):
            return False
        if self.rows is not None and (buf in self.rows.in_psum or buf in self.rows.kept):
            return False
        whole: Meta = buf.meta
        return meta.space != PSUM or bool(meta.psum_partition_bytes == whole.psum_partition_bytes)

    def renamed(
        self, core: Core, buf: Any, into: Region, me: int, t: float, cause: int
    ) -> tuple[float, int]:
        """The wait for other memory, where a region would have to wait until its old values have
        been read. All that lies inside it moves with it."""
        inner = [into, *[r for r in into[OTHERS] if inside(buf.meta, r, into)]]
        if not any(r[READ] > t or (r[AVAIL] > t and (r[ENGINE] != me or me < 0)) for r in inner):
            return t, cause
        when, by = over(inner)
        layout = into[LAYOUT]
        banked = layout.space == PSUM
        need = (
            -(-layout.psum_partition_bytes // self.bank) if banked else layout.sbuf_partition_bytes
        )
        pool = core.pools[banked]
        pool.release(when, by, need)
        for region in inner:
            forget(region)
        return pool.take(need, t, cause)

    def _sources(self, at: int) -> list[Any]:
        """The buffers that the record at `at` reads."""
        found: list[Any] = self.tape[
            at + FIRST : at + FIRST + OPERAND * len(self.tape[at].srcs) : OPERAND
        ]
        return found

    def finish(self, core: Core, at: int, end: int) -> None:
        """Release what nothing touches after the record at `at`, whose last entry is at `end`."""
        share = self.tape[end]
        for buf in self.tape[at + DST : end : OPERAND]:
            if buf.mark.__class__ is list and last_use(buf.mark) == at:
                self.give_back(buf, core)
        if share is not None:
            for buf, _, _ in share.picks:
                if buf.mark.__class__ is list and last_use(buf.mark) == at:
                    self.give_back(buf, core)

    def give_back(self, buf: Any, core: Core) -> None:
        """Release the memory of a tile that nothing touches any more, at the time when everything
        about it is over."""
        entry = buf.mark
        if entry.__class__ is int or (self.rows is not None and buf in self.rows.kept):
            return
        first = first_of(entry)
        if first[NEED] < 0:
            return
        when, by = over(regions_of(entry))
        buf.mark = -1
        core.pools[first[BANKED]].release(when, by, first[NEED])
        if self.rows is not None and buf in self.rows.in_psum:
            held = self.rows.in_psum[buf]
            product, held.mark = first_of(held.mark), -1
            core.pools[1].release(when, by, product[NEED])
