"""Two cores that touch the same elements in HBM: in an order that a barrier gives, or not at
all."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.execution.races import Races

from .kernels import values

X = values(128, 64)


def shared(shape=(128, 64)):
    return nl.ndarray(shape, dtype=nl.float32, buffer=nl.shared_hbm)


@nki.jit
def exchanged(x, barrier):
    """Each core writes half of a tensor, then reads the other's half."""
    middle = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
    out = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
    me = nl.program_id(0)
    mine, other = nl.ds(64 * me, 64), nl.ds(64 * (1 - me), 64)
    t = nl.load(x[mine])
    nisa.dma_copy(dst=middle[mine], src=t)
    if barrier:
        nisa.core_barrier(middle, (0, 1))
    nisa.dma_copy(dst=out[other], src=middle[other])
    return out


def race(kernel, *arrays):
    with pytest.raises(nkisim.KernelError) as caught:
        kernel[2](*arrays)
    assert caught.value.rule == "core-race", str(caught.value)
    return caught.value


def test_what_the_other_core_wrote_may_be_read_behind_a_barrier():
    np.testing.assert_array_equal(exchanged[2](X, True), X)


def test_without_a_barrier_it_is_a_race_and_both_lines_are_named():
    error = race(exchanged, X, False)
    assert "nisa.dma_copy(dst=out[other], src=middle[other])" in error.source
    assert "nisa.dma_copy(dst=middle[mine], src=t)" in error.got and "core 0" in error.got
    assert error.tensor == "middle" and "core_barrier" in error.remedy


def test_two_cores_that_both_store_the_same_are_told_that_one_is_enough():
    @nki.jit
    def kernel(x):
        out = shared()
        nisa.dma_copy(dst=out, src=nl.load(x))
        return out

    with pytest.warns(nkisim.RuleWarning, match="replicated-write"):
        np.testing.assert_array_equal(kernel[2](X), X)
    np.testing.assert_array_equal(kernel[1](X), X)


def test_two_cores_may_not_write_the_same_elements_where_the_values_differ():
    @nki.jit
    def kernel(x):
        out = shared()
        nisa.dma_copy(dst=out, src=nl.add(nl.load(x), float(nl.program_id(0))))
        return out

    assert "core 1 writes" in race(kernel, X).headline


@pytest.mark.parametrize(("shift", "fine"), [(0, True), (1, False)])
def test_rows_next_to_each_other_are_apart_and_one_row_in_common_is_not(shift, fine):
    @nki.jit
    def kernel(x):
        out = shared()
        me = nl.program_id(0)
        start = 64 * me - shift * me
        nisa.dma_copy(dst=out[start : start + 64], src=nl.load(x[start : start + 64]))
        if me == 1 and shift:
            nisa.dma_copy(dst=out[127:128], src=nl.load(x[127:128]))
        return out

    if fine:
        np.testing.assert_array_equal(kernel[2](X), X)
    else:
        race(kernel, X)


def test_every_other_column_is_apart():
    @nki.jit
    def kernel(x):
        out = shared()
        me = nl.program_id(0)
        nisa.dma_copy(dst=out[:, me:64:2], src=nl.load(x[:, me:64:2]))
        return out

    np.testing.assert_array_equal(kernel[2](X), X)


def test_a_write_over_what_the_other_core_read_before_is_a_race_too():
    @nki.jit
    def kernel(x, barrier):
        out = shared((256, 64))
        me = nl.program_id(0)
        t = nl.load(x)
        nisa.dma_copy(dst=out[nl.ds(128 * me, 128)], src=t)
        if barrier:
            nisa.core_barrier(x, (0, 1))
        if me == 1:
            nisa.dma_copy(dst=x, src=nl.add(t, 1.0))
        return out

    error = race(kernel, X.copy(), False)
    assert "reads the same elements" in error.headline
    kernel[2](X.copy(), True)


def test_inputs_that_both_read_are_no_matter():
    @nki.jit
    def kernel(x):
        out = shared((256, 64))
        nisa.dma_copy(dst=out[nl.ds(128 * nl.program_id(0), 128)], src=nl.load(x))
        return out

    np.testing.assert_array_equal(kernel[2](X), np.concatenate([X, X]))


