"""Which views of a buffer share elements: the ground of every dependency.

Exact, remembered for each pair of layouts and distance, and without ever listing elements.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from math import gcd
from typing import Any

from ..memory import Meta

_KNOWN: dict[tuple[Meta, Meta, int], bool] = {}
_EXTENTS: dict[Meta, tuple[int, int]] = {}
"""How many elements a view reaches before and behind its first one."""


def overlap(a: Meta, a_offset: int, b: Meta, b_offset: int) -> bool:
    """Whether the views (layout, offset in elements of its own type) of one buffer have an element in common.

    Exact: whether sum(i * stride_a) - sum(j * stride_b) = distance has a solution inside both shapes. Views of different
    item sizes are compared byte by byte.
    """
    one, two = (1, 1) if a.itemsize == b.itemsize else (a.itemsize, b.itemsize)
    distance = b_offset * two - a_offset * one
    key = (a, b, distance)
    found = _KNOWN.get(key)
    if found is None:
        terms = [(s * one, n) for s, n in zip(a.strides, a.shape) if n > 1 and s]
        terms += [(-s * two, n) for s, n in zip(b.strides, b.shape) if n > 1 and s]
        if one != two:  # bytes inside an element
            terms += [(1, one), (-1, two)]
        terms.sort(key=lambda t: -abs(t[0]))
        found = _KNOWN[key] = _solvable(terms, 0, distance)
    return found


def _solvable(terms: list[tuple[int, int]], at: int, target: int) -> bool:
    """Whether sum(step * x) = target with 0 <= x < n for each (step, n) from `at` on; largest steps first."""
    if at == len(terms):
        return target == 0
    low = sum(step * (n - 1) for step, n in terms[at:] if step < 0)
    high = sum(step * (n - 1) for step, n in terms[at:] if step > 0)
    if not low <= target <= high or target % gcd(*(step for step, _ in terms[at:])):
        return False
    step, n = terms[at]
    rest_low, rest_high = (low, high - step * (n - 1)) if step > 0 else (low - step * (n - 1), high)
    # x such that the rest can still reach the target: rest_low <= target - step * x <= rest_high
    near, far = (target - rest_high, target - rest_low) if step > 0 else (rest_low - target, rest_high - target)
    size = abs(step)
    for x in range(max(0, -(-near // size)), min(n - 1, far // size) + 1):
        if _solvable(terms, at + 1, target - step * x):
            return True
    return False


def span(meta: Meta, offset: int) -> tuple[int, int]:
    """First and last byte of a view, relative to its buffer."""
    extent = _EXTENTS.get(meta)
    if extent is None:
        extent = _EXTENTS[meta] = (sum(s * (n - 1) for s, n in zip(meta.strides, meta.shape) if s < 0),
                                   sum(s * (n - 1) for s, n in zip(meta.strides, meta.shape) if s > 0))
    low, high = extent
    return (offset + low) * meta.itemsize, (offset + high + 1) * meta.itemsize - 1


Region = list
"""One view of a buffer, a plain list for speed: [LAYOUT, OFFSET, AVAIL, WRITER, ENGINE, READ, READER, OTHERS, NEED, BANKED]."""
LAYOUT, OFFSET, AVAIL, WRITER, ENGINE, READ, READER, OTHERS, NEED, BANKED = range(10)
# AVAIL: when a waiting instruction may use what was last written. WRITER: the record that wrote it. ENGINE: who wrote it;
# writes of one engine do not overtake each other. READ, READER: when the last reader has read it, and which record that is.
# OTHERS: the regions of the same buffer that share elements with it. NEED: what the buffer occupies, on the first of its
# regions: PSUM banks if BANKED, else bytes of an SBUF partition; -1 if it is in HBM, or was never written.

Regions = dict[Any, list]
"""Of each buffer: the region that covers it all, if it was used as a whole only; else [None, region], or [None, Views] if it
was used through several views."""


def fresh(meta: Meta, offset: int) -> Region:
    """A region that nobody has touched."""
    return [meta, offset, 0.0, -16, -2, 0.0, -16, (), -1, False]


class Views:
    """The regions of a buffer that is used through more than one view."""

    __slots__ = ("first", "regions", "starts", "longest")

    def __init__(self, first: Region) -> None:
        self.first = first
        self.regions: dict[tuple[Meta, int], Region] = {(first[0], first[1]): first}
        low, high = span(first[0], first[1])
        self.starts: list[tuple[int, int, int, Region]] = [(low, 0, high, first)]
        self.longest = high - low

    def region(self, meta: Meta, offset: int) -> Region:
        """The region of this view, made on first need and linked to those that it overlaps."""
        found = self.regions.get((meta, offset))
        if found is not None:
            return found
        made = self.regions[meta, offset] = fresh(meta, offset)
        low, high = span(meta, offset)
        others = []
        at = bisect_left(self.starts, (low - self.longest,))
        while at < len(self.starts) and self.starts[at][0] <= high:
            _, _, last, other = self.starts[at]
            if last >= low and overlap(meta, offset, other[0], other[1]):
                others.append(other)
                other[OTHERS] += (made,)
            at += 1
        made[OTHERS] = tuple(others)
        insort(self.starts, (low, len(self.starts), high, made))
        self.longest = max(self.longest, high - low)
        return made


def find(regions: Regions, buf: Any, meta: Meta, offset: int) -> Region:
    """The region of this view of `buf`."""
    entry = regions.get(buf)
    if entry is None:
        made = fresh(meta, offset)
        regions[buf] = made if meta is buf.meta else [None, made]
        return made
    if entry[0] is meta:
        return entry
    found: Region | Views = entry if entry[0] is not None else entry[1]
    if isinstance(found, list):
        if found[0] is meta and found[1] == offset:
            return found
        found = Views(found)
        regions[buf] = [None, found]
    return found.region(meta, offset)


def first_of(entry: list) -> Region:
    """The region that was made first of a buffer, by what `Regions` has of it."""
    found: Region | Views = entry if entry[0] is not None else entry[1]
    return found if isinstance(found, list) else found.first


def release(entry: list) -> tuple[float, int]:
    """When everything about a buffer is over, and which record ends it."""
    found: Region | Views = entry if entry[0] is not None else entry[1]
    if isinstance(found, list):
        return (found[READ], found[READER]) if found[READ] > found[AVAIL] else (found[AVAIL], found[WRITER])
    return max((r[READ], r[READER]) if r[READ] > r[AVAIL] else (r[AVAIL], r[WRITER]) for r in found.regions.values())
