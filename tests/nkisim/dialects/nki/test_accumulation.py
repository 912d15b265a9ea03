"""nc_matmul's accumulate: what is overwritten, what is added to, and what is warned about or
refused."""

from __future__ import annotations

import warnings

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, refused, tile, values

A, B = values(128, 32), values(128, 48, seed=1)
PRODUCT = A.T.astype(np.float64) @ B


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def run(body, *arrays):
    with nkisim.record():
        return on_tiles(body, *(arrays or (A, B)))


def test_left_out_it_overwrites_first_and_adds_then():
    def body(a, b):
        dst = tile((32, 48), buffer=nl.psum)
        for _ in range(3):
            nisa.nc_matmul(dst, a, b)
        return dst

    close(run(body), 3 * PRODUCT)


@pytest.mark.parametrize("flags", [(False, True, True), (False, False), (None, False, None)])
def test_given_it_decides(flags):
    def body(a, b):
        dst = tile((32, 48), buffer=nl.psum)
        for flag in flags:
            nisa.nc_matmul(dst, a, b, accumulate=flag)
        return dst

    times = 1
    for flag in flags[1:]:
        times = 1 if flag is False else times + 1
    close(run(body), times * PRODUCT)


def test_overlapping_regions_add_where_they_overlap():
    def body(a, b):
        dst = tile((32, 64), buffer=nl.psum)
        nisa.nc_matmul(dst[:, 0:48], a, b)
        nisa.nc_matmul(dst[:, 16:64], a, b)
        return dst

    expected = np.zeros((32, 64))
    expected[:, 0:48] += PRODUCT
    expected[:, 16:64] += PRODUCT
    close(run(body), expected)


def test_adding_to_psum_that_nothing_wrote_is_refused():
    def body(a, b):
        total = tile((32, 48), buffer=nl.psum)
        nisa.nc_matmul(total, a, b, accumulate=True)
        return total

    error = refused(body, A, B, rule="uninitialized-read")
    assert error.likely == "accumulate"


@pytest.mark.parametrize("flag", [True, None])
def test_adding_to_zeros_is_warned_about_before_trn3_and_adds(flag):
    def body(a, b):
        dst = nl.zeros((32, 48), dtype=nl.float32, buffer=nl.psum)
        nisa.nc_matmul(dst, a, b, accumulate=flag)
        nisa.nc_matmul(dst, a, b, accumulate=flag)
        return dst

    with pytest.warns(nkisim.RuleWarning, match="no matmul wrote what is there") as seen:
        close(run(body), 2 * PRODUCT)
    assert len([w for w in seen if w.category is nkisim.RuleWarning]) == 1
    with nkisim.record(target="trn3"), warnings.catch_warnings():
        warnings.simplefilter("error", nkisim.RuleWarning)
        close(on_tiles(body, A, B, target="trn3"), 2 * PRODUCT)


def test_a_tile_is_accumulated_in_float32_over_many_products():
    @nki.jit
    def kernel(a, b):
        k, m = a.shape
        result = nl.ndarray((m, b.shape[1]), dtype=nl.float32, buffer=nl.shared_hbm)
        psum = nl.ndarray((m, b.shape[1]), dtype=nl.float32, buffer=nl.psum)
        for i in range(k // 128):
            rows = slice(i * 128, (i + 1) * 128)
            nisa.nc_matmul(
                dst=psum, stationary=nl.load(a[rows]), moving=nl.load(b[rows]), accumulate=(i > 0)
            )
        sbuf = nl.ndarray(psum.shape, dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_copy(dst=sbuf, src=psum)
        nisa.dma_copy(dst=result, src=sbuf)
        return result

    a, b = values(512, 64).astype(nl.bfloat16), values(512, 96).astype(nl.bfloat16)
    close(kernel(a, b), a.T.astype(np.float64) @ b.astype(np.float64))


def test_double_rows_contract_the_second_axis_too():
    a, b = values(64, 2, 16).astype(nl.float8_e5m2), values(64, 2, 24).astype(nl.float8_e5m2)

    def body(x, y):
        dst = tile((16, 24), buffer=nl.psum)
        nisa.nc_matmul(dst, x, y, perf_mode=nisa.matmul_perf_mode.double_row)
        return dst

    close(run(body, a, b), np.einsum("kim,kin->mn", a.astype(np.float64), b.astype(np.float64)))


def test_types_that_do_not_go_together_are_refused():
    half = B.astype(nl.bfloat16)
    refused(
        lambda a, b: nisa.nc_matmul(tile((32, 48), buffer=nl.psum), a, b), A, half, rule="dtype"
    )
    refused(
        lambda a, b: nisa.nc_matmul(tile((32, 48), nl.bfloat16, nl.psum), a, b), A, B, rule="dtype"
    )


def test_nl_matmul_gives_float32_in_psum_and_warns_without_transpose_x():
    def body(a, b):
        made = nl.matmul(a, b, transpose_x=True)
        assert made.dtype == nl.float32 and made.buffer == nl.psum
        return made

    close(
        run(body, A.astype(nl.bfloat16), B.astype(nl.bfloat16)),
        A.astype(nl.bfloat16).T.astype(np.float64) @ B.astype(nl.bfloat16).astype(np.float64),
    )
    with pytest.warns(nkisim.RuleWarning, match="transpose_x=True"):
        close(
            run(lambda a, b: nl.matmul(a, b), values(32, 128), B),
            values(32, 128).astype(np.float64) @ B,
        )
