"""Kernels that place their tiles themselves: what the reference's error list says that they may not
do."""

from __future__ import annotations

import functools

import neuronxcc.nki as nki
import neuronxcc.nki.compiler as ncc
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim

from ...helpers import on_tiles, refused, refused_on_tiles, run_kernel, values

X = values((128, 64))


def placed(shape, dtype=nl.float32):
    return nl.ndarray(shape, dtype=dtype, buffer=ncc.sbuf.mod_alloc(base_addr=0))


def exponential(use_bias, decorate=lambda f: f):
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t, e = (
            nl.load(x),
            nl.ndarray((128, 64), dtype=nl.float32, buffer=ncc.sbuf.mod_alloc(base_addr=0)),
        )
        zeros = nisa.memset((128, 1), 0, dtype=nl.float32)
        if use_bias:
            e[...] = nisa.activation(np.exp, t, bias=zeros)
        else:
            e[...] = nisa.activation(np.exp, t)
        nl.store(out, e)
        return out

    return decorate(nki.jit(kernel))


def test_an_activation_of_an_allocated_kernel_has_a_bias_tile():
    np.testing.assert_allclose(run_kernel(exponential(True), X)[0], np.exp(X), rtol=1e-6)
    assert "bias" in refused(exponential(False), X, rule="allocated-bias").headline


def test_a_function_that_is_an_activation_is_refused_in_an_allocated_kernel():
    def body(t):
        e = placed((128, 64))
        e[...] = nl.exp(t)
        return e

    assert refused_on_tiles(body, X, rule="allocated-bias").headline.startswith("nl.exp")


def test_an_activation_of_the_next_kernel_needs_no_bias_again():
    run_kernel(exponential(True), X)
    np.testing.assert_allclose(on_tiles(lambda t: nl.exp(t), X).values, np.exp(X), rtol=1e-6)


def test_forced_automatic_allocation_ignores_the_placements():
    np.testing.assert_allclose(
        run_kernel(exponential(False, ncc.force_auto_alloc), X)[0], np.exp(X), rtol=1e-6
    )


@pytest.mark.parametrize("make", [nl.zeros, nl.ones, lambda *a, **k: nl.full(a[0], 2.0, **k)])
def test_a_placed_tensor_is_not_made_with_a_value(make):
    refused_on_tiles(
        lambda t: make((128, 64), dtype=nl.float32, buffer=ncc.sbuf.mod_alloc(base_addr=0)),
        X,
        rule="allocated-init",
    )


@pytest.mark.parametrize(
    "transpose", [lambda t: nisa.nc_transpose(t), lambda t: nl.matmul(t, placed((64, 8)))]
)
def test_an_allocated_kernel_does_not_transpose_on_tensore(transpose):
    def body(t):
        placed((128, 64))
        return transpose(t)

    refused_on_tiles(body, X, rule="allocated-transpose")


def test_an_allocated_kernel_transposes_on_vectore():
    def body(t):
        turned = placed((32, 32))
        turned[...] = nisa.nc_transpose(t, engine=nisa.vector_engine)
        return turned

    assert (on_tiles(body, X[:32, :32]).values == X[:32, :32].T).all()


@pytest.mark.parametrize(
    ("place", "limit"),
    [
        (lambda: ncc.sbuf.mod_alloc(base_addr=-1), "bytes"),
        (lambda: ncc.sbuf.mod_alloc(base_addr=1 << 20), "bytes"),
        (lambda: ncc.sbuf.mod_alloc(base_addr=0, base_partition=32), "0"),
        (lambda: ncc.psum.mod_alloc(base_bank=8), "0 to 7"),
        (lambda: ncc.psum.mod_alloc(base_bank=0, base_addr=64), "0"),
    ],
)
def test_a_place_lies_where_there_is_memory(place, limit):
    assert (
        limit
        in refused_on_tiles(
            lambda t: nl.ndarray((8, 4), dtype=nl.float32, buffer=place()),
            X,
            rule="allocated-place",
        ).limit
    )


# -- where a placed tile ends ----------------------------------------------------------------------
KIB = 1024
FIT = 192 * KIB


