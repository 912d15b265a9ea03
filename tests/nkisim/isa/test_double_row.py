"""TensorE: two rows of fp8 at once, and what a matmul of NKI 0.6 takes, against NumPy."""

from __future__ import annotations

import ml_dtypes
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nkisim.execution.execution import running
from nkisim.isa.tensor_engine import NC_MATMUL

from ..helpers import BF16, instruct, on_tiles, refused_on_tiles, values


def made(shape, dtype, space="sbuf"):
    """A tensor of any data type, those that neuronxcc.nki does not name included."""
    return running().allocate(space, shape, np.dtype(dtype))


FP8 = {"e4m3": ml_dtypes.float8_e4m3, "e5m2": ml_dtypes.float8_e5m2}


@given(
    k=st.sampled_from([1, 32, 128]),
    m=st.integers(1, 128),
    n=st.integers(1, 60),
    a=st.sampled_from(sorted(FP8)),
    b=st.sampled_from(sorted(FP8)),
    mode=st.sampled_from(["double_row", "double_row_gen3"]),
)
def test_double_row_contracts_partitions_and_the_axis_of_two_as_2_32_corrects(k, m, n, a, b, mode):
    s, x = values((k, 2, m), FP8[a]), values((k, 2, n), FP8[b], seed=1)
    got = on_tiles(lambda s, x: nl.copy(nisa.nc_matmul(s, x, perf_mode=mode)), s, x)
    want = np.einsum("kim,kin->mn", s.astype(np.float64), x.astype(np.float64))
    assert got.shape == (m, n)
    np.testing.assert_allclose(got.values, want, rtol=1e-5, atol=1e-4)


def test_double_row_refuses_what_the_reference_does_not_allow():
    s, x = values((32, 2, 16), FP8["e4m3"]), values((32, 2, 8), FP8["e4m3"])
    double = lambda s, x: nisa.nc_matmul(s, x, perf_mode="double_row")  # noqa: E731
    refused_on_tiles(double, s, x, rule="target", target="trn1")
    refused_on_tiles(double, values((32, 2, 16), BF16), x, rule="dtype")
    refused_on_tiles(double, values((32, 3, 16), FP8["e4m3"]), x, rule="shape-mismatch")
    refused_on_tiles(
        lambda s, x: nisa.nc_matmul(s, x, perf_mode="double_col"), s, x, rule="argument"
    )
    refused_on_tiles(
        lambda s, x: nisa.nc_matmul(
            s, x, perf_mode="double_row", tile_position=(0, 0), tile_size=(32, 64)
        ),
        s,
        x,
        rule="argument",
    )


def newer_matmul(s, x, dst_dtype=nl.float32, free=None):
    dst = made((s.shape[1], free or x.shape[1]), dst_dtype, "psum")
    instruct(
        NC_MATMUL, "nc_matmul", dst, (s, x), (False, False, False, (), (), False, "none", True)
    )
    return nl.copy(dst)


def test_a_matmul_of_0_6_checks_which_types_go_together_and_v4_writes_all_of_psum():
    s, x, big = values((32, 16)), values((32, 8), BF16), values((64, 2000), BF16)
    refused_on_tiles(newer_matmul, s, x, rule="dtype")
    refused_on_tiles(lambda s, x: newer_matmul(s, x, nl.bfloat16), s, s, rule="dtype")
    assert on_tiles(lambda s, x: newer_matmul(s, x, nl.bfloat16), s, s, target="trn3").shape == (
        16,
        16,
    )
    got = on_tiles(lambda x: newer_matmul(x[:, 0:32], x), big, target="trn3").values
    np.testing.assert_allclose(
        got, big[:, :32].astype(np.float64).T @ big.astype(np.float64), rtol=1e-4, atol=1e-3
    )
    refused_on_tiles(
        lambda x: newer_matmul(x[:, 0:32], x), big, rule="moving-free-limit", target="trn2"
    )


def test_matmuls_of_more_than_two_axes_use_all_their_elements_as_2_30_corrects():
    s, x = values((32, 2, 3, 4)), values((32, 5, 3, 2), seed=1)
    got = on_tiles(lambda s, x: nl.copy(nisa.nc_matmul(s, x)), s, x)
    want = s.reshape(32, 24).astype(np.float64).T @ x.reshape(32, 30).astype(np.float64)
    assert got.shape == (24, 5, 3, 2)
    np.testing.assert_allclose(got.values.reshape(24, 30), want, rtol=1e-4, atol=1e-4)


# -- the transpose mode ----------------------------------------------------------------------------
def _turned(dtype):
    """nc_matmul of NKI 0.6 by an identity matrix, in transpose mode, into PSUM of `dtype`."""
    attrs = (False, False, True, (), (), False, "none", True)

    def run(x, identity):
        out = made((x.shape[1], x.shape[0]), dtype, "psum")
        instruct(NC_MATMUL, "nc_matmul", out, (x, identity), attrs)
        return nl.copy(out)

    return run


def test_the_transpose_mode_writes_16_bit_tiles_and_keeps_nan_and_infinity_where_they_are():
    x = values((32, 8), BF16)
    x[3, 4], x[5, 6] = np.nan, np.inf
    got = on_tiles(_turned(BF16), x, np.eye(32).astype(BF16))
    np.testing.assert_array_equal(got.values.astype(np.float32), x.T.astype(np.float32))
    refused_on_tiles(_turned(BF16), x, np.eye(32).astype(BF16), rule="dtype", target="trn1")
    refused_on_tiles(_turned(np.float16), x, np.eye(32).astype(BF16), rule="dtype")


def test_a_pe_tile_of_0_6_starts_at_a_multiple_of_its_size():
    s, x = values((64, 16)), values((64, 8))
    for position in ((32, 0), (0, 32)):
        attrs = (False, False, False, position, (64, 64), False, "none", True)

        def tiled(s, x, attrs=attrs):
            return instruct(
                NC_MATMUL, "nc_matmul", made((16, 8), np.float32, "psum"), (s, x), attrs
            )

        assert "multiple of tile_size" in str(refused_on_tiles(tiled, s, x, rule="argument"))
