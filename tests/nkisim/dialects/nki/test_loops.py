"""Loops that unroll, loops that run on the device, and registers."""

from __future__ import annotations

import warnings

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, refused, tile, values

X = values(128, 16)
COUNT = np.array([[3]], np.int32)


@pytest.mark.parametrize("name", ["affine_range", "sequential_range", "static_range"])
def test_an_old_range_unrolls_with_a_deprecation_warning(name):
    def body(t):
        steps = []
        for i in getattr(nl, name)(1, 8, 3):
            kept = nl.full((128, 16), float(i), dtype=nl.float32)
            nisa.tensor_tensor(t, t, kept, nl.add)  # each iteration sees what the one before wrote
            steps.append(i)
        nisa.tensor_tensor(t, t, kept, nl.add)  # what a loop makes may be used after it
        assert steps == [1, 4, 7] and len(getattr(nl, name)(4)) == 4
        return t

    with pytest.warns(DeprecationWarning, match=f"nl.{name} is deprecated in NKI 0.6: use range"):
        np.testing.assert_allclose(on_tiles(body, X), X + 19, rtol=1e-6)


def test_a_counted_loop_runs_to_a_bound_in_a_register():
    @nki.jit
    def kernel(x, count):
        out = nl.ndarray((1, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, nl.zeros((1, 16), dtype=x.dtype))
        bound = nisa.register_alloc()
        nisa.register_load(bound, nl.load(count))
        held = tile((1, 1))

        def body(i):
            nisa.dma_copy(held, x.ap([[1, 1], [1, 1]], scalar_offset=i, indirect_dim=1))
            nisa.dma_copy(out.ap([[1, 1], [1, 1]], scalar_offset=i, indirect_dim=1), held)

        nl.fori_loop(0, bound, body)
        return out

    x = values(1, 16)
    np.testing.assert_array_equal(kernel(x, COUNT), np.where(np.arange(16) < 3, x, 0))


@pytest.mark.parametrize("start", [3, 0])
def test_a_while_loop_runs_while_its_register_is_not_zero(start):
    def body(t, count):
        total, one = nl.zeros((1, 1), dtype=nl.float32), nl.ones((1, 1), dtype=nl.int32)
        register = nisa.register_alloc()
        nisa.register_load(register, count)

        def step(r):
            nisa.tensor_tensor(total, total, t[0:1, 0:1], nl.add)
            nisa.tensor_tensor(count, count, one, nl.subtract)
            nisa.register_load(r, count)
            return r

        nl.while_loop(register, step)
        return total

    got = on_tiles(body, X, np.array([[start]], np.int32))
    np.testing.assert_allclose(got[0, 0], start * X[0, 0], rtol=1e-6)


def test_the_older_dynamic_loops_run_with_a_deprecation_warning():
    def body(t, count):
        register = nisa.register_alloc(0)
        nisa.register_load(register, count)
        total, one = nl.zeros((1, 2), dtype=nl.int32), nl.ones((1, 1), dtype=nl.int32)
        for i in nl.dynamic_range(register):
            assert isinstance(i, nisa.VirtualRegister)
            nisa.tensor_tensor(total[:, 0:1], total[:, 0:1], one, nl.add)
        while register:
            nisa.tensor_tensor(total[:, 1:2], total[:, 1:2], one, nl.add)
            nisa.tensor_tensor(count, count, one, nl.subtract)
            nisa.register_load(register, count)
        return total

    with pytest.warns(DeprecationWarning) as seen:
        np.testing.assert_array_equal(on_tiles(body, X, COUNT), [[3, 3]])
    assert {"nl.fori_loop", "nl.while_loop"} <= {str(w.message).rpartition("use ")[2] for w in seen}


def test_registers_hold_integers_of_32_bits():
    def body(t):
        a, b = nisa.register_alloc(2**31 + 5), nisa.register_alloc(t[0:1, 0:1])
        nisa.register_move(b, a)
        out = tile((1, 1), np.int32)
        nisa.register_store(out, b)
        return out

    assert on_tiles(body, np.array([[7, 8]], np.int32))[0, 0] == 5 - 2**31


def store(t, register):
    nisa.register_store(tile((1, 1), np.int32), register)


REFUSED = {
    "arithmetic": (lambda t: nisa.register_alloc(1) + 1, "register"),
    "a register as a size": (lambda t: tile((nisa.register_alloc(1), 4)), "argument"),
    "a register as an integer": (lambda t: range(nisa.register_alloc(1)), "register"),
    "a comparison": (lambda t: nisa.register_alloc(1) < 2, "register"),
    "a register without a value": (lambda t: store(t, nisa.register_alloc()), "uninitialized-read"),
    "a write to a loop's variable": (
        lambda t: nl.fori_loop(0, 2, lambda i: nisa.register_move(i, 5)),
        "register",
    ),
    "a body that returns": (lambda t: nl.fori_loop(0, 2, lambda i: i), "loop-result"),
    "a while body that returns nothing": (
        lambda t: nl.while_loop(nisa.register_alloc(1), lambda r: None),
        "loop-result",
    ),
    "a condition that is not a register": (lambda t: nl.while_loop(3, lambda r: r), "argument"),
    "counting down": (lambda t: nl.fori_loop(4, 0, lambda i: None, step=-1), "argument"),
    "a float bound": (lambda t: nl.fori_loop(0, 2.5, lambda i: None), "argument"),
    "a register in a range that unrolls": (
        lambda t: nl.affine_range(nisa.register_alloc(2)),
        "register",
    ),
    "two elements into a register": (
        lambda t: nisa.register_load(nisa.register_alloc(), t[0:1, 0:2]),
        "shape-mismatch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_use_of_registers_and_loops_is_refused(name):
    body, rule = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        refused(body, X, rule=rule)


def test_a_tile_of_a_loop_on_the_device_is_not_used_after_it():
    def body(t):
        made = []
        nl.fori_loop(0, 2, lambda i: made.append(nl.exp(t)) and None)
        return nl.exp(made[0])

    refused(body, X, rule="scope")


def test_a_loop_on_the_device_may_not_stand_where_the_order_is_kept():
    def body(t):
        with nl.no_reorder():
            for _ in range(2):
                nl.exp(t)
            nl.fori_loop(0, 2, lambda i: None)

    refused(body, X, rule="argument")

    def after(t):
        with nl.no_reorder():
            u = nl.exp(t)
        nl.fori_loop(0, 2, lambda i: None)
        return u

    on_tiles(after, X)


def test_a_run_records_what_the_loops_ran():
    with nkisim.record() as run:

        @nki.jit
        def kernel(x):
            t = nl.load(x)

            def body(i):
                nisa.activation(t, nl.tanh, t)

            nl.fori_loop(0, 3, body)
            nl.store(x, t)

        kernel(X.copy())
    assert run.count("activation") == 3 and run.hbm_bytes_written == X.nbytes
