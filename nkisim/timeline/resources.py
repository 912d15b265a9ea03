"""What an instruction takes of a core beside its engine: DMA queues and bandwidth, ports to memory,
TensorE's clock."""

from __future__ import annotations

from bisect import insort

from ..isa.core import GPSIMD, SCALAR
from .cost import ENGINES, Cost
from .state import ORDER, PORT, QUEUE, Core
from .timing import Timing


def transfer(
    core: Core,
    cost: Cost,
    part: float,
    t: float,
    cause: int,
    record: int,
    timing: Timing,
    hoist_loads: bool,
) -> tuple[float, float, int, int]:
    """Place a transfer that could start at `t`: (start, end of its data, lane, cause).

    Loads are triggered in program order, and so are the others (stores, copies, gathers on chip).
    With `hoist_loads` the two do not wait for each other; without, all are one sequence. The
    engines' bandwidth is given away in that order too. The others take theirs from the loads at
    their place in the program, so that no byte is moved for nothing, whenever they really start.
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
    for needed, port, mine in (
        (cost.sbuf_port, core.sbuf_port, cost.engine == GPSIMD),
        (cost.psum_port, core.psum_port, cost.engine == SCALAR),
    ):
        if needed and port[not mine][0] > t:
            t, cause = port[not mine][0], port[not mine][1] | PORT
    return t, cause


def take_ports(core: Core, cost: Cost, busy: float, record: int) -> None:
    """Note that an instruction uses its ports until `busy`."""
    if cost.sbuf_port:
        core.sbuf_port[cost.engine == GPSIMD] = (busy, record)
    if cost.psum_port:
        core.psum_port[cost.engine == SCALAR] = (busy, record)


def is_cold(core: Core, t: float, timing: Timing) -> bool:
    """Whether TensorE was busy for less than half of the window before `t`, so that its clock is
    halved."""
    begin = t - timing.throttle_window
    while core.warm and core.warm[0][1] <= begin:
        core.warm.popleft()
    busy = sum(end - max(start, begin) for start, end in core.warm)
    return busy < 0.5 * timing.throttle_window
