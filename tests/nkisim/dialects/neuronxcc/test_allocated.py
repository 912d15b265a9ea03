"""Kernels that place their tiles themselves: what the reference's error list says that they may not
do."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.compiler as ncc
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

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
    "place, limit",
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
