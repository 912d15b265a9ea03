"""Axes of one element, which the compiler squeezes: one block of a tensor is a tile, and a tile's
free axes of one element do not count."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from ...helpers import refused, values

X = values((2, 64, 16))


@pytest.mark.parametrize("use", ["function", "instruction", "operator", "matmul"])
def test_one_block_taken_by_a_slice_is_a_tile(use):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((2, nl.par_dim(64), 16), dtype=x.dtype)
        for i in nl.affine_range(2):
            t[i : i + 1] = nl.load(x[i])
        one = t[1:2]
        if use == "function":
            result = nl.exp(one)
        elif use == "instruction":
            result = nisa.tensor_tensor(one, t[0], op=nl.add)
        elif use == "operator":
            result = one + t[0]
        else:
            result = nl.copy(nisa.nc_matmul(one, nl.copy(t[0])))
            out = nl.ndarray((16, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, result)
        return out

    expected = {
        "function": np.exp(X[1]),
        "instruction": X[0] + X[1],
        "operator": X[0] + X[1],
        "matmul": X[1].T @ X[0],
    }[use]
    np.testing.assert_allclose(kernel(X), expected, rtol=1e-5, atol=1e-4)


def test_two_blocks_are_no_tile():
    def kernel(x):
        t = nl.ndarray((2, nl.par_dim(64), 16), dtype=x.dtype)
        t[0] = nl.load(x[0])
        t[1] = nl.load(x[1])
        return nl.exp(t)

    refused(kernel, X, rule="partition-axis")


@pytest.mark.parametrize("shape", [(64, 1, 16), (64, 16, 1), (64, 1, 16, 1)])
def test_free_axes_of_one_element_do_not_count_between_two_tiles(shape):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        a, b = nl.load(x[0]), nl.load(x[1]).reshape(shape)
        total = nl.add(a, b)
        assert total.shape == (64, 16)
        held = nl.zeros(shape, dtype=x.dtype)
        held[...] = total
        nl.store(out, held.reshape((64, 16)))
        return out

    np.testing.assert_array_equal(kernel(X), X[0] + X[1])


def test_a_leading_axis_of_one_in_hbm_is_no_partition_axis():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((2, 64, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        for i in nl.affine_range(2):
            t = nl.ndarray((64, 16), dtype=x.dtype)
            nisa.dma_copy(dst=t, src=x[i : i + 1])
            nl.store(out[i : i + 1], t)
        return out

    np.testing.assert_array_equal(kernel(X), X)
