"""What is kept while records are placed: the options, the state of a core, and what comes out.

Who made an instruction wait, and why, is one integer, a *cause*: 16 times the record, plus the reason. A record is kept as
16 times its number for the same purpose, nobody as `NOBODY`, so that `record | reason` is a cause.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from .cost import ENGINES, Cost
from .timing import Timing

REASONS = ("start", "engine busy", "data", "anti", "output", "port", "psum bank", "memory", "dma queue", "dma order",
           "stationary load", "table load")
"""Why an instruction did not start earlier."""
(START, BUSY, DATA, ANTI, OUTPUT, PORT, BANK, MEMORY, QUEUE, ORDER, STATIONARY, TABLE) = range(len(REASONS))
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
    """Lanes of a core: its engines, the queues of loads and of other transfers, one for instructions that take no time."""
    return len(ENGINES) + 2 * timing.dma_queues + 1


class Core:
    """The state of one NeuronCore while records are placed. Times in ns."""

    __slots__ = ("first_lane", "free", "last", "sbuf_port", "psum_port", "array_start", "stationary", "tiles", "warm", "table",
                 "queues", "issued", "issuer", "data", "room", "freed")

    def __init__(self, number: int, timing: Timing, base: float) -> None:
        self.first_lane = number * lanes_of(timing)
        self.free = [base] * 4
        """Until when each engine is occupied, and by which record."""
        self.last = [NOBODY] * 4
        self.sbuf_port = [(base, NOBODY), (base, NOBODY)]
        """Until when VectorE, and GpSimdE, use the way to SBUF that they share, and with which record."""
        self.psum_port = [(base, NOBODY), (base, NOBODY)]
        """The same for VectorE and ScalarE, and PSUM."""
        self.array_start = base
        """When TensorE started its last matmul: from then on the next stationary operand can be loaded."""
        self.stationary: tuple[Any, int, Any] = (None, NOBODY, None)
        """What TensorE holds: its region, the record that wrote it, its layout."""
        self.tiles: dict[tuple, float] = {}
        """Until when each tile of a tiled PE array is occupied."""
        self.warm: deque[tuple[float, float]] = deque()
        """When TensorE was busy lately."""
        self.table: str | None = None
        self.queues = [[(base, k, NOBODY) for k in range(timing.dma_queues)] for _ in range(2)]
        """Until when each queue (of loads, of other transfers) is occupied, its number, by which record; soonest first."""
        self.issued = [base, base]
        """When the next load, and the next other transfer, can be triggered, and which record triggered the last one."""
        self.issuer = [NOBODY, NOBODY]
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
        self.cause: list[int] = []
        self.loading: dict[int, float] = {}
        """When the loading began of the stationary operand or the activation table for which an instruction waited, by record;
        of the others nothing."""
        self.costs: dict[Any, Cost] = {}
        """Of each signature that ran."""
