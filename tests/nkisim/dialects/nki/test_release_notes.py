"""Every correction that the release notes of nki 0.5.0 and 0.6.0 list for the official simulator,
and what else they say that can be tried.

Source: aws-neuron-sdk v2.32.0 release-notes/components/nki.rst; each test names the release.
"""

from __future__ import annotations

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, refused, tile, values

X = values(128, 64)
FP32_MIN = float(np.finfo(np.float32).min)


# -- 0.6.0 (Neuron 2.32.0) -------------------------------------------------------------------------
def test_2_32_fp32_to_integer_rounds_to_nearest_even_and_saturates():
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 300.0, -300.0, 3e9]], np.float32)

    def body(t):
        small, wide, unsigned = (
            tile(x.shape, np.int8),
            tile(x.shape, np.int32),
            tile(x.shape, np.uint8),
        )
        nisa.tensor_copy(small, t)
        nisa.activation(wide, nl.copy, t)
        nisa.tensor_scalar(unsigned, t, nl.multiply, 1.0)
        return small, wide, unsigned

    small, wide, unsigned = on_tiles(body, x)
    assert small.tolist() == [[0, 2, 2, 0, -2, 127, -128, 127]]
    assert wide.tolist() == [[0, 2, 2, 0, -2, 300, -300, 2**31 - 1]]
    assert unsigned.tolist() == [[0, 2, 2, 0, 0, 255, 0, 255]]


def test_2_32_nc_match_replace8_pairs_duplicate_values_with_the_highest_slot_first():
    data = np.array([[1, 2, 3, 4] + [8] * 7], np.float32)
    vals = np.array([[3] + [8] * 7], np.float32)

    def body(d, v):
        out, places = tile(d.shape), tile((1, 8), np.uint32)
        nisa.nc_match_replace8(out, d, v, -1.0, dst_idx=places)
        return out, places

    out, places = on_tiles(body, data, vals)
    assert places.tolist() == [[2, 10, 9, 8, 7, 6, 5, 4]]
    assert out.tolist() == [[1, 2, -1, 4] + [-1] * 7]


def test_2_32_nc_find_index8_gives_all_ones_where_nothing_matches_and_advances_over_duplicates():
    data = np.array([[5, 7, 5, 9, 5, 0, 0, 1]], np.float32)
    vals = np.array([[5, 5, 5, 5, 7, 42, 1, 0]], np.float32)

    def body(d, v):
        wide, narrow = tile((1, 8), np.uint32), tile((1, 8), np.uint16)
        nisa.nc_find_index8(wide, d, v)
        nisa.nc_find_index8(narrow, d, v)
        return wide, narrow

    wide, narrow = on_tiles(body, data, vals)
    assert wide.tolist() == [[0, 2, 4, 2**32 - 1, 1, 2**32 - 1, 7, 5]]
    assert narrow.tolist() == [[0, 2, 4, 2**16 - 1, 1, 2**16 - 1, 7, 5]]


