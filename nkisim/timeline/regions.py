"""Which views of a buffer share elements: the ground of every dependency.

Exact, remembered for each pair of layouts and distance, and without ever listing elements.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from math import gcd
from typing import Any

from ..machine.memory import Meta

_KNOWN: dict[tuple[Meta, Meta, int], bool] = {}
_EXTENTS: dict[Meta, tuple[int, int]] = {}
"""How many elements a view reaches before and behind its first one."""


def overlap(a: Meta, a_offset: int, b: Meta, b_offset: int) -> bool:
    """Whether the views (layout, offset in elements of its own type) of one buffer have an element
    in common.

    Exact: whether sum(i * stride_a) - sum(j * stride_b) = distance has a solution inside both
    shapes. Views of different item sizes are compared byte by byte.
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
    """Whether sum(step * x) = target with 0 <= x < n for each (step, n) from `at` on; largest steps
    first."""
    if at == len(terms):
        return target == 0
    low = sum(step * (n - 1) for step, n in terms[at:] if step < 0)
    high = sum(step * (n - 1) for step, n in terms[at:] if step > 0)
    if not low <= target <= high or target % gcd(*(step for step, _ in terms[at:])):
        return False
    step, n = terms[at]
    rest_low, rest_high = (low, high - step * (n - 1)) if step > 0 else (low - step * (n - 1), high)
    # x such that the rest can still reach the target: rest_low <= target - step * x <= rest_high
    near, far = (
        (target - rest_high, target - rest_low)
        if step > 0
        else (rest_low - target, rest_high - target)
    )
    size = abs(step)
    for x in range(max(0, -(-near // size)), min(n - 1, far // size) + 1):
        if _solvable(terms, at + 1, target - step * x):
            return True
    return False


def span(meta: Meta, offset: int) -> tuple[int, int]:
    """First and last byte of a view, relative to its buffer."""
    extent = _EXTENTS.get(meta)
    if extent is None:
        extent = _EXTENTS[meta] = (
            sum(s * (n - 1) for s, n in zip(meta.strides, meta.shape) if s < 0),
            sum(s * (n - 1) for s, n in zip(meta.strides, meta.shape) if s > 0),
        )
    low, high = extent
    return (offset + low) * meta.itemsize, (offset + high + 1) * meta.itemsize - 1


Region = list[Any]
"""One view of a buffer, a plain list for speed, in this order:"""
LAYOUT, OFFSET, AVAIL, WRITER, ENGINE, READ, READER, OTHERS, NEED, BANKED, LAST = range(11)
# AVAIL: when a waiting instruction may use what was last written. WRITER: the record that wrote it.
# ENGINE: who wrote it; writes of one engine do not overtake each other. READ, READER: when the last
# reader has read it, and which record that is. OTHERS: the regions of the same buffer that share
# elements with it. NEED: what the buffer occupies, on the first of its regions: PSUM banks if
# BANKED, else bytes of an SBUF partition; -1 if it is in HBM, or was never written. LAST: where on
# the tape the record lies that touches the buffer last, if it has a NEED and is used as a whole
# only; else -1.


def fresh(meta: Meta, offset: int) -> Region:
    """A region that nobody has touched."""
    return [meta, offset, 0.0, -16, -2, 0.0, -16, (), -1, False, -1]


_INNER: dict[tuple[Meta, int], tuple[int, int] | None] = {}


def within(meta: Meta, offset: int, pitch: int) -> tuple[int, int] | None:
    """First and last byte of a view inside rows of `pitch` bytes, the same in each row; None if it
    does not lie so."""
    inner = _INNER.get((meta, pitch), ())
    if inner == ():
        steps = [(s * meta.itemsize, n) for s, n in zip(meta.strides, meta.shape) if n > 1]
        short = [(s, n) for s, n in steps if s % pitch]
        low = sum(s * (n - 1) for s, n in short if s < 0)
        length = sum(abs(s) * (n - 1) for s, n in short) + meta.itemsize
        inner = _INNER[meta, pitch] = (low, length) if length <= pitch else None
    if inner is None:
        return None
    first = (offset * meta.itemsize + inner[0]) % pitch  # type: ignore[misc]
    last = first + inner[1] - 1  # type: ignore[misc]
    return (first, last) if last < pitch else None


Entry = tuple[int, int, int, Region]
"""A region in an index: first byte, serial number, last byte, the region."""


class Index:
    """Regions by an interval of bytes: where they lie in the buffer, or within each of its rows of
    `pitch` bytes."""

    __slots__ = ("longest", "loose", "pitch", "sorted")

    def __init__(self, pitch: int) -> None:
        self.pitch = pitch
        """0: the interval is the one in the buffer."""
        self.sorted: list[Entry] = []
        self.longest = 0
        self.loose: list[Entry] = []
        """Regions that do not lie alike in each row."""

    def interval(self, meta: Meta, offset: int) -> tuple[int, int] | None:
        return within(meta, offset, self.pitch) if self.pitch else span(meta, offset)

    def near(self, interval: tuple[int, int]) -> tuple[int, int]:
        """From where to where in `sorted` the regions stand that can reach into the interval."""
        low, high = interval
        return bisect_left(self.sorted, (low - self.longest,)), bisect_left(
            self.sorted, (high + 1,)
        )

    def add(self, interval: tuple[int, int] | None, serial: int, region: Region) -> None:
        if interval is None:
            self.loose.append((0, serial, 0, region))
        else:
            low, high = interval
            insort(self.sorted, (low, serial, high, region))
            self.longest = max(self.longest, high - low)


class Links:
    """Which views overlap, of a buffer whose views are first used in a certain order: a step of
    that order.

    The tiles of a loop are used alike in every trip, so what was found for one holds for the
    others.
    """

    __slots__ = ("next", "overlapped")

    def __init__(self, overlapped: tuple[int, ...]) -> None:
        self.overlapped = overlapped
        """The places in the order of the views before that the newest one overlaps, as `Views`
        sorts them."""
        self.next: dict[tuple[Meta, int], Links] = {}
        """The step after this one, by the view that comes next."""


_LINKS: dict[tuple[Meta, Meta, int], Links] = {}
"""The first step, by the layout of the buffer and the first view."""


class Views:
    """The regions of a buffer that is used through more than one view.

    Blocks of rows are told apart by where they lie in the buffer, blocks of columns by where they
    lie in its rows. The indices for the latter, one an axis, are made when the former leaves many
    to compare with.
    """

    __slots__ = ("first", "indexed", "indices", "links", "made", "regions", "whole")

    MANY = 8
    REMEMBERED = 64
    """Views of a buffer up to which is remembered what they overlap: a buffer with more is not
    often made again."""

    def __init__(self, first: Region, whole: Meta) -> None:
        self.first = first
        self.regions: dict[tuple[Meta, int], Region] = {(first[0], first[1]): first}
        self.made = [first]
        """The regions in the order of their first use."""
        self.whole = whole
        self.links: Links | None = _LINKS.get((whole, first[0], first[1]))
        if self.links is None:
            self.links = _LINKS[whole, first[0], first[1]] = Links(())
        self.indices: list[Index] = []
        self.indexed = 0
        """How many of the regions are in the indices."""

    def region(self, meta: Meta, offset: int) -> Region:
        """The region of this view, made on first need and linked to those that it overlaps."""
        view = (meta, offset)
        found = self.regions.get(view)
        if found is not None:
            return found
        step = None if self.links is None else self.links.next.get(view)
        if step is None:
            step = Links(self._overlapped(meta, offset))
            if self.links is not None:
                self.links.next[view] = step
        region = fresh(meta, offset)
        made = self.made
        if step.overlapped:
            others = region[OTHERS] = tuple([made[serial] for serial in step.overlapped])
            for other in others:
                other[OTHERS] += (region,)
        made.append(region)
        self.links = step if len(made) < self.REMEMBERED else None
        self.regions[view] = region
        return region

    def _overlapped(self, meta: Meta, offset: int) -> tuple[int, ...]:
        """The places in `made` of the regions that this view overlaps, by where they begin, then by
        age: of two that end at one time the first is waited for."""
        index = self._index()
        begin, end = index.near(span(meta, offset))
        if end - begin > self.MANY:
            if len(self.indices) == 1:
                self._index_rows()
            for other_index in self.indices[1:]:
                interval = other_index.interval(meta, offset)
                if interval is not None:
                    low, high = other_index.near(interval)
                    if high - low + len(other_index.loose) < end - begin + len(index.loose):
                        index, begin, end = other_index, low, high
        found = [
            (span(other[0], other[1])[0], serial)
            for _, serial, _, other in (*index.sorted[begin:end], *index.loose)
            if overlap(meta, offset, other[0], other[1])
        ]
        return tuple([serial for _, serial in sorted(found)])

    def _index(self) -> Index:
        """The index of all regions by where they lie in the buffer."""
        if not self.indices:
            self.indices.append(Index(0))
        for serial in range(self.indexed, len(self.made)):
            region = self.made[serial]
            for index in self.indices:
                index.add(index.interval(region[0], region[1]), serial, region)
        self.indexed = len(self.made)
        return self.indices[0]

    def _index_rows(self) -> None:
        """Make the indices by rows, one for each axis before the last."""
        whole = self.whole
        for pitch in sorted(
            {s * whole.itemsize for s, n in zip(whole.strides[:-1], whole.shape) if n > 1 and s > 1}
        ):
            index = Index(pitch)
            for serial, region in enumerate(self.made):
                index.add(index.interval(region[0], region[1]), serial, region)
            self.indices.append(index)


def find(buf: Any, meta: Meta, offset: int) -> Region:
    """The region of this view of `buf`, whose mark knows it from now on.

    The mark of a buffer that is used is the region that covers it all, if it was used as a whole
    only; else [None, the only region or the `Views` there are, where on the tape the record lies
    that touches the buffer last].
    """
    entry = buf.mark
    if entry.__class__ is int:
        made = fresh(meta, offset)
        buf.mark = made if meta is buf.meta else [None, made, entry]
        return made
    if entry[0] is meta:
        whole: Region = entry
        return whole
    if entry[0] is not None:
        buf.mark = entry = [None, entry, entry[LAST]]
    found: Region | Views = entry[1]
    if isinstance(found, list):
        if found[0] is meta and found[1] == offset:
            return found
        found[LAST] = -1
        entry[1] = found = Views(found, buf.meta)
    return found.region(meta, offset)


def first_of(entry: list[Any]) -> Region:
    """The region that was made first of a buffer, by its mark."""
    found: Region | Views = entry if entry[0] is not None else entry[1]
    return found if isinstance(found, list) else found.first


def last_use(entry: list[Any]) -> int:
    """Where on the tape the record lies that touches a buffer last, by its mark."""
    found: int = entry[2] if entry[0] is None else entry[LAST]
    return found


def regions_of(entry: list[Any]) -> Iterable[Region]:
    """All regions of a buffer, by its mark."""
    found: Region | Views = entry if entry[0] is not None else entry[1]
    return (found,) if isinstance(found, list) else found.regions.values()


def over(regions: Iterable[Region]) -> tuple[float, int]:
    """When everything about these regions is over, and which record ends it."""
    return max(
        (r[READ], r[READER]) if r[READ] > r[AVAIL] else (r[AVAIL], r[WRITER]) for r in regions
    )


def forget(region: Region) -> None:
    """Make a region one that nobody has touched: what touched it was about other memory."""
    region[AVAIL], region[WRITER], region[ENGINE], region[READ], region[READER] = _UNTOUCHED


_UNTOUCHED = (0.0, -16, -2, 0.0, -16)

_BOXES: dict[tuple[Meta, Meta, int], tuple[tuple[int, ...], tuple[int, ...], bool] | None] = {}


def box_of(whole: Meta, meta: Meta, offset: int) -> tuple[Any, ...] | None:
    """Of a view of a buffer of the layout `whole`: its lowest and highest place on each axis of the
    buffer, and whether it is all that lies between; None if it does not lie along the axes."""
    key = (whole, meta, offset)
    if key not in _BOXES:
        _BOXES[key] = _box(whole, meta, offset)
    return _BOXES[key]


def _box(
    whole: Meta, meta: Meta, offset: int
) -> tuple[tuple[int, ...], tuple[int, ...], bool] | None:
    if meta.itemsize != whole.itemsize:
        return None
    low = []
    for step in whole.strides:
        low.append(offset // step)
        offset %= step
    high = low.copy()
    for n, stride in zip(meta.shape, meta.strides):
        if n == 1 or stride == 0:
            continue
        axis = next((a for a, step in enumerate(whole.strides) if step <= stride), None)
        if axis is None or stride % whole.strides[axis]:
            return None
        high[axis] += (n - 1) * stride // whole.strides[axis]
    if any(top >= n for top, n in zip(high, whole.shape)):
        return None
    size = 1
    for first, last in zip(low, high):
        size *= last - first + 1
    return tuple(low), tuple(high), size == meta.size


def inside(whole: Meta, one: Region, other: Region) -> bool:
    """Whether region `one` of a buffer lies inside region `other`, as far as boxes tell."""
    inner = box_of(whole, one[LAYOUT], one[OFFSET])
    outer = box_of(whole, other[LAYOUT], other[OFFSET])
    if inner is None or outer is None or not outer[2]:
        return False
    return all(a <= b for a, b in zip(outer[0], inner[0])) and all(
        a >= b for a, b in zip(outer[1], inner[1])
    )
