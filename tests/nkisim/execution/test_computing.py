"""What instructions compute is put off until somebody looks: nobody can tell by the results."""

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

X = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)


def test_a_tile_that_is_looked_at_inside_the_kernel_holds_its_values():
    seen = []

    @old_nki.jit
    def kernel(x):
        out = old_nl.ndarray((128, 128), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        t = old_nl.load(x)
        doubled = old_nisa.tensor_scalar(t, op0=old_nl.multiply, operand0=2.0)
        part = doubled[0:4, 0:4]
        seen.append(part.array.copy())
        doubled[0:2, :] = old_nisa.tensor_scalar(t[0:2, :], op0=old_nl.multiply, operand0=3.0)
        seen.append(part.array.copy())
        old_nl.store(out, value=doubled)
        return out

    kernel(X)
    assert np.array_equal(seen[0], X[:4, :4] * 2)
    assert np.array_equal(seen[1], X[:4, :4] * np.float32([[3], [3], [2], [2]]))


def test_a_kernel_that_is_refused_leaves_the_histories_up_to_there():
    @old_nki.jit
    def kernel(x):
        t = old_nl.ndarray((128, 128), dtype=old_nl.float32, name="t")
        t[...] = old_nl.load(x)
        t[...] = old_nisa.tensor_scalar(t, op0=old_nl.add, operand0=1.0)
        old_nl.store(x, value=t)

    with nkisim.record() as run, pytest.raises(nkisim.KernelError):
        kernel(X)
    first, second = run.history("t")
    assert np.array_equal(first, X)
    assert np.array_equal(second, X + np.float32(1))


def test_a_kernel_that_raises_leaves_inputs_as_its_instructions_left_them():
    @nki.jit
    def kernel(x):
        t = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=t, src=x)
        nisa.tensor_scalar(dst=t, data=t, op0=nl.add, operand0=1.0)
        nisa.dma_copy(dst=x, src=t)
        assert x.shape == (1, 1), "stops here"

    given = X.copy()
    with pytest.raises(AssertionError, match="stops here"):
        kernel(given)
    assert np.array_equal(given, X + np.float32(1))


def test_a_copy_and_the_tile_that_it_was_made_of_are_two():
    @old_nki.jit
    def kernel(x):
        out = old_nl.ndarray((128, 128), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        a = old_nl.load(x)
        b = old_nisa.tensor_copy(a)
        a[...] = old_nisa.tensor_scalar(a, op0=old_nl.multiply, operand0=0.0)
        old_nl.store(out, value=old_nisa.tensor_tensor(a, b, op=old_nl.add))
        return out

    assert np.array_equal(kernel(X), X * np.float32(0) + X)


def test_a_view_that_is_taken_before_its_tile_is_computed_sees_what_is_written_later():
    @old_nki.jit
    def kernel(x):
        out = old_nl.ndarray((128, 64), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        t = old_nisa.tensor_scalar(old_nl.load(x), op0=old_nl.add, operand0=1.0)
        left = t[:, 0:64]
        t[...] = old_nisa.tensor_scalar(t, op0=old_nl.multiply, operand0=2.0)
        old_nl.store(out, value=left)
        return out

    assert np.array_equal(kernel(X), ((X + np.float32(1)) * np.float32(2))[:, :64])


def test_a_tile_that_is_written_in_part_keeps_what_was_there():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=t, src=x)
        nisa.memset(dst=t[:, 0:32], value=7.0)
        nisa.dma_copy(dst=out, src=t)
        return out

    wanted = X.copy()
    wanted[:, :32] = 7
    assert np.array_equal(kernel(X), wanted)


def test_the_history_of_a_tile_written_in_part_shows_zeros_where_nothing_was_written():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf, name="t")
        nisa.dma_copy(dst=t[:, 64:128], src=x[:, 64:128])
        nisa.dma_copy(dst=out, src=t[:, 64:128])
        return out

    with nkisim.record() as run:
        kernel(X)
    (write,) = run.history("t")
    assert (write[:, :64] == 0).all()
    assert np.array_equal(write[:, 64:], X[:, 64:])


