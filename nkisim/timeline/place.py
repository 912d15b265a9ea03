"""Placing one record, whatever it is: the rules of the model of time. `schedule.place` has a short
way for the usual ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..execution.execution import Execution
from ..execution.tape import DST, FIRST, OPERAND, SECOND, THIRD
from ..machine.memory import CONST, HBM, PSUM, Meta
from ..machine.target import Target
from .broadcast import Broadcasts, spreads_row
from .cost import Cost, cost_of
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
from .resources import is_cold, take_ports, transfer, wait_for_ports
from .state import (
    ANTI,
    BUSY,
    DATA,
    EACH,
    NOBODY,
    OUTPUT,
    START,
    STATIONARY,
    TABLE,
    Core,
    Options,
    Placed,
    lanes_of,
)
from .timing import Timing


class Placer:
    """A program while its records are placed."""

    def __init__(
        self,
        program: Execution,
        base: float,
        timing: Timing,
        target: Target,
        out: Placed,
        options: Options,
        first_core: int,
        neighbours: int,
    ) -> None:
        self.tape = program.tape.entries
        self.base = base
        self.timing = timing
        self.options = options
        self.out = out
        self.costs = out.costs
        kinds = self._survey()
        self.rows = Broadcasts(self.tape) if any(map(spreads_row, kinds)) else None
        self.written: list[Any] = []
        """The tensors in HBM that were written, whose marks nobody else clears."""
        self.done: dict[tuple[Any, ...], Region] = {}
        """What is there already, by what it was made of (`as_compiled`)."""
        self.bank = target.psum_bank_bytes
        # that tiles may fill
        capacity = (int(target.sbuf_partition_bytes * timing.sbuf_share), target.psum_banks)
        self.cores = [Core(first_core + k, timing, base, capacity) for k in range(options.cores)]
        # cores that share a stack of HBM get equal parts of it
        neighbours = max(neighbours, min(options.cores, 2))
        self.sharing = (
            max(1.0, neighbours * timing.dma_bandwidth / timing.hbm_stack)
            if neighbours > 1
            else 1.0
        )
        self.core = self.cores[0]
        """The one whose turn it is."""
        self.nowhere = lanes_of(timing) - 1
        self.instances = program.instances

    def turns(self) -> Iterator[tuple[Core, int]]:
        """Which core runs the records up to which place on the tape."""
        ends = [*self.instances[1:], len(self.tape)] if len(self.cores) > 1 else [len(self.tape)]
        for number, end in enumerate(ends):
            self.core = self.cores[number % len(self.cores)]
            yield self.core, end
        for buf in self.written:
            buf.mark = None

    def _survey(self) -> Iterable[Any]:
        """Mark each buffer with the place on the tape of the record that touches it last; returns
        the signatures that occur.

        Its mark remains that, or becomes one again, while no record before has used it. Then it is
        what `regions.find` says.
        """
        tape = self.tape
        self.masked: set[Any] = set()
        """The signatures of records that a mask or picked elements make special. Each has one
        record (`masked._signature`)."""
        widths: dict[Any, int] = {}
        at, n = 0, len(tape)
        dst, first, second, third = DST, FIRST, SECOND, THIRD  # local names are sooner found
        while True:  # see `schedule.place`
            if at >= n:
                break
            signature = tape[at]
            try:
                width = widths[signature]
            except KeyError:
                width = widths[signature] = signature.width
                share = tape[at + width - 1]
                if share is not None:
                    self.masked.add(signature)
                    for picked in share.picks:
                        picked.buffer.mark = at
            tape[at + dst].mark = at
            if width == 8:  # the usual numbers of sources, as fast as can be
                tape[at + first].mark = at
            elif width == 10:
                tape[at + first].mark = at
                tape[at + second].mark = at
            elif width == 12:
                tape[at + first].mark = at
                tape[at + second].mark = at
                tape[at + third].mark = at
            else:
                for k in range(at + first, at + width - 1, OPERAND):
                    tape[k].mark = at
            at += width
        return widths

    def place(self, core: Core, at: int, record: int) -> int:
        """Place the record at `at` of the tape, the `record`th / `EACH`; returns where the next one
        begins."""
        # whole, because it runs once per record: the calls of its parts would be a twentieth of its
        # time (benchmarks/decode_speed.py)
        tape, base, timing = self.tape, self.base, self.timing
        signature = tape[at]
        cost = self.costs.get(signature)
        if cost is None:
            cost = self.costs[signature] = cost_of(signature, timing)
        if self.rows is not None and (cost.index == 1 or cost.index == 2):
            cost = self.rows.cost(cost, signature, tape, at, self.costs, timing)
        end_at = at + cost.width
        me = cost.index
        t, cause = base, NOBODY | START

        # what it reads must have been written
        reads = []
        for position, meta in cost.reads:
            buf = tape[at + position]
            if buf.role != "input":  # which nobody writes
                region, t, cause = self.read(
                    buf, meta or buf.meta, tape[at + position + 1] if meta else 0, t, cause
                )
                reads.append(region)
        share = tape[end_at - 1]
        if share is not None:  # the tiles of indices that pick its elements
            for buf, offset, meta in share.picks:
                region, t, cause = self.read(buf, meta, offset, t, cause)
                reads.append(region)

        # what it overwrites must have been read, and written by whoever wrote it before; a tile
        # that is new needs room
        renames = share is None and overwrites(signature, cost)
        into, t, cause = self.destination(core, at, at + DST, cost.dst, me, t, cause, renames)
        second = None
        if cost.extra is not None:
            second, t, cause = self.destination(
                core, at, end_at - 1 - OPERAND, cost.extra, me, t, cause, renames
            )

        if me < 0:
            part = 1.0 if share is None else share[0] / share[1]
            cost.uses += part
            t, busy, lane, cause = transfer(
                core, cost, part * self.sharing, t, cause, record, timing, self.options.hoist_loads
            )
            avail = end = busy + timing.dma_done
        elif self.rows is not None and at in self.rows.removed:
            busy = end = avail = t
            lane = self.nowhere
        elif (
            self.options.as_compiled
            and (known := self._known(signature, at, cost, into)) is not None
        ):
            if known[AVAIL] > t:
                t, cause = known[AVAIL], known[WRITER] | DATA
            busy = end = avail = t
            lane = self.nowhere
        else:
            cost.uses += 1.0
            if (
                self.options.as_compiled
                and cost.on_scalar is not None
                and core.free[2] < core.free[1]
            ):
                cost, me = cost.on_scalar, 2
            t, busy, end, cause = self._engine(core, cost, signature, at, reads, t, cause, record)
            avail = end + timing.handoff
            lane = me

        for region in reads:
            if busy > region[READ]:
                region[READ], region[READER] = busy, record
        if avail > into[AVAIL]:
            into[AVAIL], into[WRITER] = avail, record
        into[ENGINE] = me
        if second is not None:
            second[AVAIL], second[WRITER], second[ENGINE] = max(avail, second[AVAIL]), record, me
        self.finish(core, at, end_at - 1)
        out = self.out
        out.start.append(t)
        out.cause.append(cause)
        out.kind.append(0)
        out.busy_end.append(busy)
        out.end.append(end)
        out.lane.append(core.first_lane + lane)
        return end_at

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

    def _engine(
        self,
        core: Core,
        cost: Cost,
        signature: Any,
        at: int,
        reads: list[Region],
        t: float,
        cause: int,
        record: int,
    ) -> tuple[float, float, float, int]:
        """Place an instruction on its engine: (start, end of occupancy, end, cause)."""
        me, occupancy, latency = cost.index, cost.occupancy, cost.latency
        if core.free[me] > t:
            t, cause = core.free[me], core.last[me] | BUSY
        if me == 0:
            # TensorE loads the stationary operand behind the matmul before, unless it holds it
            # already
            stationary = reads[0]
            key = (stationary, stationary[WRITER], signature.srcs[0])
            held = core.stationary
            if held[0] is not stationary or held[1] != key[1] or held[2] is not key[2]:
                core.stationary = key
                began, by = stationary[AVAIL], stationary[WRITER]
                if core.array_start > began:
                    began, by = core.array_start, core.last[0]
                if began + cost.stationary > t:
                    t, cause = began + cost.stationary, by | STATIONARY
                    self.out.loading[record] = began
            if cost.tile is not None:
                if core.tiles.get(cost.tile, self.base) > t:
                    t, cause = core.tiles[cost.tile], core.last[0] | BUSY
                    self.out.loading.pop(record, None)
                core.tiles[cost.tile] = t + cost.tile_time
            if self.options.throttle and self.timing.throttled:
                if is_cold(core, t, self.timing):
                    occupancy, latency = 2 * occupancy, latency + occupancy
                core.warm.append((t, t + occupancy))
            core.array_start = t
        else:
            if cost.shared:
                t, cause = wait_for_ports(core, cost, t, cause)
            if cost.table is not None and cost.table != core.table:
                core.table = cost.table
                self.out.loading[record] = t
                t, cause = t + self.timing.table_load, cause & -EACH | TABLE
        busy = t + occupancy
        core.free[me], core.last[me] = busy, record
        if cost.shared:
            take_ports(core, cost, busy, record)
        return t, busy, t + latency, cause

    def _known(self, signature: Any, at: int, cost: Cost, into: Region) -> Region | None:
        """The region with the result of the same instruction on the same, unchanged operands, if
        one ran before."""
        if signature.plan.stateful or len(cost.reads) < len(signature.srcs) or not cost.reads:
            return None  # of constants only the type is recorded
        key: tuple[Any, ...] = (signature,)
        for k, meta in cost.reads:
            buf, offset = self.tape[at + k], self.tape[at + k + 1]
            region = find(buf, meta or buf.meta, offset if meta else 0)
            key += (buf, offset, region[WRITER], *(other[WRITER] for other in region[OTHERS]))
        known = self.done.get(key)
        if known is None:
            self.done[key] = into
        return known

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


def overwrites(signature: Any, cost: Cost) -> bool:
    """Whether an instruction on chip makes its whole destination, and reads nothing that it
    does not wait for: a matmul that adds to PSUM does."""
    sources = sum(m.space != CONST for m in signature.srcs)
    return cost.dst is not None and cost.dst.space != HBM and sources == len(cost.reads)
