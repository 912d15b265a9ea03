"""Rules that are turned into warnings: the kernel goes on, and computes what it says."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.rules import RULES

from ..helpers import values

X = values((128, 32))


def lowered(rule, body, *arrays):
    """What a kernel computes whose `body` breaks `rule`, which is only warned about."""

    @nki.jit
    def kernel(*inputs):
        result = body(*inputs)
        out = nl.ndarray(result.shape, dtype=result.dtype, buffer=nl.shared_hbm)
        nl.store(out, result)
        return out

    with (
        nkisim.record(config=nkisim.Config(warn={rule: True})),
        pytest.warns(nkisim.RuleWarning, match=rule),
    ):
        return kernel(*arrays)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((slice(None), slice(-4, None)), X[:, -4:]),
        ((slice(None), slice(4, -4)), X[:, 4:-4]),
        ((slice(None), -1), X[:, -1:]),
    ],
)
def test_a_negative_index_counts_from_the_end(key, expected):
    got = lowered("negative-index", lambda x: nl.copy(nl.load(x)[key]), X)
    np.testing.assert_array_equal(got, expected)


def test_a_tensor_in_hbm_is_created_with_its_value():
    def body(x):
        ones = nl.full((128, 32), 2.0, dtype=nl.float32, buffer=nl.hbm)
        return nl.add(nl.load(x), nl.load(ones))

    np.testing.assert_array_equal(lowered("hbm-init", body, X), X + 2)


def test_an_engine_that_cannot_runs_it_all_the_same():
    def body(x):
        t = nl.load(x)
        return nisa.tensor_tensor(t, t, op=nl.maximum, engine=nisa.gpsimd_engine)

    np.testing.assert_array_equal(lowered("engine", body, X), X)


def test_a_matmul_writes_where_it_is_told():
    def body(x):
        t = nl.load(x)
        dst = nl.ndarray((32, 32), dtype=nl.float32)
        nisa.nc_matmul(dst=dst, stationary=t, moving=t)
        return dst

    np.testing.assert_allclose(
        lowered("matmul-destination", body, X), X.T @ X, rtol=1e-4, atol=1e-4
    )


def test_a_transpose_larger_than_vector_engine_takes_is_computed():
    def body(x):
        return nisa.nc_transpose(nl.load(x[0:64]), engine=nisa.vector_engine)

    np.testing.assert_array_equal(lowered("dimension-limit", body, X), X[:64].T)


def test_what_cannot_go_on_without_its_rule_is_refused_by_it_and_not_by_python():
    def body(x):
        t = nl.load(x)
        return nisa.activation(nl.exp, t, bias=nl.zeros((128, 1), dtype=nl.int8))

    lowered("dtype", body, X)
    with pytest.raises(nkisim.KernelError) as caught:
        lowered("dtype", lambda x: nisa.tensor_scalar(nl.load(x), nl.bitwise_and, 1), X)
    assert caught.value.rule == "dtype"


def test_every_rule_but_arithmetic_may_be_a_warning():
    for name, rule in RULES.items():
        assert rule.behind in ("arithmetic", "hardware", "compiler", "custom")
        if rule.warnable:
            nkisim.Config(warn={name: True})
        else:
            assert rule.behind == "arithmetic"
            with pytest.raises(ValueError, match="cannot be a warning"):
                nkisim.Config(warn={name: True})
    assert sum(rule.warnable for rule in RULES.values()) > 50


def test_a_rule_that_published_kernels_contradict_says_which():
    assert "flash_attn_bwd" in RULES["inserted-copy"].against
    assert RULES["shape-mismatch"].against == ""
