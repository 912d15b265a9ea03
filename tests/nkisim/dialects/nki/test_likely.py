"""What a refusal adds about the mistake behind it: operands that were swapped, a sum onto
nothing."""

from __future__ import annotations

import pickle
import warnings

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from nkisim import KernelError, RuleWarning

X = np.ones((128, 128), np.float32)


def refused(body):
    """The error of a kernel whose body gets x in SBUF and three fresh tiles: two in SBUF, one in
    PSUM. The tile that the body returns is stored."""

    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.shared_hbm)
        loaded = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=loaded, src=x)
        fresh = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.sbuf)
        psum = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.psum)
        stored = body(x, out, loaded, fresh, psum)
        if isinstance(stored, nl.NkiTensor):
            nisa.dma_copy(dst=out, src=stored)
        return out

    with pytest.raises(KernelError) as caught:
        kernel(X)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        lambda x, out, loaded, fresh, psum: nisa.tensor_copy(dst=loaded, src=fresh),
        lambda x, out, loaded, fresh, psum: nisa.dma_copy(dst=x, src=fresh),
        lambda x, out, loaded, fresh, psum: nisa.dma_copy(dst=loaded, src=out),
        lambda x, out, loaded, fresh, psum: nisa.tensor_reduce(
            dst=loaded, op=nl.add, data=fresh[:, 0:1], axis=1
        ),
    ],
    ids=["copy", "load", "store", "reduction"],
)
def test_a_destination_that_has_been_written_and_a_source_that_has_not_are_swapped(body):
    error = refused(body)
    assert error.likely == "swapped"
    assert "The destination comes first" in error.remedy and error.remedy in str(error)


def test_a_matmul_that_writes_to_sbuf_and_reads_psum_is_swapped():
    error = refused(
        lambda x, out, loaded, fresh, psum: nisa.nc_matmul(
            dst=loaded, stationary=psum, moving=loaded
        )
    )
    assert (error.rule, error.likely) == ("memory", "swapped")


def test_a_sum_onto_fresh_psum_is_told():
    error = refused(
        lambda x, out, loaded, fresh, psum: nisa.nc_matmul(
            dst=psum, stationary=loaded, moving=loaded, accumulate=True
        )
    )
    assert (error.rule, error.likely) == ("uninitialized-read", "accumulate")
    assert "leave accumulate out" in error.remedy


@pytest.mark.parametrize(
    "body",
    [
        lambda x, out, loaded, fresh, psum: (
            nisa.tensor_scalar(dst=fresh, data=fresh, op0=nl.add, operand0=1.0),
            fresh,
        )[1],
        lambda x, out, loaded, fresh, psum: (
            nisa.tensor_tensor(dst=loaded, data1=loaded, data2=fresh, op=nl.add),
            loaded,
        )[1],
        lambda x, out, loaded, fresh, psum: (
            nisa.nc_transpose(dst=psum, data=fresh),
            nl.copy(psum),
        )[1],
    ],
    ids=["in place", "added to", "fresh destination"],
)
def test_a_read_of_a_fresh_tile_is_not_called_swapped(body):
    error = refused(body)
    assert (error.rule, error.likely) == ("uninitialized-read", None)


def test_the_likely_mistake_survives_pickling():
    error = refused(lambda x, out, loaded, fresh, psum: nisa.tensor_copy(dst=loaded, src=fresh))
    again = pickle.loads(pickle.dumps(error))
    assert (again.likely, str(again)) == (error.likely, str(error))


def test_a_warning_holds_the_error_that_it_would_have_been():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 128), dtype=nl.float32, buffer=nl.private_hbm)
        nisa.dma_copy(dst=out, src=x)
        return out

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kernel(X)
    (warning,) = [w.message for w in caught if isinstance(w.message, RuleWarning)]
    assert warning.error.rule == "output-buffer" and str(warning) == str(warning.error)
