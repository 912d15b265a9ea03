"""GpSimdE: the places of non-zero elements, and the largest of each group, against NumPy."""

from __future__ import annotations

import neuronxcc.nki.language as nl
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nkisim.isa.rank import NONZERO, TOPK, first_partitions
from nkisim.tensors.index import Mask

from ..helpers import (
    BF16,
    FP32,
    assert_same_bits,
    covers,
    instruct,
    on_tiles,
    refused_on_tiles,
    values,
)


@covers("nonzero_with_count")
@given(
    p=st.sampled_from([1, 16, 33, 128]),
    n=st.integers(1, 40),
    dtype=st.sampled_from([FP32, np.int32]),
    offset=st.integers(-5, 100),
    padding=st.integers(-3, 3),
    seed=st.integers(0, 9),
)
def test_nonzero_with_count_lists_places_in_the_first_partition_of_each_core(
    p, n, dtype, offset, padding, seed
):
    x = (values((p, n), seed=seed) * (values((p, n), seed=seed + 50) > 0.5)).astype(dtype)

    def body(t):
        d = nl.full((p, n + 1), 77, dtype=nl.int32)
        kept = first_partitions(d)
        return instruct(
            NONZERO,
            "nonzero_with_count",
            d,
            (t,),
            (offset, padding),
            mask=None if kept is None else Mask(kept),
        )

    want = np.full((p, n + 1), 77, np.int32)
    for i in range(0, p, 16):
        places = np.flatnonzero(x[i])
        want[i] = [*(places + offset), *[padding] * (n - len(places)), len(places)]
    assert_same_bits(on_tiles(body, x).values, want)


def test_nonzero_with_count_refuses_what_the_reference_does_not_allow():
    x = np.zeros((16, 8), np.float32)

    def of(dst=(16, 9), dtype=nl.int32, src=nl.float32, attrs=(0, -1)):
        return lambda t: instruct(
            NONZERO, "n", nl.zeros(dst, dtype=dtype), (nl.copy(t, dtype=src),), attrs
        )

    for body, rule in (
        (of((16, 8)), "element-count"),
        (of(dtype=nl.uint32), "dtype"),
        (of(src=nl.bfloat16), "dtype"),
        (of(attrs=(2**31, 0)), "argument"),
    ):
        refused_on_tiles(body, x, rule=rule)
    refused_on_tiles(of(), x, rule="target", target="trn1")


@covers("topk")
@given(groups=st.integers(1, 8), n=st.integers(8, 200), data=st.data())
def test_topk_gives_the_largest_of_each_group_in_ascending_order(groups, n, data):
    k = data.draw(st.integers(1, n))
    lists = np.stack([np.random.default_rng([n, g]).permutation(n) for g in range(groups)]).astype(
        BF16
    )
    columns = -(-n // 16)
    x = np.zeros((groups, columns * 16), BF16)
    x[:, :n] = lists
    x = x.reshape(groups, columns, 16).transpose(0, 2, 1).reshape(groups * 16, columns)
    found = {}

    def body(t):
        v, i = (
            nl.ndarray((groups * 16, k), dtype=nl.bfloat16),
            nl.ndarray((groups * 16, k), dtype=nl.uint32),
        )
        instruct(TOPK, "topk", v, (t,), (n,), extra=i)
        found["v"], found["i"] = v.array.copy(), i.array.copy()
        return v

    on_tiles(body, x)
    for g in range(groups):
        order = np.argsort(lists[g].astype(np.float64), kind="stable")[n - k :]
        for j, place in enumerate(order):
            assert found["v"][16 * g + j % 16, j // 16] == lists[g][place]
            assert found["i"][16 * g + j % 16, j // 16] == place


def test_topk_refuses_what_the_reference_does_not_allow():
    x = np.zeros((16, 4), BF16)

    def of(n=42, k=8, p=16, idx=nl.uint32):
        return lambda t: instruct(
            TOPK,
            "topk",
            nl.ndarray((p, k), dtype=nl.bfloat16),
            (t[0:p, :],),
            (n,),
            extra=nl.ndarray((p, k), dtype=idx),
        )

    for body, rule in (
        (of(n=7), "argument"),
        (of(n=65), "element-count"),
        (of(n=10, k=11), "element-count"),
        (of(p=8), "dimension-limit"),
        (of(idx=nl.int32), "dtype"),
    ):
        refused_on_tiles(body, x, rule=rule)
    refused_on_tiles(of(), x.astype(np.float32), rule="dtype")


def test_nonzero_with_count_needs_only_the_rows_that_it_reads_and_takes_tiles_with_more_axes():
    x = (values((17, 8)) > 0).astype(np.float32)

    def body(t):
        src, d = nl.ndarray((32, 1, 8), dtype=FP32), nl.full((32, 1, 9), -5, dtype=nl.int32)
        src[0:17, 0, :] = t
        instruct(NONZERO, "nonzero_with_count", d, (src,), (0, -1), mask=Mask(first_partitions(d)))
        return nl.copy(d[:, 0, :])

    got = on_tiles(body, x).values
    for row in (0, 16):
        places = np.flatnonzero(x[row])
        np.testing.assert_array_equal(got[row, : len(places)], places)
        assert got[row, -1] == len(places)
    assert (got[1:16] == -5).all()
