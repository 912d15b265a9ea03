"""What is kept while records are placed: the options, the state of a core, and what comes out.

Who made an instruction wait, and why, is one integer, a *cause*: 16 times the record, plus the
reason. A record is kept as 16 times its number for the same purpose, nobody as `NOBODY`, so that
`record | reason` is a cause.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..machine.counts import sums_by
from .cost import ENGINES, Cost
from .timing import Timing

REASONS = (
    "start",
    "engine busy",
    "data",
    "anti",
    "output",
    "port",
    "psum bank",
    "memory",
    "dma queue",
    "dma order",
    "stationary load",
    "table load",
)
"""Why an instruction did not start earlier."""
(START, BUSY, DATA, ANTI, OUTPUT, PORT, BANK, MEMORY, QUEUE, ORDER, STATIONARY, TABLE) = range(
    len(REASONS)
)
EACH = 16
"""From one record to the next, as they are kept."""
NOBODY = -EACH


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to schedule; see `Run.timeline`."""

    hoist_loads: bool = True
    as_compiled: bool = False
    throttle: bool = False
    cores: int = 1


def lanes_of(timing: Timing) -> int:
    """Lanes of a core: its engines, the queues of loads and of other transfers, one for
    instructions that take no time."""
    return len(ENGINES) + 2 * timing.dma_queues + 1


class Pool:
    """The memory of a core for tiles: SBUF in bytes of a partition, or PSUM in banks.

    What is released is taken soonest first. Tiles are released nearly in order and taken much
    later, so they are sorted by many at a time: that is cheaper than a heap.
    """

    __slots__ = ("late", "least", "ready", "reason", "spare")

    def __init__(self, capacity: int, reason: int) -> None:
        self.spare = capacity
        """What nothing takes; negative where tiles that are in use are too many."""
        self.late: list[tuple[float, int, int]] = []
        """Memory that was released lately: when, by which record, how much."""
        self.least = math.inf
        """The soonest time in `late`."""
        self.ready: list[tuple[float, int, int]] = []
        """The same of what was released before, soonest last."""
        self.reason = reason
        """Why who waits for this memory waits."""

    def release(self, when: float, by: int, size: int) -> None:
        self.late.append((when, by, size))
        if when < self.least:
            self.least = when

    def sort(self) -> bool:
        """Make the soonest of all the last of `ready`; False if nothing is released."""
        self.ready += self.late
        self.ready.sort(reverse=True)
        self.late.clear()
        self.least = math.inf
        return bool(self.ready)

    def take(self, need: int, t: float, cause: int) -> tuple[float, int]:
        """Wait until there is room.

        Tiles that a later record still touches are never waited for: if they alone are too many
        (small tiles may share a bank), nobody waits.
        """
        ready, self.spare = self.ready, self.spare - need
        while self.spare < 0 and ((ready and ready[-1][0] < self.least) or self.sort()):
            when, by, size = ready.pop()
            self.spare += size
            if when > t:
                t, cause = when, by | self.reason
        return t, cause


class Core:
    """The state of one NeuronCore while records are placed. Times in ns."""

    __slots__ = (
        "array_start",
        "data",
        "first_lane",
        "free",
        "issued",
        "issuer",
        "last",
        "pools",
        "psum_port",
        "queues",
        "sbuf_port",
        "stationary",
        "table",
        "tiles",
        "usuals",
        "warm",
    )

    def __init__(self, number: int, timing: Timing, base: float, capacity: tuple[int, int]) -> None:
        self.first_lane = number * lanes_of(timing)
        self.free = [base] * 4
        """Until when each engine is occupied, and by which record."""
        self.last = [NOBODY] * 4
        self.sbuf_port = [(base, NOBODY), (base, NOBODY)]
        """Until when VectorE, and GpSimdE, use the way to SBUF that they share, and with which
        record."""
        self.psum_port = [(base, NOBODY), (base, NOBODY)]
        """The same for VectorE and ScalarE, and PSUM."""
        self.array_start = base
        """When TensorE started its last matmul: from then on the next stationary operand can be
        loaded."""
        self.stationary: tuple[Any, int, Any] = (None, NOBODY, None)
        """What TensorE holds: its region, the record that wrote it, its layout."""
        self.tiles: dict[tuple[Any, ...], float] = {}
        """Until when each tile of a tiled PE array is occupied."""
        self.warm: deque[tuple[float, float]] = deque()
        """When TensorE was busy lately."""
        self.table: str | None = None
        self.queues = [[(base, k, NOBODY) for k in range(timing.dma_queues)] for _ in range(2)]
        """Until when each queue (of loads, of other transfers) is occupied, its number, by which
        record; soonest first."""
        self.issued = [base, base]
        """When the next load, and the next other transfer, can be triggered, and which record
        triggered the last one."""
        self.issuer = [NOBODY, NOBODY]
        self.data = [base, base]
        """Until when DMA bandwidth is given away: to loads and everything before, and to other
        transfers."""
        self.pools = (Pool(capacity[0], MEMORY), Pool(capacity[1], BANK))
        """SBUF and PSUM."""
        self.usuals: dict[Any, tuple[Any, ...] | None] = {}
        """Of each signature, what the short way of `schedule.place` knows of it."""


