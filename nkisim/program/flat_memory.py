"""The memory of a flat replay: every buffer lies in an array that is used again once it is dead,
and a copy of a tile that dies there is only another name for it."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from ..machine.config import Config
from ..machine.memory import Meta, contiguous
from .flat_steps import WHOLE, Op, Steps

POISON = 0xFF
"""Each byte of memory that the program has not written: NaN in every float."""
_ndarray: Any = np.ndarray
_RUN = 4
"""So many loads at equal distances are bound by one array over all of them."""


class Inputs:
    """Views of what the kernel is given, bound at each call."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.views: list[Any] = []
        """In the order in which `number` named them."""
        self.bytes: list[np.ndarray] = []
        self.skipped: dict[int, int] = {}
        """Bytes of each that were left out since they were bound, where indices are out of
        bounds."""
        self._numbers: dict[tuple[int, Meta, int], int] = {}
        self._binding: list[tuple[Any, ...]] = []

    def number(self, buffer: int, meta: Meta, offset: int) -> int:
        """Which of `views` this one is."""
        key = (buffer, meta, offset)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._numbers)
        return found

    def leave(self, buffer: int, nbytes: int) -> None:
        """Take note of bytes that indices out of bounds leave out."""
        self.skipped[buffer] = self.skipped.get(buffer, 0) + nbytes

    def bind(self, arrays: Sequence[Any]) -> None:
        """Take these arrays."""
        self.skipped.clear()
        self.bytes[:] = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in arrays]
        raw, views = self.bytes, self.views
        for buffer, places, shape, dtype, offset, strides in self._binding:
            array = _ndarray(shape, dtype, raw[buffer], offset, strides)
            if type(places) is int:
                views[places] = array
            else:
                views[places] = list(array)

    def release(self) -> None:
        """Hold on to none of them."""
        self.bytes.clear()
        self.views[:] = [None] * len(self.views)

    def settle(self) -> dict[int, int]:
        """All views are known: those that follow one another at equal distances become rows of one
        array. Their places in `views`, by their numbers."""
        groups: dict[tuple[int, Meta], list[tuple[int, int]]] = {}
        for (buffer, meta, offset), number in self._numbers.items():
            groups.setdefault((buffer, meta), []).append((offset, number))
        order = 0
        made: list[tuple[Any, ...]] = []
        renamed: dict[int, int] = {}
        for (buffer, meta), members in groups.items():
            dtype = self.config.storage(meta.dtype)
            item = dtype.itemsize
            inner = tuple([s * item for s in meta.strides])
            for run in _runs(members):
                for _, number in run:
                    renamed[number] = order
                    order += 1
                first, n = run[0][0], len(run)
                if n < _RUN:
                    for offset, number in run:
                        at = renamed[number]
                        made.append((buffer, at, meta.shape, dtype, offset * item, inner))
                else:
                    places = slice(order - n, order)
                    step = (run[1][0] - first) * item
                    shape, strides = (n, *meta.shape), (step, *inner)
                    made.append((buffer, places, shape, dtype, first * item, strides))
        self._binding = made
        self.views[:] = [None] * order
        return renamed


