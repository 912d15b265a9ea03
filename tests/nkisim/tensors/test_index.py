"""Index grids and masks, against NumPy's arange, mgrid and comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim
from nkisim.tensors import index

SIZES = st.integers(1, 6)


@given(SIZES, SIZES, st.integers(-3, 3), st.integers(-3, 3), st.integers(-5, 5))
def test_affine_expressions_have_the_values_of_numpy(p, f, a, b, c):
    i, j = index.arange(p)[:, None], index.arange(f)[None, :]
    x, y = np.arange(p)[:, None], np.arange(f)[None, :]
    got = a * i + j * b - c
    assert got.shape == (p, f)
    assert got.affine
    np.testing.assert_array_equal(got.array(), np.broadcast_to(a * x + y * b - c, (p, f)))
    assert got.range() == (got.array().min(), got.array().max())
    np.testing.assert_array_equal((c - got).array(), c - got.array())
    np.testing.assert_array_equal((-got).array(), -got.array())


@given(SIZES, SIZES, SIZES)
def test_three_axes_broadcast_as_in_numpy(a, b, c):
    grids = [
        index.arange(a)[:, None, None],
        index.arange(b)[None, :, None],
        index.arange(c)[None, None, :],
    ]
    arrays = [np.arange(a)[:, None, None], np.arange(b)[None, :, None], np.arange(c)[None, None, :]]
    got = 7 * grids[0] + 3 * grids[1] + grids[2]
    np.testing.assert_array_equal(got.array(), 7 * arrays[0] + 3 * arrays[1] + arrays[2])


@given(st.integers(0, 3), st.integers(1, 8), st.integers(1, 3), st.integers(1, 5))
def test_mgrid_has_the_values_of_numpy(start, length, step, other):
    stop = start + length
    got = index.mgrid[start:stop:step, 0:other]
    expected = np.mgrid[start:stop:step, 0:other]
    for mine, theirs in zip(got, expected):
        np.testing.assert_array_equal(mine.array(), theirs)


def test_mgrid_names_its_axes():
    grid = index.mgrid[0:2, 0:3, 0:4, 0:5, 0:6]
    assert (grid.p, grid.x, grid.y, grid.z, grid.w) == tuple(grid) or all(
        a is b for a, b in zip((grid.p, grid.x, grid.y, grid.z, grid.w), grid)
    )


def test_arange_takes_start_and_stop():
    np.testing.assert_array_equal(index.arange(3, 7).array(), np.arange(3, 7))
    np.testing.assert_array_equal(
        (index.arange(4)[:, None] + 128).array(), np.arange(128, 132)[:, None]
    )


@pytest.mark.parametrize("wrong", [(), (1, 2, 3), (2.0,), (0,), (5, 5)])
def test_arange_refuses_steps_floats_and_empty_ranges(wrong):
    with pytest.raises(nkisim.KernelError) as caught:
        index.arange(*wrong)
    assert caught.value.rule == "argument"


@pytest.mark.parametrize("compare", ["__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"])
@given(st.integers(-2, 9))
def test_comparisons_make_masks_with_the_values_of_numpy(compare, bound):
    i, x = index.arange(7)[None, :], np.arange(7)[None, :]
    mask = getattr(i, compare)(bound)
    np.testing.assert_array_equal(mask.where, getattr(x, compare)(bound))
    assert mask.affine and not mask.compound


def test_two_expressions_compare_over_their_common_grid():
    i, j = index.arange(4)[:, None], index.arange(5)[None, :]
    np.testing.assert_array_equal((i >= j).where, np.arange(4)[:, None] >= np.arange(5)[None, :])


def test_masks_join_with_and_or_not_and_plain_booleans():
    i, j = index.arange(4)[:, None], index.arange(5)[None, :]
    x, y = np.arange(4)[:, None], np.arange(5)[None, :]
    np.testing.assert_array_equal(((i < 2) & (j > 1)).where, (x < 2) & (y > 1))
    np.testing.assert_array_equal(((i < 2) | (j > 1)).where, (x < 2) | (y > 1))
    np.testing.assert_array_equal((~(i < 2)).where, ~(x < 2))
    np.testing.assert_array_equal((True & (i < 2)).where, x < 2)
    assert not ((i < 2) & False).where.any()
    assert ((i < 2) & (j > 1)).compound


def test_division_and_remainder_are_index_values_but_no_affine_masks():
    i = index.arange(8)[None, :]
    np.testing.assert_array_equal((i // 2).array(), np.arange(8)[None, :] // 2)
    np.testing.assert_array_equal((i % 3 + 1).array(), np.arange(8)[None, :] % 3 + 1)
    assert (i // 2)[:, None].shape == (1, 1, 8)
    assert not (i // 2).affine
    assert not ((i % 3) < 2).affine


def test_an_index_cannot_be_sliced_only_given_axes():
    with pytest.raises(nkisim.KernelError) as caught:
        index.arange(8)[0:4]
    assert caught.value.rule == "arange-1d"
    assert "adding a number" in caught.value.remedy


def test_grids_that_do_not_broadcast_are_refused():
    with pytest.raises(nkisim.KernelError) as caught:
        index.arange(4)[:, None] + index.arange(5)[:, None]
    assert caught.value.rule == "shape-mismatch"


def test_the_product_of_two_index_grids_is_refused_as_not_affine():
    with pytest.raises(nkisim.KernelError) as caught:
        index.arange(4)[:, None] * index.arange(5)[None, :]
    assert caught.value.rule == "argument"


def test_an_index_is_no_condition_and_neither_is_a_mask():
    for thing in (index.arange(4)[:, None], index.arange(4)[:, None] < 2):
        with pytest.raises(nkisim.KernelError) as caught:
            if thing:
                pass
        assert caught.value.rule == "index-condition"


def test_and_between_masks_is_the_second_one_as_python_has_it_with_a_warning():
    first, second = index.arange(4)[:, None] < 2, index.arange(4)[:, None] < 3
    with pytest.warns(nkisim.RuleWarning, match="mask-truth"):
        both = first and second
    assert both is second
    with pytest.warns(nkisim.RuleWarning, match="mask-truth"):
        either = first or second
    assert either is first
