"""TensorE: nc_matmul, nc_transpose, nl.matmul and nl.transpose, against NumPy in float64."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..helpers import (
    BF16,
    FLOATS,
    FP16,
    FP32,
    assert_same_bits,
    on_tiles,
    refused_on_tiles,
    run_kernel,
    values,
)


def assert_matmul(got: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """`got` is a.T @ b within the error of float32 sums of their products."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    bound = np.abs(wide_a).T @ np.abs(wide_b) * 2.0**-23 * max(4, a.shape[0] / 4) + 1e-30
    assert got.dtype == np.float32
    assert (np.abs(got - wide_a.T @ wide_b) <= bound).all()


@given(
    k=st.integers(1, 128),
    m=st.integers(1, 128),
    n=st.integers(1, 512),
    dtype=st.sampled_from(FLOATS),
    seed=st.integers(0, 9),
)
def test_nc_matmul_is_stationary_transposed_times_moving_in_psum_and_float32(k, m, n, dtype, seed):
    a, b = values((k, m), dtype, seed), values((k, n), dtype, seed + 1)
    got = on_tiles(nisa.nc_matmul, a, b)
    assert (got.shape, got.dtype, got.space) == ((m, n), FP32, "psum")
    assert_matmul(got.values, a, b)


@pytest.mark.parametrize(
    ("left", "right"),
    [(BF16, FP32), (FP16, BF16), (nl.float8_e4m3, BF16), (nl.float8_e5m2, nl.float8_e4m3)],
    ids=str,
)
def test_nc_matmul_takes_two_different_floating_types(left, right):
    a, b = values((16, 8), left), values((16, 12), right, 1)
    assert_matmul(on_tiles(nisa.nc_matmul, a, b).values, a, b)


def test_products_of_low_precision_operands_are_summed_in_float32_not_in_their_own_type():
    ones = np.ones((128, 1), BF16)
    small = np.full((128, 1), 2.0**-9, BF16)
    small[0] = 1.0
    assert on_tiles(nisa.nc_matmul, ones, small).values.item() == 1.0 + 127 * 2.0**-9


@pytest.mark.parametrize("tiles", [1, 2, 5])
@pytest.mark.parametrize("start", ["zeros", "ndarray"])
def test_accumulation_over_several_contraction_tiles_adds_up_in_psum(tiles, start):
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((a.shape[1], b.shape[1]), dtype=nl.float32, buffer=nl.shared_hbm)
        acc = getattr(nl, start)((a.shape[1], b.shape[1]), dtype=nl.float32, buffer=nl.psum)
        for i in nl.affine_range(tiles):
            left, right = nl.load(a[i * 128 : (i + 1) * 128, :]), nl.load(b[nl.ds(i * 128, 128), :])
            acc += nisa.nc_matmul(left, right)
        nl.store(out, nl.copy(acc))
        return out

    a, b = values((128 * tiles, 32)), values((128 * tiles, 48), seed=1)
    got, run = run_kernel(kernel, a, b)
    assert_matmul(got, a, b)
    assert run.counts() == {"dma_copy": 2 * tiles + 1, "nc_matmul": tiles, "tensor_copy": 1}
    matmuls = [i for i in run.instructions if i.op == "nc_matmul"]
    assert [i.attrs["accumulate"] for i in matmuls] == [False] + [True] * (tiles - 1)
    assert {i.dst[0].name for i in matmuls} == {"acc"}


