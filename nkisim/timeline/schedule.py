"""Placing the records of a run on engines and DMA queues, in program order.

Every time here is a maximum of earlier times plus a constant: engines, queues, ports and DMA bandwidth are taken in program
order, memory in the order in which it is released. So more work, or later work, never makes anything earlier. The one
exception is physical: an activation may load the table that a later one would have loaded when its data had come.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from typing import Any

from ..isa.core import GPSIMD, SCALAR
from ..memory import HBM, PSUM
from ..program import Program
from ..target import Target
from .broadcast import Broadcasts, spreads_row
from .cost import ENGINES, Cost, cost_of
from .regions import AVAIL, ENGINE, OTHERS, READ, READER, WRITER, find, release
from .timing import Timing

REASONS = ("start", "engine busy", "data", "anti", "output", "port", "psum bank", "memory", "dma queue", "dma order",
           "stationary load", "table load")
"""Why an instruction did not start earlier."""
(START, BUSY, DATA, ANTI, OUTPUT, PORT, BANK, MEMORY, QUEUE, ORDER, STATIONARY, TABLE) = range(len(REASONS))



@dataclass(frozen=True, kw_only=True)
class Options:
    """How to schedule; see `Run.timeline`."""

    hoist_loads: bool = True
    reuse: bool = False
    throttle: bool = False
    cores: int = 1


def lanes_of(timing: Timing) -> int:
    """Lanes of a core: its engines, the queues of loads and of other transfers, one for instructions that take no time."""
    return len(ENGINES) + 2 * timing.dma_queues + 1


class Core:
    """The state of one NeuronCore while records are placed. Times in ns."""

    def __init__(self, number: int, timing: Timing, base: float) -> None:
        self.first_lane = number * lanes_of(timing)
        self.free = [base] * 4
        """Until when each engine is occupied, and by which record."""
        self.last = [-1] * 4
        self.sbuf_port = [(base, -1), (base, -1)]
        """Until when VectorE, and GpSimdE, use the way to SBUF that they share, and with which record."""
        self.psum_port = [(base, -1), (base, -1)]
        """The same for VectorE and ScalarE, and PSUM."""
        self.array_start = base
        """When TensorE started its last matmul: from then on the next stationary operand can be loaded."""
        self.stationary: Any = None
        self.tiles: dict[tuple, float] = {}
        """Until when each tile of a tiled PE array is occupied."""
        self.warm: deque[tuple[float, float]] = deque()
        """When TensorE was busy lately."""
        self.table: str | None = None
        self.queues = [[(base, k, -1) for k in range(timing.dma_queues)] for _ in range(2)]
        """Until when each queue (of loads, of other transfers) is occupied, its number, by which record; a heap."""
        self.issued = [(base, -1), (base, -1)]
        """The last trigger of a load, and of another transfer."""
        self.data = [base, base]
        """Until when DMA bandwidth is given away: to loads and everything before, and to other transfers."""
        self.room = [0, 0]
        """Bytes a partition of SBUF, banks of PSUM that are taken."""
        self.freed: list[list[tuple[float, int, int]]] = [[], []]
        """Memory that is released: when, by which record, how much; a heap each."""


class Placed:
    """What `place` fills in, one entry a record."""

    def __init__(self) -> None:
        self.start: list[float] = []
        self.busy_end: list[float] = []
        self.end: list[float] = []
        self.lane: list[int] = []
        self.waited_for: list[int] = []
        self.reason: list[int] = []
        self.costs: dict[Any, Cost] = {}
        """Of each signature that ran."""


def _survey(tape: list[Any]) -> tuple[dict[int, list[Any]], set[Any]]:
    """By its place on the tape, the buffers that no later record touches; and the signatures that occur."""
    last: dict[Any, int] = {}
    kinds = set()
    at, n = 0, len(tape)
    while at < n:
        signature = tape[at]
        kinds.add(signature)
        end = at + signature.width
        last[tape[at + 3]] = last[tape[at + 5]] = at  # of an instruction without sources the second is None
        if end - at > 8:
            for k in range(at + 7, end - 1, 2):
                last[tape[k]] = at
        share = tape[end - 1]
        if share is not None and len(share) > 2:
            for buf, _, _ in share[2]:
                last[buf] = at
        at = end
    dying: dict[int, list[Any]] = {}
    for buf, at in last.items():
        found = dying.get(at)
        if found is None:
            dying[at] = [buf]
        else:
            found.append(buf)
    return dying, kinds


def place(program: Program, base: float, timing: Timing, target: Target, out: Placed, options: Options, first_core: int = 0,
          neighbours: int = 1) -> float:
    """Place the records of `program` from the time `base` on, behind those in `out`; returns when the last result is there.

    It runs on `options.cores` cores from `first_core` on, while so many `neighbours` (itself among them) use its stack of HBM.

    One long loop over plain lists, since it is to take 2 microseconds a record: what a record needs of its signature is in its
    `Cost`, what it needs of its operands in their `Region`.
    """
    tape, costs = program.tape, out.costs
    dying, kinds = _survey(tape)
    rows = Broadcasts(tape) if any(map(spreads_row, kinds)) else None
    done: dict[tuple, Any] = {}
    regions: dict[Any, Any] = {}
    held: dict[Any, tuple[int, int]] = {}
    capacity = (int(target.sbuf_partition_bytes * timing.sbuf_share), target.psum_banks)
    bank = target.psum_bank_bytes
    cores = [Core(first_core + k, timing, base) for k in range(options.cores)]
    marks = [*program.instances, len(tape)] if options.cores > 1 else [0, len(tape)]
    instance, mark = 0, 0
    core = cores[0]
    start_of, busy_of, end_of, lane_of = out.start.append, out.busy_end.append, out.end.append, out.lane.append
    waited_of, reason_of = out.waited_for.append, out.reason.append
    region_of, cost_known, dies = regions.get, costs.get, dying.get
    handoff, nowhere = timing.handoff, lanes_of(timing) - 1
    throttle = options.throttle and timing.throttled
    # cores that share a stack of HBM get equal parts of it
    neighbours = max(neighbours, min(options.cores, 2))
    sharing = max(1.0, neighbours * timing.dma_bandwidth / timing.hbm_stack) if neighbours > 1 else 1.0
    finish, index, at, n = base, len(out.start), 0, len(tape)
    while at < n:
        if at >= mark:
            while at >= marks[instance]:
                core = cores[instance % options.cores]
                instance += 1
            mark = marks[instance]
            free, last, room, freed = core.free, core.last, core.room, core.freed
        signature = tape[at]
        cost = cost_known(signature)
        if cost is None:
            cost = costs[signature] = cost_of(signature, timing)
        if rows is not None and (cost.index == 1 or cost.index == 2):
            cost = rows.cost(cost, signature, tape, at, costs, timing)
        end_at = at + cost.width
        me = cost.index
        t, why, who = base, START, -1

        # what it reads must have been written
        reads = []
        for position, meta in cost.reads:
            buf = tape[at + position]
            offset = tape[at + position + 1]
            region = region_of(buf)
            if region.__class__ is not list or region[0] is not meta or region[1] != offset:
                if buf.role == "input":  # nobody writes it
                    continue
                region = find(regions, buf, meta or buf.meta, offset if meta else 0)
            reads.append(region)
            if region[AVAIL] > t:
                t, why, who = region[AVAIL], DATA, region[WRITER]
            if region[OTHERS]:
                for other in region[OTHERS]:
                    if other[AVAIL] > t:
                        t, why, who = other[AVAIL], DATA, other[WRITER]

        share = tape[end_at - 1]
        if share is not None and len(share) > 2:  # the tiles of indices that pick its elements
            for buf, offset, meta in share[2]:
                region = find(regions, buf, meta, offset)
                reads.append(region)
                for other in (region, *region[OTHERS]):
                    if other[AVAIL] > t:
                        t, why, who = other[AVAIL], DATA, other[WRITER]

        # what it overwrites must have been read, and written by whoever wrote it before; a tile that is new needs room
        dst = tape[at + 3]
        into = region_of(dst)
        meta, offset = cost.dst, tape[at + 4]
        if meta is None:
            meta, offset = dst.meta, 0
        if into is None:
            into = regions[dst] = [meta, offset, 0.0, -1, -2, 0.0, -1, ()]
            if meta.space != HBM:
                layout = dst.meta
                psum = layout.space == PSUM
                need = -(-layout.psum_partition_bytes // bank) if psum else layout.sbuf_partition_bytes
                held[dst] = (psum, need)
                room[psum] += need
                if room[psum] > capacity[psum]:
                    t, why, who = _wait_for_room(psum, room, freed, capacity, t, why, who)
        else:
            if into.__class__ is not list or into[0] is not meta or into[1] != offset:
                into = find(regions, dst, meta, offset)
            if into[READ] > t:
                t, why, who = into[READ], ANTI, into[READER]
            if into[AVAIL] > t and (into[ENGINE] != me or me < 0):
                t, why, who = into[AVAIL], OUTPUT, into[WRITER]
            if into[OTHERS]:
                t, why, who = _overwritten(into[OTHERS], me, t, why, who)
        second = None
        if cost.extra is not None:
            buf = tape[end_at - 3]
            if buf not in regions and buf.meta.space != HBM:
                psum = buf.meta.space == PSUM
                need = -(-buf.meta.psum_partition_bytes // bank) if psum else buf.meta.sbuf_partition_bytes
                held[buf] = (psum, need)
                room[psum] += need
                t, why, who = _wait_for_room(psum, room, freed, capacity, t, why, who)
            second = find(regions, buf, cost.extra, tape[end_at - 2])
            t, why, who = _overwritten((second, *second[OTHERS]), me, t, why, who)

        if me < 0:
            part = 1.0 if share is None else share[0] / share[1]
            cost.uses += part
            t, busy, lane, why, who = _transfer(core, cost, part * sharing, t, why, who, index, timing, options.hoist_loads)
            avail = end = busy + timing.dma_done
        elif rows is not None and at in rows.removed:
            busy = end = avail = t
            lane = nowhere
        elif options.reuse and (known := _known(done, signature, tape, at, cost, into, regions)) is not None:
            if known[AVAIL] > t:
                t, why, who = known[AVAIL], DATA, known[WRITER]
            busy = end = avail = t
            lane = nowhere
        else:
            cost.uses += 1.0
            if free[me] > t:
                t, why, who = free[me], BUSY, last[me]
            occupancy, latency = cost.occupancy, cost.latency
            if me == 0:
                # TensorE loads the stationary operand behind the matmul before, unless it holds it already
                stationary = reads[0]
                key = (tape[at + 5], tape[at + 6], signature.srcs[0], stationary[WRITER])
                if key != core.stationary:
                    core.stationary = key
                    ready = max(stationary[AVAIL], core.array_start) + cost.stationary
                    if ready > t:
                        t, why = ready, STATIONARY
                if cost.tile is not None:
                    if core.tiles.get(cost.tile, base) > t:
                        t, why, who = core.tiles[cost.tile], BUSY, last[0]
                    core.tiles[cost.tile] = t + cost.tile_time
                if throttle:
                    if _cold(core, t, timing):
                        occupancy, latency = 2 * occupancy, latency + occupancy
                    core.warm.append((t, t + occupancy))
                core.array_start = t
            else:
                if cost.shared:
                    t, why, who = _ports(core, cost, t, why, who)
                if cost.table is not None and cost.table != core.table:
                    core.table = cost.table
                    t, why = t + timing.table_load, TABLE
            busy, end = t + occupancy, t + latency
            avail = end + handoff
            free[me], last[me] = busy, index
            lane = me
            if cost.shared:
                _take_ports(core, cost, busy, index)

        for region in reads:
            if busy > region[READ]:
                region[READ], region[READER] = busy, index
        if avail > into[AVAIL]:
            into[AVAIL], into[WRITER] = avail, index
        into[ENGINE] = me
        if second is not None:
            second[AVAIL], second[WRITER], second[ENGINE] = max(avail, second[AVAIL]), index, me
        dead = dies(at)
        if dead is not None:
            for buf in dead:
                if buf in held:
                    region = regions[buf]
                    if rows is not None or region.__class__ is not list:
                        _give_back(buf, held, regions, freed, rows)
                    else:
                        psum, need = held.pop(buf)
                        del regions[buf]
                        if region[READ] > region[AVAIL]:
                            heappush(freed[psum], (region[READ], region[READER], need))
                        else:
                            heappush(freed[psum], (region[AVAIL], region[WRITER], need))
        start_of(t)
        busy_of(busy)
        end_of(end)
        lane_of(core.first_lane + lane)
        waited_of(who)
        reason_of(why)
        if end > finish:
            finish = end
        index += 1
        at = end_at
    return finish


def _known(done: dict[tuple, Any], signature: Any, tape: list[Any], at: int, cost: Cost, into: Any,
           regions: dict[Any, Any]) -> Any:
    """The region with the result of the same instruction on the same, unchanged operands, if one ran before."""
    if signature.plan.stateful or len(cost.reads) < len(signature.srcs) or not cost.reads:
        return None  # of constants only the type is recorded
    key: tuple = (signature,)
    for k, meta in cost.reads:
        buf, offset = tape[at + k], tape[at + k + 1]
        region = find(regions, buf, meta or buf.meta, offset if meta else 0)
        key += (buf, offset, region[WRITER], *(other[WRITER] for other in region[OTHERS]))
    known = done.get(key)
    if known is None:
        done[key] = into
    return known


def _wait_for_room(psum: bool, room: list[int], freed: list[list[tuple[float, int, int]]], capacity: tuple[int, int], t: float,
                   why: int, who: int) -> tuple[float, int, int]:
    """Wait until so many bytes of SBUF, or banks of PSUM, are released that those in use have room.

    Tiles that a later record still touches are never waited for: if they alone are too many (small tiles may share a bank),
    nobody waits.
    """
    heap = freed[psum]
    while room[psum] > capacity[psum] and heap:
        when, by, size = heappop(heap)
        room[psum] -= size
        if when > t:
            t, why, who = when, BANK if psum else MEMORY, by
    return t, why, who


def _give_back(buf: Any, held: dict[Any, tuple[int, int]], regions: dict[Any, Any],
               freed: list[list[tuple[float, int, int]]], rows: Broadcasts | None) -> None:
    """Release the memory of a tile that nothing touches any more, at the time when everything about it is over."""
    if rows is not None and buf in rows.kept:
        return
    psum, need = held.pop(buf)
    region = regions.pop(buf)
    if region.__class__ is not list:
        when, by = release(region)
    elif region[READ] > region[AVAIL]:
        when, by = region[READ], region[READER]
    else:
        when, by = region[AVAIL], region[WRITER]
    heappush(freed[psum], (when, by, need))
    if rows is not None and buf in rows.in_psum:
        product = rows.in_psum[buf]
        heappush(freed[1], (when, by, held.pop(product)[1]))
        del regions[product]


def _overwritten(regions: tuple[Any, ...], me: int, t: float, why: int, who: int) -> tuple[float, int, int]:
    """Wait until these regions have been read, and written by other engines."""
    for other in regions:
        if other[READ] > t:
            t, why, who = other[READ], ANTI, other[READER]
        if other[AVAIL] > t and (other[ENGINE] != me or me < 0):
            t, why, who = other[AVAIL], OUTPUT, other[WRITER]
    return t, why, who


def _transfer(core: Core, cost: Cost, part: float, t: float, why: int, who: int, index: int, timing: Timing,
              hoist_loads: bool) -> tuple[float, float, int, int, int]:
    """Place a transfer that could start at `t`: (start, end of its data, lane, reason, record waited for).

    Loads are triggered in program order, and so are the others (stores, copies, gathers on chip). With `hoist_loads`
    the two do not wait for each other; without, all are one sequence. The engines' bandwidth is given away in that order too.
    The others take theirs from the loads at their place in the program, so that no byte is moved for nothing, whenever
    they really start.
    """
    other = cost.outbound
    stream = other if hoist_loads else 0
    issued, issuer = core.issued[stream]
    if issued > t:
        t, why, who = issued, ORDER, issuer
    when, queue, user = core.queues[other][0]
    if when > t:
        t, why, who = when, QUEUE, user
    core.issued[stream] = (t + timing.dma_issue, index)
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
    heapreplace(core.queues[other], (busy, queue, index))
    return t, busy, len(ENGINES) + other * timing.dma_queues + queue, why, who


def _ports(core: Core, cost: Cost, t: float, why: int, who: int) -> tuple[float, int, int]:
    """Wait until the other engine leaves the ports that both need (NeuronCore-v2)."""
    for needed, port, mine in ((cost.sbuf_port, core.sbuf_port, cost.engine == GPSIMD),
                               (cost.psum_port, core.psum_port, cost.engine == SCALAR)):
        if needed and port[not mine][0] > t:
            t, why, who = port[not mine][0], PORT, port[not mine][1]
    return t, why, who


def _take_ports(core: Core, cost: Cost, busy: float, index: int) -> None:
    if cost.sbuf_port:
        core.sbuf_port[cost.engine == GPSIMD] = (busy, index)
    if cost.psum_port:
        core.psum_port[cost.engine == SCALAR] = (busy, index)


def _cold(core: Core, t: float, timing: Timing) -> bool:
    """Whether TensorE was busy for less than half of the window before `t`, so that its clock is halved."""
    begin = t - timing.throttle_window
    while core.warm and core.warm[0][1] <= begin:
        core.warm.popleft()
    busy = sum(end - max(start, begin) for start, end in core.warm)
    return busy < 0.5 * timing.throttle_window
