"""Allocation, capacity, what was written, and who is blamed for reading what was not."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.compiler as ncc
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.machine import target

from ..helpers import (
    BF16,
    FP32,
    assert_same_bits,
    marked_line,
    on_tiles,
    refused,
    refused_on_tiles,
    run_kernel,
    values,
)

ONE = np.zeros((1, 1), np.float32)


# -- making tensors --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda t: nl.zeros((8, 4), dtype=nl.float32), 0),
        (lambda t: nl.ones((8, 4), dtype=nl.float32), 1),
        (lambda t: nl.full((8, 4), 2.5, dtype=nl.float32), 2.5),
        (lambda t: nl.full((8, 4), fill_value=-7, dtype=nl.int32), -7),
        (lambda t: nl.zeros_like(nl.ones((8, 4), dtype=nl.bfloat16)), 0),
        (lambda t: nl.full([8, 4], np.float32(3), dtype="bfloat16"), 3),
        (lambda t: nl.zeros((nl.par_dim(8), 4), dtype=np.float16, buffer=nl.sbuf), 0),
        (lambda t: nl.ones(shape=(8, 4), dtype=nl.int8), 1),
        (
            lambda t: nl.full((np.int64(8), 4), nl.fp32.min, dtype=nl.float32),
            np.finfo(np.float32).min,
        ),
        (lambda t: nl.full((8, 4), 1.0, dtype=nl.float32, buffer=nl.psum), 1),
        (lambda t: nl.zeros((8, 4), dtype=nl.float32, buffer=ncc.psum.auto_alloc()), 0),
        (lambda t: nl.zeros((8, 4), dtype=nl.float32, buffer=ncc.sbuf.auto_alloc()), 0),
    ],
)
def test_tensors_are_made_with_the_value_type_and_memory_asked_for(make, expected):
    got = on_tiles(make, ONE)
    assert got.shape == (8, 4)
    assert_same_bits(got.values, np.full((8, 4), expected, got.dtype))


def test_empty_like_takes_shape_and_type_and_is_not_written():
    def body(t):
        like = nl.empty_like(nl.ones((8, 4), dtype=nl.bfloat16))
        assert like.shape == (8, 4) and like.dtype == nl.bfloat16
        return nl.copy(like)

    refused_on_tiles(body, ONE, rule="uninitialized-read")


@pytest.mark.parametrize(
    ("make", "rule", "words"),
    [
        (lambda: nl.zeros((), dtype=nl.float32), "argument", "shape"),
        (lambda: nl.zeros((129,), dtype=nl.float32), "partition-limit", "129"),
        (lambda: nl.zeros((129, 4), dtype=nl.float32), "partition-limit", "129"),
        (lambda: nl.zeros((8, 0), dtype=nl.float32), "argument", "size 0"),
        (lambda: nl.zeros((8, 4 / 2), dtype=nl.float32), "argument", "//"),
        (lambda: nl.zeros((8, 4), dtype=np.float64), "dtype", "float64"),
        (lambda: nl.zeros((8, 4), dtype=float), "dtype", "float"),
        (lambda: nl.zeros((8, 4), dtype=None), "argument", "dtype"),
        (lambda: nl.zeros((8, 4), dtype=nl.float32, buffer="sbuf"), "argument", "nl.sbuf"),
        (lambda: nl.zeros((8, 4), dtype=nl.float32, buffer=nl.shared_hbm), "hbm-init", "nl.store"),
        (lambda: nl.full((8, 4), np.ones(4), dtype=nl.float32), "argument", "number"),
        (lambda: nl.zeros((8, 4), dtype=nl.float32, colour="red"), "argument", "colour"),
        (
            lambda: nl.zeros((nl.par_dim(8), nl.par_dim(4)), dtype=nl.float32),
            "partition-axis",
            "two axes",
        ),
        (lambda: nl.ndarray((128, 513), dtype=nl.float32, buffer=nl.psum), "psum-bank", "512"),
        (lambda: nl.ndarray((128, 9, 512), dtype=nl.float32, buffer=nl.psum), "psum-bank", "bank"),
        (lambda: nl.ndarray((128, 57345), dtype=nl.float32), "sbuf-capacity", "229376"),
        (
            lambda: nisa.memset(nl.zeros((8, 4), dtype=nl.float32), 0, dtype=nl.float32),
            "argument",
            "shape",
        ),
    ],
)
def test_tensors_that_cannot_be_are_refused(make, rule, words):
    assert words in str(refused_on_tiles(lambda t: make(), ONE, rule=rule))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum),
        lambda: nl.ndarray((128, 1024), dtype=nl.bfloat16, buffer=nl.psum),
        lambda: nl.ndarray((128, 8, 512), dtype=nl.float32, buffer=nl.psum),
        lambda: nl.ndarray((8, nl.par_dim(128), 512), dtype=nl.float32, buffer=nl.psum),
        lambda: nl.ndarray((128, 57343), dtype=nl.float32),
        lambda: nl.ndarray((128, 1), dtype=nl.uint8),
        lambda: nl.ndarray((1, 1), dtype=nl.float32),
        lambda: nl.ndarray((1000, 3), dtype=nl.uint8, buffer=nl.private_hbm),
    ],
)
def test_tensors_just_inside_the_limits_are_made(make):
    def body(t):
        make()
        return t

    on_tiles(body, ONE)


@pytest.mark.parametrize(("name", "size"), [("trn1", 192), ("trn2", 224), ("trn3", 256)])
def test_capacity_is_that_of_the_target(name, size):
    assert target.get(name).sbuf_partition_bytes == size * 1024

    def body(t, columns):
        nl.ndarray((128, columns), dtype=nl.uint8)
        return t

    # 4 bytes are those of the loaded tile
    on_tiles(lambda t: body(t, size * 1024 - 4), ONE, target=name)
    error = refused_on_tiles(
        lambda t: body(t, size * 1024 + 1), ONE, target=name, rule="sbuf-capacity"
    )
    assert name in error.limit


def test_targets_are_found_by_every_name_and_others_refused():
    assert target.get("inf2") is target.get("trn1") is target.get("gen2")
    assert target.get(None) is target.get("TRN2") is target.DEFAULT
    assert target.get(target.TRN3) is target.TRN3
    with pytest.raises(ValueError, match="trn1, inf2, trn2, trn3"):
        target.get("h100")


# -- capacity over time ----------------------------------------------------------------------------
def test_tiles_that_follow_one_another_share_memory_and_tiles_in_use_together_do_not():
    def kernel(x, tiles, together):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        held = [nl.load(x) for _ in range(tiles)] if together else []
        for i in nl.affine_range(tiles):
            tile = held[i] if together else nl.load(x)
            nl.store(out, nl.copy(tile))
        return out

    x = np.zeros((128, 8192), np.float32)  # 32 KiB per partition: 7 fill the 224 KiB of trn2
    run_kernel(kernel, x, 1, False)
    with (
        nkisim.record(config=nkisim.Config(warn={"output-dependency": True})) as run,
        pytest.warns(nkisim.RuleWarning),
    ):
        nki.simulate_kernel(kernel, x, 9, False)
    assert run.peak_bytes("sbuf") == 2 * x.nbytes
    with (
        pytest.warns(nkisim.RuleWarning),
        nkisim.record(config=nkisim.Config(warn={"output-dependency": True})),
    ):
        nki.simulate_kernel(kernel, x, 6, True)
        with pytest.raises(nkisim.KernelError) as caught:
            nki.simulate_kernel(kernel, x, 7, True)
    assert caught.value.rule == "sbuf-capacity" and "32768 B" in caught.value.got


def test_a_tile_needs_its_place_from_its_first_write_on():
    # a product of bf16 published with its utilisation (awslabs/nki-autotune) makes more tiles than
    # fit, and writes a quarter of them
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        made = [nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf) for _ in range(9)]
        made[0][...] = nl.load(x)
        for i in range(3):
            made[i + 1][0:64] = nl.copy(made[i][0:64])
            made[i + 1][64:128] = nl.copy(made[i][64:128])
        nl.store(out, made[3])
        return out

    x = np.zeros((128, 8192), np.float32)  # 32 KiB per partition: 7 fill the 224 KiB of trn2
    _, run = run_kernel(kernel, x)
    assert run.peak_bytes("sbuf") == 2 * x.nbytes


def test_nine_psum_banks_in_use_at_once_are_one_too_many():
    def kernel(a, b, banks):
        out = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.shared_hbm)
        left, right = nl.load(a), nl.load(b)
        products = [nisa.nc_matmul(left, right) for _ in range(banks)]
        total = nl.zeros((128, 512), dtype=nl.float32)
        for product in products:
            total[...] = nl.add(total, product)
        nl.store(out, total)
        return out

    a, b = values((16, 128)), values((16, 512), seed=1)
    _got, run = run_kernel(kernel, a, b, 8)
    assert run.peak_bytes("psum") == 8 * 128 * 2048
    error = refused(kernel, a, b, 9, rule="psum-capacity")
    assert "nisa.tensor_copy" in error.remedy and "8 banks" in error.limit


# -- what was written ------------------------------------------------------------------------------
def test_reading_what_was_never_written_is_refused_at_the_reading_instruction_by_name():
    def kernel(x):
        total = nl.ndarray((8, 16), dtype=nl.float32)
        tile = nl.load(x)
        total += tile  # breaks
        return total

    error = refused(kernel, values((8, 16)), rule="uninitialized-read")
    assert (error.tensor, error.line) == ("total", marked_line(kernel))
    assert "nl.zeros" in error.remedy


def test_one_unwritten_element_is_enough_and_the_first_is_named():
    def kernel(x):
        tile = nl.ndarray((8, 16), dtype=nl.float32)
        tile[:, 0:7] = nl.load(x[:, 0:7])
        tile[:, 8:16] = nl.load(x[:, 8:16])
        return nl.exp(tile)  # breaks

    error = refused(kernel, values((8, 16)), rule="uninitialized-read")
    assert "8 of 128 elements" in error.headline and "(0, 7)" in error.got


def test_a_tile_written_in_parts_is_whole_and_its_written_parts_may_be_read_before():
    def body(t):
        whole = nl.ndarray((8, 16), dtype=nl.float32)
        whole[:, 0:16:2] = t[:, 0:8]
        early = nl.copy(whole[:, 0:16:2])
        whole[:, 1:16:2] = early
        return whole

    x = values((8, 16))
    assert_same_bits(on_tiles(body, x).values, np.repeat(x[:, :8], 2, axis=1))


def test_scratch_in_hbm_is_written_before_it_is_read():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        scratch = nl.ndarray((16, 8), dtype=x.dtype, buffer=nl.private_hbm)
        nl.store(scratch, nl.transpose(nl.load(x)))
        nl.store(out, nl.load_transpose2d(scratch))
        return out

    x = values((8, 16))
    got, run = run_kernel(kernel, x)
    assert_same_bits(got, x)
    assert run.hbm_bytes_read == 2 * x.nbytes


def test_an_output_written_in_part_is_refused_with_the_first_gap():
    def kernel(x):
        out = nl.ndarray((256, 16), dtype=x.dtype, buffer=nl.shared_hbm)  # breaks
        for i in nl.affine_range(1):
            nl.store(out[i * 128 : (i + 1) * 128, :], nl.load(x))
        return out

    error = refused(kernel, values((128, 16)), rule="unwritten-output")
    assert (error.tensor, error.line) == ("out", marked_line(kernel))
    assert "2048 of 4096" in error.headline and "(128, 0)" in error.got


# -- PSUM zeros ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("use", "memsets"),
    [
        (lambda acc, a, b: acc.__iadd__(nisa.nc_matmul(a, b)), 0),
        (lambda acc, a, b: nl.copy(acc), 1),
        (lambda acc, a, b: acc.__iadd__(1.0), 1),
    ],
)
def test_zeros_in_psum_are_spent_only_if_something_reads_them(use, memsets):
    def body(a, b):
        acc = nl.zeros((8, 16), dtype=nl.float32, buffer=nl.psum)
        use(acc, a, b)
        return acc

    assert on_tiles(body, values((4, 8)), values((4, 16))).run.count("memset") == memsets


def test_half_of_a_zeroed_psum_tile_may_be_accumulated_into_and_the_rest_is_zero():
    def body(a, b):
        acc = nl.zeros((8, 16), dtype=nl.float32, buffer=nl.psum)
        acc[:, 0:8] += nisa.nc_matmul(a, b[:, 0:8])
        acc[:, 0:8] += nisa.nc_matmul(a, b[:, 0:8])
        return acc

    a, b = np.eye(8, dtype=np.float32), values((8, 16))
    got = on_tiles(body, a, b)
    assert_same_bits(
        got.values, np.concatenate([2 * b[:, :8], np.zeros((8, 8), np.float32)], axis=1)
    )
    assert got.run.count("nc_matmul") == 2 and got.run.count("memset") == 1


# -- low precision ---------------------------------------------------------------------------------
def test_a_bfloat16_tile_holds_bfloat16_values():
    def body(t):
        count = nl.full((1, 1), 256.0, dtype=nl.bfloat16)
        count += 1.0
        return count

    got = on_tiles(body, ONE)
    assert got.dtype == BF16 and float(got.values.item()) == 256.0


def test_without_precise_storage_low_precision_is_never_rounded_but_keeps_its_name():
    x = values((8, 16))
    with nkisim.record(config=nkisim.Config(precise_fp=False)) as run:

        @nki.jit
        def kernel(x):
            out = nl.ndarray(x.shape, dtype=nl.float32, buffer=nl.shared_hbm)
            tile = nl.load(x, dtype=nl.bfloat16)
            assert tile.dtype == nl.bfloat16
            nl.store(out, tile)
            return out

        got = kernel(x)
    assert_same_bits(got, x)
    assert run.instructions[0].dst[0].dtype == "bfloat16"
    assert got.dtype == FP32
