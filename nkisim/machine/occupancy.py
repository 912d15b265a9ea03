"""Who occupies the on-chip memories when."""

from __future__ import annotations

from operator import attrgetter

import numpy as np

from .counts import sums_by
from .memory import Buffer

_first, _last = attrgetter("first"), attrgetter("last")


class Occupancy:
    """Who occupies the on-chip memories when: each tensor from the instruction that first writes it
    to the last that touches it, which is what the best allocator there can be would need."""

    def __init__(self, buffers: list[Buffer]) -> None:
        count = len(buffers)
        self.buffers = buffers
        metas = [b.meta for b in buffers]
        self.metas = list(dict.fromkeys(metas))
        numbers = dict(zip(self.metas, range(len(self.metas))))
        self.kinds = np.fromiter(map(numbers.__getitem__, metas), np.int64, count)
        """Of each buffer the position of its layout among `metas`."""
        self.first = np.fromiter(map(_first, buffers), np.int64, count)
        self.last = np.fromiter(map(_last, buffers), np.int64, count)
        self.end = int(max(self.first.max(initial=0), self.last.max(initial=0))) + 2

    def peak(self, attribute: str) -> tuple[int, list[Buffer], int]:
        """The largest total of `attribute` of the tensors' layouts at one moment; whose it is; and
        when."""
        sizes = np.array([getattr(m, attribute) for m in self.metas], np.int64)[self.kinds]
        sizes[self.last < self.first] = 0  # never stored, or never written
        change = sums_by(self.first, sizes, self.end)
        change -= sums_by(np.maximum(self.last, self.first) + 1, sizes, self.end)
        totals = np.cumsum(change)
        when = int(np.argmax(totals))
        there = np.flatnonzero((self.first <= when) & (when <= self.last) & (sizes > 0))
        live = [self.buffers[i] for i in there]
        return int(totals[when]), sorted(live, key=lambda b: -b.nbytes), when