def test_2_32_activation_whose_reduce_res_lies_in_its_dst_keeps_the_reduction():
    def body(t):
        nisa.activation(
            t,
            nl.copy,
            t,
            reduce_op=nl.add,
            reduce_res=t[:, 0:1],
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
        )
        return t

    got = on_tiles(body, X)
    np.testing.assert_allclose(got[:, 0], X.sum(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(got[:, 1:], X[:, 1:])


@pytest.mark.parametrize("element", ["float8_e5m2_x4", "float8_e4m3fn_x4"])
def test_2_32_quantize_mx_and_nc_matmul_mx_take_slices_of_a_shared_buffer_of_scales(element):
    packed = getattr(nl, element)
    a, b = values(32, 64).astype(ml_dtypes.bfloat16), values(32, 128).astype(ml_dtypes.bfloat16)

    def body(x, y):
        scales = tile((16, 32), np.uint8)
        nisa.memset(scales, 0)
        qa, qb = tile((32, 16), packed), tile((32, 32), packed)
        nisa.quantize_mx(qa, x, scales[0:4, 0:16])
        nisa.quantize_mx(qb, y, scales[4:8, 0:32])
        dst = tile((16, 32), buffer=nl.psum)
        nisa.nc_matmul_mx(dst, qa, qb, scales[0:4, 0:16], scales[4:8, 0:32])
        return dst

    got = on_tiles(body, a, b, target="trn3")
    wide_a, wide_b = (v.astype(np.float64).reshape(32, -1, 4) for v in (a, b))
    # two or three bits of mantissa, 128 products of about 1
    off = got - np.einsum("kmi,kni->mn", wide_a, wide_b)
    assert np.abs(off).max() < (4 if "e5m2" in element else 2) and np.abs(off.mean()) < 0.1


def test_2_32_nc_matmul_in_double_row_mode_gives_a_result_of_the_right_size():
    a, b = (values(32, 2, n).astype(ml_dtypes.float8_e4m3) for n in (8, 12))

    def body(x, y):
        dst = tile((8, 12), buffer=nl.psum)
        nisa.nc_matmul(dst, x, y, perf_mode=nisa.matmul_perf_mode.double_row)
        return dst

    expected = a.astype(np.float64).reshape(64, 8).T @ b.astype(np.float64).reshape(64, 12)
    np.testing.assert_allclose(on_tiles(body, a, b), expected, rtol=1e-5, atol=1e-5)
    refused(
        lambda x, y: nisa.nc_matmul(tile((16, 24), buffer=nl.psum), x, y, perf_mode="double_row"),
        a,
        b,
        rule="shape-mismatch",
    )


def test_2_32_nc_matmul_into_overlapping_regions_of_psum_accumulates_where_they_overlap():
    weights, x = values(3, 8, 16), values(8, 10)

    @nki.jit
    def convolution(w, x):
        out = nl.ndarray((16, 12), dtype=nl.float32, buffer=nl.shared_hbm)
        x_sb = nl.load(x)
        psum = nl.ndarray((16, 12), dtype=nl.float32, buffer=nl.psum)
        for i in range(3):
            nisa.nc_matmul(psum[:, i : i + 10], nl.load(w[i]), x_sb)
        nl.store(out, nl.copy(psum))
        return out

    expected = np.zeros((16, 12))
    for i in range(3):
        expected[:, i : i + 10] += weights[i].T.astype(np.float64) @ x
    np.testing.assert_allclose(convolution(weights, x), expected, rtol=1e-4, atol=1e-5)


def test_2_32_nc_matmul_warns_where_accumulation_is_wrong_on_hardware():
    def body(t):
        dst = tile((64, 64), buffer=nl.psum)
        nisa.memset(dst, 1.0)
        nisa.nc_matmul(dst, t, t)
        return dst

    with pytest.warns(nkisim.RuleWarning, match="must overwrite"):
        on_tiles(body, X)


def test_2_32_predicated_copies_take_operands_of_different_ranks_and_equal_sizes():
    p = (X > 0).astype(np.uint8)

    def body(t, mask):
        dst, chosen = nl.zeros((128, 4, 4, 4), dtype=nl.float32), tile((128, 4, 16))
        nisa.tensor_copy_predicated(dst, t, mask.reshape((128, 4, 4, 4)))
        nisa.select_reduce(chosen, mask.reshape((128, 8, 8)), t, -1.0)
        return dst, chosen

    copied, chosen = on_tiles(body, X, p)
    np.testing.assert_array_equal(copied.reshape(128, 64), np.where(p, X, 0))
    np.testing.assert_array_equal(chosen.reshape(128, 64), np.where(p, X, -1))


def test_2_32_range_select_and_affine_select_take_a_python_float_as_on_false_value():
    def body(t):
        low, high = nl.zeros((128, 1), dtype=nl.float32), nl.full((128, 1), 4, dtype=nl.float32)
        first, second = tile((128, 64)), tile((128, 64))
        nisa.range_select(first, t, nl.greater_equal, nl.less, low, high, on_false_value=FP32_MIN)
        nisa.affine_select(second, [[1, 64]], 0, t, FP32_MIN, cmp_op=nl.less, offset=-4)
        return first, second

    for got in on_tiles(body, X):
        np.testing.assert_array_equal(got, np.where(np.arange(64) < 4, X, np.float32(FP32_MIN)))


def test_2_32_more_than_128_partitions_are_refused_with_a_clear_error():
    error = refused(
        lambda t: nl.ndarray((256, 512), dtype=nl.float32, buffer=nl.sbuf),
        X,
        rule="partition-limit",
    )
    assert "256 partitions" in error.headline and "128" in error.limit


def test_2_32_tensor_scalar_reduce_keeps_its_result_in_the_registers_until_it_is_asked_for():
    def body(t):
        out, total = tile((128, 32)), tile((128, 1))
        nisa.tensor_scalar_reduce(out, t[:, 0:32], nl.multiply, 2.0, nl.add)
        nisa.tensor_scalar_reduce(
            out,
            t[:, 32:64],
            nl.multiply,
            2.0,
            nl.add,
            reduce_res=total,
            reduce_cmd=nisa.reduce_cmd.reduce,
            reduce_res_negate=True,
        )
        return total

    np.testing.assert_allclose(on_tiles(body, X)[:, 0], -2 * X.sum(axis=1), rtol=1e-4, atol=1e-4)


def test_2_32_nl_copy_is_bit_accurate_where_the_type_stays():
    big = np.full((4, 4), 2**24 + 1, np.int32)
    np.testing.assert_array_equal(on_tiles(lambda t: nl.copy(t), big), big)


def test_2_32_dma_transpose_takes_fewer_rows_and_columns_with_hardware_descriptors():
    x = values(8, 4, 96).astype(ml_dtypes.bfloat16)

    @nki.jit
    def kernel(x):
        t = tile((96, 4, 8), nl.bfloat16)
        nisa.dma_transpose(t, x, axes=(2, 1, 0), dge_mode=nisa.dge_mode.hwdge)
        out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    np.testing.assert_array_equal(kernel(x), x.transpose(2, 1, 0))


def test_2_32_topk_gives_values_in_ascending_order_and_their_places():
    x = values(16, 3).astype(ml_dtypes.bfloat16)

    def body(t):
        best, places = tile((16, 4), nl.bfloat16), tile((16, 4), np.uint32)
        nisa.topk(best, places, t, 42)
        return best, places

    best, places = on_tiles(body, x)
    snake = x.T.reshape(-1)[:42].astype(np.float32)
    order = np.argsort(snake, kind="stable")[-4:]
    np.testing.assert_array_equal(best[:4, 0].astype(np.float32), snake[order])
    np.testing.assert_array_equal(snake[places[:4, 0]], snake[order])


# -- 0.5.0 (Neuron 2.31.0) -------------------------------------------------------------------------
def test_2_31_dma_copy_leaves_out_of_bounds_rows_of_packed_elements_alone():
    packed = np.arange(8 * 4, dtype=np.uint32).reshape(8, 4)

    @nki.jit
    def kernel(x, rows):
        index = nl.load(rows)
        t = tile((3, 4), nl.float8_e5m2_x4)
        nisa.memset(t, 0)
        nisa.dma_copy(
            t,
            x.view(nl.float8_e5m2_x4).ap([[4, 3], [1, 4]], vector_offset=index),
            oob_mode=nisa.oob_mode.skip,
        )
        out = nl.ndarray((3, 4), dtype=nl.uint32, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t.view(nl.uint32))
        return out

    got = kernel(packed, np.array([[2], [9], [7]], np.int32))
    np.testing.assert_array_equal(got, [packed[2], [0] * 4, packed[7]])


def test_2_31_nc_matmul_takes_operands_of_more_axes_in_a_convolution():
    w, x = values(16, 4, 2), values(16, 3, 5)

    def body(a, b):
        dst = tile((8, 3, 5), buffer=nl.psum)
        nisa.nc_matmul(dst, a, b)
        return dst

    expected = w.reshape(16, 8).T.astype(np.float64) @ x.reshape(16, 15)
    np.testing.assert_allclose(on_tiles(body, w, x).reshape(8, 15), expected, rtol=1e-4, atol=1e-5)


def test_2_31_a_gathering_transpose_does_not_overwrite_what_is_there_with_zeros():
    x = values(40, 32).astype(ml_dtypes.bfloat16)
    rows = np.arange(16, dtype=np.uint32)[:, None] * 3

    @nki.jit
    def kernel(x, rows):
        index = nl.load(rows)
        t = nl.full((32, 16), 5.0, dtype=nl.bfloat16)
        nisa.dma_transpose(
            t, x.ap([[32, 16], [1, 32]], vector_offset=index), oob_mode=nisa.oob_mode.skip
        )
        out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    expected = np.full((32, 16), 5.0, ml_dtypes.bfloat16)
    expected[:, :14] = x[rows[:14, 0]].T
    np.testing.assert_array_equal(kernel(x, rows), expected)


def test_2_31_accumulating_onto_psum_nothing_wrote_is_refused_where_the_official_simulator_warns():
    def body(t):
        total = tile((64, 64), buffer=nl.psum)
        nisa.nc_matmul(total, t, t, accumulate=True)
        return total

    refused(body, X, rule="uninitialized-read")


def test_2_31_a_reshape_that_loses_elements_is_refused():
    refused(lambda t: t.reshape((128, 63)), X, rule="view-shape")


def test_2_31_nl_rsqrt_does_not_reach_psum():
    refused(lambda t: nl.rsqrt(nl.transpose(t)), X, rule="gpsimd-psum")


def test_2_31_quantize_mx_reserves_one_more_power_of_two_than_the_sample_of_the_standard():
    x = np.full((32, 4), 1.0, np.float32).astype(ml_dtypes.bfloat16)
    x[0, 0] = 1.75

    def body(t):
        scale, data = tile((4, 1), np.uint8), tile((32, 1), nl.float8_e4m3fn_x4)
        nisa.quantize_mx(data, t, scale)
        return scale

    assert (on_tiles(body, x, target="trn3")[:, 0].astype(int) - 127 == -7).all()


def test_2_31_nc_matmul_fills_all_of_psum_with_bfloat16_on_trn3():
    a, b = values(16, 8).astype(ml_dtypes.bfloat16), values(16, 8192).astype(ml_dtypes.bfloat16)

    def body(x, y):
        dst = tile((8, 8192), nl.bfloat16, nl.psum)
        nisa.nc_matmul(dst, x, y)
        return dst

    got = on_tiles(body, a, b, target="trn3").astype(np.float64)
    np.testing.assert_allclose(
        got, a.T.astype(np.float64) @ b.astype(np.float64), rtol=1e-2, atol=2e-2
    )
    refused(body, a, b, rule="dtype", target="trn2")
