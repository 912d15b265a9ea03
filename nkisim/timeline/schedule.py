"""Placing the records of a run on engines and DMA queues, in program order.

Every time here is a maximum of earlier times plus a constant: engines, queues, ports and DMA
bandwidth are taken in program order, memory in the order in which it is released. So more work, or
later work, never makes anything earlier. Two exceptions are physical: an activation may load the
table that a later one would have loaded when its data had come, and a tile that is overwritten as a
whole lies elsewhere from then on, so that nobody waits for readers of the old one. (The options
`as_compiled` and `throttle` make others.)

The rules are in `place.Placer.place`, which places any record. The loop here does the same,
inline, for the records that make up nearly all of a run: a load of an input into a tile, and an
instruction of one to three sources and one destination on chip. Fastest are those that use each of
them as a whole; a part of a tile costs a call. Which records are left to the general way, `_usual`
tells of an instruction, and the loop where it depends on the operands.

The loop is one long function on purpose: it takes one to three microseconds a record, of which a
further call is a twentieth or more, and every record would make several: for each source, for the
destination, for the engine. `benchmarks/decode_speed.py` measures it (timelines, microseconds a
record).
"""

from __future__ import annotations

from bisect import insort
from typing import Any

from ..execution import tape as tapes
from ..execution.execution import Execution
from ..machine.memory import HBM, PSUM
from ..machine.target import Target
from .broadcast import spreads_row
from .cost import ENGINES, Cost, cost_of
from .place import Placer, overwrites
from .resources import take_ports, wait_for_ports
from .state import QUEUED, Options, Placed
from .timing import Timing


