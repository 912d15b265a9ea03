"""Two physical cores of a logical one: sendrecv, core_barrier, what is shared, and what goes
wrong."""

from __future__ import annotations

import threading

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import tile, values

X = values(256, 32)


@nki.jit
def swapped(x):
    """Each core loads a half, the cores exchange, each stores the other's half."""
    me = nl.program_id(0)
    assert nl.num_programs() == 2 and nl.program_ndim() == 1 and x.buffer == nl.shared_hbm
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    mine, theirs = tile((128, 32)), tile((128, 32))
    nisa.dma_copy(mine, x[me * 128 : (me + 1) * 128])
    nisa.sendrecv(src=mine, dst=theirs, send_to_rank=1 - me, recv_from_rank=1 - me, pipe_id=0)
    nisa.dma_copy(out[me * 128 : (me + 1) * 128], theirs)
    return out


def test_two_cores_exchange_tiles():
    expected = np.concatenate([X[128:], X[:128]])
    np.testing.assert_array_equal(swapped[2](X), expected)
    np.testing.assert_array_equal(nki.simulate(swapped[2])(X), expected)


def test_what_one_core_wrote_is_read_by_the_other_after_a_barrier():
    @nki.jit
    def kernel(x):
        me = nl.program_id()
        shared = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        mine = slice(me * 128, (me + 1) * 128)
        other = slice((1 - me) * 128, (2 - me) * 128)
        nl.store(shared[mine], nl.exp(nl.load(x[mine])))
        nisa.core_barrier(shared, (0, 1))
        nl.store(out[mine], nl.load(shared[other]))
        return out

    np.testing.assert_allclose(kernel[2](X), np.exp(np.concatenate([X[128:], X[:128]])), rtol=1e-6)


def test_both_runs_are_recorded_each_with_a_memory_of_its_own():
    with nkisim.record() as run:
        swapped[2](X)
    assert run.count("sendrecv") == 2 and run.count("dma_copy") == 4
    assert int(run.peak_bytes("sbuf")) == 2 * 128 * 32 * 4


def test_cores_on_which_nothing_is_written_twice_give_the_same_each_time():
    before = threading.active_count()
    first = swapped[2](X)
    for _ in range(3):
        np.testing.assert_array_equal(swapped[2](X), first)
    assert threading.active_count() <= before  # the threads of the cores have ended


def broken(kernel, rule, *arrays):
    with pytest.raises(nkisim.KernelError) as caught:
        kernel[2](*arrays)
    assert caught.value.rule == rule, str(caught.value)
    return caught.value


def test_a_core_that_waits_for_ever_is_told_where():
    @nki.jit
    def kernel(x):
        if nl.program_id() == 0:
            nisa.core_barrier(x, (0, 1))  # alone
        return x

    error = broken(kernel, "lnc", X)
    assert "core 0 waits in nisa.core_barrier for ever: the other has ended" in error.headline
    assert error.source.endswith("# alone")

    @nki.jit
    def crossed(x):
        mine, theirs = nl.load(x[0:128]), tile((128, 32))
        nisa.sendrecv(
            mine, theirs, 1 - nl.program_id(), 1 - nl.program_id(), pipe_id=nl.program_id()
        )
        return x

    assert "the other waits too: core 1 in nisa.sendrecv" in broken(crossed, "lnc", X).headline


def test_an_error_on_one_core_ends_both():
    @nki.jit
    def kernel(x):
        if nl.program_id() == 1:
            nl.store(x[0:128], nl.exp(tile((128, X.shape[1]))))
        nisa.core_barrier(x, (0, 1))
        return x

    broken(kernel, "uninitialized-read", X)

    @nki.jit
    def asserting(x):
        assert nl.program_id() == 1, "only on core 1"
        nisa.core_barrier(x, (0, 1))
        return x

    with pytest.raises(AssertionError, match="only on core 1"):
        asserting[2](X)


def test_exchanges_need_two_cores():
    @nki.jit
    def kernel(x):
        nisa.core_barrier(x, (0, 1))
        return x

    for launch in (kernel, kernel[1]):
        with pytest.raises(nkisim.KernelError, match="needs two physical cores"):
            launch(X)


@pytest.mark.parametrize("grid", [0, 3, (2, 2), "2"])
def test_another_number_of_cores_is_refused(grid):
    with pytest.raises(nkisim.KernelError) as caught:
        swapped[grid]
    assert caught.value.rule == "lnc"


def test_two_cores_need_trn2(monkeypatch):
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn1")
    broken(swapped, "lnc", X)


def test_tiles_that_do_not_fit_are_refused():
    @nki.jit
    def kernel(x):
        me = nl.program_id()
        mine = nl.load(x[0:128, 0 : 8 * (me + 1)])
        nisa.sendrecv(mine, tile(mine.shape), 1 - me, 1 - me, 0)
        return x

    broken(kernel, "shape-mismatch", X)

    @nki.jit
    def to_itself(x):
        mine = nl.load(x[0:128])
        nisa.sendrecv(mine, tile(mine.shape), nl.program_id(), nl.program_id(), 0)
        return x

    assert "exchanges with itself" in broken(to_itself, "lnc", X).headline


def test_memory_without_a_value_stays_without_one_on_the_other_core():
    @nki.jit
    def kernel(x, whole=False):
        me = nl.program_id()
        padded, got = tile((32, 32)), tile((32, 32))
        nisa.dma_copy(padded[0:8], x[me * 8 : me * 8 + 8])
        nisa.sendrecv(padded, got, 1 - me, 1 - me, 0)
        out = nl.ndarray((2, 8, 32), dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out[me], got[0:8])
        if whole:
            nl.store(out[me], got[8:16])
        return out

    np.testing.assert_array_equal(kernel[2](X), [X[8:16], X[0:8]])
    broken(nki.jit(lambda x: kernel.function(x, True)), "uninitialized-read", X)


def test_cores_that_make_different_shared_tensors_are_refused():
    @nki.jit
    def kernel(x):
        return nl.ndarray((8, 8 * (nl.program_id() + 1)), dtype=x.dtype, buffer=nl.shared_hbm)

    broken(kernel, "lnc", X)
