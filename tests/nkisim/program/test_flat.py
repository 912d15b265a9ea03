"""The flat form of programs: what has one computes the same bits, what has none says why."""

from __future__ import annotations

import numpy as np
import pytest

import nkisim

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def rows_of_blocks(filled: bool):
    """A kernel that loads the rows of a table that indices pick, and leaves out those beyond it."""

    def kernel(table, rows):
        out = nl.ndarray((128, 4, 8), dtype=table.dtype, buffer=nl.shared_hbm)
        i_p = nl.arange(128)[:, None, None]
        i_s, i_d = nl.arange(4)[None, :, None], nl.arange(8)[None, None, :]
        index = nl.load(rows)
        tile = (
            nisa.memset((128, 4, 8), -1.0, dtype=table.dtype)
            if filled
            else nl.ndarray((128, 4, 8), dtype=table.dtype)
        )
        nisa.dma_copy(dst=tile, src=table[index[i_p, 0], 2 + i_s, i_d], oob_mode=nisa.oob_mode.skip)
        nl.store(out, tile)
        return out

    return nki.jit(kernel)


def test_rows_out_of_bounds_are_left_out_and_their_bytes_are_counted():
    table = normal(64, 8, 8)
    rows = np.where(np.arange(128) % 3 == 0, 64, np.arange(128) % 64).astype(np.int32)[:, None]
    kernel = rows_of_blocks(filled=True)
    program = nkisim.lower(kernel, table, rows)
    flat = program.flat()
    with nkisim.record() as run:
        direct = kernel(table, rows)
    assert flat(table, rows).tobytes() == direct.tobytes()
    left = (rows == 64).sum() * 4 * 8 * 4
    assert flat.skipped == {"table": left}
    assert program.run.hbm_reads["table"] - left == run.hbm_reads["table"]
    inside = np.zeros((128, 1), np.int32)
    assert flat(table, inside).tobytes() == kernel(table, inside).tobytes()
    assert flat.skipped == {}


def test_where_rows_left_out_would_leave_elements_unwritten_there_is_no_flat_form():
    shapes = nkisim.shape((64, 8, 8)), nkisim.shape((128, 1), "int32")
    with pytest.raises(ValueError, match="unwritten"):
        nkisim.lower(rows_of_blocks(filled=False), *shapes).flat()


def test_a_selection_that_may_take_unwritten_elements_has_no_flat_form():
    @nki.jit
    def chooses(x, p):
        out = nl.ndarray((128, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((128, 8), dtype=x.dtype)
        tile[:, 0:4] = nl.load(x)[:, 0:4]
        nl.store(out, nl.where(nl.load(p), tile, nl.load(x)))
        return out

    shapes = nkisim.shape((128, 8)), nkisim.shape((128, 8), "uint8")
    program = nkisim.lower(chooses, *shapes)
    with pytest.raises(ValueError, match="values decide"):
        program.flat()
    x, left = normal(128, 8), np.tile(np.arange(8) < 4, (128, 1)).astype(np.uint8)
    assert program(x, left).tobytes() == chooses(x, left).tobytes()
    with pytest.raises(nkisim.KernelError, match="uninitialized|written"):
        program(x, 1 - left)


def test_the_same_is_found_out_of_a_program_that_was_loaded(tmp_path):
    @nki.jit
    def chooses(x, p):
        out = nl.ndarray((128, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((128, 8), dtype=x.dtype)
        tile[:, 0:4] = nl.load(x)[:, 0:4]
        nl.store(out, nl.where(nl.load(p), tile, nl.load(x)))
        return out

    nkisim.lower(chooses, nkisim.shape((128, 8)), nkisim.shape((128, 8), "uint8")).save(
        tmp_path / "p"
    )
    with pytest.raises(ValueError, match="values decide"):
        nkisim.load(tmp_path / "p").flat()


def test_each_instance_of_a_grid_draws_its_own_numbers():
    @nki.jit
    def draws(x):
        out = nl.ndarray((2, 4, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.add(nl.load(x), nl.rand((4, 8)))
        nl.store(out[nl.program_id(0)], tile)
        return out

    x = normal(4, 8)
    flat = nkisim.lower(draws[2], x).flat()
    direct = draws[2](x)
    assert (direct[0] != direct[1]).any()
    for _ in range(2):
        assert flat(x).tobytes() == direct.tobytes()


def test_a_copy_that_rounds_is_not_taken_for_another_name():
    @nki.jit(platform_target="trn1")
    def copies(x):
        out = nl.ndarray((1, 2), dtype=nl.int32, buffer=nl.shared_hbm)
        nl.store(out, nisa.tensor_copy(nl.load(x), engine=nisa.scalar_engine))
        return out

    x = np.array([[2**31 - 1, 2**24 + 1]], np.int32)
    program = nkisim.lower(copies, x)
    assert copies(x)[0, 1] == 2**24
    assert program.flat()(x).tobytes() == program(x).tobytes() == copies(x).tobytes()


def test_a_kernel_that_names_its_target_is_replayed_for_it(tmp_path):
    def transposes(x):
        out = nl.ndarray((64, 64), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nisa.tensor_copy(nisa.nc_transpose(nl.load(x))))
        return out

    x = normal(64, 64)
    x[3, 5] = np.nan  # on the first generation it spoils a row
    for target, lost in (("trn1", 64), ("trn2", 1)):
        kernel = nki.jit(transposes, platform_target=target)
        program = nkisim.lower(kernel, x)
        program.save(tmp_path / "p")
        for each in (program, nkisim.load(tmp_path / "p")):
            assert np.isnan(each(x)).sum() == np.isnan(each.flat()(x)).sum() == lost


def test_elements_that_are_only_warned_about_have_no_flat_form():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.exp(nl.load(x)))
        return out

    with nkisim.record(config=nkisim.Config(warn={"uninitialized-read": True}), values=False):
        program = nkisim.lower(kernel, nkisim.shape((128, 16)))
    with pytest.raises(ValueError, match="warned about"):
        program.flat()


def test_a_slice_beyond_its_tensor_under_a_mask_is_lowered():
    @nki.jit
    def last_tile(x):
        out = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.arange(128)[:, None], nl.arange(16)[None, :]
        t = nl.load(x[0:128, :], mask=(i_p < 100) & (i_f < 16))
        nl.store(out[0:100, :], t[0:100, :])
        nl.store(out[100:128, :], nl.zeros((28, 16), dtype=x.dtype))
        return out

    x = normal(100, 16)
    program = nkisim.lower(last_tile, x)
    assert program(x).tobytes() == program.flat()(x).tobytes() == last_tile(x).tobytes()