def test_a_result_that_is_rounded_on_its_way_into_a_wider_tile_is_rounded_once_there():
    @old_nki.jit
    def kernel(x):
        out = old_nl.ndarray((128, 128), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        t = old_nl.ndarray((128, 128), dtype=old_nl.float32)
        t[...] = old_nisa.tensor_scalar(
            old_nl.load(x), op0=old_nl.multiply, operand0=3.0, dtype=old_nl.bfloat16
        )
        old_nl.store(out, value=t)
        return out

    rounded = (X * np.float32(3)).astype(old_nl.bfloat16).astype(np.float32)
    assert np.array_equal(kernel(X), rounded)


def test_a_sum_of_products_adds_each_of_them_in_float32():
    @old_nki.jit
    def kernel(x):
        out = old_nl.ndarray((128, 128), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        t = old_nl.load(x)
        total = old_nl.zeros((128, 128), dtype=old_nl.float32, buffer=old_nl.psum)
        for _ in old_nl.affine_range(3):
            total += old_nisa.nc_matmul(t, t)
        old_nl.store(out, value=old_nisa.tensor_copy(total))
        return out

    product = X.T.dot(X)
    assert np.array_equal(kernel(X), product + product + product)


def test_more_work_than_is_put_off_at_a_time_gives_what_it_gives_one_by_one():
    @old_nki.jit
    def kernel(x):
        out = old_nl.ndarray((128, 128), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        t = old_nl.load(x)
        for _ in old_nl.sequential_range(1000):
            t[...] = old_nisa.tensor_scalar(t, op0=old_nl.add, operand0=1.0)
        old_nl.store(out, value=t)
        return out

    wanted = X.copy()
    for _ in range(1000):
        wanted += np.float32(1)
    assert np.array_equal(kernel(X), wanted)


@pytest.mark.parametrize("number", [2, True, np.float32(2)])
def test_an_operand_that_equals_one_seen_before_keeps_its_own_type(number):
    @old_nki.jit
    def kernel(x):
        out = old_nl.ndarray((128, 128), dtype=old_nl.int32, buffer=old_nl.shared_hbm)
        t = old_nl.load(x)
        old_nisa.tensor_scalar(t, op0=old_nl.multiply, operand0=float(number))
        old_nl.store(out, value=old_nisa.tensor_scalar(t, op0=old_nl.multiply, operand0=number))
        return out

    values = np.arange(128 * 128, dtype=np.int32).reshape(128, 128)
    assert np.array_equal(kernel(values), values * int(number))


@pytest.mark.parametrize("axis", [1.0, True])
def test_a_reduction_by_an_axis_that_equals_one_seen_before_is_refused(axis):
    @old_nki.jit
    def older(x):
        t = old_nl.load(x)
        old_nisa.tensor_reduce(old_nl.add, t, axis=1)
        old_nisa.tensor_reduce(old_nl.add, t, axis=axis)

    @nki.jit
    def newer(x):
        t = nl.load(x)
        row = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_reduce(dst=row, op=nl.add, data=t, axis=1)
        nisa.tensor_reduce(dst=row, op=nl.add, data=t, axis=axis)

    for kernel in (older, newer):
        with pytest.raises(nkisim.KernelError) as error:
            kernel(X)
        assert error.value.rule == "argument"


def test_a_call_that_was_right_before_is_refused_where_its_operand_is_unwritten():
    @nki.jit
    def kernel(x):
        t = nl.load(x)
        a = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=a, data1=t, data2=t, op=nl.add)
        b = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf)
        nisa.tensor_tensor(dst=t, data1=b, data2=a, op=nl.add)
        out = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(dst=out, src=t)
        return out

    with pytest.raises(nkisim.KernelError) as error:
        kernel(X)
    assert error.value.rule == "uninitialized-read"


def test_a_gather_beyond_its_tile_is_refused_at_its_own_line():
    @old_nki.jit
    def kernel(x, places):
        t, where = old_nl.load(x), old_nl.load(places)
        picked = old_nl.gather_flattened(t, where)
        doubled = old_nisa.tensor_tensor(picked, picked, op=old_nl.add)
        out = old_nl.ndarray((128, 4), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        old_nl.store(out, value=doubled)
        return out

    with pytest.raises(nkisim.KernelError) as error:
        kernel(X, np.full((128, 4), 128, np.uint32))
    assert "gather_flattened" in error.value.source
