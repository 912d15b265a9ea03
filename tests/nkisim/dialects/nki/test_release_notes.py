"""Every correction that the release notes list for the official simulator, and what else they say
that can be tried.

Source: aws-neuron-sdk v2.32.0 release-notes/components/nki.rst; each test names the release.
"""

from __future__ import annotations

import dataclasses

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


# -- 0.4.0 (Neuron 2.30.0) -------------------------------------------------------------------------
def test_2_30_dma_copy_that_skips_keeps_the_bits_of_integers():
    x = np.full((4, 2), 2**30 + 1, np.int32)

    @nki.jit
    def kernel(x, rows):
        index, t = nl.load(rows), nl.zeros((2, 2), dtype=nl.int32)
        nisa.dma_copy(t, x.vector_select(0, index), oob_mode=nisa.oob_mode.skip)
        out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    np.testing.assert_array_equal(kernel(x, np.array([[3], [4]], np.int32)), [x[3], [0, 0]])


def test_2_30_nc_stream_shuffle_leaves_partitions_of_mask_255_as_they_are():
    mask = [255] * 32
    mask[0], mask[5] = 7, 1

    def body(t):
        dst = nl.full((128, 64), 9.0, dtype=nl.float32)
        nisa.nc_stream_shuffle(dst, t, mask)
        return dst

    expected = np.full((128, 64), 9.0, np.float32)
    for q in range(0, 128, 32):
        expected[q], expected[q + 5] = X[q + 7], X[q + 1]
    np.testing.assert_array_equal(on_tiles(body, X), expected)


def test_2_30_local_gather_writes_to_a_part_of_a_tile():
    index = np.random.default_rng(1).integers(0, 64, (32, 2)).astype(np.uint16)
    x = values(32, 64)

    def body(t, idx):
        dst = nl.zeros((32, 40), dtype=nl.float32)
        nisa.local_gather(dst[:, 4:36], t, idx, num_elem_per_idx=1, num_valid_indices=32)
        return dst

    got = on_tiles(body, x, index)
    expected = np.zeros((32, 40), np.float32)
    for g in (0, 16):
        expected[g : g + 16, 4:36] = x[g : g + 16][:, index[g : g + 16].T.reshape(-1)]
    np.testing.assert_array_equal(got, expected)


def test_2_30_nc_matmul_with_three_axes_copies_all_elements():
    x = values(32, 2, 3, 4)

    def body(t):
        dst = tile((24, 2, 3, 4), buffer=nl.psum)
        nisa.nc_matmul(dst, t, t)
        return dst

    flat = x.reshape(32, 24).astype(np.float64)
    np.testing.assert_allclose(
        on_tiles(body, x).reshape(24, 24), flat.T @ flat, rtol=1e-4, atol=1e-4
    )


def test_2_30_iota_and_affine_select_take_an_offset_in_a_register():
    def body(t, start):
        register = nisa.register_alloc(start)
        counted, chosen = tile((128, 64), np.int32), tile((128, 64))
        nisa.iota(counted, [[1, 64]], offset=register)
        nisa.affine_select(chosen, [[1, 64]], 0, t, 0.0, cmp_op=nl.less, offset=register)
        return counted, chosen

    counted, chosen = on_tiles(body, X, np.array([[-5]], np.int32))
    np.testing.assert_array_equal(counted, np.broadcast_to(np.arange(64) - 5, (128, 64)))
    np.testing.assert_array_equal(chosen, np.where(np.arange(64) < 5, X, 0))


def test_2_30_dma_compute_adds_without_scales_that_the_hardware_lacks():
    def body(a, b):
        dst = tile((128, 64))
        nisa.dma_compute(dst, [a, b], nl.add)
        return dst

    np.testing.assert_allclose(on_tiles(body, X, X), 2 * X)
    refused(
        lambda a: nisa.dma_compute(tile((128, 64)), [a, a], nl.add, scales=[1.0, 2.0]),
        X,
        rule="argument",
    )
    refused(
        lambda a: nisa.dma_compute(tile((128, 64)), [a, a], nl.add, oob_mode=nisa.oob_mode.skip),
        X,
        rule="argument",
    )


