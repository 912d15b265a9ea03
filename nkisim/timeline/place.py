"""Placing one record, whatever it is: the rules of the model of time. `schedule.place` has a short way for the usual ones."""

from __future__ import annotations

from bisect import insort
from heapq import heappop, heappush
from typing import Any

from ..isa.core import GPSIMD, SCALAR
from ..memory import HBM, PSUM
from ..program import Program
from ..target import Target
from .broadcast import Broadcasts, spreads_row
from .cost import ENGINES, Cost, cost_of
from .regions import AVAIL, BANKED, ENGINE, NEED, OTHERS, READ, READER, WRITER, Region, Regions, find, first_of, release
from .state import (
    ANTI,
    BANK,
    BUSY,
    DATA,
    EACH,
    MEMORY,
    NOBODY,
    ORDER,
    OUTPUT,
    PORT,
    QUEUE,
    START,
    STATIONARY,
    TABLE,
    Core,
    Options,
    Placed,
    lanes_of,
)
from .timing import Timing


class Placing:
    """A program while its records are placed."""

    def __init__(self, program: Program, base: float, timing: Timing, target: Target, out: Placed, options: Options,
                 first_core: int, neighbours: int) -> None:
        self.tape = program.tape
        self.base = base
        self.timing = timing
        self.options = options
        self.out = out
        self.costs = out.costs
        kinds = self._survey()
        self.rows = Broadcasts(self.tape) if any(map(spreads_row, kinds)) else None
        self.done: dict[tuple, Region] = {}
        """What is there already, by what it was made of (`as_compiled`)."""
        self.regions: Regions = {}
        self.capacity = (int(target.sbuf_partition_bytes * timing.sbuf_share), target.psum_banks)
        """Bytes of an SBUF partition, banks of PSUM that tiles may fill."""
        self.bank = target.psum_bank_bytes
        self.cores = [Core(first_core + k, timing, base) for k in range(options.cores)]
        # cores that share a stack of HBM get equal parts of it
        neighbours = max(neighbours, min(options.cores, 2))
        self.sharing = max(1.0, neighbours * timing.dma_bandwidth / timing.hbm_stack) if neighbours > 1 else 1.0
        self.nowhere = lanes_of(timing) - 1

    def _survey(self) -> set[Any]:
        """Find where each buffer is touched for the last time; returns the signatures that occur.

        `final[k]` is 1 if tape[k] is a buffer that nothing after it touches. Of a record that writes what it reads the
        destination counts. `picked` has the buffers that a record touches last as tiles of indices, by its place.
        """
        tape = self.tape
        last: dict[Any, int] = {}
        kinds = set()
        picks = False
        self.masked: set[Any] = set()
        """The signatures of records that a mask or picked elements make special."""
        at, n = 0, len(tape)
        while at < n:
            signature = tape[at]
            kinds.add(signature)
            end = at + signature.width
            if end - at > 6:
                last[tape[at + 5]] = at + 5
                if end - at > 8:
                    for k in range(at + 7, end - 1, 2):
                        last[tape[k]] = k
            if tape[end - 1] is not None:
                self.masked.add(signature)
                for tiles in tape[end - 1][2:]:
                    picks = True
                    for buf, _, _ in tiles:
                        last[buf] = at
            last[tape[at + 3]] = at + 3
            at = end
        self.final = bytearray(n)
        self.picked: dict[int, list[Any]] = {}
        for k in last.values():
            self.final[k] = 1
        if picks:
            for buf, k in last.items():
                if tape[k] is not buf:
                    self.picked.setdefault(k, []).append(buf)
        return kinds

    def place(self, core: Core, at: int, record: int) -> int:
        """Place the record at `at` of the tape, the `record`th / `EACH`; returns where the next one begins."""
        tape, base, timing, regions = self.tape, self.base, self.timing, self.regions
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
            if buf.role == "input":  # nobody writes it
                continue
            reads.append(find(regions, buf, meta or buf.meta, tape[at + position + 1] if meta else 0))
        share = tape[end_at - 1]
        if share is not None and len(share) > 2:  # the tiles of indices that pick its elements
            reads += [find(regions, buf, meta, offset) for buf, offset, meta in share[2]]
        for region in reads:
            for other in (region, *region[OTHERS]) if region[OTHERS] else (region,):
                if other[AVAIL] > t:
                    t, cause = other[AVAIL], other[WRITER] | DATA

        # what it overwrites must have been read, and written by whoever wrote it before; a tile that is new needs room
        into, t, cause = self._destination(core, tape[at + 3], cost.dst, tape[at + 4], me, t, cause)
        second = None
        if cost.extra is not None:
            second, t, cause = self._destination(core, tape[end_at - 3], cost.extra, tape[end_at - 2], me, t, cause)

        if me < 0:
            part = 1.0 if share is None else share[0] / share[1]
            cost.uses += part
            t, busy, lane, cause = _transfer(core, cost, part * self.sharing, t, cause, record, timing,
                                             self.options.hoist_loads)
            avail = end = busy + timing.dma_done
        elif self.rows is not None and at in self.rows.removed:
            busy = end = avail = t
            lane = self.nowhere
        elif self.options.as_compiled and (known := self._known(signature, at, cost, into)) is not None:
            if known[AVAIL] > t:
                t, cause = known[AVAIL], known[WRITER] | DATA
            busy = end = avail = t
            lane = self.nowhere
        else:
            cost.uses += 1.0
            if self.options.as_compiled and cost.on_scalar is not None and core.free[2] < core.free[1]:
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
        for k in range(at + 3, end_at - 1, 2):
            if self.final[k]:
                self.give_back(tape[k], core)
        for buf in self.picked.get(at, ()):
            self.give_back(buf, core)
        out = self.out
        out.start.append(t)
        out.busy_end.append(busy)
        out.end.append(end)
        out.lane.append(core.first_lane + lane)
        out.cause.append(cause)
        return end_at

    def _destination(self, core: Core, buf: Any, meta: Any, offset: int, me: int, t: float,
                     cause: int) -> tuple[Region, float, int]:
        """The region that is written, and the wait until it can be."""
        if meta is None:  # its elements are picked: any part of the buffer
            meta, offset = buf.meta, 0
        new = buf not in self.regions
        into = find(self.regions, buf, meta, offset)
        if new and meta.space != HBM:
            layout = buf.meta
            into[BANKED] = layout.space == PSUM
            into[NEED] = -(-layout.psum_partition_bytes // self.bank) if into[BANKED] else layout.sbuf_partition_bytes
            core.room[into[BANKED]] += into[NEED]
            t, cause = wait_for_room(into[BANKED], core.room, core.freed, self.capacity, t, cause)
        for other in (into, *into[OTHERS]):
            if other[READ] > t:
                t, cause = other[READ], other[READER] | ANTI
            if other[AVAIL] > t and (other[ENGINE] != me or me < 0):
                t, cause = other[AVAIL], other[WRITER] | OUTPUT
        return into, t, cause

    def _engine(self, core: Core, cost: Cost, signature: Any, at: int, reads: list[Region], t: float, cause: int,
                record: int) -> tuple[float, float, float, int]:
        """Place an instruction on its engine: (start, end of occupancy, end, cause)."""
        me, occupancy, latency = cost.index, cost.occupancy, cost.latency
        if core.free[me] > t:
            t, cause = core.free[me], core.last[me] | BUSY
        if me == 0:
            # TensorE loads the stationary operand behind the matmul before, unless it holds it already
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
                if _cold(core, t, self.timing):
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
        """The region with the result of the same instruction on the same, unchanged operands, if one ran before."""
        if signature.plan.stateful or len(cost.reads) < len(signature.srcs) or not cost.reads:
            return None  # of constants only the type is recorded
        key: tuple = (signature,)
        for k, meta in cost.reads:
            buf, offset = self.tape[at + k], self.tape[at + k + 1]
            region = find(self.regions, buf, meta or buf.meta, offset if meta else 0)
            key += (buf, offset, region[WRITER], *(other[WRITER] for other in region[OTHERS]))
        known = self.done.get(key)
        if known is None:
            self.done[key] = into
        return known

    def give_back(self, buf: Any, core: Core) -> None:
        """Release the memory of a tile that nothing touches any more, at the time when everything about it is over."""
        entry = self.regions.get(buf)
        if entry is None or (self.rows is not None and buf in self.rows.kept):
            return
        first = first_of(entry)
        if first[NEED] < 0:
            return
        when, by = release(entry)
        del self.regions[buf]
        heappush(core.freed[first[BANKED]], (when, by, first[NEED]))
        if self.rows is not None and buf in self.rows.in_psum:
            product = first_of(self.regions.pop(self.rows.in_psum[buf]))
            heappush(core.freed[1], (when, by, product[NEED]))


def wait_for_room(banked: bool, room: list[int], freed: list[list[tuple[float, int, int]]], capacity: tuple[int, int],
                  t: float, cause: int) -> tuple[float, int]:
    """Wait until so many bytes of SBUF, or banks of PSUM, are released that those in use have room.

    Tiles that a later record still touches are never waited for: if they alone are too many (small tiles may share a bank),
    nobody waits.
    """
    heap = freed[banked]
    while room[banked] > capacity[banked] and heap:
        when, by, size = heappop(heap)
        room[banked] -= size
        if when > t:
            t, cause = when, by | (BANK if banked else MEMORY)
    return t, cause


def _transfer(core: Core, cost: Cost, part: float, t: float, cause: int, record: int, timing: Timing,
              hoist_loads: bool) -> tuple[float, float, int, int]:
    """Place a transfer that could start at `t`: (start, end of its data, lane, cause).

    Loads are triggered in program order, and so are the others (stores, copies, gathers on chip). With `hoist_loads`
    the two do not wait for each other; without, all are one sequence. The engines' bandwidth is given away in that order too.
    The others take theirs from the loads at their place in the program, so that no byte is moved for nothing, whenever
    they really start.
    """
    other = cost.outbound
    stream = other if hoist_loads else 0
    if core.issued[stream] > t:
        t, cause = core.issued[stream], core.issuer[stream] | ORDER
    queues = core.queues[other]
    when, queue, user = queues.pop(0)
    if when > t:
        t, cause = when, user | QUEUE
    core.issued[stream], core.issuer[stream] = t + timing.dma_issue, record
    pool, alone = cost.occupancy * part, cost.latency * part
    begins = t + timing.dma_start
    if stream == 0:
        if core.data[0] > begins:
            begins = core.data[0]
        core.data[0] = begins + pool
        busy = begins + alone
    else:
        core.data[0] += pool
        if core.data[1] > begins:
            begins = core.data[1]
        core.data[1] = begins + pool
        busy = max(begins + alone, core.data[0])
    insort(queues, (busy, queue, record))
    return t, busy, len(ENGINES) + other * timing.dma_queues + queue, cause


def wait_for_ports(core: Core, cost: Cost, t: float, cause: int) -> tuple[float, int]:
    """Wait until the other engine leaves the ports that both need (NeuronCore-v2)."""
    for needed, port, mine in ((cost.sbuf_port, core.sbuf_port, cost.engine == GPSIMD),
                               (cost.psum_port, core.psum_port, cost.engine == SCALAR)):
        if needed and port[not mine][0] > t:
            t, cause = port[not mine][0], port[not mine][1] | PORT
    return t, cause


def take_ports(core: Core, cost: Cost, busy: float, record: int) -> None:
    """Note that an instruction uses its ports until `busy`."""
    if cost.sbuf_port:
        core.sbuf_port[cost.engine == GPSIMD] = (busy, record)
    if cost.psum_port:
        core.psum_port[cost.engine == SCALAR] = (busy, record)


def _cold(core: Core, t: float, timing: Timing) -> bool:
    """Whether TensorE was busy for less than half of the window before `t`, so that its clock is halved."""
    begin = t - timing.throttle_window
    while core.warm and core.warm[0][1] <= begin:
        core.warm.popleft()
    busy = sum(end - max(start, begin) for start, end in core.warm)
    return busy < 0.5 * timing.throttle_window
