"""Calls whose arguments do not fit the function: the error names the function, the argument and the
nearest one."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import nki as nki6
import nki.isa as nisa6
import nki.language as nl6
import numpy as np
import pytest

import nkisim

from ..helpers import marked_line, refused, refused_on_tiles

X = np.ones((128, 64), np.float32)


def new_tiles(body):
    """The error of a body of the newer dialect, on two tiles that have values."""

    @nki6.jit
    def kernel(x):
        a, b = nl6.load(x), nl6.load(x)
        body(a, b)
        return x

    with pytest.raises(nkisim.KernelError) as caught:
        kernel(X.copy())
    assert caught.value.rule == "argument"
    return caught.value


def test_an_unknown_keyword_of_an_instruction_names_the_nearest_one():
    error = new_tiles(lambda a, b: nisa6.tensor_tensor(a, b, b, opp=nl6.add))
    assert error.headline == "nisa6.tensor_tensor has no argument 'opp'"
    assert error.remedy == "Did you mean op=?"
    assert "data1, data2, op, engine" in error.limit


def test_an_unknown_keyword_of_a_language_function_names_the_nearest_one():
    assert (
        new_tiles(lambda a, b: nl6.sum(a, axis=1, keepdim=True)).remedy == "Did you mean keepdims=?"
    )


def test_a_mask_which_the_newer_dialect_does_not_have_is_refused_by_name():
    assert ("has no argument 'mask'") in new_tiles(
        lambda a, b: nisa6.tensor_copy(a, b, mask=None)
    ).headline


def test_a_missing_argument_is_named():
    error = new_tiles(lambda a, b: nisa6.tensor_scalar(a, b, nl6.add))
    assert error.headline == "nisa6.tensor_scalar: argument 'operand0' is missing"


def test_a_misspelled_argument_is_named_rather_than_the_one_that_it_leaves_missing():
    error = refused_on_tiles(lambda a, b: nisa.tensor_scalar(a, op=nl.add, operand=1.0), X, X)
    assert error.headline == "nisa.tensor_scalar has no argument 'op'"
    assert error.remedy == "Did you mean op0=?"


def test_a_missing_argument_is_named_beside_one_that_only_some_functions_have():
    error = refused_on_tiles(lambda a, b: nisa.tensor_scalar(a, op0=nl.add, dst=b), X, X)
    assert error.headline == "nisa.tensor_scalar: argument 'operand0' is missing"


def test_an_argument_given_twice_is_named():
    assert "'dst' is given twice" in new_tiles(lambda a, b: nisa6.tensor_copy(a, b, dst=a)).headline


def test_too_many_arguments_by_position_are_refused_with_their_order():
    error = new_tiles(lambda a, b: nisa6.reciprocal(a, b, "name", 1))
    assert error.limit == "dst, data, name"


def test_a_method_of_a_tensor_tells_its_unknown_keyword_too():
    assert ("has no argument 'offzet'") in new_tiles(
        lambda a, b: a.ap([[64, 128], [1, 64]], offzet=0)
    ).headline


def test_the_older_dialect_names_the_nearest_keyword():
    assert (
        refused_on_tiles(lambda a: nl.exp(a, dtpe=nl.float32), X, rule="argument").remedy
        == "Did you mean dtype=?"
    )
    error = refused_on_tiles(
        lambda a: nisa.activation(op=np.exp, data=a, biass=1.0), X, rule="argument"
    )
    assert error.remedy == "Did you mean bias=?"
    assert (
        refused_on_tiles(
            lambda a: nisa.dma_copy(dst=a, src=a, maks=None), X, rule="argument"
        ).remedy
        == "Did you mean mask=?"
    )


def test_the_error_names_the_line_of_the_call():
    @nki.jit
    def kernel(x):
        t = nl.load(x)
        return nisa.nc_matmul(t)  # breaks

    error = refused(kernel, X, rule="argument")
    assert error.line == marked_line(kernel.function)
    assert "'moving' is missing" in error.headline


def test_a_fault_inside_the_kernel_s_own_helper_stays_a_type_error():
    def helper(a, b):
        return a

    @nki.jit
    def kernel(x):
        return helper(x)

    with pytest.raises(TypeError) as caught:
        kernel(X)
    assert not isinstance(caught.value, nkisim.KernelError)
