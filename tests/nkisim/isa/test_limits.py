"""What the reference says that an instruction does not take: just inside passes, just outside is
refused."""

from __future__ import annotations

import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from ..helpers import assert_same_bits, on_tiles, refused_on_tiles, values

INTS = values((16, 8), np.int32, low=-100, high=100)
X = values((16, 8))


@pytest.mark.parametrize(
    "body",
    [
        lambda t: nisa.tensor_tensor(t, t, op=np.bitwise_and, dtype=nl.float32),
        lambda t: nisa.tensor_scalar(t, np.bitwise_or, 3, dtype=nl.bfloat16),
        lambda t: nisa.tensor_reduce(np.bitwise_xor, t, axis=1, dtype=nl.float32),
        lambda t: nisa.tensor_partition_reduce(np.bitwise_or, t, dtype=nl.float32),
        lambda t: nl.invert(t, dtype=nl.float32),
    ],
)
def test_the_result_of_a_bitwise_operator_is_an_integer(body):
    error = refused_on_tiles(body, INTS, rule="dtype")
    assert "bitwise" in error.headline and "tensor_copy" in error.remedy


def test_a_bitwise_reduction_over_partitions_takes_integers():
    refused_on_tiles(lambda t: nisa.tensor_partition_reduce(np.bitwise_and, t), X, rule="dtype")


@pytest.mark.parametrize(
    ("first", "second"),
    [(np.bitwise_and, np.bitwise_or), (np.bitwise_and, np.add), (np.add, np.bitwise_or)],
)
def test_scalar_tensor_tensor_takes_arithmetic_operators_only(first, second):
    refused_on_tiles(
        lambda t: nisa.scalar_tensor_tensor(data=t, op0=first, operand0=3, op1=second, operand1=t),
        INTS,
        rule="operator",
    )


def test_tensor_scalar_does_not_run_on_tensore():
    assert (
        "vector, scalar, gpsimd"
        in refused_on_tiles(
            lambda t: nisa.tensor_scalar(t, np.add, 1.0, engine=nisa.tensor_engine),
            X,
            rule="engine",
        ).limit
    )


def test_affine_select_does_not_write_32_bit_integers():
    small = INTS.astype(np.int8)

    def select(t, dtype):
        return nisa.affine_select(
            pred=nl.arange(16)[:, None] >= nl.arange(8)[None, :],
            on_true_tile=t,
            on_false_value=-9,
            dtype=dtype,
        )

    assert_same_bits(
        on_tiles(lambda t: select(t, nl.int16), small).values,
        np.where(np.tri(16, 8, dtype=bool), small, -9).astype(np.int16),
    )
    refused_on_tiles(lambda t: select(t, nl.int32), small, rule="dtype")


def _range_select(start):
    def body(t):
        low, high = (nl.full((16, 1), start + n, dtype=nl.float32) for n in (2, 5))
        return nisa.range_select(
            on_true_tile=t,
            comp_op0=np.greater_equal,
            comp_op1=np.less,
            bound0=low,
            bound1=high,
            range_start=start,
        )

    return body


@pytest.mark.parametrize("start", [-(2**24), -1, 2**24 - 8])
def test_range_select_counts_from_any_place_that_fp32_holds(start):
    kept = (np.arange(8) >= 2) & (np.arange(8) < 5)
    assert_same_bits(
        on_tiles(_range_select(start), X).values, np.where(kept, X, np.finfo(np.float32).min)
    )


@pytest.mark.parametrize("start", [-(2**24) - 1, 2**24 - 7, 2.0, True])
def test_range_select_refuses_other_starts(start):
    on_tiles(_range_select(2), X)
    refused_on_tiles(_range_select(start), X, rule="argument")


def test_a_reduction_takes_four_free_axes_at_most():
    four, five = np.ones((2, 1, 2, 2, 2), np.float32), np.ones((2, 1, 2, 2, 2, 2), np.float32)
    assert on_tiles(
        lambda t: nisa.tensor_reduce(np.add, t, axis=[1, 2, 3, 4]), four
    ).values.tolist() == [[8], [8]]
    refused_on_tiles(
        lambda t: nisa.tensor_reduce(np.add, t, axis=[1, 2, 3, 4, 5]), five, rule="rank-limit"
    )


def test_a_scan_runs_over_all_free_axes_one_after_the_other():
    x = values((4, 3, 5))
    got = on_tiles(
        lambda t: nisa.tensor_tensor_scan(t, t, initial=0.0, op0=np.maximum, op1=np.add), x
    ).values
    state, expected = np.zeros(4), np.empty((4, 15))
    for i in range(15):
        state = np.maximum(x.reshape(4, 15)[:, i], state) + x.reshape(4, 15)[:, i]
        expected[:, i] = state
    np.testing.assert_allclose(got, expected.reshape(4, 3, 5), rtol=1e-5, atol=1e-5)


def test_expand_dims_adds_axes_after_the_last_one_only():
    assert on_tiles(lambda t: nl.expand_dims(t, (2, 3)), X).shape == (16, 8, 1, 1)
    assert on_tiles(lambda t: nl.expand_dims(t, -1), X).shape == (16, 8, 1)
    assert refused_on_tiles(lambda t: nl.expand_dims(t, 1), X, rule="argument").limit == "2"
