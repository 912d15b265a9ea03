"""Kernels in the styles that people write: none of them may be refused, and each computes what it
should."""

from __future__ import annotations

import functools

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from ...helpers import run_kernel, values
from . import valid_kernels, valid_python

X = values((128, 512))
CASES = [*valid_kernels.CASES, *valid_python.CASES]


@pytest.mark.smoke
@pytest.mark.parametrize(("kernel", "expected", "inputs", "tolerance"), CASES)
def test_a_valid_kernel_runs_and_is_right(kernel, expected, inputs, tolerance):
    got, _ = run_kernel(kernel, *inputs)
    np.testing.assert_allclose(
        np.asarray(got, np.float64), expected(*inputs), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(("kernel", "expected", "inputs", "tolerance"), CASES)
def test_a_valid_kernel_costs_the_same_every_time(kernel, expected, inputs, tolerance):
    runs = [run_kernel(kernel, *inputs)[1] for _ in range(2)]
    assert [str(i) for i in runs[0].instructions] == [str(i) for i in runs[1].instructions]
    assert runs[0].summary() == runs[1].summary()


# -- where a kernel may come from ------------------------------------------------------------------
SOURCE = """
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

@nki.jit
def kernel(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in range(2):
        if i < 1:
            tile = nl.load(x)
            nl.store(out, nl.exp(tile))
    return out
"""


def test_a_kernel_defined_in_a_string_needs_no_source():
    scope: dict = {}
    exec(SOURCE, scope)
    np.testing.assert_allclose(scope["kernel"](X), np.exp(X), rtol=1e-6)


def test_methods_partials_lambdas_and_callable_objects_are_kernels():
    class Model:
        def __init__(self, factor):
            self.factor = factor

        @nki.jit
        def forward(self, x):
            out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
            nl.store(out, nl.load(x) * self.factor)
            return out

        def __call__(self, x):
            out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
            nl.store(out, nl.load(x) * self.factor)
            return out

    def plain(x, factor):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load(x) * factor)
        return out

    np.testing.assert_array_equal(Model(2.0).forward(X), X * 2)
    np.testing.assert_array_equal(nki.simulate_kernel(Model(2.0), X), X * 2)
    np.testing.assert_array_equal(
        nki.simulate_kernel(functools.partial(plain, factor=2.0), X), X * 2
    )
    np.testing.assert_array_equal(nki.jit(functools.partial(plain, factor=2.0))(X), X * 2)


def test_inputs_may_be_strided_transposed_and_read_only():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load(x))
        return out

    frozen = X.copy()
    frozen.flags.writeable = False
    for x in (
        X[:, ::2],
        X[:, :128].T,
        X[::-1],
        frozen,
        np.asfortranarray(X),
        X[None].repeat(2, 0)[:, :64].reshape(128, -1),
    ):
        np.testing.assert_array_equal(kernel(x), x)