def test_private_tensors_are_each_cores_own():
    @nki.jit
    def kernel(x):
        out = shared((256, 64))
        mine = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.private_hbm)
        nisa.dma_copy(dst=mine, src=x)
        nisa.dma_copy(dst=out[nl.ds(128 * nl.program_id(0), 128)], src=mine)
        return out

    kernel[2](X)


def test_one_barrier_orders_what_is_before_and_not_what_is_behind_it():
    @nki.jit
    def kernel(x):
        out = shared()
        t = nl.load(x)
        if nl.program_id(0) == 0:
            nisa.dma_copy(dst=out, src=t)
        nisa.core_barrier(out, (0, 1))
        if nl.program_id(0) == 1:
            nisa.dma_copy(dst=out, src=t)
        nisa.core_barrier(out, (0, 1))
        last = nl.add(t[0:1], float(nl.program_id(0)))
        nisa.dma_copy(dst=out[0:1], src=last)
        return out

    race(kernel, X)


def test_cores_that_exchange_tiles_have_met():
    @nki.jit
    def kernel(x):
        out = shared()
        me = nl.program_id(0)
        t = nl.load(x)
        if me == 0:
            nisa.dma_copy(dst=out, src=t)
        got = nl.ndarray((128, 64), nl.float32)
        nisa.sendrecv(src=t, dst=got, send_to_rank=1 - me, recv_from_rank=1 - me, pipe_id=0)
        if me == 1:
            nisa.dma_copy(dst=out, src=got)
        return out

    np.testing.assert_array_equal(kernel[2](X), X)


def test_two_cores_that_both_read_what_nobody_writes_do_not_wait_for_ever():
    @nki.jit
    def kernel(x):
        middle = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        out = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        rows = nl.ds(64 * nl.program_id(0), 64)
        nisa.dma_copy(dst=out[rows], src=middle[rows])
        return out

    with pytest.raises(nkisim.KernelError) as caught:
        kernel[2](X)
    assert caught.value.rule == "uninitialized-read" and caught.value.tensor == "middle"


def test_the_rule_can_be_a_warning():
    config = nkisim.Config(warn={"core-race": True})
    with nkisim.record(config=config), pytest.warns(nkisim.RuleWarning, match="core-race"):
        np.testing.assert_array_equal(exchanged[2](X, False)[64:], X[64:])


def test_a_clock_knows_what_happened_before_a_meeting_only():
    races = Races()
    assert races.now == 0 and races.known == [0, 0]
    races.meet(0, 3)
    races.meet(0, 2)
    assert races.known == [3, 0]


def halves_added(x, spoil, readback=False):
    """Each core sends its half of the rows to the other, adds both, and stores the whole sum."""
    me = nl.program_id(0)
    out, again = shared((64, 64)), shared((64, 64))
    t = nl.load(x[nl.ds(64 * me, 64)])
    total = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.sbuf)
    nisa.sendrecv(src=t, dst=total, send_to_rank=1 - me, recv_from_rank=1 - me, pipe_id=0)
    nisa.tensor_tensor(dst=total, data1=total, data2=t, op=nl.add)
    nisa.tensor_scalar(dst=total, data=total, op0=nl.add, operand0=float(spoil * me))
    nisa.dma_copy(dst=out, src=total)
    if not readback:
        return out
    half = nl.ds(32 * me, 32)
    nisa.dma_copy(dst=again[half], src=nl.load(out)[half])
    return again


@pytest.mark.parametrize("readback", [False, True])
def test_cores_that_exchanged_tiles_may_both_store_the_same_result_with_a_warning(readback):
    with pytest.warns(nkisim.RuleWarning, match="replicated-write"):
        got = nki.jit(halves_added)[2](X, 0, readback)
    np.testing.assert_array_equal(got, X[:64] + X[64:])


def test_cores_that_exchanged_tiles_and_store_different_results_race():
    error = race(nki.jit(halves_added), X, 1)
    assert "core 0 writes" in error.headline and "core 1 writes" in error.headline