def _runs(members: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Cut (offset, number) into runs of ascending offsets at equal distances."""
    found: list[list[tuple[int, int]]] = []
    run: list[tuple[int, int]] = []
    for member in members:
        ahead = member[0] - run[-1][0] if run else 0
        if (len(run) > 1 and ahead != run[1][0] - run[0][0]) or (run and ahead <= 0):
            found.append(run)
            run = []
        run.append(member)
    return [*found, run]


class Memory:
    """Where the buffers of a call lie."""

    def __init__(self, config: Config, steps: Steps, ops: list[Op]) -> None:
        self.config = config
        self.slots: list[np.ndarray] = []
        """The arrays of bytes."""
        self.at: list[int] = [-1] * len(steps.metas)
        """In which of them each buffer lies; -1 for inputs, and for what no step names."""
        self.first = [-1] * len(steps.metas)
        self.last = [-1] * len(steps.metas)
        self.writes = [0] * len(steps.metas)
        self.names: dict[int, int] = {}
        """Buffers that are another name for another."""
        self._views: dict[tuple[int, int, Meta], np.ndarray] = {}
        self._live(steps, ops)
        self.ops = self._renamed(steps, ops)
        self._assign(steps)

    def view(self, number: int, offset: int, meta: Meta) -> np.ndarray:
        """A view of a buffer."""
        slot = self.at[number]
        found = self._views.get((slot, offset, meta))
        if found is None:
            dtype = self.config.storage(meta.dtype)
            item = dtype.itemsize
            strides = tuple([s * item for s in meta.strides])
            raw = self.slots[slot]
            found = _ndarray(meta.shape, dtype, raw, offset * item, strides)
            self._views[slot, offset, meta] = found
        return found

    def _live(self, steps: Steps, ops: list[Op]) -> None:
        """From which step to which each buffer is named, and how often it is written."""
        first, last, writes = self.first, self.last, self.writes
        picks = steps.call.picks
        for at, op in enumerate(ops):
            refs = op.refs
            for number in refs[::2]:
                if number >= 0:
                    if first[number] < 0:
                        first[number] = at
                    last[number] = at
            for number, offset in zip(refs[::2], refs[1::2]) if min(refs, default=0) < -1 else ():
                for part in picks[offset].parts if number == -2 else ():
                    if hasattr(part, "meta"):
                        last[part.buffer] = at
            if refs:
                writes[refs[0]] += 1
                signature = op.recipe.signature
                if signature is not None and signature.extra is not None:
                    writes[refs[-2]] += 1
        for view in steps.call.returned:
            last[view.buffer] = len(ops)

    def _renamed(self, steps: Steps, ops: list[Op]) -> list[Op]:
        """The steps without copies of tiles that die there."""
        first, last, writes = self.first, self.last, self.writes
        kept = []
        for at, op in enumerate(ops):
            recipe = op.recipe
            if recipe.kind == WHOLE and len(recipe.metas) == 2 and _copies(recipe):
                new, into, old, off = op.refs
                if (
                    old >= steps.given
                    and last[old] == at == first[new]
                    and writes[new] == 1 == writes[old]
                    and not into
                    and not off
                    and _covers(recipe.metas[0], steps.metas[new])
                    and _covers(recipe.metas[1], steps.metas[old])
                ):
                    self.names[new] = old
                    last[self.root(old)] = last[new]
                    continue
            kept.append(op)
        return kept

    def root(self, number: int) -> int:
        """The buffer whose memory it has."""
        while number in self.names:
            number = self.names[number]
        return number

    def _assign(self, steps: Steps) -> None:
        """Give each buffer an array, from the first step that names it to the last."""
        free: dict[int, list[int]] = {}
        ends: dict[int, list[int]] = {}
        metas, at, last = steps.metas, self.at, self.last
        named = [
            (first, number)
            for number, first in enumerate(self.first)
            if first >= 0 and number >= steps.given and number not in self.names
        ]
        due: list[int] = []
        for first, number in sorted(named):
            while due and due[0] < first:
                step = heappop(due)
                for dead in ends.pop(step):
                    free.setdefault(metas[dead].nbytes, []).append(at[dead])
            held = steps.holding.get(number)
            if held is not None:
                at[number] = len(self.slots)
                self.slots.append(_stored(self.config, held, metas[number]))
                continue
            pool = free.get(metas[number].nbytes)
            if pool:
                at[number] = pool.pop()
            else:
                at[number] = len(self.slots)
                self.slots.append(_aligned(metas[number].nbytes))
            end = last[number]
            if end not in ends:
                ends[end] = []
                heappush(due, end)
            ends[end].append(number)
        for number in self.names:
            at[number] = at[self.root(number)]


def _aligned(size: int) -> np.ndarray:
    """Bytes that begin at a line of the host's cache."""
    raw = np.full(size + 64, POISON, np.uint8)
    return raw[-raw.ctypes.data % 64 :]


def _stored(config: Config, values: np.ndarray, meta: Meta) -> np.ndarray:
    stored = np.ascontiguousarray(config.cast(values, meta.dtype))
    return stored.reshape(-1).view(np.uint8)


def _covers(meta: Meta, whole: Meta) -> bool:
    return meta.size == whole.size and meta.strides == contiguous(meta.shape)


def _copies(recipe: Any) -> bool:
    """Whether it copies a tile as it is."""
    into, source = recipe.metas
    return bool(
        recipe.signature.compute is np.ndarray.copy
        and recipe.mask is None
        and source.dtype == into.dtype
        and source.shape == into.shape
    )
