"""What each program instance of a run did."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any


def bytes_by_instance(run: Any) -> list[tuple[int, int]]:
    """The HBM bytes that each program instance read: (number of the kernel call, bytes), in the
    order in which they ran. A call without a grid is one instance."""
    instructions = iter(run.instructions)
    found = []
    for number, program in enumerate(run.programs):
        starts = program.instances or [0]
        read, at = [0] * len(starts), 0
        for record in program.records():
            read[max(bisect_right(starts, at) - 1, 0)] += next(instructions).hbm_bytes_read
            at += len(record)
        found += [(number, size) for size in read]
    return found
