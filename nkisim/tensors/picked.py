"""Elements that explicit indices pick: bounds, reading, writing, what of them has been written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine import dtypes, memory
from ..machine.memory import FULL, Buffer, Meta
from ..machine.shapes import ShapeOnly, shape_only
from ..rules.errors import broken
from . import subscripts
from .masks import box_of_kept, compact

_lowest, _highest = np.minimum.reduce, np.maximum.reduce


class PickedElements:
    """What `IndexedTensor` does with its indices."""

    __slots__ = ()

    buf: Buffer
    array: Any
    off: int
    base: Meta
    """The layout of what is picked from."""
    indices: tuple[Any, ...]
    """An integer or an array of integers for each axis; a `ShapeOnly` where run-time values are not
    computed."""
    tiles: tuple[Any, ...] | None
    """The index tiles, where the indices are run-time values; None for static grids."""
    skip: bool
    """Whether elements out of bounds are left out."""
    rows: tuple[np.ndarray, int] | None
    """Where a vector of run-time indices picks rows of flat memory: the row of each first place of
    the grid, and how many rows there are."""
    beyond: tuple[Any, ...] | None
    """Of a slice that ends beyond the tensor: the tensor, the axis, start, stop and step."""

    if TYPE_CHECKING:

        @property
        def label(self) -> str: ...
        @property
        def shape(self) -> tuple[int, ...]: ...

    @property
    def unknown(self) -> bool:
        """Whether the indices are run-time values in a run without values: which elements it picks
        is not known."""
        return self.tiles is not None and type(self.array) is ShapeOnly

    def _check(self, where: np.ndarray | None) -> list[Any]:
        """The indices of each axis, of shapes that broadcast to the grid, bounds checked where
        `where` holds; None for run-time indices of a run without values."""
        picked: list[Any] = []
        for dim, index in enumerate(self.indices):
            if type(index) is ShapeOnly:
                picked.append(None)
                continue
            n = self.base.shape[dim]
            few = np.asarray(index)
            if few.size and _lowest(few, None) >= 0 and _highest(few, None) < n:
                picked.append(few)
                continue
            bad = (few < 0) | (few >= n)
            if where is not None:
                bad = bad & compact(where)
            if bad.any():
                self._out_of_bounds(dim, np.broadcast_to(index, self.shape), bad)
            picked.append(np.minimum(np.maximum(few, 0), n - 1))
        return picked

    def _checked(self, where: np.ndarray | None) -> list[Any]:
        """`_check`, each axis over the whole grid."""
        return [None if p is None else np.broadcast_to(p, self.shape) for p in self._check(where)]

    def _out_of_bounds(self, dim: int, full: np.ndarray, bad: np.ndarray) -> None:
        """Refuse the indices `full` of an axis, over the grid, which are out of bounds where `bad`
        holds."""
        n = self.base.shape[dim]
        bad = np.broadcast_to(bad, self.shape)
        if self.rows is not None:
            self._no_such_row(full, bad, n)
        self.refuse_slice()
        first = int(full[bad][0])
        # of an access pattern over flat memory the offset is told, as the official simulator does
        where_to = f"with size {n}" if len(self.base.shape) == 1 else f"of '{self.label}'"
        broken(
            "out-of-bounds",
            f"index {first} is out of bounds for axis {dim} {where_to}",
            tensor=self.label,
            got=f"{int(full.min())}..{int(full.max())}",
            limit=f"0..{n - 1}",
            remedy="The index is data: let unused entries point at an element that "
            "exists, and mask what it brings."
            if self.tiles
            else "Pass mask= to leave out what lies beyond the tensor, e.g. mask=(i_f < n).",
        )

    def refuse_slice(self) -> None:
        """Refuse a slice that ends beyond the tensor; nothing for other picks."""
        if self.beyond is not None:
            subscripts.bad_slice(*self.beyond)

    def _no_such_row(self, full: np.ndarray, bad: np.ndarray, total: int) -> None:
        """Refuse a run-time row that the tensor does not have; `full`: offsets in its memory."""
        assert self.rows is not None
        rows, extent = self.rows
        row, offset = int(rows[np.argwhere(bad)[0][0]]), int(full[bad][0])
        broken(
            "out-of-bounds",
            f"index {row} is out of bounds for axis 0 of '{self.label}', which has {extent} rows",
            tensor=self.label,
            # of the flat memory too, as the official simulator tells it
            got=f"row {row}; index {offset} is out of bounds for axis 0 with size {total}",
            limit=f"0..{extent - 1}",
            remedy="The index is data: let unused entries point at a row that exists, or leave "
            "such rows out with oob_mode=nisa.oob_mode.skip, where a DMA takes it.",
        )

    def places(self) -> np.ndarray | None:
        """Where in the buffer the elements lie, shape `shape`, those out of bounds at the edge;
        None in a run without values."""
        if any(type(index) is ShapeOnly for index in self.indices):
            return None
        total = np.full(self.shape, self.off, dtype=np.int64)
        for n, step, index in zip(self.base.shape, self.base.strides, self.indices):
            total += np.clip(index, 0, n - 1) * step
        return total

    def gather(self, where: np.ndarray | None) -> Any:
        """The values, shape `shape`; anything where `where` is False."""
        picked = self._check(where)
        if type(self.array) is ShapeOnly:
            return shape_only(self.shape, self.array.dtype)
        rows = self._whole_rows(picked)
        found = self.array[tuple(picked)] if rows is None else rows
        return found if found.shape == self.shape else np.broadcast_to(found, self.shape).copy()

    def _whole_rows(self, picked: list[Any]) -> Any:
        """The values where the first place of the grid alone picks along one axis, which comes
        before those that the other places follow one by one: a few copies in place of one for each
        element. None of other picks."""
        subscript: list[Any] = []
        rows = None
        last = 0
        for p in picked:
            lengths = [axis for axis, n in enumerate(p.shape) if n > 1]
            axis = lengths[0] - p.ndim + len(self.shape) if lengths else -1
            if not lengths:
                subscript.append(int(p.reshape(-1)[0]))
            elif len(lengths) > 1 or axis < last:
                return None
            elif axis == 0:
                rows, last = p.reshape(-1), 1
                subscript.append(slice(None))
            else:
                start = int(p.reshape(-1)[0])
                if rows is None or not np.array_equal(p.reshape(-1), start + np.arange(p.size)):
                    return None
                subscript.append(slice(start, start + p.size))
                last = axis + 1
        return None if rows is None else self.array[tuple(subscript)][rows].reshape(self.shape)

    def written_flags(self, where: np.ndarray | None) -> np.ndarray:
        """Whether each picked element has been written."""
        if self.buf.state in (FULL, memory.ZERO, memory.SHARED):
            return np.ones(self.shape, dtype=bool)
        picked = self._checked(where)
        if self.unknown:  # no telling which: any element that is written will do
            return np.full(self.shape, self.buf.state != memory.EMPTY)
        flags: np.ndarray = self._flags()[tuple(picked)]
        return np.logical_and.reduce(flags, axis=-1) if flags.ndim > len(self.shape) else flags

    def scatter(self, values: np.ndarray, where: np.ndarray | None) -> None:
        """Write `values` to the picked elements where `where` holds, and mark them written."""
        picked = self._checked(where)
        keep = (
            np.ones(self.shape, dtype=bool) if where is None else np.broadcast_to(where, self.shape)
        )
        buf = self.buf
        chosen: tuple[Any, ...] | None = None
        if type(self.array) is not ShapeOnly:
            chosen = tuple(p[keep] for p in picked)
            self.array[chosen] = np.broadcast_to(values, self.shape)[keep]
        if buf.state in (FULL, memory.SHARED):
            return
        region = None if self.tiles is not None else self._region(picked, keep)
        if self.unknown:  # no telling which: all elements count as written from now on
            buf.fill(0, buf.meta.shape, buf.meta.strides, buf.meta.itemsize)
        elif region is not None:
            buf.fill(*region, self.base.itemsize)
        else:
            self._flags()[tuple(p[keep] for p in picked) if chosen is None else chosen] = True
        buf.state = memory.PARTIAL
        if self.tiles is not None and buf.role == "output":
            buf.role = "scattered"

    def _region(
        self, picked: list[np.ndarray], keep: np.ndarray
    ) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
        """Offset, shape and strides in the buffer of the elements that `keep` leaves, if they are a
        strided region."""
        box = box_of_kept(keep)
        if box is None or 0 in box[1]:
            return None
        start, shape = box
        inner = tuple(slice(a, a + n) for a, n in zip(start, shape))
        flat: Any = sum(
            (p[inner] * s for p, s in zip(picked, self.base.strides)), np.int64(self.off)
        )
        first = (0,) * len(shape)
        strides = tuple(
            int(flat[tuple(int(a == axis) for a in range(len(shape)))] - flat[first])
            if n > 1
            else 0
            for axis, n in enumerate(shape)
        )
        plain = flat[first] + sum(
            np.arange(n).reshape([-1 if a == axis else 1 for a in range(len(shape))]) * s
            for axis, (n, s) in enumerate(zip(shape, strides))
        )
        return (
            (int(flat[first]), shape, strides)
            if np.array_equal(flat, np.broadcast_to(plain, shape))
            else None
        )

    def accumulate(self, values: np.ndarray, where: np.ndarray | None) -> None:
        """Add `values`, in float32, to the picked elements where `where` holds; those picked
        several times get each."""
        picked = self._checked(where)
        keep = (
            np.ones(self.shape, dtype=bool) if where is None else np.broadcast_to(where, self.shape)
        )
        if type(self.array) is ShapeOnly:
            return
        flat = np.ravel_multi_index(tuple(p[keep] for p in picked), self.array.shape)
        places, which = np.unique(flat, return_inverse=True)
        at = np.unravel_index(places, self.array.shape)
        sums = dtypes.to_fp32(self.array[at])
        np.add.at(
            sums,
            which.reshape(-1),
            dtypes.to_fp32(np.broadcast_to(values.reshape(self.shape), self.shape)[keep]),
        )
        self.array[at] = dtypes.cast(sums, self.array.dtype)

    def _flags(self) -> np.ndarray:
        base = self.base
        return self.buf.flags(self.off, base.shape, base.strides, base.itemsize)
