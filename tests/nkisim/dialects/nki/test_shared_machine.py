"""What both dialects and both ways meet alike: selects and sums of integers, views of other types
on tensors written in parts, rows picked at run time."""

from __future__ import annotations

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim
from tests.nkisim.dialects.nki.kernels import on_tiles, refused, tile

ONES = np.ones((4, 16), np.float32)


# -- selects ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("half", [ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("whole", "value"), [(np.uint8, 117), (np.int16, 1117), (np.int8, -117)])
def test_a_selected_integer_keeps_its_digits_beside_floats_of_few(half, whole, value):
    def both(a, b):
        chosen = nl.full((2, 4), 1, nl.uint8)
        reduced = tile((2, 4))
        nisa.select_reduce(dst=reduced, predicate=chosen, on_true=a, on_false=b[:, 0:1])
        return reduced, nl.where(chosen, a, b, dtype=nl.float32)

    for got in on_tiles(both, np.full((2, 4), value, whole), np.ones((2, 4), half)):
        np.testing.assert_array_equal(got, np.full((2, 4), value, np.float32))


def test_selected_integers_of_32_bits_keep_all_of_them():
    a, b = np.full((2, 4), 2**31 - 1, np.int32), np.full((2, 4), -(2**31) + 1, np.int32)
    got = on_tiles(lambda x, y: nl.where(nl.full((2, 4), 1, nl.uint8), x, y), a, b)
    np.testing.assert_array_equal(got, a)


# -- integer arithmetic ----------------------------------------------------------------------------
def test_integers_are_computed_in_float32_where_the_result_is_a_float():
    a, b = np.full((2, 2), 5, np.uint32), np.full((2, 2), 200, np.uint32)
    got = on_tiles(lambda x, y: nl.subtract(x, y, dtype=nl.float32), a, b)
    np.testing.assert_array_equal(got, np.full((2, 2), -195, np.float32))

    def on_gpsimd(x):
        out = tile((2, 2))
        nisa.tensor_tensor(out, x, x, nl.multiply, engine=nisa.engine.gpsimd)
        return out

    big = np.full((2, 2), 100_000, np.int32)
    np.testing.assert_array_equal(on_tiles(on_gpsimd, big), np.full((2, 2), 1e10, np.float32))


def test_integers_of_both_kinds_of_32_bits_are_added_exactly():
    def added(x, y):
        out = tile((2, 2), nl.int32)
        nisa.tensor_tensor(out, x, y, nl.add)
        return out

    a, b = np.full((2, 2), -7, np.int32), np.full((2, 2), 2**31 - 1, np.uint32)
    np.testing.assert_array_equal(on_tiles(added, a, b), np.full((2, 2), 2**31 - 8, np.int32))


def test_a_softmax_of_unsigned_integers_over_an_inner_axis_is_a_softmax():
    x = np.array([[[200, 0], [3, 4]]], np.uint32)
    got = on_tiles(lambda t: nl.softmax(t, axis=2, dtype=nl.float32), x)
    p = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    np.testing.assert_allclose(got, p / p.sum(-1, keepdims=True), rtol=1e-5, atol=1e-30)


# -- sums in PSUM ----------------------------------------------------------------------------------
@pytest.mark.parametrize("made", ["matmul", "transpose"])
def test_a_matmul_adds_to_what_nl_functions_left_in_psum(made):
    def twice(x):
        t = nl.matmul(x, x, transpose_x=True) if made == "matmul" else nl.transpose(x)
        nisa.nc_matmul(dst=t, stationary=x, moving=x)
        nisa.nc_matmul(dst=t, stationary=x, moving=x, accumulate=True)
        return t

    np.testing.assert_array_equal(on_tiles(twice, np.eye(4, dtype=np.float32)), 3 * np.eye(4))