def place(  # noqa: C901
    program: Execution,
    base: float,
    timing: Timing,
    target: Target,
    out: Placed,
    options: Options,
    first_core: int = 0,
    neighbours: int = 1,
) -> float:
    """Place the records of `program` from the time `base` on, behind those in `out`; returns when
    the last result is there.

    It runs on `options.cores` cores from `first_core` on, while so many `neighbours` (itself among
    them) use its stack of HBM.
    """
    # One function, since its loop runs once per record and keeps some forty names in local
    # variables. A record takes about 1.3 us (benchmarks/decode_speed.py), a call that passes six of
    # them on 0.03: cut into the five things that it does, a timeline would take at least a tenth
    # longer. The imports are here so that the loop finds them among those names.
    from ..execution.tape import DST, FIRST
    from .regions import AVAIL, BANKED, ENGINE, LAST, LAYOUT, NEED, READ, READER, WRITER
    from .state import (
        ANTI,
        BUSY,
        DATA,
        EACH,
        NOBODY,
        ORDER,
        OUTPUT,
        QUEUE,
        START,
        STATIONARY,
        TABLE,
    )

    placer = Placer(program, base, timing, target, out, options, first_core, neighbours)
    tape, view, destination, give_back = (
        program.tape.entries,
        placer.view,
        placer.destination,
        placer.give_back,
    )
    starts, causes, kinds, loading = out.start, out.cause, out.kind, out.loading
    busy_ends, lanes = out.busy_end, out.lane
    handoff, from_start = timing.handoff, NOBODY | START
    dma_issue, dma_start, dma_done = timing.dma_issue, timing.dma_start, timing.dma_done
    record, at = out.before * EACH, 0
    for core, mark in placer.turns():
        usuals, free, last, pools = core.usuals, core.free, core.last, core.pools
        loads, issued, issuer, data = core.queues[0], core.issued, core.issuer, core.data
        first_queue = core.first_lane + len(ENGINES)
        # and not `while at < mark`, which CPython 3.11 speeds up only from the eighth call of the
        # function on
        while True:
            if at >= mark:
                break
            signature = tape[at]
            try:
                usual = usuals[signature]
            except KeyError:
                usual = usuals[signature] = _usual(signature, placer)
            if usual is None:
                at = placer.place(core, at, record)
                record += EACH
                continue
            (
                cost,
                kind,
                me,
                width,
                layout,
                need,
                banked,
                pool,
                occupancy,
                latency,
                one_layout,
                two_at,
                two_layout,
                three_at,
                three_layout,
                special,
                renames,
            ) = usual
            viewed = False

            # what it reads must have been written
            if one_layout is not None:
                try:
                    one = tape[at + FIRST].mark
                    if one[LAYOUT] is one_layout:
                        t = one[AVAIL]
                        cause = one[WRITER] | DATA
                        if t <= base:
                            t = base
                            cause = from_start
                    else:
                        one, t, cause = view(
                            tape[at + FIRST], one_layout, tape[at + FIRST + 1], base, from_start
                        )
                        viewed = True
                    if two_at is not None:
                        two = tape[at + two_at].mark
                        if two[LAYOUT] is not two_layout:
                            two, t, cause = view(
                                tape[at + two_at], two_layout, tape[at + two_at + 1], t, cause
                            )
                            viewed = True
                        elif two[AVAIL] > t:
                            t = two[AVAIL]
                            cause = two[WRITER] | DATA
                        if three_at is not None:
                            three = tape[at + three_at].mark
                            if three[LAYOUT] is not three_layout:
                                three, t, cause = view(
                                    tape[at + three_at],
                                    three_layout,
                                    tape[at + three_at + 1],
                                    t,
                                    cause,
                                )
                                viewed = True
                            elif three[AVAIL] > t:
                                t = three[AVAIL]
                                cause = three[WRITER] | DATA
                except TypeError:  # a tile that nobody wrote has no region
                    at = placer.place(core, at, record)
                    record += EACH
                    continue
            elif tape[at + FIRST].role == "input":  # which nobody writes
                t = base
                cause = from_start
            else:
                at = placer.place(core, at, record)
                record += EACH
                continue

            # a new tile needs room; what is overwritten must have been read, and written by whoever
            # wrote it before
            dst = tape[at + DST]
            into = dst.mark
            if into.__class__ is int and dst.meta is layout:
                new = True
                left = pool.spare - need
                if left < 0:
                    ready = pool.ready
                    while (ready and ready[-1][0] < pool.least) or pool.sort():
                        when, by, size = ready.pop()
                        if when > t:
                            t = when
                            cause = by | pool.reason
                        left += size
                        if left >= 0:
                            break
                pool.spare = left
            elif into.__class__ is list and into[LAYOUT] is layout:
                new = False
                if into[READ] > t or (into[AVAIL] > t and (into[ENGINE] != me or me < 0)):
                    # an operand that is overwritten stays where it is
                    if (
                        renames
                        and dst.placed is None
                        and (
                            one_layout is None
                            or (
                                one is not into
                                and (two_at is None or two is not into)
                                and (three_at is None or three is not into)
                            )
                        )
                    ):
                        t, cause = placer.renamed(core, dst, into, me, t, cause)
                    if into[READ] > t:
                        t = into[READ]
                        cause = into[READER] | ANTI
                    if into[AVAIL] > t and (into[ENGINE] != me or me < 0):
                        t = into[AVAIL]
                        cause = into[WRITER] | OUTPUT
            else:
                new = False
                into, t, cause = destination(core, at, at + DST, layout, me, t, cause, renames)
                viewed = True

            if one_layout is not None:
                if free[me] > t:
                    t = free[me]
                    cause = last[me] | BUSY
                if special is not None:
                    if me == 0:
                        held = core.stationary
                        if (
                            held[0] is not one
                            or held[1] != one[WRITER]
                            or held[2] is not one_layout
                        ):
                            core.stationary = (one, one[WRITER], one_layout)
                            began = core.array_start
                            by = last[0]
                            if one[AVAIL] >= began:
                                began = one[AVAIL]
                                by = one[WRITER]
                            if began + special > t:
                                t = began + special
                                cause = by | STATIONARY
                                loading[record] = began
                        core.array_start = t
                    else:
                        if cost.shared:
                            t, cause = wait_for_ports(core, cost, t, cause)
                        if special and special != core.table:
                            core.table = special
                            loading[record] = t
                            t += timing.table_load
                            cause = cause & -EACH | TABLE
                        if cost.shared:
                            take_ports(core, cost, t + occupancy, record)
                free[me] = busy = t + occupancy
                last[me] = record
                avail = t + latency + handoff
                # a tile that nobody else touches is free when it has been read; that is later than
                # it was written
                if one[LAST] == at and one is not into:
                    tape[at + FIRST].mark = at
                    given = pools[one[BANKED]]
                    if one[READ] < busy:
                        given.late.append((busy, record, one[NEED]))
                        if busy < given.least:
                            given.least = busy
                    else:
                        given.release(one[READ], one[READER], one[NEED])
                elif busy > one[READ]:
                    one[READ] = busy
                    one[READER] = record
                if two_at is not None:
                    if two[LAST] == at and two is not into and two is not one:
                        tape[at + two_at].mark = at
                        given = pools[two[BANKED]]
                        if two[READ] < busy:
                            given.late.append((busy, record, two[NEED]))
                            if busy < given.least:
                                given.least = busy
                        else:
                            given.release(two[READ], two[READER], two[NEED])
                    elif busy > two[READ]:
                        two[READ] = busy
                        two[READER] = record
                    if three_at is not None:
                        if (
                            three[LAST] == at
                            and three is not into
                            and three is not two
                            and three is not one
                        ):
                            tape[at + three_at].mark = at
                            when, by = (
                                (busy, record)
                                if busy > three[READ]
                                else (three[READ], three[READER])
                            )
                            pools[three[BANKED]].release(when, by, three[NEED])
                        elif busy > three[READ]:
                            three[READ] = busy
                            three[READER] = record
            else:
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
                data[0] = begins + occupancy
                busy = begins + latency
                if busy > loads[-1][0]:
                    loads.append((busy, queue, record))
                else:
                    insort(loads, (busy, queue, record))
                avail = busy + dma_done
                busy_ends.append(busy)
                lanes.append(first_queue + queue)

            if new:
                if into != at:
                    dst.mark = [layout, 0, avail, record, me, 0.0, NOBODY, (), need, banked, into]
                else:  # nobody reads it
                    pool.release(avail, record, need)
            else:
                if avail > into[AVAIL]:
                    into[AVAIL] = avail
                    into[WRITER] = record
                into[ENGINE] = me
                if into[LAST] == at:
                    give_back(dst, core)
            if viewed:
                placer.finish(core, at, at + width - 1)
            starts.append(t)
            causes.append(cause)
            kinds.append(kind)
            record += EACH
            at += width
    return out.close(base, timing)


