"""What the compiler does for kernels that the documents would refuse: it is done here too, recorded
as the compiler's, counted, timed and told; whoever wants to be refused is."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim

from ..helpers import on_tiles, refused_on_tiles, values

X = values((128, 64))


def copies(run):
    """The copies that the compiler inserted."""
    return [i for i in run.instructions if i.op == "tensor_copy" and i.attrs.get("by_compiler")]


def told(body, *arrays, rule):
    """The result of `body`, which must be warned about by `rule` once, and the warning."""
    with pytest.warns(nkisim.RuleWarning) as seen:
        result = on_tiles(body, *arrays)
    (error,) = [w.message.error for w in seen]
    assert error.rule == rule and error.remedy
    with nkisim.record(config=nkisim.Config(warn={rule: False})):
        pass
    return result, error


def insisted(body, *arrays, rule):
    """`body` is refused by `rule` where the configuration insists on it."""

    @nki.jit
    def kernel(*inputs):
        body(*[nl.load(x) for x in inputs])

    with (
        nkisim.record(config=nkisim.Config(warn={rule: False})),
        pytest.raises(nkisim.KernelError) as caught,
    ):
        kernel(*arrays)
    assert caught.value.rule == rule


@pytest.mark.parametrize("position", ["stationary", "moving"])
def test_a_matmul_operand_in_psum_is_copied_to_sbuf_and_the_copy_is_counted(position):
    def body(t):
        turned = nisa.nc_transpose(t)
        held = nisa.tensor_copy(turned)
        operands = {"stationary": held, "moving": held} | {position: turned}
        return nl.copy(nisa.nc_matmul(**operands))

    result, error = told(body, X, rule="inserted-copy")
    np.testing.assert_allclose(result.values, X @ X.T, rtol=1e-4, atol=1e-4)
    (copy,) = copies(result.run)
    assert copy.engine == "vector" and copy.srcs[0].space == "psum"
    assert error.tensor == "turned" and "nisa.tensor_copy" in error.remedy
    insisted(body, X, rule="inserted-copy")


def test_an_operand_in_sbuf_is_not_copied():
    def body(t):
        turned = nl.copy(nisa.nc_transpose(t))
        return nl.copy(nisa.nc_matmul(turned, turned))

    assert copies(on_tiles(body, X).run) == []


def test_the_inserted_copy_takes_its_time():
    def with_copy(own):
        def body(t):
            turned = nisa.nc_transpose(t)
            return nl.copy(nisa.nc_matmul(nisa.tensor_copy(turned) if own else turned, t[0:64]))

        return body

    x = values((64, 64))
    mine = on_tiles(with_copy(True), x).run
    with pytest.warns(nkisim.RuleWarning):
        compilers = on_tiles(with_copy(False), x).run
    assert mine.timeline().latency_us == compilers.timeline().latency_us
    assert len(mine.instructions) == len(compilers.instructions)


def test_a_transpose_and_a_selection_from_psum_are_given_a_copy():
    def turned_twice(t):
        return nl.copy(nisa.nc_transpose(nisa.nc_transpose(t), engine=nisa.tensor_engine))

    result, _ = told(turned_twice, X, rule="inserted-copy")
    np.testing.assert_array_equal(result.values, X)

    def selected(t):
        i_p, i_f = nl.arange(64)[:, None], nl.arange(128)[None, :]
        return nisa.affine_select(i_p < i_f, nisa.nc_transpose(t), 0.0)

    result, _ = told(selected, X, rule="inserted-copy")
    np.testing.assert_array_equal(result.values, np.triu(X.T, 1))


@pytest.mark.parametrize("column_first", [False, True])
def test_a_column_is_repeated_along_a_tile_without_an_instruction_more(column_first):
    def body(t):
        column = t[:, 3:4]
        pair = (column, t) if column_first else (t, column)
        return nisa.tensor_tensor(*pair, op=nl.subtract)

    result, _ = told(body, X, rule="rearranged-access")
    expected = (X[:, 3:4] - X) if column_first else (X - X[:, 3:4])
    np.testing.assert_array_equal(result.values, expected)
    assert [i.op for i in result.run.instructions] == ["dma_copy", "tensor_tensor", "dma_copy"]
    insisted(body, X, rule="rearranged-access")


def test_an_axis_of_one_is_repeated_between_others():
    def body(t):
        t = t.reshape((128, 4, 16))
        return nisa.tensor_tensor(t, t[:, :, 0:1], op=nl.add).reshape((128, 64))

    result, _ = told(body, X, rule="rearranged-access")
    x = X.reshape(128, 4, 16)
    np.testing.assert_array_equal(result.values, (x + x[:, :, :1]).reshape(128, 64))


def test_tiles_that_do_not_fit_are_refused_still():
    def half(t):
        return nisa.tensor_tensor(t, t[:, 0:32], op=nl.add)

    def fewer_rows(t):
        return nisa.tensor_tensor(t, t[0:64, 0:1], op=nl.add)

    refused_on_tiles(half, X, rule="shape-mismatch")
    refused_on_tiles(fewer_rows, X, rule="partition-mismatch")


@pytest.mark.parametrize("reverse", [False, True])
def test_tensor_scalar_of_two_tiles_is_a_tensor_tensor(reverse):
    def one(t):
        return nisa.tensor_scalar(t, nl.subtract, nl.exp(t), reverse0=reverse)

    result, _ = told(one, X, rule="rearranged-access")
    sign = -1 if reverse else 1
    np.testing.assert_allclose(result.values, sign * (X - np.exp(X)), rtol=1e-5, atol=1e-5)
    assert "tensor_tensor" in [i.op for i in result.run.instructions]


def test_tensor_scalar_of_two_tiles_and_a_number_is_two_instructions():
    def body(t):
        return nisa.tensor_scalar(t, nl.add, t, op1=nl.multiply, operand1=3.0)

    result, _ = told(body, X, rule="rearranged-access")
    np.testing.assert_allclose(result.values, 6 * X, rtol=1e-6)
    assert [i.op for i in result.run.instructions][1:3] == ["tensor_tensor", "tensor_scalar"]


@pytest.mark.parametrize("axis", [(1, 3), 2, (1,), (1, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes_that_are_not_the_last_are_reduced_in_one_instruction(axis, keepdims):
    x = values((128, 2, 4, 8))

    def body(t):
        total = nisa.tensor_reduce(nl.add, t, axis=axis, keepdims=keepdims)
        return total.reshape((128, total.size // 128))

    result, _ = told(body, x, rule="rearranged-access")
    expected = x.sum(axis=axis).reshape(128, -1)
    np.testing.assert_allclose(result.values, expected, rtol=1e-4, atol=1e-5)
    assert [i.op for i in result.run.instructions] == ["dma_copy", "tensor_reduce", "dma_copy"]


def test_last_axes_are_reduced_without_a_word(recwarn):
    x = values((128, 2, 4, 8))
    on_tiles(lambda t: nisa.tensor_reduce(nl.add, t, axis=(2, 3)), x)
    assert not [w for w in recwarn if issubclass(w.category, nkisim.RuleWarning)]
