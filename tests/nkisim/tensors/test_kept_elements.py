"""Copying where a mask keeps elements: the short ways give what NumPy's own gives."""

import numpy as np
import pytest

from nkisim.tensors.masks import compact, copy_where

SHAPE = (6, 4, 3)
SOME = np.array([True, False, True, True, False, True])
MASKS = {
    "rows": np.broadcast_to(SOME[:, None, None], SHAPE),
    "the first rows": np.broadcast_to((np.arange(6) < 4)[:, None, None], SHAPE),
    "no row": np.broadcast_to(np.zeros((6, 1, 1), bool), SHAPE),
    "all rows": np.broadcast_to(np.ones((6, 1, 1), bool), SHAPE),
    "everything": np.broadcast_to(np.True_, SHAPE),
    "nothing": np.broadcast_to(np.False_, SHAPE),
    "columns": np.broadcast_to(np.array([True, False, True]), SHAPE),
    "one axis in the middle": np.broadcast_to(
        np.array([True, False, False, True])[None, :, None], SHAPE
    ),
    "rows, not repeated": np.broadcast_to(SOME[:, None, None], SHAPE).copy(),
    "single elements": np.arange(72).reshape(SHAPE) % 5 == 0,
}


@pytest.mark.parametrize("name", MASKS)
def test_what_a_mask_keeps_is_copied_and_nothing_else(name):
    kept = MASKS[name]
    values = np.arange(72.0).reshape(SHAPE)
    out, wanted = np.full(SHAPE, -1.0), np.full(SHAPE, -1.0)
    copy_where(out, values, kept)
    np.copyto(wanted, values, where=kept)
    assert np.array_equal(out, wanted)


@pytest.mark.parametrize("name", MASKS)
def test_flags_without_their_repetitions_say_the_same(name):
    kept = MASKS[name]
    few = compact(kept)
    assert np.array_equal(np.broadcast_to(few, SHAPE), kept)
    assert few.any() == kept.any() and few.all() == kept.all()


def test_more_runs_of_rows_than_are_copied_one_by_one_are_copied_too():
    rows = np.arange(100) % 2 == 0
    kept = np.broadcast_to(rows[:, None], (100, 3))
    out = np.zeros((100, 3))
    copy_where(out, np.ones((100, 3)), kept)
    assert np.array_equal(out, kept.astype(float))


def test_rows_of_one_number_each_are_given_by_broadcasting():
    kept = MASKS["rows"]
    out = np.zeros(SHAPE)
    copy_where(out, np.arange(6.0)[:, None, None], kept)
    assert np.array_equal(out, np.where(kept, np.arange(6.0)[:, None, None], 0))
