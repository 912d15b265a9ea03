"""`name: nt.tensor[p, f] = value` in a kernel's text."""

from __future__ import annotations

import sys

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import neuronxcc.nki.typing as nt
import numpy as np

from ...helpers import assert_same_bits, marked_line, refused, run_kernel, values

X = values((128, 64))


def copied(x, rows):
    out: nt.tensor[128, 64] = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    p, f = x.shape
    for i in nl.affine_range(p // rows):
        t: nt.tensor[rows, f] = nl.load(x[i * rows : (i + 1) * rows])
        count: int = rows
        nl.store(out[i * count : (i + 1) * count], t)
    return out


def test_annotations_that_hold_change_nothing():
    assert_same_bits(run_kernel(nki.jit(copied), X, 32)[0], X)
    assert sys.gettrace() is None


def test_a_value_of_another_shape_than_its_annotation_is_refused_at_its_line():
    @nki.jit
    def kernel(x):
        data: nt.tensor[128, 512] = nl.zeros((nl.par_dim(128), 128), dtype=np.float32)  # breaks
        return data

    error = refused(kernel, X, rule="annotation")
    assert (error.tensor, error.got, error.limit) == ("data", "(128, 128)", "(128, 512)")
    assert error.line == marked_line(kernel.function)
    assert sys.gettrace() is None


def test_an_annotation_by_sizes_of_the_kernel_is_checked_with_their_values():
    @nki.jit
    def kernel(x):
        rows, columns = x.shape
        t: nt.tensor[columns, rows] = nl.load(x)
        return t

    assert refused(kernel, X, rule="annotation").limit == "(64, 128)"
