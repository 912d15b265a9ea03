"""Data types: names, promotion, rounding, saturation."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkisim.machine import dtypes
from tests.asking import of_each

BF16, FP16, FP32 = dtypes.bfloat16, dtypes.FLOAT16, dtypes.FLOAT32
TF32, E4M3, E5M2 = dtypes.tfloat32, dtypes.float8_e4m3, dtypes.float8_e5m2
I8, I16, I32, U8, U16, U32 = (np.dtype(t) for t in ("i1", "i2", "i4", "u1", "u2", "u4"))

DOCUMENTED_PROMOTIONS = [  # aws-neuron-sdk v2.26.0 nki.api.shared.rst, NKI Type Promotion
    (I32, FP16, FP16),
    (U16, TF32, TF32),
    (FP32, TF32, FP32),
    (FP32, BF16, FP32),
    (FP16, BF16, FP32),
    (E4M3, FP16, FP16),
    (E4M3, BF16, BF16),
    (E4M3, E5M2, BF16),
    (I16, I32, I32),
    (U8, U16, U16),
    (U16, I32, I32),
    (I8, U8, I16),
    (I8, U16, I32),
    (I32, U32, FP32),
]


@of_each(DOCUMENTED_PROMOTIONS)
def test_promotion_follows_every_documented_example_in_both_orders(a, b, expected):
    assert dtypes.promote(a, b) == expected
    assert dtypes.promote(b, a) == expected


@of_each(itertools.combinations(dtypes.SUPPORTED, 2))
def test_promotion_is_symmetric_and_stays_inside_the_supported_types(a, b):
    assert dtypes.promote(a, b) == dtypes.promote(b, a)
    assert dtypes.promote(a, b) in dtypes.SUPPORTED


def test_promotion_takes_a_boolean_as_an_unsigned_byte():
    assert dtypes.promote(dtypes.BOOL, U8) == U8
    assert dtypes.promote(dtypes.BOOL, BF16) == BF16


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, U8),
        (np.bool_(True), U8),
        (2, I32),
        (2.5, FP32),
        (np.float16(2), FP16),
        (np.int8(2), I8),
        (np.float64(2), FP32),
        (np.int64(2), I32),
        (np.dtype(BF16).type(2), BF16),
    ],
)
def test_a_scalar_without_a_type_gets_the_widest_of_its_kind_and_a_numpy_scalar_keeps_its_own(
    value, expected
):
    assert dtypes.of_scalar(value) == expected


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        ("bfloat16", BF16),
        ("float32r", FP32),
        ("tfloat32", TF32),
        (ml_dtypes.bfloat16, BF16),
        (np.float32, FP32),
        (bool, dtypes.BOOL),
        (np.bool_, dtypes.BOOL),
        (np.dtype("int8"), I8),
        (np.uint16, U16),
    ],
)
def test_resolve_takes_names_numpy_types_and_dtypes(given_as, expected):
    assert dtypes.resolve(given_as) == expected


@pytest.mark.parametrize(
    "wrong", ["float64", np.float64, np.int64, np.complex64, float, int, object(), "half"]
)
def test_resolve_refuses_what_is_no_nki_type(wrong):
    with pytest.raises(TypeError, match="NKI data type"):
        dtypes.resolve(wrong)


def test_resolve_says_how_to_convert_a_float64_array():
    with pytest.raises(TypeError, match=r"astype\(np.float32\)"):
        dtypes.resolve(np.float64)


def test_names_are_those_of_nki():
    assert [dtypes.name(d) for d in (FP32, BF16, FP16, TF32, E4M3, E5M2, U8, dtypes.BOOL)] == [
        "float32",
        "bfloat16",
        "float16",
        "tfloat32",
        "float8_e4m3",
        "float8_e5m2",
        "uint8",
        "bool",
    ]


def test_str_of_the_language_type_equals_str_of_a_tensors_dtype():
    import neuronxcc.nki.language as nl

    assert str(nl.bfloat16) == str(np.zeros(1, nl.bfloat16).dtype)
    assert np.dtype(nl.float32) == FP32 and np.dtype(nl.bfloat16).itemsize == 2


# -- rounding --------------------------------------------------------------------------------------
def bf16_by_bits(x: np.ndarray) -> np.ndarray:
    """Round to nearest, ties to even, on the bits of a finite float32; independent of ml_dtypes."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    up = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return (up << 16).astype(np.uint32).view(np.float32)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20)
)
def test_float32_to_bfloat16_rounds_to_nearest_even_bit_for_bit(xs):
    x = np.array(xs, dtype=np.float32)
    np.testing.assert_array_equal(dtypes.cast(x, BF16).astype(np.float32), bf16_by_bits(x))


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20)
)
def test_float32_to_tfloat32_keeps_ten_bits_rounded_to_nearest_even(xs):
    x = np.array(xs, dtype=np.float32)
    got = dtypes.cast(x, TF32)
    bits = x.view(np.uint32).astype(np.uint64)
    expected = (
        (((bits + 0xFFF + ((bits >> 13) & 1)) >> 13) << 13).astype(np.uint32).view(np.float32)
    )
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, expected)


