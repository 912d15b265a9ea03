"""Placing the records of a run on engines and DMA queues, in program order.

Every time here is a maximum of earlier times plus a constant: engines, queues, ports and DMA bandwidth are taken in program
order, memory in the order in which it is released. So more work, or later work, never makes anything earlier. The one
exception is physical: an activation may load the table that a later one would have loaded when its data had come. (The
options `as_compiled` and `throttle` make others.)

The rules are in `place.Placing.place`, which places any record. The loop here does the same, inline, for the records that
make up nearly all of a run: a load of an input into a new tile, and an instruction whose sources and destination are each
used through one view only.
"""

from __future__ import annotations

from bisect import insort
from heapq import heappop, heappush
from typing import Any

from ..memory import HBM, PSUM
from ..program import Program
from ..target import Target
from .cost import ENGINES, Cost, cost_of
from .place import Placing, take_ports, wait_for_ports
from .state import START, Options, Placed
from .timing import Timing


def place(program: Program, base: float, timing: Timing, target: Target, out: Placed, options: Options, first_core: int = 0,
          neighbours: int = 1) -> float:
    """Place the records of `program` from the time `base` on, behind those in `out`; returns when the last result is there.

    It runs on `options.cores` cores from `first_core` on, while so many `neighbours` (itself among them) use its stack of HBM.
    """
    # imported here, so that the loop finds them among its local names
    from .regions import AVAIL, BANKED, ENGINE, LAYOUT, NEED, READ, READER, WRITER
    from .state import ANTI, BANK, BUSY, DATA, EACH, MEMORY, NOBODY, ORDER, OUTPUT, QUEUE, STATIONARY, TABLE

    placing = Placing(program, base, timing, target, out, options, first_core, neighbours)
    tape, cores, final, regions, capacity = program.tape, placing.cores, placing.final, placing.regions, placing.capacity
    marks = [*program.instances, len(tape)] if options.cores > 1 else [0, len(tape)]
    core, instance, mark = cores[0], 0, 0
    usuals: dict[Any, tuple | None] = {}
    starts, busy_ends, ends, lanes, causes, loading = out.start, out.busy_end, out.end, out.lane, out.cause, out.loading
    region_of, handoff, sharing, from_start = regions.get, timing.handoff, placing.sharing, NOBODY | START
    dma_issue, dma_start, dma_done = timing.dma_issue, timing.dma_start, timing.dma_done
    before = len(starts)
    record, at, n = before * EACH, 0, len(tape)
    while at < n:
        if at >= mark:
            while at >= marks[instance]:
                core = cores[instance % options.cores]
                instance += 1
            mark = marks[instance]
            free, last, room, freed, first_lane = core.free, core.last, core.room, core.freed, core.first_lane
            loads, issued, issuer, data = core.queues[0], core.issued, core.issuer, core.data
            first_queue = first_lane + len(ENGINES)
        signature = tape[at]
        try:
            usual = usuals[signature]
        except KeyError:
            usual = usuals[signature] = _usual(signature, placing)
        if usual is None:
            at = placing.place(core, at, record)
            record += EACH
            continue
        cost, me, end_at, layout, need, banked, occupancy, latency, more = usual
        end_at += at
        dst = tape[at + 3]
        into = region_of(dst)
        t = base
        cause = from_start

        # what it reads must have been written; and whether it is a usual record
        if me < 0:
            if into is not None or dst.meta is not layout or tape[at + 5].role != "input":
                at = placing.place(core, at, record)
                record += EACH
                continue
        else:
            one_layout, two_at, two_layout, three_at, three_layout, special = more
            try:
                one = regions[tape[at + 5]]
                fits = one[LAYOUT] is one_layout and (dst.meta is layout if into is None else into[LAYOUT] is layout)
                if two_at:
                    two = regions[tape[at + two_at]]
                    fits = fits and two[LAYOUT] is two_layout
                    if three_at:
                        three = regions[tape[at + three_at]]
                        fits = fits and three[LAYOUT] is three_layout
            except KeyError:
                fits = False
            if not fits:
                at = placing.place(core, at, record)
                record += EACH
                continue
            if one[AVAIL] > t:
                t = one[AVAIL]
                cause = one[WRITER] | DATA
            if two_at:
                if two[AVAIL] > t:
                    t = two[AVAIL]
                    cause = two[WRITER] | DATA
                if three_at and three[AVAIL] > t:
                    t = three[AVAIL]
                    cause = three[WRITER] | DATA

        # a new tile needs room; what is overwritten must have been read, and written by whoever wrote it before
        if into is None:
            room[banked] += need
            if room[banked] > capacity[banked]:
                heap = freed[banked]
                while heap and room[banked] > capacity[banked]:
                    when, by, size = heappop(heap)
                    room[banked] -= size
                    if when > t:
                        t = when
                        cause = by | (BANK if banked else MEMORY)
        else:
            if into[READ] > t:
                t = into[READ]
                cause = into[READER] | ANTI
            if into[AVAIL] > t and into[ENGINE] != me:
                t = into[AVAIL]
                cause = into[WRITER] | OUTPUT

        if me < 0:
            if issued[0] > t:
                t = issued[0]
                cause = issuer[0] | ORDER
            when, queue, user = loads.pop(0)
            if when > t:
                t = when
                cause = user | QUEUE
            issued[0] = t + dma_issue
            issuer[0] = record
            begins = t + dma_start
            if data[0] > begins:
                begins = data[0]
            data[0] = begins + occupancy * sharing
            busy = begins + latency * sharing
            if busy > loads[-1][0]:
                loads.append((busy, queue, record))
            else:
                insort(loads, (busy, queue, record))
            avail = end = busy + dma_done
            lanes.append(first_queue + queue)
        else:
            if free[me] > t:
                t = free[me]
                cause = last[me] | BUSY
            if me == 0:
                held = core.stationary
                if held[0] is not one or held[1] != one[WRITER] or held[2] is not one_layout:
                    core.stationary = (one, one[WRITER], one_layout)
                    began, by = (core.array_start, last[0]) if core.array_start > one[AVAIL] else (one[AVAIL], one[WRITER])
                    if began + special > t:
                        t = began + special
                        cause = by | STATIONARY
                        loading[record] = began
                core.array_start = t
            elif special is not None:
                if cost.shared:
                    t, cause = wait_for_ports(core, cost, t, cause)
                if special and special != core.table:
                    core.table = special
                    loading[record] = t
                    t += timing.table_load
                    cause = cause & -EACH | TABLE
                if cost.shared:
                    take_ports(core, cost, t + occupancy, record)
            busy = t + occupancy
            end = t + latency
            avail = end + handoff
            free[me] = busy
            last[me] = record
            lanes.append(first_lane + me)
            # what dies here is free when its last reader has read it; that was later than its last writer
            if final[at + 5] and one[NEED] >= 0:
                del regions[tape[at + 5]]
                heappush(freed[one[BANKED]], (busy, record, one[NEED]) if busy > one[READ]
                         else (one[READ], one[READER], one[NEED]))
            elif busy > one[READ]:
                one[READ] = busy
                one[READER] = record
            if two_at:
                if final[at + two_at] and two[NEED] >= 0:
                    del regions[tape[at + two_at]]
                    heappush(freed[two[BANKED]], (busy, record, two[NEED]) if busy > two[READ]
                             else (two[READ], two[READER], two[NEED]))
                elif busy > two[READ]:
                    two[READ] = busy
                    two[READER] = record
                if three_at:
                    if final[at + three_at] and three[NEED] >= 0:
                        del regions[tape[at + three_at]]
                        heappush(freed[three[BANKED]], (busy, record, three[NEED]) if busy > three[READ]
                                 else (three[READ], three[READER], three[NEED]))
                    elif busy > three[READ]:
                        three[READ] = busy
                        three[READER] = record

        if into is None:
            if final[at + 3]:
                heappush(freed[banked], (avail, record, need))
            else:
                regions[dst] = [layout, 0, avail, record, me, 0.0, NOBODY, (), need, banked]
        else:
            if avail > into[AVAIL]:
                into[AVAIL] = avail
                into[WRITER] = record
            into[ENGINE] = me
            if final[at + 3]:
                placing.give_back(dst, core)
        cost.uses += 1.0
        starts.append(t)
        busy_ends.append(busy)
        ends.append(end)
        causes.append(cause)
        record += EACH
        at = end_at
    return max(ends[before:], default=base)


