"""Rules that warn and go on: the kernel's values are right all the same, and `Config(warn=...)`
makes errors of them."""

from __future__ import annotations

import warnings

import ml_dtypes
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import tile, values

X = values(32, 64)


def warned(rule, function, *arrays):
    """What `function` gives, once it is certain that it warned by `rule` and refuses where the rule
    is an error."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = function(*arrays)
    found = [
        w
        for w in seen
        if issubclass(w.category, nkisim.RuleWarning) and f"rule    {rule}: " in str(w.message)
    ]
    assert len(found) == 1, [str(w.message) for w in seen]
    with (
        pytest.raises(nkisim.KernelError) as caught,
        nkisim.record(config=nkisim.Config(warn={rule: False})),
    ):
        function(*arrays)
    assert caught.value.rule == rule and caught.value.remedy
    return result


def test_an_output_in_private_hbm_is_returned_with_a_warning():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.hbm)
        nisa.dma_copy(out, x)
        return out

    np.testing.assert_array_equal(warned("output-buffer", kernel, X), X)


def test_a_matmul_that_adds_to_what_a_copy_wrote_warns():
    @nki.jit
    def kernel(x):
        t = nl.load(x)
        psum = tile((64, 64), buffer=nl.psum)
        nisa.memset(psum, 1.0)
        nisa.nc_matmul(psum, t, t, accumulate=True)
        out = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, nl.copy(psum))
        return out

    np.testing.assert_allclose(
        warned("psum-accumulate", kernel, X), X.T @ X + 1, rtol=1e-4, atol=1e-4
    )


def test_keyword_arguments_of_older_versions_are_ignored_with_a_warning():
    with pytest.warns(nkisim.RuleWarning, match="mode=") as seen:
        nki.jit(lambda x: x, mode="trace")
    assert len(seen) == 1

    @nki.jit
    def kernel(x):
        t = nl.load(x)
        copied = tile(x.shape)
        nisa.tensor_copy(copied, t, dtype=nl.float32)
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, copied)
        return out

    np.testing.assert_array_equal(warned("keyword-argument", kernel, X), X)


@nki.jit
def quantized(x):
    t = tile(x.shape, x.dtype)
    nisa.dma_copy(t, x)
    data, scale = (
        tile((32, x.shape[1] // 4), nl.float8_e4m3fn_x4),
        tile((4, x.shape[1] // 4), np.uint8),
    )
    nisa.quantize_mx(data, t, scale)
    out = nl.ndarray(scale.shape, dtype=np.uint8, buffer=nl.shared_hbm)
    nisa.dma_copy(out, scale)
    return out


ONES = np.ones((32, 16), ml_dtypes.bfloat16)


def test_what_only_trn3_has_warns_where_no_target_is_set(monkeypatch):
    monkeypatch.delenv("NEURON_PLATFORM_TARGET_OVERRIDE", raising=False)
    assert (warned("target-default", quantized, ONES) == 127 - 7).all()


@pytest.mark.parametrize("way", ["record", "environment"])
def test_what_only_trn3_has_is_refused_where_trn2_was_asked_for(monkeypatch, way):
    if way == "environment":
        monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn2")
    with (
        pytest.raises(nkisim.KernelError) as caught,
        nkisim.record(target="trn2" if way == "record" else None),
    ):
        quantized(ONES)
    assert (
        caught.value.rule == "engine"
        and "NEURON_PLATFORM_TARGET_OVERRIDE=trn3" in caught.value.remedy
    )


def test_what_only_trn3_has_runs_in_silence_where_trn3_was_asked_for():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with nkisim.record(target="trn3"):
            quantized(ONES)