def test_ties_go_to_even():
    ties = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -(1 + 2.0**-8)], dtype=np.float32)
    assert dtypes.cast(ties, BF16).astype(np.float32).tolist() == [1.0, 1 + 2.0**-6, -1.0]
    ties = np.array([2049.0, 2051.0], dtype=np.float32)
    assert dtypes.cast(ties, FP16).tolist() == [2048.0, 2052.0]


def test_beyond_the_range_a_float_becomes_infinity_and_nan_stays_nan():
    x = np.array([1e5, -1e5, np.inf, np.nan], dtype=np.float32)
    got = dtypes.cast(x, FP16)
    assert got[:3].tolist() == [np.inf, -np.inf, np.inf] and np.isnan(got[3])
    assert np.isinf(dtypes.cast(np.array([3.4e38], np.float32), BF16)).all()
    assert np.isnan(dtypes.cast(np.array([np.nan], np.float32), TF32)).all()


@pytest.mark.parametrize("dtype", [U8, I8, U16, I16, U32, I32], ids=str)
def test_float_to_integer_rounds_to_nearest_even_and_saturates(dtype):
    info = np.iinfo(dtype)
    x = np.array(
        [0.5, 1.5, 2.5, -0.5, -1.5, 1e20, -1e20, np.inf, -np.inf, np.nan], dtype=np.float32
    )
    low = info.min
    expected = [0, 2, 2, 0, max(-2, low), info.max, low, info.max, low, 0]
    assert dtypes.cast(x, dtype).tolist() == expected


@of_each(itertools.permutations([U8, I8, U16, I16, U32, I32], 2))
def test_integer_to_integer_saturates(source, target):
    info, limits = np.iinfo(source), np.iinfo(target)
    x = np.array([info.min, 0, 1, info.max], dtype=source)
    passed = x.astype(np.float32)  # by way of which the engines cast
    assert dtypes.cast(x, target).tolist() == [
        min(max(int(v), limits.min), limits.max) for v in passed
    ]


def test_between_integers_of_32_bits_the_engines_cast_by_way_of_float32():
    # aws-neuron-sdk v2.32.0 nki.isa, tensor_copy and dma_copy
    x = np.array([2**24 + 1, 2**31 - 1, -1], np.int32)
    assert dtypes.cast(x, U32).tolist() == [2**24, 2**31, 0]
    assert dtypes.cast(x, I32).tolist() == x.tolist()
    assert dtypes.cast(np.array([2**24 + 1, 2**32 - 1], np.uint32), I32).tolist() == [
        2**24,
        2**31 - 1,
    ]


def test_anything_but_zero_is_true():
    assert dtypes.cast(np.array([0.0, 0.25, -1.0], np.float32), dtypes.BOOL).tolist() == [
        False,
        True,
        True,
    ]
    assert dtypes.cast(np.array([True, False]), I32).tolist() == [1, 0]


def test_a_cast_to_its_own_type_copies_nothing():
    x = np.ones(3, np.float32)
    assert dtypes.cast(x, FP32) is x
    assert dtypes.to_fp32(x) is x
