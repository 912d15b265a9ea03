"""Where in its tile TensorE writes: inside one bank of PSUM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim

from ..helpers import refused, values

ROWS = values((16, 512))


def scores(columns: int, tiles: int) -> Callable[..., Any]:
    """A kernel with `tiles` matmuls side by side in one tile of PSUM, `columns` wide each."""

    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, tiles, columns), dtype=nl.float32, buffer=nl.shared_hbm)
        rows = nl.load(x)
        qk = nl.ndarray((128, tiles, columns), dtype=nl.float32, buffer=nl.psum)
        for t in nl.affine_range(tiles):
            qk[:, t, :] = nisa.nc_matmul(rows[:, 0:128], rows[:, 0:columns])
        nl.store(out, value=nl.copy(qk))
        return out

    return kernel


@pytest.mark.parametrize(("columns", "tiles"), [(12, 42), (16, 64), (512, 8), (128, 32)])
def test_a_matmul_may_write_anywhere_inside_a_bank(columns, tiles):
    got = nki.simulate_kernel(scores(columns, tiles), ROWS)
    want = ROWS[:, :128].T @ ROWS[:, :columns]
    np.testing.assert_allclose(got, np.repeat(want[:, None], tiles, axis=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("columns", "tiles"), [(12, 43), (300, 2), (48, 80)])
def test_a_matmul_that_runs_across_the_end_of_a_bank_is_refused(columns, tiles):
    error = refused(scores(columns, tiles), ROWS, rule="matmul-bank")
    assert "'qk'" in error.headline and "banks 0 to 1" in error.headline
    assert "one bank: 2048 bytes" in str(error.limit)


def test_the_last_column_of_a_bank_goes_with_those_before_it_and_not_with_the_next():
    def at(first: int) -> Callable[..., Any]:
        @nki.jit
        def kernel(x):
            out = nl.ndarray((128, 2, 512), dtype=nl.float32, buffer=nl.shared_hbm)
            rows = nl.load(x)
            wide = nl.zeros((128, 2 * 512), dtype=nl.float32, buffer=nl.sbuf)
            tile = nl.zeros((128, 2, 512), dtype=nl.float32, buffer=nl.psum)
            flat = tile.reshape((128, 1024))
            flat[:, first : first + 8] = nisa.nc_matmul(rows[:, 0:128], rows[:, 0:8])
            wide[...] = nl.copy(flat)
            nl.store(out, value=wide.reshape((128, 2, 512)))
            return out

        return kernel

    for first in (0, 504, 512, 1016):
        nki.simulate_kernel(at(first), ROWS)
    for first in (505, 511):
        refused(at(first), ROWS, rule="matmul-bank")


def test_a_sum_in_psum_lies_in_one_bank_like_what_overwrites():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 43, 12), dtype=nl.float32, buffer=nl.shared_hbm)
        rows = nl.load(x)
        sums = nl.zeros((128, 43, 12), dtype=nl.float32, buffer=nl.psum)
        for t in nl.affine_range(43):
            for _ in nl.affine_range(2):
                sums[:, t, :] += nisa.nc_matmul(rows[:, 0:128], rows[:, 0:12])
        nl.store(out, value=nl.copy(sums))
        return out

    refused(kernel, ROWS, rule="matmul-bank")


def test_a_transpose_on_tensore_lies_in_one_bank_and_one_on_vectore_need_not():
    def kernel_on(engine: Any) -> Callable[..., Any]:
        @nki.jit
        def kernel(x):
            out = nl.ndarray((32, 22, 24), dtype=nl.float32, buffer=nl.shared_hbm)
            rows = nl.load(x)
            tile = nl.ndarray((32, 22, 24), dtype=nl.float32, buffer=nl.psum)
            for t in nl.affine_range(22):
                tile[:, t, :] = nisa.nc_transpose(rows[0:24, 0:32], engine=engine)
            nl.store(out, value=nl.copy(tile))
            return out

        return kernel

    x = values((24, 32))
    refused(kernel_on(nisa.tensor_engine), x, rule="matmul-bank")
    assert nki.simulate_kernel(kernel_on(nisa.vector_engine), x).shape == (32, 22, 24)


def test_other_engines_may_read_and_write_across_banks():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((16, 1024), dtype=nl.float32, buffer=nl.shared_hbm)
        rows = nl.load(x)
        tile = nl.ndarray((16, 2, 512), dtype=nl.float32, buffer=nl.psum)
        flat = tile.reshape((16, 1024))
        for k in nl.affine_range(4):
            flat[:, k * 256 : k * 256 + 256] = nl.copy(rows[:, 0:256])
        flat[:, 300:812] = nisa.tensor_copy(rows)
        nl.store(out, value=nl.copy(flat))
        return out

    assert nki.simulate_kernel(kernel, ROWS)[:, 300:812].tobytes() == ROWS.tobytes()


def test_the_rule_can_be_turned_into_a_warning():
    with (
        pytest.warns(nkisim.RuleWarning, match="matmul-bank"),
        nkisim.record(config=nkisim.Config(warn={"matmul-bank": True})),
    ):
        nki.simulate_kernel(scores(12, 43), ROWS)


def test_a_kernel_lowered_on_shapes_meets_the_rule_too():
    with pytest.raises(nkisim.KernelError) as error:
        nkisim.lower(scores(12, 43), nkisim.shape((16, 512)))
    assert error.value.rule == "matmul-bank"