def test_a_matmul_onto_a_copy_in_psum_is_warned_about_and_adds():
    def onto_a_copy(x):
        t = tile((4, 4), buffer=nl.psum)
        nisa.tensor_copy(t, x)
        nisa.nc_matmul(dst=t, stationary=x, moving=x)
        return t

    with pytest.warns(nkisim.rules.errors.RuleWarning, match="no matmul wrote what is there"):
        got = on_tiles(onto_a_copy, np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(got, 2 * np.eye(4))


# -- views of another item size --------------------------------------------------------------------
def test_a_write_through_a_strided_view_of_smaller_items_writes_those_alone():
    def partly(x):
        t = tile((4, 8))
        nisa.memset(dst=t[0:1].view(nl.bfloat16)[:, 0:16:2], value=1.0)
        return nl.copy(t)

    refused(partly, ONES, rule="uninitialized-read")

    def half(x):
        t = tile((1, 8))
        nisa.memset(dst=t.view(nl.bfloat16)[:, 0:16:2], value=1.0)
        return nl.copy(t.view(nl.bfloat16)[:, 0:16:2])

    np.testing.assert_array_equal(on_tiles(half, ONES), np.ones((1, 8)))


def test_two_writes_of_halves_make_a_whole_element():
    def halves(x):
        t = tile((4, 8))
        words = t.view(nl.bfloat16)
        nisa.memset(dst=words[:, 0:16:2], value=0.0)
        nisa.memset(dst=words[:, 1:16:2], value=1.0)
        return nl.copy(t)

    np.testing.assert_array_equal(on_tiles(halves, ONES), np.ones((4, 8)))


def test_an_output_of_which_halves_were_written_is_unwritten():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((4, 8), nl.float32, buffer=nl.shared_hbm)
        t = nl.load(x)
        nisa.dma_copy(dst=out[0:1].view(nl.bfloat16)[:, 0:16:2], src=t[0:1])
        return out

    with pytest.raises(nkisim.KernelError) as caught:
        kernel(np.ones((4, 8), ml_dtypes.bfloat16))
    assert caught.value.rule == "unwritten-output"


@pytest.mark.parametrize("values", [True, False])
def test_a_strided_view_of_larger_items_reads_what_was_written(values):
    @nki.jit
    def kernel(x):
        t = nl.ndarray((4, 16), nl.bfloat16, buffer=nl.sbuf)
        nisa.memset(dst=t[0:2], value=1.0)
        out = nl.ndarray((2, 4), nl.float32, buffer=nl.shared_hbm)
        d = nl.ndarray((2, 4), nl.float32)
        nisa.tensor_copy(dst=d, src=t[0:2].view(nl.float32)[:, 0:8:2])
        nisa.dma_copy(dst=out, src=d)
        return out

    with nkisim.record(values=values):
        assert kernel(ONES).shape == (2, 4)


@pytest.mark.parametrize("values", [True, False])
def test_a_view_of_larger_items_reads_rows_that_were_scattered(values):
    @nki.jit
    def kernel(x):
        t = nl.ndarray((8, 16), nl.bfloat16, buffer=nl.hbm)
        i = nl.zeros((2, 1), nl.int32)
        nisa.iota(dst=i, pattern=[[0, 1]], channel_multiplier=2)
        nisa.dma_copy(dst=t.vector_select(0, i), src=nl.full((2, 16), 1.0, nl.bfloat16))
        out = nl.ndarray((1, 4), nl.float32, buffer=nl.shared_hbm)
        d = nl.ndarray((1, 4), nl.float32)
        nisa.dma_copy(dst=d, src=t[2:3].view(nl.float32)[:, 0:8:2])
        nisa.dma_copy(dst=out, src=d)
        return out

    with nkisim.record(values=values):
        assert kernel(ONES).shape == (1, 4)


def test_a_pattern_that_repeats_elements_writes_no_others():
    def repeated(x):
        t = tile((4, 16))
        nisa.tensor_copy(dst=t.ap([[16, 4], [0, 4], [1, 4]]), src=x.reshape((4, 4, 4)))
        return nl.copy(t)

    refused(repeated, ONES, rule="uninitialized-read")


# -- rows picked at run time -----------------------------------------------------------------------
def test_more_rows_than_a_table_has_are_gathered_by_an_access_pattern():
    def gathered(x):
        table = nl.ndarray((16, 8), nl.float32, buffer=nl.hbm)
        nisa.dma_copy(dst=table.ap([[8, 4], [1, 8]]), src=x[:, 0:8])
        out = tile((32, 8))
        rows = nl.zeros((32, 1), nl.int32)
        picked = table.ap(pattern=[[8, 32], [1, 8]], vector_offset=rows, indirect_dim=0)
        nisa.dma_copy(dst=out, src=picked)
        return out

    np.testing.assert_array_equal(on_tiles(gathered, ONES), np.ones((32, 8)))


@pytest.mark.parametrize("row", [10, -1])
def test_a_row_out_of_bounds_is_named_by_its_number(row):
    @nki.jit
    def kernel(x, rows):
        out = nl.ndarray((3, 4), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.full((3, 4), -7.0, dtype=x.dtype)
        nisa.dma_copy(dst=t, src=x.vector_select(0, nl.load(rows)))
        nl.store(out, t)
        return out

    table, rows = np.zeros((10, 4), np.float32), np.array([[0], [row], [3]], np.int32)
    said = f"index {row} is out of bounds for axis 0 of 'x', which has 10 rows"
    with pytest.raises(IndexError, match=said):
        kernel(table, rows)


# -- results ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("keepdims", [True, False])
def test_a_variance_keeps_its_axes(keepdims):
    x = np.random.default_rng(0).standard_normal((8, 4, 6)).astype(np.float32)
    got = on_tiles(lambda t: nl.var(t, axis=2, keepdims=keepdims), x)
    np.testing.assert_allclose(got, x.var(axis=2, keepdims=True), rtol=1e-4)
    assert on_tiles(lambda t: nl.var(t, axis=(1, 2)), x).shape == (8, 1, 1)


def test_the_largest_eight_are_replaced_without_asking_for_their_places():
    def replaced(x):
        largest, out = tile((4, 8)), tile((4, 16))
        nisa.max8(dst=largest, src=x)
        nisa.nc_match_replace8(dst=out, data=x, vals=largest, imm=0.0)
        return out

    x = np.arange(64, dtype=np.float32).reshape(4, 16)
    np.testing.assert_array_equal(on_tiles(replaced, x), np.where(x % 16 < 8, x, 0))