def test_accumulation_into_banks_of_one_psum_tensor_keeps_them_apart():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((2, 16, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        acc = nl.zeros((2, nl.par_dim(16), 8), dtype=nl.float32, buffer=nl.psum)
        for bank in nl.affine_range(2):
            for i in nl.affine_range(3):
                acc[bank] += nisa.nc_matmul(nl.load(a[i]), nl.load(b[bank, i]))
        for bank in nl.affine_range(2):
            nl.store(out[bank], nl.copy(acc[bank]))
        return out

    a, b = values((3, 32, 16)), values((2, 3, 32, 8), seed=1)
    got, run = run_kernel(kernel, a, b)
    for bank in range(2):
        assert_matmul(got[bank], a.reshape(96, 16), b[bank].reshape(96, 8))
    assert run.count("nc_matmul") == 6 and run.count("memset") == 0


def test_accumulation_by_a_view_with_index_grids_and_by_subscript():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((16, 24), dtype=nl.float32, buffer=nl.shared_hbm)
        acc = nl.zeros((16, 24), dtype=nl.float32, buffer=nl.psum)
        i_p, i_f = nl.mgrid[0:16, 0:12]
        for half in nl.affine_range(2):
            for i in nl.affine_range(2):
                acc[i_p, half * 12 + i_f] += nl.matmul(
                    nl.load(a[i]), nl.load(b[i, :, half * 12 : half * 12 + 12]), transpose_x=True
                )
        nl.store(out, nl.copy(acc))
        return out

    a, b = values((2, 32, 16)), values((2, 32, 24), seed=1)
    got, run = run_kernel(kernel, a, b)
    assert_matmul(got, a.reshape(64, 16), b.reshape(64, 24))
    assert run.count("nc_matmul") == 4 and run.count("memset") == 0


def test_a_product_that_is_kept_by_name_is_added_by_the_vector_engine_and_stays_what_it_is():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((2, 8, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        acc = nl.ndarray((8, 8), dtype=nl.float32, buffer=nl.psum)
        acc[...] = nisa.nc_matmul(nl.load(a), nl.load(b))
        product = nisa.nc_matmul(nl.load(a), nl.load(b))
        acc += product
        nl.store(out[0], nl.copy(acc))
        nl.store(out[1], nl.copy(product))
        return out

    a, b = values((16, 8)), values((16, 8), seed=1)
    got, run = run_kernel(kernel, a, b)
    assert_matmul(got[0], 2 * a, b)
    assert_matmul(got[1], a, b)
    assert run.count("tensor_tensor") == 1


def test_the_moving_operand_may_have_several_free_axes_and_the_result_has_them_too():
    a, b = values((16, 4)), values((16, 3, 5), seed=1)
    got = on_tiles(nisa.nc_matmul, a, b)
    assert got.shape == (4, 3, 5)
    assert_matmul(got.values.reshape(4, 15), a, b.reshape(16, 15))


def test_operands_may_be_strided_offset_and_transposed_views():
    a, b = values((32, 20)), values((32, 3, 30), seed=1)
    got = on_tiles(lambda s, m: nisa.nc_matmul(s[:, 4:20:2], m[:, 1, 5:25]), a, b)
    assert_matmul(got.values, a[:, 4:20:2], b[:, 1, 5:25])


def test_operands_at_partition_32_and_64_contract_their_own_rows():
    a, b = values((128, 8)), values((128, 16), seed=1)
    for start, rows in ((32, 32), (64, 64), (96, 32), (0, 128)):
        got = on_tiles(
            lambda s, m, i=start, n=rows: nisa.nc_matmul(s[i : i + n, :], m[i : i + n, :]), a, b
        )
        assert_matmul(got.values, a[start : start + rows], b[start : start + rows])


def test_nc_matmul_writes_into_a_given_psum_tile_and_into_a_part_of_one():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        acc = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.psum)
        left, right = nl.load(a), nl.load(b)
        acc[:, 0:8] = nisa.nc_matmul(left, right[:, 0:8])
        nisa.nc_matmul(left, right[:, 8:16], dst=acc[:, 8:16])
        nl.store(out, nl.copy(acc))
        return out

    a, b = values((16, 8)), values((16, 16), seed=1)
    got, run = run_kernel(kernel, a, b)
    assert_matmul(got, a, b)
    assert run.counts() == {"dma_copy": 3, "nc_matmul": 2, "tensor_copy": 1}


def test_nl_matmul_with_a_transposed_left_side_is_one_matmul():
    a, b = values((16, 8)), values((16, 24), seed=1)
    got = on_tiles(lambda x, y: nl.matmul(x, y, transpose_x=True), a, b)
    assert got.space == "psum"
    assert_matmul(got.values, a, b)
    assert got.run.count("nc_matmul") == 1 and got.run.count("nc_transpose") == 0


@pytest.mark.parametrize(
    ("m", "k", "transposes"), [(64, 128, {"nc_transpose": 1}), (16, 32, {"vector_transpose": 1})]
)
def test_nl_matmul_of_an_untransposed_left_side_pays_for_the_transpose(m, k, transposes):
    a, b = values((m, k)), values((k, 24), seed=1)
    got = on_tiles(nl.matmul, a, b)
    assert got.shape == (m, 24)
    assert_matmul(got.values, np.ascontiguousarray(a.T), b)
    assert got.run.count("nc_matmul") == 1
    for op, n in transposes.items():
        assert got.run.count(op) == n


@pytest.mark.parametrize(("dtype", "passes"), [(FP32, 4), (BF16, 1), (FP16, 1)], ids=str)
def test_the_cost_of_float32_is_four_passes(dtype, passes):
    a, b = values((16, 8), dtype), values((16, 24), dtype, 1)
    got = on_tiles(nisa.nc_matmul, a, b)
    plan = next(
        r.signature.plan for r in got.run.records() if r.signature.instruction.name == "nc_matmul"
    )
    assert plan.cost["passes"] == passes


def test_a_hint_of_ones_and_zeros_halves_the_cost_of_float32():
    a, b = np.ones((16, 8), np.float32), values((16, 24))
    got = on_tiles(lambda x, y: nisa.nc_matmul(x, y, is_stationary_onezero=True), a, b)
    plan = next(
        r.signature.plan for r in got.run.records() if r.signature.instruction.name == "nc_matmul"
    )
    assert plan.cost["passes"] == 2
    assert_matmul(got.values, a, b)


def test_pe_tiles_compute_the_same():
    a, b = values((32, 32)), values((32, 64), seed=1)
    got = on_tiles(
        lambda x, y: nisa.nc_matmul(x, y, tile_position=(32, 0), tile_size=(32, 64)), a, b
    )
    assert_matmul(got.values, a, b)


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"tile_position": (0, 0)}, "trn2"),
        ({"tile_position": (0, 16), "tile_size": (32, 32)}, "trn2"),
        ({"tile_position": (0, 0), "tile_size": (32, 0)}, "trn2"),
        ({"tile_position": (96, 0), "tile_size": (64, 64)}, "trn2"),
        ({"tile_position": (0, 0), "tile_size": (32, 32)}, "trn1"),
    ],
)
def test_pe_tiles_that_break_a_documented_requirement_are_refused(options, target):
    error = refused_on_tiles(
        lambda x, y: nisa.nc_matmul(x, y, **options),
        values((32, 32)),
        values((32, 64)),
        target=target,
        rule="argument",
    )
    assert "tile" in str(error)


