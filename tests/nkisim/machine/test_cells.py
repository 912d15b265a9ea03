"""Cells: regions of a tensor remembered by blocks, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from nkisim.machine.cells import Cells, box_of


def region(rng: np.random.Generator, whole: np.ndarray) -> np.ndarray:
    """A view of `whole` as kernels make them: slices with steps, reshapes, transposes, repeated
    axes."""
    view = whole
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(0, 5)
        if kind <= 1:
            key = []
            for n in view.shape:
                start = int(rng.integers(0, n))
                key.append(
                    slice(start, int(rng.integers(start + 1, n + 1)), int(rng.choice([1, 1, 2, 3])))
                )
            view = view[tuple(key)]
        elif kind == 2 and view.ndim > 1:
            view = view.transpose(rng.permutation(view.ndim))
        elif kind == 3:
            view = np.broadcast_to(view, (2, *view.shape))
        elif view.flags.c_contiguous and view.ndim > 1:
            view = (
                view.reshape(view.shape[0], -1)
                if rng.integers(2)
                else view.reshape(-1, view.shape[-1])
            )
    return view


@pytest.mark.parametrize("shape", [(12,), (8, 12), (4, 6, 10), (2, 3, 4, 8)])
def test_cells_tell_of_every_region_what_one_value_an_element_would(shape):
    rng = np.random.default_rng(len(shape))
    item = 8
    for trial in range(60):
        cells, plain = Cells(shape, False), np.zeros(shape, dtype=np.int64)
        cells.own()
        for step in range(1, 8):
            view = region(rng, plain)
            start = view.__array_interface__["data"][0] - plain.__array_interface__["data"][0]
            place = (start // item, view.shape, tuple(s // item for s in view.strides))
            index = cells.index(*place)
            assert set(np.unique(cells.owner[index])) == set(np.unique(view)), (trial, step, place)
            assert set(np.unique(cells.written[index])) == set(np.unique(view > 0)), (
                trial,
                step,
                place,
            )
            if trial % 3 == 0:
                np.testing.assert_array_equal(cells.each(*place), view > 0)
                index = cells.index(*place)
            cells.owner[index] = step
            cells.written[index] = True
            np.ndarray(view.shape, np.int64, plain, start, view.strides)[...] = step


def test_a_tensor_written_tile_by_tile_has_one_cell_a_tile():
    cells = Cells((4096, 8192), False)
    for m in range(0, 4096, 128):
        for n in range(0, 8192, 512):
            tile = cells.index(m * 8192 + n, (128, 512), (8192, 1))
            cells.written[tile] = True
        assert cells.written.all() == (m == 4096 - 128)
    assert cells.written.shape == (32, 16)


def test_a_last_smaller_tile_makes_the_blocks_no_smaller_than_it_needs():
    cells = Cells((1000, 64), False)
    for start in range(0, 1000, 128):
        rows = cells.index(start * 64, (min(128, 1000 - start), 64), (64, 1))
        cells.written[rows] = True
    assert cells.written.shape == (125, 1)
    assert cells.written.all()


def test_a_diagonal_is_no_box():
    assert box_of((8, 8), 0, (8,), (9,)) is None


def test_a_reshaped_row_block_is_a_box():
    assert box_of((8, 12), 24, (2, 2, 6), (12, 6, 1)) == ((2, 4, 1), (0, 12, 1))
