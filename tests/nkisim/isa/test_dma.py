"""DMA: loads, stores, copies, transposing loads, run-time rows; values, casts, bytes and what they
may reach."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim
from nkisim.machine import dtypes

from ..helpers import (
    BF16,
    FLOATS,
    FP16,
    FP32,
    assert_same_bits,
    marked_line,
    on_tiles,
    refused,
    run_kernel,
    values,
)

ALL = [
    *FLOATS,
    *(np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32)),
]


@nki.jit
def round_trip(x, dtype=None):
    out = nl.ndarray(x.shape, dtype=x.dtype if dtype is None else dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.load(x))
    return out


@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 128), st.integers(1, 60)),
        st.tuples(st.integers(1, 40), st.integers(1, 6), st.integers(1, 7)),
    ),
    dtype=st.sampled_from(ALL),
)
def test_what_is_loaded_and_stored_comes_back_and_counts_its_bytes(shape, dtype):
    x = values(shape, dtype, low=0, high=100)
    got, run = run_kernel(round_trip, x)
    assert_same_bits(got, x)
    assert run.hbm_bytes_read == run.hbm_bytes_written == x.nbytes
    assert run.dma_transfers == 2


@pytest.mark.parametrize("source", FLOATS, ids=str)
@pytest.mark.parametrize("target", FLOATS, ids=str)
def test_loads_and_stores_cast_with_one_rounding(source, target):
    x = values((16, 40), source, low=-300, high=300)
    got = on_tiles(lambda t: t.astype(source) if t.dtype != source else t, x)
    assert got.dtype == source
    stored, run = run_kernel(round_trip, x, target)
    assert_same_bits(stored, dtypes.cast(x, target))
    assert (run.hbm_bytes_read, run.hbm_bytes_written) == (x.nbytes, stored.nbytes)

    @nki.jit
    def cast_on_load(x):
        tile = nl.load(x, dtype=target)
        out = nl.ndarray(x.shape, dtype=target, buffer=nl.shared_hbm)
        assert tile.dtype == target
        nl.store(out, tile)
        return out

    loaded, run = run_kernel(cast_on_load, x)
    assert_same_bits(loaded, dtypes.cast(x, target))
    assert run.hbm_bytes_read == x.nbytes and run.count("tensor_copy") == 0


def test_slices_steps_and_single_indices_pick_what_numpy_picks():
    x = values((6, 128, 40))
    picks = [
        (lambda t: t[2], x[2]),
        (lambda t: t[3, 5:60, :], x[3, 5:60]),
        (lambda t: t[1, :, 3:30:4], x[1, :, 3:30:4]),
        (lambda t: t[:, 7, :], x[:, 7]),
        (lambda t: t[1:5, 7, 2:9], x[1:5, 7, 2:9]),
        (lambda t: t[1, :, nl.ds(8, 16)], x[1, :, 8:24]),
        (lambda t: t[4, 0:128:2, :], x[4, ::2]),
        (lambda t: t[0, 3, :], x[0, 3:4]),
        (lambda t: t[0, :, 9], x[0, :, 9:10]),
        (lambda t: t[0, 3:4, 5:6], x[0, 3:4, 5:6]),
        (lambda t: t[..., 0:4][5], x[5, :, 0:4]),
        (lambda t: t[2, 10:20], x[2, 10:20]),
    ]
    for pick, expected in picks:

        @nki.jit
        def kernel(t, pick=pick):
            tile = nl.load(pick(t))
            out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
            nl.store(out, tile)
            return out

        got, run = run_kernel(kernel, x)
        assert_same_bits(got, np.ascontiguousarray(expected))
        assert run.hbm_bytes_read == expected.nbytes


def test_stores_go_to_slices_strides_and_grids():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((4, 16, 24), dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        nl.store(out[0], tile)
        nl.store(out[1, :, 0:24:2], tile[:, 0:12])
        nl.store(out[1, :, 1:24:2], tile[:, 12:24])
        i_p, i_f = nl.mgrid[0:16, 0:24]
        nl.store(out[2, i_p, i_f], tile)
        nl.store(out[3, 15 - i_p, i_f], tile)
        return out

    x = values((16, 24))
    got, _ = run_kernel(kernel, x)
    interleaved = np.empty_like(x)
    interleaved[:, 0::2], interleaved[:, 1::2] = x[:, :12], x[:, 12:]
    assert_same_bits(got, np.stack([x, interleaved, x, x[::-1]]))


def test_a_row_lands_on_any_partition_since_a_dma_has_no_start_partition_rule():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((8, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((8, 16), dtype=x.dtype)
        for i in nl.affine_range(8):
            tile[i : i + 1, :] = nl.load(x[i])
        nl.store(out[0:3, :], tile[5:8, :])
        nl.store(out[3:8, :], tile[0:5, :])
        return out

    x = values((8, 1, 16))
    got, run = run_kernel(kernel, x)
    assert_same_bits(got, np.concatenate([x[5:, 0], x[:5, 0]]))
    assert run.counts() == {"dma_copy": 10}


def test_a_load_may_repeat_a_row_over_the_partitions():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((32, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.mgrid[0:32, 0:16]
        nl.store(out, nl.load(x[0 * i_p, i_f]))
        return out

    x = values((1, 16))
    assert_same_bits(run_kernel(kernel, x)[0], np.broadcast_to(x, (32, 16)).copy())


def test_storing_from_psum_costs_the_documented_copy_and_storing_a_number_a_memset():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((2, 8, 16), dtype=a.dtype, buffer=nl.shared_hbm)
        nl.store(out[0], nisa.nc_matmul(nl.load(a), nl.load(b)))
        nl.store(out[1], value=2.5)
        return out

    a, b = np.eye(8, dtype=np.float32), values((8, 16))
    got, run = run_kernel(kernel, a, b)
    assert_same_bits(got, np.stack([b, np.full_like(b, 2.5)]))
    assert run.counts() == {"dma_copy": 4, "memset": 1, "nc_matmul": 1, "tensor_copy": 1}


@pytest.mark.parametrize(("r", "c"), [(128, 64), (300, 100), (1, 128), (7, 3)])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_load_transpose2d_puts_columns_on_the_partitions(r, c, dtype):
    @nki.jit
    def kernel(x):
        tile = nl.load_transpose2d(x)
        out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
        nl.store(out, tile)
        return out

    x = values((r, c), dtype)
    got, run = run_kernel(kernel, x)
    assert_same_bits(got, np.ascontiguousarray(x.T))
    assert run.count("dma_transpose", engine="dma") == 1 and run.hbm_bytes_read == x.nbytes


@pytest.mark.parametrize(
    ("shape", "axes"), [((12, 30), (1, 0)), ((6, 5, 30), (2, 1, 0)), ((6, 5, 4, 30), (3, 1, 2, 0))]
)
@pytest.mark.parametrize("space", ["hbm", "sbuf"])
def test_dma_transpose_permutes_as_documented(shape, axes, space):
    @nki.jit
    def kernel(x):
        tile = nisa.dma_transpose(x if space == "hbm" else nl.load(x), axes=axes)
        out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
        nl.store(out, tile)
        return out

    x = values(shape)
    assert_same_bits(run_kernel(kernel, x)[0], np.ascontiguousarray(x.transpose(axes)))


def test_dma_transpose_into_a_given_tile_checks_its_shape():
    def kernel(x):
        t = nl.ndarray((30, 13), dtype=x.dtype)
        nisa.dma_transpose(x, dst=t)  # breaks

    assert refused(kernel, values((12, 30)), rule="dma-element-count").line == marked_line(kernel)


# -- dma_copy --------------------------------------------------------------------------------------
def test_dma_copy_moves_between_every_pair_of_reachable_memories_casts_and_adds():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((300, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        half = nl.ndarray((128, 8), dtype=nl.bfloat16, buffer=nl.shared_hbm)
        nisa.dma_copy(dst=out, src=x)
        a, b = nl.ndarray((128, 8), dtype=nl.float32), nl.ndarray((128, 8), dtype=nl.float32)
        nisa.dma_copy(dst=a, src=x[0:128, :])
        nisa.dma_copy(dst=b, src=a)
        nisa.dma_copy(dst=half, src=b)
        nisa.dma_copy(dst=out[0:128, :], src=b, dst_rmw_op=np.add)
        return out, half

    x = values((300, 8))
    (out, half), run = run_kernel(kernel, x)
    assert_same_bits(out, np.concatenate([x[:128] * 2, x[128:]]))
    assert_same_bits(half, x[:128].astype(BF16))
    assert run.count("dma_copy") == run.dma_transfers == 5
    assert run.hbm_bytes_read == x.nbytes + 128 * 8 * 4 * 2  # the addition reads its destination
    assert run.hbm_bytes_written == x.nbytes + 128 * 8 * 2 + 128 * 8 * 4


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        (
            lambda x, t: nl.store(nl.ndarray((8, 17), dtype=x.dtype, buffer=nl.hbm), t),
            "dma-element-count",
        ),
        (
            lambda x, t: nl.store(nl.ndarray((16, 8), dtype=x.dtype, buffer=nl.hbm), t),
            "dma-element-count",
        ),
        (lambda x, t: nl.store(t, t), "memory"),
        (lambda x, t: nl.store(x, x), "memory"),
        (lambda x, t: nl.store(x, t), "immutable-parameter"),
        (lambda x, t: nl.load(t), "memory"),
        (lambda x, t: nl.load_transpose2d(x[3]), "rank"),
        (lambda x, t: nl.load_transpose2d(t), "memory"),
        (lambda x, t: nl.load_transpose2d(x.reshape((2, 4, 16))), "rank-limit"),
        (
            lambda x, t: nisa.dma_copy(
                dst=nl.ndarray((8, 16), dtype=x.dtype, buffer=nl.psum), src=x
            ),
            "memory",
        ),
        (lambda x, t: nisa.dma_copy(dst=t, src=x, dst_rmw_op=np.multiply), "operator"),
        (lambda x, t: nisa.dma_transpose(x, axes=(0, 1)), "argument"),
        (lambda x, t: nl.load(x, nonsense=1), "argument"),
    ],
)
def test_transfers_that_cannot_be_are_refused(case, rule):
    def kernel(x):
        tile = nl.load(x)
        case(x, tile)

    refused(kernel, values((8, 16)), rule=rule)


def test_a_load_of_more_than_128_rows_says_to_loop():
    def kernel(x):
        rows = nl.load(x)  # breaks
        return rows

    error = refused(kernel, values((129, 4)), rule="partition-limit")
    assert (error.tensor, error.line) == ("x", marked_line(kernel)) and "loop" in error.remedy


def test_a_long_row_may_be_loaded_that_no_engine_could_stream_at_once():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load(x))
        return out

    x = np.zeros((1, 70000), np.float16)
    assert run_kernel(kernel, x)[0].shape == (1, 70000)


# -- run-time rows ---------------------------------------------------------------------------------
@nki.jit
def gather_rows(table, rows):
    n, width = rows.shape[0], table.shape[1]
    out = nl.ndarray((n, width), dtype=table.dtype, buffer=nl.shared_hbm)
    i_p, i_f = nl.arange(n)[:, None], nl.arange(width)[None, :]
    index = nl.load(rows)
    tile = nl.ndarray((n, width), dtype=table.dtype)
    tile[...] = nl.load(table[index[i_p, 0], i_f])
    nl.store(out, tile)
    return out


@given(
    n=st.integers(1, 128),
    dtype=st.sampled_from([np.int32, np.uint32, np.uint8]),
    seed=st.integers(0, 5),
)
def test_a_tile_of_row_numbers_gathers_rows_of_an_hbm_tensor(n, dtype, seed):
    table = values((200, 16))
    rows = np.random.default_rng(seed).integers(0, 200, (n, 1)).astype(dtype)
    got, run = run_kernel(gather_rows, table, rows)
    assert_same_bits(got, table[rows[:, 0].astype(int)])
    assert run.hbm_reads == {"rows": rows.nbytes, "table": got.nbytes}
    assert run.counts() == {"dma_copy": 3}  # the assignment is where the gather writes


def test_a_tile_of_row_numbers_scatters_rows_and_the_rest_of_the_output_is_garbage_not_an_error():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        index = nisa.iota(3 * nl.arange(20)[:, None], dtype=nl.int32)
        nl.store(out[index, nl.arange(16)[None, :]], value=nl.load(x))
        return out

    x = values((20, 16))
    got, _ = run_kernel(kernel, x)
    assert_same_bits(got[0:60:3], x)


@pytest.mark.parametrize("wrong", [-1, 200])
def test_a_row_number_beyond_the_table_is_refused_when_it_is_used(wrong):
    rows = np.array([[3], [wrong]], np.int32)
    error = refused(gather_rows, values((200, 16)), rows, rule="out-of-bounds")
    assert isinstance(error, IndexError) and str(wrong) in str(error) and error.tensor == "table"


def test_oob_skip_leaves_out_rows_beyond_the_table():
    @nki.jit
    def kernel(table, rows):
        out = nl.ndarray((4, 16), dtype=table.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(4)[:, None], nl.arange(16)[None, :]
        index = nl.load(rows)
        tile = nl.full((4, 16), -1.0, dtype=table.dtype)
        nisa.dma_copy(
            dst=tile[i_p, i_f], src=table[index[i_p, 0], i_f], oob_mode=nisa.oob_mode.skip
        )
        nl.store(out, tile)
        return out

    table = values((10, 16))
    got, _ = run_kernel(kernel, table, np.array([[3], [10], [-1], [9]], np.int32))
    assert_same_bits(
        got,
        np.stack([table[3], np.full(16, -1, np.float32), np.full(16, -1, np.float32), table[9]]),
    )


@pytest.mark.parametrize(
    ("subscript", "rule"),
    [
        (lambda x, idx: x[nl.arange(8)[:, None], idx], "indirect-index"),
        (lambda x, idx: x[idx], "indirect-index"),
        (lambda x, idx: x[idx.astype(nl.float32), nl.arange(16)[None, :]], "dtype"),
        (lambda x, idx: x[idx, 0:16], "mixed-indexing"),
    ],
)
def test_run_time_indices_select_rows_by_integers_on_chip(subscript, rule):
    def kernel(x, rows):
        return nl.load(subscript(x, nl.load(rows)))

    refused(kernel, values((8, 16)), np.zeros((8, 1), np.int32), rule=rule)


def test_transposing_loads_take_no_run_time_rows():
    def kernel(x, rows):
        return nl.load_transpose2d(x[nl.load(rows), nl.arange(16)[None, :]])

    refused(kernel, values((8, 16)), np.zeros((8, 1), np.int32), rule="indirect-index")


def test_what_explicit_indices_picked_cannot_be_sliced_or_reshaped_again():
    def kernel(x, rows):
        picked = x[nl.load(rows), nl.arange(16)[None, :]]
        return nl.load(picked[0:4, :])

    assert ("Copy them first") in refused(
        kernel, values((8, 16)), np.zeros((8, 1), np.int32), rule="indirect-index"
    ).remedy


# -- tensors of constants --------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [None, FP16, BF16], ids=str)
def test_shared_constants_are_loaded_like_inputs(dtype):
    table = np.arange(40, dtype=np.float32).reshape(4, 10) / 7

    @nki.jit
    def kernel(x):
        constant = (
            nl.shared_constant(table, dtype=dtype)
            if dtype is not None
            else nl.shared_constant(table)
        )
        tile = nl.load(constant)
        out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
        nl.store(out, tile)
        return out

    got, run = run_kernel(kernel, values((1, 1)))
    assert_same_bits(got, table.astype(dtype or FP32))
    assert run.hbm_bytes_read == got.nbytes


def test_the_shared_identity_matrix_has_ones_on_its_diagonal():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((16, 16), dtype=nl.bfloat16, buffer=nl.shared_hbm)
        nl.store(out, nl.load(nl.shared_identity_matrix(16, dtype=nl.bfloat16)))
        return out

    assert_same_bits(run_kernel(kernel, values((1, 1)))[0], np.eye(16).astype(BF16))


@pytest.mark.parametrize("move", ["load", "store", "dma_copy"])
def test_a_run_time_index_for_each_element_is_refused_as_the_error_list_says_of_mgrid(move):
    rows = np.array([[3], [0], [2]], np.int32)

    def kernel(x, i):
        out = nl.ndarray((3, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        scattered = nl.ndarray((4, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        index = nl.load(i)
        i_p, i_f = nl.mgrid[0:3, 0:8]
        if move == "load":
            nl.store(out, nl.load(x[index[i_p, 0], i_f]))
        elif move == "store":
            nl.store(scattered[index[i_p, 0], i_f], nl.load(x[0:3]))
        else:
            nisa.dma_copy(dst=out[0:3], src=x[index[i_p, 0], i_f])
        return out

    assert (
        "nl.arange" in refused(nki.jit(kernel), values((4, 8)), rows, rule="indirect-index").remedy
    )


@nki.jit
def through_another_sign(x, loaded_as_it_is):
    out = nl.ndarray(x.shape, dtype=nl.int32, buffer=nl.shared_hbm)
    if loaded_as_it_is:
        nl.store(out, value=nl.load(x))
    else:
        tile = nl.ndarray(x.shape, dtype=nl.int32, buffer=nl.sbuf)
        tile[...] = nl.load(x)
        nl.store(out, value=tile)
    return out


@pytest.mark.parametrize("loaded_as_it_is", [True, False])
def test_a_transfer_between_integers_of_32_bits_keeps_the_bits(loaded_as_it_is):
    # neuronx-distributed, test_find_index on devices: an index that was not found, all ones, is -1
    x = np.array([[2**32 - 1, 2**24 + 1]], np.uint32)
    assert through_another_sign(x, loaded_as_it_is).tolist() == [[-1, 2**24 + 1]]
    with nkisim.record(values=False):
        assert through_another_sign(nkisim.shape((1, 2), np.uint32), loaded_as_it_is).shape == (
            1,
            2,
        )