def _usual(signature: Any, placing: Placing) -> tuple | None:
    """What the short way needs to know of an instruction, flat; None if its records go the general way.

    (cost, engine, entries of a record, layout of the destination, what a new destination occupies, whether it does so in
    PSUM, occupancy, latency, (layout of the first source, place in the record and layout of the second and of the third or
    0 and None, time to load a stationary operand or table to load))
    """
    options = placing.options
    if placing.rows is not None or options.as_compiled or signature in placing.masked:
        return None
    cost: Cost | None = placing.costs.get(signature)
    if cost is None:
        cost = placing.costs[signature] = cost_of(signature, placing.timing)
    me, layout, reads = cost.index, cost.dst, cost.reads
    if layout is None or layout.space == HBM or cost.extra is not None or any(m is None for _, m in reads):
        return None
    if not 1 <= len(reads) <= 3 or reads[0][0] != 5:
        return None
    special: Any
    if me < 0:
        if reads[0][1].space != HBM or len(reads) > 1:  # type: ignore[union-attr]
            return None
        special = None
    elif me == 0:
        if cost.tile is not None or options.throttle and placing.timing.throttled:
            return None
        special = cost.stationary
    else:
        special = "" if cost.table is None and cost.shared else cost.table
    banked = layout.space == PSUM
    need = -(-layout.psum_partition_bytes // placing.bank) if banked else layout.sbuf_partition_bytes
    _, (two_at, two), (three_at, three) = (*reads, (0, None), (0, None))[:3]
    return (cost, me, cost.width, layout, need, banked, cost.occupancy, cost.latency,
            (reads[0][1], two_at, two, three_at, three, special))