QUEUED = -1
"""The lane of a kind of records of which each has its own."""


class Placed:
    """What `place` fills in. Of a record on an engine all but the start and the cause follows from
    its kind."""

    def __init__(self) -> None:
        self.start: list[float] = []
        self.cause: list[int] = []
        self.kind: list[int] = []
        """One entry per record, of the program that is being placed. The kind stands in `kinds`."""
        self.busy_end: list[float] = []
        self.lane: list[int] = []
        """One entry a record of the kinds that are `QUEUED`: loads, and kind 0, which is all that
        is told one by one."""
        self.end: list[float] = []
        """One entry a record of kind 0. A load is done `dma_done` after its last byte."""
        self.kinds: list[tuple[float, float, int]] = [(0.0, 0.0, QUEUED)]
        """Occupancy, latency and lane of the records of a kind."""
        self.counted: list[Cost] = []
        """The cost of each kind from the second on, in which its records are not yet counted."""
        self.loading: dict[int, float] = {}
        """When the loading began of the stationary operand or the activation table for which an
        instruction waited, by record; of the others nothing."""
        self.costs: dict[Any, Cost] = {}
        """Of each signature that ran."""
        self.before = 0
        """How many records were placed before this program."""
        self.closed: list[tuple[NDArray[Any], ...]] = []
        """Of each program placed: start, end of occupancy, end, lane, cause of its records."""

    def kind_of(self, cost: Cost, lane: int) -> int:
        """A new kind: instructions of one cost on one engine."""
        self.kinds.append((cost.occupancy, cost.latency, lane))
        self.counted.append(cost)
        return len(self.kinds) - 1

    def close(self, base: float, timing: Timing) -> float:
        """Make arrays of what the program that was placed from the time `base` on has filled in;
        returns its last end."""
        n = len(self.start)
        start, kind = np.fromiter(self.start, np.float64, n), np.fromiter(self.kind, np.intp, n)
        occupancy, latency, lane = (np.array(column)[kind] for column in zip(*self.kinds))
        busy_end, end, own = start + occupancy, start + latency, np.flatnonzero(lane == QUEUED)
        busy_end[own] = np.fromiter(self.busy_end, np.float64, len(own))
        lane[own] = np.fromiter(self.lane, np.int64, len(own))
        end[own] = busy_end[own] + timing.dma_done
        end[kind == 0] = np.fromiter(self.end, np.float64, len(self.end))
        for cost, uses in zip(self.counted, sums_by(kind, length=len(self.kinds))[1:].tolist()):
            cost.uses += uses
        self.closed.append((start, busy_end, end, lane, np.fromiter(self.cause, np.int64, n)))
        self.before += n
        for done in (
            self.start,
            self.cause,
            self.kind,
            self.busy_end,
            self.end,
            self.lane,
            self.counted,
        ):
            done.clear()
        del self.kinds[1:]
        return float(end.max(initial=base))

    def columns(self) -> list[NDArray[Any]]:
        """Start, end of occupancy, end, lane, cause of all records."""
        if not self.closed:
            return [
                np.zeros(0),
                np.zeros(0),
                np.zeros(0),
                np.zeros(0, np.int64),
                np.zeros(0, np.int64),
            ]
        return [np.concatenate(parts) for parts in zip(*self.closed)]
