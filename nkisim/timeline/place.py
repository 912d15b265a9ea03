"""Placing one record, whatever it is: the rules of the model of time. `schedule.place` has a short
way for the usual ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..execution.execution import Execution
from ..execution.tape import DST, FIRST, OPERAND, SECOND, THIRD
from ..machine.memory import CONST, HBM
from ..machine.target import Target
from .broadcast import Broadcasts, spreads_row
from .cost import Cost, cost_of
from .regions import AVAIL, ENGINE, OTHERS, READ, READER, WRITER, Region, find
from .resources import is_cold, take_ports, transfer, wait_for_ports
from .state import (
    BUSY,
    DATA,
    EACH,
    NOBODY,
    START,
    STATIONARY,
    TABLE,
    Core,
    Options,
    Placed,
    lanes_of,
)
from .tiles import Tiles
from .timing import Timing


class Placer(Tiles):
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
        super().__init__(program.tape.entries, target)
        self.base = base
        self.timing = timing
        self.options = options
        self.out = out
        self.costs = out.costs
        kinds = self._survey()
        self.rows = Broadcasts(self.tape) if any(map(spreads_row, kinds)) else None
        self.done: dict[tuple[Any, ...], Region] = {}
        """What is there already, by what it was made of (`as_compiled`)."""
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


def overwrites(signature: Any, cost: Cost) -> bool:
    """Whether an instruction on chip makes its whole destination, and reads nothing that it
    does not wait for: a matmul that adds to PSUM does."""
    sources = sum(m.space != CONST for m in signature.srcs)
    return cost.dst is not None and cost.dst.space != HBM and sources == len(cost.reads)
