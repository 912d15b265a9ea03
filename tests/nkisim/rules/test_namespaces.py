"""A kernel of one dialect that uses functions of the other."""

from __future__ import annotations

import neuronxcc.nki as old
import neuronxcc.nki.isa as old_isa
import neuronxcc.nki.language as old_nl
import nki
import nki.language as nl
import numpy as np
import pytest
from neuronxcc.nki.language import exp as old_exp

import nkisim

from ..helpers import marked_line

X = np.ones((128, 16), np.float32)


def stored(tile):
    out = nl.ndarray((128, 16), dtype=nl.float32, buffer=nl.shared_hbm)
    nl.store(out, tile)
    return out


def loads_with_the_old_language(x):
    return stored(old_nl.load(x))  # breaks


def takes_an_old_function(x):
    return stored(old_exp(nl.load(x)))  # breaks


def takes_an_old_data_type(x):
    return nl.ndarray(x.shape, dtype=old_nl.float32, buffer=nl.shared_hbm)  # breaks


def helper(tile):
    return old_isa.reciprocal(tile)  # breaks


def calls_a_helper(x):
    return stored(helper(nl.load(x)))


def has_a_function_inside(x):
    def inner(tile):
        return old_isa.reciprocal(tile)  # breaks

    return stored(inner(nl.load(x)))


def made_with_imports_of_its_own():
    import neuronxcc.nki.language as own_nl

    def kernel(x):
        return stored(own_nl.load(x))  # breaks

    return kernel


made = made_with_imports_of_its_own()


@pytest.mark.parametrize(
    ("kernel", "at", "name", "of"),
    [
        (loads_with_the_old_language, None, "old_nl", "neuronxcc.nki.language"),
        (takes_an_old_function, None, "old_exp", "elementwise.old_exp"),
        (takes_an_old_data_type, None, "old_nl", "neuronxcc.nki.language"),
        (calls_a_helper, helper, "old_isa", "neuronxcc.nki.isa"),
        (has_a_function_inside, None, "old_isa", "neuronxcc.nki.isa"),
        (made, None, "own_nl", "neuronxcc.nki.language"),
    ],
)
def test_a_kernel_of_nki_that_uses_the_old_package_is_refused_at_the_line(kernel, at, name, of):
    with pytest.raises(nkisim.KernelError) as caught:
        nki.jit(kernel)(X.copy())
    error = caught.value
    assert error.rule == "namespace"
    assert f"'{name}' of neuronxcc.nki" in error.headline and error.got.endswith(of)
    assert error.line == marked_line(at or kernel)


def test_a_kernel_of_the_old_package_that_uses_nki_is_refused():
    @old.jit
    def kernel(x):
        return stored(nl.load(x))

    with pytest.raises(nkisim.KernelError) as caught:
        kernel(X)
    assert caught.value.rule == "namespace-old"
    assert caught.value.remedy == "Import neuronxcc.nki.isa and neuronxcc.nki.language."


def test_annotations_defaults_and_what_the_caller_uses_may_be_of_the_other_package():
    @nki.jit
    def kernel(x: old_nl.ndarray, dtype=old_nl.float32):
        return stored(nl.load(x))

    assert np.array_equal(kernel(X.copy(), dtype=old_nl.float32), X)