# -- transposes ------------------------------------------------------------------------------------
@given(p=st.integers(1, 128), f=st.integers(1, 128), dtype=st.sampled_from(FLOATS))
def test_nc_transpose_exchanges_partitions_and_free_elements_bit_for_bit(p, f, dtype):
    x = values((p, f), dtype)
    got = on_tiles(lambda t: nisa.nc_transpose(t, engine=nisa.tensor_engine), x)
    assert (got.shape, got.dtype, got.space) == ((f, p), np.dtype(dtype), "psum")
    assert_same_bits(got.values, np.ascontiguousarray(x.T))
    assert got.run.count("nc_transpose") == 1


@given(
    p=st.integers(1, 32),
    f=st.integers(1, 32),
    dtype=st.sampled_from([*FLOATS, np.dtype(np.int32), np.dtype(np.uint8)]),
)
def test_a_small_transpose_runs_on_vector_engine_and_stays_in_its_memory(p, f, dtype):
    x = values((p, f), dtype, high=9)
    got = on_tiles(nisa.nc_transpose, x)
    assert (got.shape, got.dtype, got.space) == ((f, p), np.dtype(dtype), "sbuf")
    assert_same_bits(got.values, np.ascontiguousarray(x.T))
    assert got.run.count("vector_transpose") == 1


def test_free_axes_are_collapsed_before_the_transpose():
    x = values((20, 4, 12))
    got = on_tiles(nisa.nc_transpose, x)
    assert_same_bits(got.values, np.ascontiguousarray(x.reshape(20, 48).T))


def test_a_transpose_with_a_dtype_is_followed_by_a_cast():
    x = values((64, 48))
    got = on_tiles(lambda t: nisa.nc_transpose(t, dtype=nl.bfloat16), x)
    assert_same_bits(got.values, np.ascontiguousarray(x.T).astype(BF16))
    assert got.run.count("nc_transpose") == 1 and got.run.count("tensor_copy") >= 1


def test_a_transpose_assigned_to_a_psum_tile_costs_nothing_more_and_to_an_sbuf_tile_a_copy():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((2, 48, 64), dtype=x.dtype, buffer=nl.shared_hbm)
        in_psum = nl.ndarray((48, 64), dtype=x.dtype, buffer=nl.psum)
        in_sbuf = nl.ndarray((48, 64), dtype=x.dtype, buffer=nl.sbuf)
        tile = nl.load(x)
        in_psum[...] = nisa.nc_transpose(tile)
        in_sbuf[...] = nisa.nc_transpose(tile)
        nl.store(out[0], nl.copy(in_psum))
        nl.store(out[1], in_sbuf)
        return out

    x = values((64, 48))
    got, run = run_kernel(kernel, x)
    assert_same_bits(got, np.stack([x.T, x.T]))
    assert run.counts() == {"dma_copy": 3, "nc_transpose": 2, "tensor_copy": 2}


@pytest.mark.parametrize(("p", "f"), [(128, 64), (128, 128), (7, 100), (16, 16)])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nl_transpose_leaves_the_result_in_sbuf(p, f, dtype):
    x = values((p, f), dtype)
    got = on_tiles(nl.transpose, x)
    assert (got.shape, got.dtype, got.space) == ((f, p), np.dtype(dtype), "sbuf")
    assert_same_bits(got.values, np.ascontiguousarray(x.T))


def test_on_the_first_generation_a_nan_spoils_its_row_of_a_matmul_transpose():
    x = values((64, 64))
    x[3, 5] = np.nan
    got = on_tiles(nisa.nc_transpose, x, target="trn1").values
    assert np.isnan(got[5, :]).all() and np.isfinite(np.delete(got, 5, 0)).all()
    got = on_tiles(nisa.nc_transpose, x, target="trn2").values
    assert np.isnan(got[5, 3]) and np.isnan(got).sum() == 1
