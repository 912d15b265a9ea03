"""A kernel that never ends is refused once it has issued as many instructions as its run allows."""

from __future__ import annotations

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

X = np.ones((4, 4), np.float32)
FEW = nkisim.Config(most_instructions=50)


@old_nki.jit
def makes(x):
    t = old_nl.load(x)
    while True:
        t = old_nl.add(t, t)  # here


@old_nki.jit
def masks(x):
    t = old_nl.load(x)
    i_p, i_f = old_nl.mgrid[0:4, 0:4]
    while True:
        old_nisa.tensor_copy(t[i_p, i_f], mask=i_f < 2)  # here


@old_nki.jit
def asks_for_tiles(x):
    while True:
        old_nl.ndarray((4, 4), dtype=old_nl.float32)  # here


@nki.jit
def writes(x):
    t = nl.ndarray((4, 4), nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=t, src=x)
    while True:
        nisa.tensor_scalar(dst=t, data=t, op0=nl.multiply, operand0=1.0)  # here


@nki.jit
def ends(x):
    out = nl.ndarray((4, 4), nl.float32, buffer=nl.shared_hbm)
    t = nl.ndarray((4, 4), nl.float32, buffer=nl.sbuf)
    nisa.dma_copy(dst=t, src=x)
    nisa.dma_copy(dst=out, src=t)
    return out


ENDLESS = [makes, masks, asks_for_tiles, writes]


def refusal(work, values=True, config=FEW):
    with nkisim.record(config=config, values=values) as run, pytest.raises(nkisim.KernelError) as e:
        work()
    assert e.value.rule == "instruction-limit"
    return e.value, run


@pytest.mark.parametrize("kernel", ENDLESS, ids=lambda kernel: kernel.__name__)
@pytest.mark.parametrize("values", [True, False], ids=["values", "shapes"])
def test_a_loop_without_an_end_is_refused_at_its_line(kernel, values):
    error, _ = refusal(lambda: kernel(X), values)
    assert "50 instructions" in error.headline
    assert error.source.endswith("# here")


@pytest.mark.parametrize("kernel", ENDLESS, ids=lambda kernel: kernel.__name__)
def test_lowering_is_refused_too(kernel):
    refusal(lambda: nkisim.lower(kernel, X))


def test_just_as_many_instructions_as_the_limit_may_run():
    with nkisim.record(config=nkisim.Config(most_instructions=2)) as run:
        assert np.array_equal(ends(X), X)
    assert len(run) == 2
    _, run = refusal(lambda: ends(X), config=nkisim.Config(most_instructions=1))
    assert len(run) == 1


def test_the_kernels_of_one_run_share_its_limit():
    def again():
        x = X
        while True:
            x = ends(x)

    _, run = refusal(again)
    assert len(run) == 50
    assert np.array_equal(ends(X), X)  # another run has its own
    refusal(lambda: nkisim.lower(lambda x: [x := ends(x) for _ in range(26)][-1], X))


def test_the_limit_cannot_be_turned_into_a_warning():
    with pytest.raises(ValueError, match="cannot be a warning"):
        nkisim.Config(warn={"instruction-limit": True})
