"""What published kernels write that the release notes no longer have: it is taken, with a warning
where the notes forbid it."""

from __future__ import annotations

from dataclasses import dataclass

import neuronxcc.nki as nki01
import neuronxcc.nki.language as nl01
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import refused, tile, values

X = values(128, 16)


def copying(how):
    """A kernel that copies x by `how(dst, src)` into SBUF and stores it."""

    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
        how(t, x)
        nisa.dma_copy(dst=out, src=t)
        return out

    return kernel


@pytest.mark.parametrize(
    ("number", "name"), [(0, "unknown"), (1, "swdge"), (2, "hwdge"), (3, "none")]
)
def test_the_raw_number_of_an_option_is_taken_as_its_member(number, name):
    kernel = copying(lambda t, x: nisa.dma_copy(dst=t, src=x, dge_mode=number))
    with pytest.warns(nkisim.RuleWarning, match="enum-constant") as seen:
        np.testing.assert_array_equal(kernel(X), X)
    assert seen[0].message.error.remedy == f"Write nisa.dge_mode.{name}."
    with (
        nkisim.record(config=nkisim.Config(warn={"enum-constant": False})),
        pytest.raises(nkisim.KernelError, match="enum-constant"),
    ):
        kernel(X)


@pytest.mark.parametrize("wrong", [4, True, 3.0, "hardware"])
def test_what_is_the_number_of_no_member_is_refused(wrong):
    refused(lambda t: nisa.dma_copy(dst=tile(t.shape), src=t, dge_mode=wrong), X, rule="argument")


def test_the_mark_of_the_partition_axis_is_its_number():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((nl.par_dim(128), 16), dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=t, src=x)
        nisa.dma_copy(dst=out, src=t)
        return out

    with pytest.warns(nkisim.RuleWarning, match="axis 0 is the partition axis"):
        np.testing.assert_array_equal(kernel(X), X)


def test_an_assignment_to_a_tensor_in_hbm_is_a_store():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        out[:, 0:8] = nl.add(t[:, 0:8], 1.0)
        out[:, 8:16] = 2.0
        return out

    with nkisim.record() as run:
        got = kernel(X)
    np.testing.assert_array_equal(got[:, :8], X[:, :8] + 1)
    assert (got[:, 8:] == 2).all()
    assert run.hbm_bytes_written == X.nbytes


@dataclass
class Sizes(nl.NKIObject):
    rows: int
    columns: int = 16
    unused: int


class Bare(nl.NKIObject):
    rows: int
    unused: object


def test_a_field_that_is_left_out_is_none_with_a_dataclass_and_without():
    assert (Sizes(128).columns, Sizes(rows=128).unused) == (16, None)
    assert Sizes(1, 2, 3).unused == 3 and Sizes(1) == Sizes(1)
    assert Bare(128).unused is None and Bare(1, unused=2).unused == 2
    with pytest.raises(TypeError):
        Sizes(1, 2, 3, 4)


@pytest.mark.parametrize("cores", [0, (0,), [0]])
def test_a_barrier_of_one_core_waits_for_nobody(cores):
    kernel = copying(lambda t, x: (nisa.core_barrier(x, cores), nisa.dma_copy(dst=t, src=x)))
    np.testing.assert_array_equal(kernel(X), X)


def test_options_may_be_given_to_a_kernel_that_is_one_already():
    inner = copying(lambda t, x: nisa.dma_copy(dst=t, src=x))
    outer = nki.jit(inner[1], debug=True)
    assert outer.grid == (1,) and outer.options == {"debug": True}
    assert nki.jit(outer, more=1).options == {"debug": True, "more": 1}
    np.testing.assert_array_equal(outer(X), X)


def test_in_the_older_dialect_the_later_word_on_returning_holds():
    def body(x, out):
        nl01.store(out, nl01.load(x))

    plain = nki01.jit(body)
    in_place = nki01.jit(plain, kernel_return=False)
    assert plain.kernel_return and not in_place.kernel_return
    assert not nki01.jit(in_place).kernel_return
    out = np.zeros_like(X)
    in_place(X, out)
    np.testing.assert_array_equal(out, X)
