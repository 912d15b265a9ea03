"""Placing the records of a run on engines and DMA queues, in program order.

Every time here is a maximum of earlier times plus a constant (engines, queues, ports and DMA bandwidth are taken in program
order, memory in order of release), so that more work or later work never makes anything earlier. The one exception is
physical: an earlier activation may load the table that a later one would have loaded while the data was waiting.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import Any

from ..isa.core import DMA, GPSIMD, SCALAR, TENSOR, VECTOR
from ..memory import HBM, PSUM, SBUF, Buffer, Meta
from ..program import Program
from ..target import Target
from .cost import Cost, cost_of
from .regions import overlap
from .timing import Timing

REASONS = ("start", "engine busy", "data", "anti", "output", "port", "psum bank", "memory", "dma queue", "dma order",
           "dma bandwidth", "stationary load", "table load")
(START, BUSY, DATA, ANTI, OUTPUT, PORT, BANK, MEMORY, QUEUE, ORDER, BANDWIDTH, STATIONARY, TABLE) = range(len(REASONS))

ENGINES = (TENSOR, VECTOR, SCALAR, GPSIMD)
ENGINE_INDEX = {name: i for i, name in enumerate(ENGINES)}
EVERYWHERE = {"copy", "identity", "relu", "square", "abs", "sign"}
"""Activation functions taken to be in every table [assumed: which functions share a table is not documented]."""


class Region:
    """One view of a buffer: when what was last written to it can be read, and when it can be written again."""

    __slots__ = ("meta", "offset", "avail", "writer", "written", "engine", "read", "reader", "others")

    def __init__(self, meta: Meta, offset: int) -> None:
        self.meta = meta
        self.offset = offset
        self.avail = 0.0
        """When a waiting instruction may use the result."""
        self.writer = -1
        self.written = 0.0
        """When the last write is complete."""
        self.engine = -2
        self.read = 0.0
        """When the last reader has read it."""
        self.reader = -1
        self.others: tuple[Region, ...] = ()
        """Regions of the same buffer that share elements with it."""


class Core:
    """The state of one NeuronCore while records are placed."""

    def __init__(self, number: int, timing: Timing, base: float) -> None:
        self.number = number
        self.free = [base] * 4
        self.last = [-1] * 4
        self.sbuf_port = [base, base]  # until when VectorE, GpSimdE use the way to SBUF
        self.psum_port = [base, base]  # VectorE, ScalarE
        self.port_user = [-1, -1, -1, -1]
        self.array_start = base
        self.loaded: Any = None
        self.table: str | None = None
        self.queues = [[(base, k, -1) for k in range(timing.dma_queues)] for _ in range(2)]
        self.issued = [base, base]  # last trigger of loads, of the others
        self.issuer = [-1, -1]
        self.data = [base, base]  # until when the bandwidth is given away: by loads (and all), by the others
        self.data_user = [-1, -1]
        self.room = [0, 0]
        self.freed: list[list[tuple[float, int, int]]] = [[], []]


class Placed:
    """What `place` fills in, one entry a record."""

    def __init__(self, n: int) -> None:
        self.start = [0.0] * n
        self.busy_end = [0.0] * n
        self.end = [0.0] * n
        self.lane = [0] * n
        self.waited_for = [-1] * n
        self.reason = [START] * n
        self.costs: list[Cost] = []
        self.shares: list[tuple[int, int] | None] = []


def last_uses(program: Program) -> dict[Buffer, int]:
    """Of each on-chip buffer, the position on the tape of the record that touches it last."""
    last: dict[Any, int] = {}
    tape, at = program.tape, 0
    n = len(tape)
    while at < n:
        width = tape[at].width
        for who in tape[at + 3:at + width - 1:2]:
            last[who] = at
        at += width
    return last


def find_region(regions: dict[Any, Any], buf: Buffer, meta: Meta, offset: int) -> Region:
    """The region of this view of `buf`, made on first need and linked to those that it overlaps."""
    found = regions.get(buf)
    if found is None:
        made = regions[buf] = Region(meta, offset)
        return made
    if type(found) is Region:
        if found.meta is meta and found.offset == offset:
            return found
        found = regions[buf] = {(found.meta, found.offset): found}
    region = found.get((meta, offset))
    if region is None:
        region = Region(meta, offset)
        for other in found.values():
            if overlap(meta, offset, other.meta, other.offset):
                region.others += (other,)
                other.others += (region,)
        found[meta, offset] = region
    return region


def place(program: Program, first: int, base: float, timing: Timing, target: Target, out: Placed, costs: dict[Any, Cost],
          hoist_loads: bool) -> float:
    """Place the records of `program`, the first of which has index `first`, from the time `base` on; returns the end."""
    tape = program.tape
    last_use = last_uses(program)
    regions: dict[Any, Any] = {}
    held: dict[Any, tuple[int, int]] = {}
    core = Core(0, timing, base)
    capacity = (target.sbuf_partition_bytes, target.psum_banks)
    bank = target.psum_bank_bytes
    finish = base
    index, at, n = first, 0, len(tape)
    start_of, busy_of, end_of, lane_of = out.start, out.busy_end, out.end, out.lane
    waited_of, reason_of = out.waited_for, out.reason
    while at < n:
        signature = tape[at]
        width = signature.width
        cost = costs.get(signature)
        if cost is None:
            cost = costs[signature] = cost_of(signature, timing)
        engine = cost.engine
        dma = engine == DMA
        me = -1 if dma else ENGINE_INDEX[engine]
        t, why, who = base, START, -1

        # data: what it reads must have been written
        reads = []
        stationary_ready = base
        for position, meta in cost.reads:
            buf = tape[at + position]
            region = regions.get(buf)
            offset = tape[at + position + 1]
            if type(region) is not Region or region.meta is not meta or region.offset != offset:
                region = find_region(regions, buf, meta, offset)
            reads.append(region)
            if region.avail > t:
                t, why, who = region.avail, DATA, region.writer
            for other in region.others:
                if other.avail > t:
                    t, why, who = other.avail, DATA, other.writer
            if position == 5:
                stationary_ready = t
        # what it overwrites must have been read, and written by whoever wrote it before
        writes = [find_region(regions, tape[at + 3], signature.dst, tape[at + 4])]
        if cost.extra is not None:
            writes.append(find_region(regions, tape[at + width - 3], cost.extra, tape[at + width - 2]))
        for region in writes:
            for other in (region, *region.others):
                if other.read > t:
                    t, why, who = other.read, ANTI, other.reader
                if other.written > t and (other.engine != me or dma):
                    t, why, who = other.written, OUTPUT, other.writer
        # memory: a tile needs room (SBUF bytes, PSUM banks) from its first write on
        for k in (at + 3,) if cost.extra is None else (at + 3, at + width - 3):
            buf = tape[k]
            if buf in held or buf.meta.space == HBM:
                continue
            psum = buf.meta.space == PSUM
            need = -(-buf.meta.psum_partition_bytes // bank) if psum else buf.meta.sbuf_partition_bytes
            held[buf] = (psum, need)
            core.room[psum] += need
            heap = core.freed[psum]
            while core.room[psum] > capacity[psum] and heap:
                when, by, size = heappop(heap)
                core.room[psum] -= size
                if when > t:
                    t, why, who = when, BANK if psum else MEMORY, by

        share = tape[at + width - 1]
        if dma:
            part = 1.0 if share is None else share[0] / share[1]
            into = 0 if tape[at + 5].meta.space == HBM and signature.dst.space == SBUF else 1
            stream = into if hoist_loads else 0
            if core.issued[stream] > t:
                t, why, who = core.issued[stream], ORDER, core.issuer[stream]
            queues = core.queues[into]
            when, queue, user = queues[0]
            if when > t:
                t, why, who = when, QUEUE, user
            core.issued[stream], core.issuer[stream] = t + timing.dma_issue, index
            pool, alone = cost.occupancy * part, cost.latency * part
            ready = t + timing.dma_start
            if into == 0 or not hoist_loads:
                begins = max(ready, core.data[0])
                core.data[0] = begins + pool
                busy = begins + alone
            else:
                # the others take their bandwidth from the loads at their place in the program, waiting for nobody
                core.data[0] += pool
                begins = max(ready, core.data[1])
                core.data[1] = begins + pool
                busy = max(begins + alone, core.data[0])
            end = busy + timing.dma_done
            avail = end
            heapreplace(queues, (busy, queue, index))
            lane = 4 + into * timing.dma_queues + queue
        else:
            free = core.free[me]
            if free > t:
                t, why, who = free, BUSY, core.last[me]
            if cost.sbuf_port:
                other_side = core.sbuf_port[0 if engine == GPSIMD else 1]
                if other_side > t:
                    t, why, who = other_side, PORT, core.port_user[0 if engine == GPSIMD else 1]
            if cost.psum_port:
                other_side = core.psum_port[0 if engine == SCALAR else 1]
                if other_side > t:
                    t, why, who = other_side, PORT, core.port_user[2 if engine == SCALAR else 3]
            if me == 0:
                key = (tape[at + 5], tape[at + 6], signature.srcs[0], reads[0].writer)
                if key != core.loaded:
                    ready = max(stationary_ready, core.array_start) + cost.stationary
                    if ready > t:
                        t, why = ready, STATIONARY
                    core.loaded = key
                core.array_start = t
            elif cost.table is not None and cost.table != core.table and cost.table not in EVERYWHERE:
                core.table = cost.table
                t, why = t + timing.table_load, TABLE
            busy = t + cost.occupancy
            end = t + cost.latency
            avail = end + timing.handoff
            core.free[me], core.last[me] = busy, index
            lane = me
            if cost.sbuf_port:
                side = 1 if engine == GPSIMD else 0
                core.sbuf_port[side], core.port_user[side] = busy, index
            if cost.psum_port:
                side = 1 if engine == SCALAR else 0
                core.psum_port[side], core.port_user[2 + side] = busy, index

        for region in reads:
            if busy > region.read:
                region.read, region.reader = busy, index
        for region in writes:
            if avail > region.avail:
                region.avail, region.writer = avail, index
            if end > region.written:
                region.written = end
            region.engine = me
        for k in range(at + 3, at + width - 1, 2):
            buf = tape[k]
            if last_use[buf] == at and buf in held:
                psum, need = held.pop(buf)
                heappush(core.freed[psum], (*_released(regions.pop(buf)), need))
        start_of[index], busy_of[index], end_of[index], lane_of[index] = t, busy, end, lane
        waited_of[index], reason_of[index] = who, why
        out.costs.append(cost)
        out.shares.append(share)
        if end > finish:
            finish = end
        index += 1
        at += width
    return finish


def _released(found: Any) -> tuple[float, int]:
    """When everything about a buffer is over, and which record ends it."""
    best = (0.0, -1)
    for region in (found,) if type(found) is Region else found.values():
        best = max(best, (region.read, region.reader), (region.written, region.writer))
    return best
