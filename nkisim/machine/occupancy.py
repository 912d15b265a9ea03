"""Who occupies the on-chip memories when."""

from __future__ import annotations

from operator import attrgetter

import numpy as np

from .counts import sums_by
from .memory import Buffer


class Occupancy:
    """Who occupies the on-chip memories when: each tensor from the instruction that makes it to the
    last that touches it, which is what the best allocator there can be would need."""

    def __init__(self, buffers: list[Buffer]) -> None:
        n = len(buffers)
        self.buffers = buffers
        self.first = np.fromiter(map(attrgetter("first"), buffers), np.int64, n)
        self.last = np.fromiter(map(attrgetter("last"), buffers), np.int64, n)
        self.end = int(max(self.first.max(initial=0), self.last.max(initial=0))) + 2

    def peak(self, attribute: str) -> tuple[int, list[Buffer], int]:
        """The largest total of `attribute` of the tensors' layouts at one moment; whose it is; and
        when."""
        sizes = np.fromiter(
            map(attrgetter("meta." + attribute), self.buffers), np.int64, len(self.buffers)
        )
        sizes[self.last < self.first] = 0  # redirected results were never stored
        change = sums_by(self.first, sizes, self.end)
        change -= sums_by(np.maximum(self.last, self.first) + 1, sizes, self.end)
        totals = np.cumsum(change)
        when = int(np.argmax(totals))
        there = np.flatnonzero((self.first <= when) & (when <= self.last) & (sizes > 0))
        live = [self.buffers[i] for i in there]
        return int(totals[when]), sorted(live, key=lambda b: -b.nbytes), when