def test_2_30_dma_compute_adds_to_rows_picked_at_run_time():
    @nki.jit
    def kernel(table, rows, x):
        index, added = nl.load(rows), nl.load(x)
        picked = table.ap([[8, 3], [1, 8]], vector_offset=index)
        nisa.dma_compute(picked, [picked, added], nl.add)

    table, rows, x = values(10, 8), np.array([[4], [0], [9]], np.int32), values(3, 8, seed=4)
    expected = table.copy()
    expected[rows[:, 0]] += x
    kernel(table, rows, x)
    np.testing.assert_allclose(table, expected)


def test_2_30_nl_logical_and_is_one_where_both_are_not_zero():
    a, b = np.array([[0, 0, 1, 3]], np.float32), np.array([[0, 2, 0, 5]], np.float32)
    assert on_tiles(lambda x, y: nl.logical_and(x, y), a, b).tolist() == [[0, 0, 0, 1]]


def test_2_30_frozen_dataclasses_on_nki_objects_can_be_made_and_hashed():
    @dataclasses.dataclass(frozen=True)
    class Options(nl.NKIObject):
        n: int = 3

    assert Options(n=4).n == 4 and hash(Options(4)) == hash(Options(4))


def test_2_30_outputs_of_truth_values_stay_so():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=nl.bool_, buffer=nl.shared_hbm)
        nl.store(out, nl.load(x))
        return out

    got = kernel(np.array([[True, False]]))
    assert got.dtype == np.bool_ and got.tolist() == [[True, False]]


def test_2_30_the_variable_of_a_loop_is_a_register_that_cannot_be_written():
    refused(
        lambda t: nl.fori_loop(
            0, 1, lambda i: nisa.register_load(i, nl.zeros((1, 1), dtype=nl.int32))
        ),
        X,
        rule="register",
    )


def test_2_30_nc_transpose_runs_on_the_engine_that_is_asked_for():
    small = values(32, 32)

    def body(t):
        dst = tile((32, 32), buffer=nl.psum)
        nisa.nc_transpose(dst, t, engine=nisa.engine.vector)
        nisa.nc_transpose(dst, t, engine=nisa.engine.tensor)
        nisa.nc_transpose(dst, t)
        return dst

    with nkisim.record() as run:

        @nki.jit
        def kernel(x):
            t = nl.load(x)
            body(t)
            return x

        kernel(small)
    assert [i.engine for i in run.instructions if "transpose" in i.op] == [
        "vector",
        "tensor",
        "tensor",
    ]
    refused(
        lambda t: nisa.nc_transpose(tile((64, 128)), t, engine=nisa.engine.tensor),
        X,
        rule="matmul-destination",
    )


def test_2_30_device_print_takes_a_tensor_of_one_axis(capsys):
    @nki.jit
    def kernel(x):
        nl.device_print("x", x)
        return x

    kernel(np.array([1.0, 2.0], np.float32))
    assert capsys.readouterr().out == "x [1. 2.]\n"


def test_2_30_sendrecv_takes_any_number_of_partitions():
    @nki.jit
    def kernel(x):
        me = nl.program_id()
        mine, theirs = tile((3, 8)), tile((3, 8))
        nisa.dma_copy(mine, x[me])
        nisa.sendrecv(mine, theirs, 1 - me, 1 - me, 0)
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out[me], theirs)
        return out

    x = values(2, 3, 8)
    np.testing.assert_array_equal(kernel[2](x), x[::-1])


def test_2_30_dma_transpose_wants_the_rank_of_its_source():
    refused(
        lambda t: nisa.dma_transpose(tile((64, 128)), t.reshape((128, 1, 64))),
        X,
        rule="shape-mismatch",
    )