def _on_chip(cost: Cost) -> bool:
    """A load of an input into a tile, or an instruction of one to three sources and one destination
    on chip."""
    if (
        cost.dst is None
        or cost.dst.space == HBM
        or cost.extra is not None
        or any(m is None for _, m in cost.reads)
    ):
        return False
    if not 1 <= len(cost.reads) <= 3 or cost.reads[0][0] != tapes.FIRST:
        return False
    return all((m.space == HBM) == (cost.index < 0) for _, m in cost.reads)  # type: ignore[union-attr]


def _usual(signature: Any, placer: Placer) -> tuple[Any, ...] | None:
    """What the short way needs to know of an instruction, flat; None if its records go the general
    way.

    (cost, kind, engine, entries of a record, layout of the destination, what a new destination
    occupies, whether it does so in PSUM, the pool it takes it from, occupancy, latency, layout of
    the first source or None if it is a load, place in the record and layout of the second source
    and of the third or None, time to load a stationary operand or table to load, whether a
    destination that it overwrites may be renamed)
    """
    if placer.options.as_compiled or signature in placer.masked:
        return None
    if placer.rows is not None and (
        spreads_row(signature) or signature.instruction.name == "tensor_copy"
    ):
        return None
    cost: Cost | None = placer.costs.get(signature)
    if cost is None:
        cost = placer.costs[signature] = cost_of(signature, placer.timing)
    me, layout, reads = cost.index, cost.dst, cost.reads
    if layout is None or not _on_chip(cost):
        return None
    special: Any
    if me < 0:
        if len(reads) > 1:
            return None
        special = None
    elif me == 0:
        if cost.tile is not None or (placer.options.throttle and placer.timing.throttled):
            return None
        special = cost.stationary
    else:
        special = "" if cost.table is None and cost.shared else cost.table
    banked = layout.space == PSUM
    need = -(-layout.psum_partition_bytes // placer.bank) if banked else layout.sbuf_partition_bytes
    _, (two_at, two), (three_at, three) = (*reads, (None, None), (None, None))[:3]
    first, kind, part = (
        (None, placer.out.kind_of(cost, QUEUED), placer.sharing)
        if me < 0
        else (reads[0][1], placer.out.kind_of(cost, placer.core.first_lane + me), 1.0)
    )
    return (
        cost,
        kind,
        me,
        cost.width,
        layout,
        need,
        banked,
        placer.core.pools[banked],
        cost.occupancy * part,
        cost.latency * part,
        first,
        two_at,
        two,
        three_at,
        three,
        special,
        overwrites(signature, cost),
    )
