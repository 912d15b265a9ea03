"""Short ways of direct calls: what is remembered is not taken for what merely equals it; what is
computed in place is what is computed elsewhere."""

import numpy as np
import pytest

import nkisim

# isort: split
import neuronxcc.nki as old_nki
import neuronxcc.nki.isa as old_nisa
import neuronxcc.nki.language as old_nl
import nki
import nki.isa as nisa
import nki.language as nl

X = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)


def _older(body):
    def kernel(x):
        out = old_nl.ndarray((4, 4), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        t = old_nl.load(x)
        old_nl.store(out, value=body(t))
        return out

    return old_nki.jit(kernel)(X)


def _newer(body):
    def kernel(x):
        out = nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.load(x)
        nisa.dma_copy(dst=out, src=body(t))
        return out

    return nki.jit(kernel)(X)


@pytest.mark.parametrize("size", [4.0, True, "4"])
def test_a_size_that_equals_a_remembered_one_and_is_no_integer_is_refused(size):
    def older(t):
        old_nl.ndarray((1, 4), dtype=old_nl.float32)
        old_nl.ndarray((size, 4), dtype=old_nl.float32)
        return t

    def newer(t):
        nl.ndarray((1, 4), dtype=nl.float32)
        nl.ndarray((4, 4), dtype=nl.float32)
        nl.ndarray((size, 4), dtype=nl.float32)
        return t

    for run, body in ((_older, older), (_newer, newer)):
        with pytest.raises(nkisim.KernelError) as error:
            run(body)
        assert error.value.rule == "argument"


@pytest.mark.parametrize("axis", [1.0, True])
def test_an_axis_that_equals_a_remembered_one_and_is_no_integer_is_refused(axis):
    def older(t):
        old_nisa.tensor_reduce(old_nl.add, t, axis=1)
        old_nisa.tensor_reduce(old_nl.add, t, axis=axis)
        return t

    def newer(t):
        row = nl.ndarray((4, 1), dtype=nl.float32)
        nisa.tensor_reduce(row, nl.add, t, axis=1)
        nisa.tensor_reduce(row, nl.add, t, axis=axis)
        return t

    for run, body in ((_older, older), (_newer, newer)):
        with pytest.raises(nkisim.KernelError) as error:
            run(body)
        assert error.value.rule == "argument"


def test_an_option_that_equals_a_remembered_one_and_is_no_boolean_is_refused():
    def older(t):
        old_nisa.tensor_scalar(t, old_nl.multiply, 2.0, reverse0=True)
        old_nisa.tensor_scalar(t, old_nl.multiply, 2.0, reverse0=1.0)
        return t

    def newer(t):
        nisa.tensor_scalar(t, t, nl.multiply, 2.0, reverse0=True)
        nisa.tensor_scalar(t, t, nl.multiply, 2.0, reverse0=1.0)
        return t

    for run, body in ((_older, older), (_newer, newer)):
        with pytest.raises(nkisim.KernelError) as error:
            run(body)
        assert error.value.rule == "argument"


def test_an_attribute_that_tiles_do_not_have_is_told_with_its_line():
    for run in (_older, _newer):
        with pytest.raises(AttributeError) as error:
            run(lambda t: t.T)
        assert isinstance(error.value, nkisim.KernelError)
        assert "a tensor has no attribute 'T'" in str(error.value)
        assert "nl.transpose(t)" in error.value.remedy
        assert error.value.source == "run(lambda t: t.T)"


def test_whether_a_tile_has_an_attribute_can_be_asked():
    for run in (_older, _newer):
        assert np.array_equal(run(lambda t: t if not hasattr(t, "T") else None), X)


def test_an_attribute_cannot_be_set():
    def sets(t):
        t.note = 1
        return t

    for run in (_older, _newer):
        with pytest.raises(AttributeError) as error:
            run(sets)
        assert not isinstance(error.value, nkisim.KernelError)


def _in_place(t):
    """Instructions that compute in their destination."""
    tile = nl.ndarray((4, 4), dtype=nl.float32)
    nisa.tensor_scalar(tile, t, nl.multiply, 0.3, op1=nl.add, operand1=0.7)
    row = nl.ndarray((4, 1), dtype=nl.float32)
    nisa.tensor_reduce(row, nl.add, tile, axis=1, keepdims=True)
    product = nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_matmul(product, t, tile)
    nisa.nc_matmul(product, tile, t)
    turned = nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.psum)
    nisa.nc_transpose(turned, tile, engine=nisa.engine.tensor)
    nisa.tensor_copy(tile, turned)
    nisa.tensor_tensor(tile, tile, product, nl.add)
    nisa.tensor_scalar(tile, tile, nl.subtract, row)
    return tile


def _elsewhere(t):
    """The same, each result a new tile."""
    tile = old_nisa.tensor_scalar(t, old_nl.multiply, 0.3, op1=old_nl.add, operand1=0.7)
    row = old_nisa.tensor_reduce(old_nl.add, tile, axis=1, keepdims=True)
    product = old_nl.zeros((4, 4), dtype=old_nl.float32, buffer=old_nl.psum)
    product += old_nisa.nc_matmul(t, tile)
    product += old_nisa.nc_matmul(tile, t)
    turned = old_nisa.nc_transpose(tile, engine=old_nisa.tensor_engine)
    tile = old_nisa.tensor_tensor(old_nisa.tensor_copy(turned), product, op=old_nl.add)
    return old_nisa.tensor_scalar(tile, old_nl.subtract, row)


def test_what_is_computed_in_its_destination_is_bit_for_bit_what_is_computed_elsewhere():
    assert _newer(_in_place).tobytes() == _older(_elsewhere).tobytes()


def test_a_view_of_a_tensor_in_hbm_is_remembered_by_its_form_wherever_it_begins():
    big = np.arange(64 * 8, dtype=np.float32).reshape(64, 8)

    def kernel(x):
        out = nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.ndarray((4, 4), dtype=nl.float32)
        for i in range(16):
            nisa.dma_copy(dst=t, src=x[i * 4 : i * 4 + 4, 2:6])
        nisa.dma_copy(dst=out, src=t)
        return out

    assert np.array_equal(nki.jit(kernel)(big), big[60:, 2:6])