def made(buffer, shape=(128, 512), target="trn2"):
    """Make a tile there, in a separate kernel; the rule that refuses it, or None."""

    @nki.jit(platform_target=target)
    def kernel(x):
        nl.ndarray(shape, dtype=nl.float32, buffer=buffer())
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load(x))
        return out

    try:
        kernel(X)
    except nkisim.KernelError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("base", "tiles", "fine"),
    [
        (FIT - 2 * KIB, (), True),
        (FIT - 2 * KIB + 4, (), False),
        (FIT - 4 * KIB, (2,), True),
        (FIT - 4 * KIB + 4, (2,), False),
        (0, (96,), True),
        (0, (97,), False),
        (-4, (), False),
    ],
)
def test_a_tile_in_sbuf_and_the_blocks_that_have_a_place_of_their_own_end_inside(base, tiles, fine):
    shape = (tiles[0], nl.par_dim(128), 512) if tiles else (128, 512)
    error = made(lambda: ncc.sbuf.mod_alloc(base_addr=base, num_free_tiles=tiles), shape)
    assert (error is None) == fine
    if error is not None:
        assert error.rule == "allocated-place" and error.limit


def test_blocks_that_take_turns_need_room_for_the_places_only():
    def four_blocks():
        return ncc.sbuf.mod_alloc(base_addr=FIT - 4 * KIB, num_free_tiles=(2,))

    assert made(four_blocks, (4, nl.par_dim(128), 512)) is None


def test_on_the_second_generation_the_compiler_keeps_16_kib():
    def last(reserved):
        return lambda: ncc.sbuf.mod_alloc(base_addr=FIT - reserved - 2 * KIB)

    assert made(last(16 * KIB), target="trn1") is None
    assert made(last(0), target="trn1").rule == "allocated-place"
    assert made(last(0), target="trn2") is None


@pytest.mark.parametrize(
    ("bank", "banks", "fine"), [(7, (), True), (6, (2,), True), (7, (2,), False)]
)
def test_a_tile_in_psum_ends_in_the_last_bank(bank, banks, fine):
    shape = (banks[0], nl.par_dim(128), 512) if banks else (128, 512)
    error = made(lambda: ncc.psum.mod_alloc(base_bank=bank, num_bank_tiles=banks), shape)
    assert (error is None) == fine and (fine or "ends beyond PSUM" in error.headline)


def test_the_places_that_a_function_gives_are_checked_for_every_block():
    def placed_by(function, space=ncc.sbuf):
        return made(lambda: space.alloc(function), (2, nl.par_dim(128), 512))

    assert placed_by(lambda idx, pdim_size, fdim_size: (0, idx[0] * fdim_size)) is None
    beyond = placed_by(lambda idx, pdim_size, fdim_size: (0, FIT - fdim_size + idx[0] * 4))
    assert beyond.rule == "allocated-place" and "ends beyond SBUF" in beyond.headline
    assert "starts at partition 32" in placed_by(lambda i, p, f: (32, 0)).headline
    assert placed_by(lambda i, p, f: (i[0], 0, 0), ncc.psum) is None
    assert "bank 8" in placed_by(lambda i, p, f: (7 + i[0], 0, 0), ncc.psum).headline
    assert placed_by(lambda i, p, f: 7, ncc.psum).rule == "argument"


def test_a_function_may_be_a_partial_of_one_with_more_arguments():
    def bank_of(banks, idx, pdim_size, fdim_size):
        return banks[idx], 0, 0

    function = functools.partial(bank_of, banks={(0,): 1, (1,): 5})
    assert made(lambda: ncc.psum.alloc(function), (2, nl.par_dim(128), 512)) is None


def test_an_address_that_a_loop_adds_up_is_the_first_iterations_where_the_loop_is_traced_once():
    def kernel(x, loop):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        address = FIT - 4 * KIB
        for _ in loop(4):
            t = nl.ndarray((128, 512), dtype=x.dtype, buffer=ncc.sbuf.mod_alloc(base_addr=address))
            address += 3 * KIB // 2
            t[:, 0:64] = nl.load(x)
        nl.store(out, nl.load(x))
        return out

    run_kernel(kernel, X, nl.affine_range)
    refused(kernel, X, nl.static_range, rule="allocated-place")
