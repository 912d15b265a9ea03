"""What each program instance of a run did."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any


def bytes_by_instance(run: Any) -> list[tuple[int, int]]:
    """The HBM bytes that each program instance read: (number of the kernel call, bytes), in the
    order in which they ran. A call without a grid is one instance."""
    found = []
    for number, program in enumerate(run.programs):
        starts = program.instances or [0]
        read = [0] * len(starts)
        for at, record in program.tape.placed():
            read[max(bisect_right(starts, at) - 1, 0)] += record.hbm_read
        found += [(number, size) for size in read]
    return found