# -- 0.3.0 (Neuron 2.29.0) and before --------------------------------------------------------------
def test_2_29_an_axis_of_tensor_reduce_is_the_axis_of_the_tensor():
    x = values(128, 4, 16)

    def body(t):
        last, both = tile((128, 4)), tile((128, 1))
        nisa.tensor_reduce(last, nl.add, t, axis=2)
        nisa.tensor_reduce(both, nl.add, t, axis=(1, 2))
        return last, both

    last, both = on_tiles(body, x)
    np.testing.assert_allclose(last, x.sum(axis=2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(both[:, 0], x.sum(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    refused(lambda t: nisa.tensor_reduce(tile((128, 16)), nl.add, t, axis=1), x, rule="argument")


def test_2_29_range_select_honours_reduce_cmd():
    def body(t):
        low, high = nl.zeros((128, 1), dtype=nl.float32), nl.full((128, 1), 64, dtype=nl.float32)
        out, best = tile((128, 32)), tile((128, 1))
        nisa.range_select(out, t[:, 0:32], nl.greater_equal, nl.less, low, high)
        nisa.range_select(
            out,
            t[:, 32:64],
            nl.greater_equal,
            nl.less,
            low,
            high,
            range_start=32,
            reduce_res=best,
            reduce_cmd=nisa.reduce_cmd.reduce,
        )
        return best

    np.testing.assert_array_equal(on_tiles(body, X)[:, 0], X.max(axis=1))


def test_2_29_dma_copy_does_not_read_psum():
    refused(lambda t: nisa.dma_copy(tile((64, 128)), nl.transpose(t)), X, rule="memory")


def test_2_29_memset_wants_the_type_of_its_destination():
    def two(t):
        out = tile((4, 4), np.int32)
        nisa.memset(out, 2.0)
        return out

    with pytest.warns(nkisim.RuleWarning, match="memset-type") as seen:
        assert (on_tiles(two, X) == 2).all()
    assert seen[0].message.error.remedy == "Write value=2."
    refused(lambda t: nisa.memset(tile((4, 4), np.int32), 2.5), X, rule="dtype")
    refused(lambda t: nisa.memset(tile((4, 4), nl.float8_e5m2_x4), 1), X, rule="dtype")


def test_2_28_a_bias_has_one_element_a_partition():
    refused(lambda t: nisa.activation(tile((128, 64)), nl.exp, t, bias=t), X, rule="shape-mismatch")


def test_2_28_activation_reduces_nothing_unless_it_is_asked_to():
    def body(t):
        out, total = tile((128, 64)), tile((128, 1))
        nisa.activation(out, nl.copy, t, reduce_op=nl.add, reduce_cmd=nisa.reduce_cmd.reset_reduce)
        nisa.activation(out, nl.exp, t)
        nisa.activation(
            out, nl.copy, t, reduce_op=nl.add, reduce_cmd=nisa.reduce_cmd.reduce, reduce_res=total
        )
        return total

    np.testing.assert_allclose(on_tiles(body, X)[:, 0], 2 * X.sum(axis=1), rtol=1e-4, atol=1e-4)


def test_2_28_rsqrt_abs_and_power_are_operators_of_tensor_instructions():
    x = np.abs(X) + 0.5

    def body(t):
        root, size, raised = tile((128, 64)), tile((128, 64)), tile((128, 64))
        nisa.tensor_scalar(root, t, nl.rsqrt, 0.0)
        nisa.tensor_scalar(size, t, nl.abs, 0)
        nisa.tensor_tensor(raised, t, t, nl.power)
        return root, size, raised

    root, size, raised = on_tiles(body, x)
    np.testing.assert_allclose(root, 1 / np.sqrt(x), rtol=1e-5)
    np.testing.assert_array_equal(size, x)
    np.testing.assert_allclose(raised, x**x, rtol=1e-4)


def test_2_28_an_argument_that_a_function_lacks_is_refused():
    with pytest.raises(TypeError, match="mask"):
        on_tiles(lambda t: nisa.tensor_copy(tile((128, 64)), t, mask=None), X)


def test_2_28_keyword_only_arguments_keep_their_defaults():
    @nki.jit
    def kernel(x, *, copy=True):
        assert copy is True or copy == 2
        return x

    with pytest.warns(nkisim.RuleWarning, match="keyword-only"):
        kernel(X)
        kernel(X, copy=2)


def test_the_sine_of_scalare_is_right_from_minus_pi_to_pi_and_nl_sin_everywhere():
    x = np.array([[1.0, -3.0, 9.0]], np.float32)

    def body(t):
        table = tile((1, 3))
        nisa.activation(table, nl.sin, t)
        return table, nl.sin(t)

    table, everywhere = on_tiles(body, x)
    np.testing.assert_allclose(everywhere, np.sin(x), rtol=1e-5)
    np.testing.assert_allclose(table[0, :2], np.sin(x[0, :2]), atol=0.02)
    assert abs(table[0, 2] - 27.65) < 0.1
