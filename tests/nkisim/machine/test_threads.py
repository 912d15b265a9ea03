"""Kernels in several threads, nested in one another's recordings, and in asynchronous tasks."""

import asyncio
import gc
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nkisim
from nkisim.rules import source

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl


@nki.jit
def twice(a):
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.multiply(nl.load(a), 2.0))
    return out


@pytest.fixture
def hurried():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def _recorded(i: int) -> tuple[bool, int]:
    a = np.full((128, 16 + i), i, np.float32)
    with nkisim.record() as run:
        right = bool((twice(a) == 2 * i).all())
    return right, len(run)


def _plain(i: int) -> tuple[bool, int]:
    a = np.full((128, 16 + i), i, np.float32)
    return bool((twice(a) == 2 * i).all()), 3


@pytest.mark.parametrize("call", [_recorded, _plain])
def test_kernels_in_four_threads_know_nothing_of_one_another(call, hurried):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(call, range(100)))
    assert results == [(True, 3)] * 100


@pytest.fixture
def collected():
    """The garbage collector runs all the time and calls back, where other threads take turns."""
    before = gc.get_threshold()

    def called_back(phase, info):
        sum(range(50))

    gc.callbacks.append(called_back)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(called_back)


def test_the_text_of_kernels_is_read_by_threads_that_take_turns(hurried, collected):
    texts = [
        f"def kernel(x):\n    y{i} = x + 1\n{'    y = x * 2 + 3' + chr(10)}" * 20 for i in range(64)
    ]
    with ThreadPoolExecutor(4) as pool:
        trees = list(pool.map(source.tree_of, texts))
    assert [len(tree.body) for tree in trees] == [20] * 64


def test_warnings_are_told_after_threads_have_read_texts(hurried, collected):
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: source._compiled(f"x = {i}\n" * 20, 0), range(64)))
    assert None not in found
    assert warnings.filters == before


def test_a_recording_holds_the_kernels_of_its_own_thread_only(hurried):
    stop = threading.Event()

    def noise():
        while not stop.is_set():
            twice(np.ones((128, 8), np.float32))

    other = threading.Thread(target=noise)
    other.start()
    try:
        for i in range(30):
            assert _recorded(i) == (True, 3)
    finally:
        stop.set()
        other.join()


def test_a_warning_that_one_thread_asked_for_is_an_error_in_another():
    # of a rule that may be a warning: the tile does not fit
    @nki.jit
    def too_large(a):
        out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
        tiles = [nl.load(a) for _ in range(4)]
        for t in tiles:
            nl.store(out, value=t)
        return out

    a = np.zeros((128, 16384), np.float32)
    lenient = nkisim.Config(warn={"sbuf-capacity": True})
    entered, leave = threading.Event(), threading.Event()

    def waits():
        with nkisim.record(config=lenient), pytest.warns(nkisim.RuleWarning):
            too_large(a)
            entered.set()
            leave.wait(20)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(waits)
        assert entered.wait(20)
        with pytest.raises(nkisim.KernelError, match="SBUF overflows"):
            too_large(a)
        leave.set()
        done.result()


def test_nested_recordings_in_asynchronous_tasks_stay_apart():
    async def one(i):
        with nkisim.record() as run:
            twice(np.ones((128, 8), np.float32))
            await asyncio.sleep(0)
            for _ in range(i):
                twice(np.ones((128, 8), np.float32))
            await asyncio.sleep(0)
        return len(run)

    async def all_of_them():
        return await asyncio.gather(*[one(i) for i in range(4)])

    assert asyncio.run(all_of_them()) == [3, 6, 9, 12]


def test_a_kernel_without_threads_for_its_two_cores_says_so(monkeypatch):
    nki2 = pytest.importorskip("nki")
    language = pytest.importorskip("nki.language")
    isa = pytest.importorskip("nki.isa")

    @nki2.jit
    def copy(a):
        out = language.ndarray(a.shape, dtype=a.dtype, buffer=language.shared_hbm)
        tile = language.ndarray(a.shape, dtype=a.dtype, buffer=language.sbuf)
        isa.dma_copy(dst=tile, src=a)
        isa.dma_copy(dst=out, src=tile)
        return out

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match=r"two cores needs a thread for each"):
        copy[2](np.ones((128, 8), np.float32))
