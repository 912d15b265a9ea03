"""Every correction that the release notes of nki 0.4.0 (Neuron 2.30.0) and before list for the
official simulator, and what else they say that can be tried.

Source: aws-neuron-sdk v2.32.0 release-notes/components/nki.rst; each test names the release.
"""

from __future__ import annotations

import dataclasses

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, refused, tile, values

X = values(128, 64)


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
