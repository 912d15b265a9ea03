"""Who occupies the on-chip memories when."""

from __future__ import annotations

import numpy as np

from .counts import sums_by
from .memory import Buffer


class Occupancy:
    """Who occupies the on-chip memories when: each tensor from the instruction that makes it to the
    last that touches it, which is what the best allocator there can be would need."""

    def __init__(self, buffers: list[Buffer]) -> None:
        self.buffers = buffers
        self.metas = [b.meta for b in buffers]
        self.first = np.array([b.first for b in buffers], np.int64)
        self.last = np.array([b.last for b in buffers], np.int64)
        self.end = int(max(self.first.max(initial=0), self.last.max(initial=0))) + 2

    def peak(self, attribute: str) -> tuple[int, list[Buffer], int]:
        """The largest total of `attribute` of the tensors' layouts at one moment; whose it is; and
        when."""
        of = {m: getattr(m, attribute) for m in set(self.metas)}
        sizes = np.array([of[m] for m in self.metas], np.int64)
        sizes[self.last < self.first] = 0  # redirected results were never stored
        change = sums_by(self.first, sizes, self.end)
        change -= sums_by(np.maximum(self.last, self.first) + 1, sizes, self.end)
        totals = np.cumsum(change)
        when = int(np.argmax(totals))
        there = np.flatnonzero((self.first <= when) & (when <= self.last) & (sizes > 0))
        live = [self.buffers[i] for i in there]
        return int(totals[when]), sorted(live, key=lambda b: -b.nbytes), when
