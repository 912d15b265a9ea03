"""The DMA engines in NKI 0.3 to 0.6: sums on the way, skipped transfers, transposes by descriptor
hardware, casts."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim
from nkisim.isa.dma import DMA_COMPUTE, DMA_COPY, DMA_TRANSPOSE

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


@covers("dma_compute")
@given(
    n=st.integers(1, 16),
    dtype=st.sampled_from([FP32, BF16, np.int16]),
    out=st.sampled_from([FP32, BF16]),
)
def test_dma_compute_adds_its_sources_in_float32_and_rounds_once(n, dtype, out):
    x = values((n, 8, 6), dtype, low=-9, high=9)

    @nki.jit
    def kernel(x):
        dst = nl.ndarray((8, 6), dtype=out, buffer=nl.shared_hbm)
        instruct(
            DMA_COMPUTE,
            "dma_compute",
            dst,
            tuple(x[i] if i % 2 else nl.load(x[i]) for i in range(n)),
        )
        return dst

    want = np.zeros((8, 6), np.float32)
    for part in x:
        want = want + part.astype(np.float32)
    assert_same_bits(nki.simulate_kernel(kernel, x), want.astype(out))


def test_dma_compute_takes_up_to_16_sources_of_one_size():
    x = values((8, 6))

    def of(n, cut=6):
        def body(t):
            d = nl.ndarray((8, 6), dtype=nl.float32)
            return instruct(DMA_COMPUTE, "dma_compute", d, (t,) * (n - 1) + (t[:, 0:cut],))

        return body

    refused_on_tiles(of(17), x, rule="argument")
    refused_on_tiles(of(2, 3), x, rule="dma-element-count")


def test_a_skipped_transfer_keeps_the_bits_of_integers_as_2_30_corrects():
    x = np.array([[2**24 + 1, -(2**31)], [7, 2**31 - 1]], np.int32)
    index = np.array([[0], [5]], np.int32)

    @nki.jit
    def kernel(x, index):
        d = nl.full((2, 2), 2**30 + 1, dtype=nl.int32)
        nisa.dma_copy(
            dst=d, src=x[nl.load(index), nl.arange(2)[None, :]], oob_mode=nisa.oob_mode.skip
        )
        out = nl.ndarray((2, 2), dtype=nl.int32, buffer=nl.shared_hbm)
        nl.store(out, d)
        return out

    assert nki.simulate_kernel(kernel, x, index).tolist() == [
        [2**24 + 1, -(2**31)],
        [2**30 + 1, 2**30 + 1],
    ]


def test_transposes_by_descriptor_hardware_have_the_limits_of_2_32():
    def of(shape, dtype=BF16, mode="hwdge", target=None):
        axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}[len(shape)]

        @nki.jit
        def kernel(x):
            t = instruct(
                DMA_TRANSPOSE, "dma_transpose", None, (x,), (axes, mode), "sbuf", np.dtype(dtype)
            )
            out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
            nl.store(out, t)
            return out

        x = values(shape, dtype)
        with nkisim.record(target=target):
            assert_same_bits(kernel(x), x.transpose(axes))

    for shape in ((16, 128), (16, 40), (2, 8, 100), (4, 3, 4, 64)):
        of(shape)
    of((200, 32), FP32, "unknown")
    for shape, dtype, mode, rule in (
        ((8, 64), BF16, "hwdge", "dimension-limit"),
        ((16, 129), BF16, "hwdge", "dimension-limit"),
        ((2, 7, 64), BF16, "hwdge", "dimension-limit"),
        ((16, 64), FP32, "hwdge", "dtype"),
        ((16, 64), BF16, "swdge", "argument"),
        ((16, 64), BF16, "none", "argument"),
    ):
        with pytest.raises(nkisim.KernelError) as caught:
            of(shape, dtype, mode)
        assert caught.value.rule == rule
    with pytest.raises(nkisim.KernelError) as caught:
        of((16, 64), target="trn1")
    assert caught.value.rule == "target"


def test_a_copy_by_dma_casts_through_float32():
    x = np.array([[2**24 + 1, 3, 300, -7]], np.int32)

    @nki.jit
    def kernel(x):
        out = nl.ndarray((1, 4), dtype=nl.float32, buffer=nl.shared_hbm)
        instruct(DMA_COPY, "dma_copy", out, (x,), (False, True))
        return out

    assert nki.simulate_kernel(kernel, x).tolist() == [[2.0**24, 3, 300, -7]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_fp32_becomes_an_integer_by_rounding_ties_to_even_and_saturating_as_2_32_corrects(dtype):
    x = np.array(
        [
            [
                0.5,
                1.5,
                2.5,
                -0.5,
                -1.5,
                126.7,
                254.5,
                255.5,
                -129,
                300,
                7e4,
                -7e4,
                3e9,
                -3e9,
                5e9,
                np.inf,
                -np.inf,
            ]
        ],
        np.float32,
    )
    info = np.iinfo(dtype)
    want = [int(np.clip(v, info.min, info.max)) for v in np.rint(x.astype(np.float64))[0]]
    for body in (
        lambda t: nl.copy(t, dtype=dtype),
        lambda t: nisa.tensor_scalar(t, nl.multiply, 1.0, dtype=dtype),
        lambda t: nisa.activation(nl.copy, t, dtype=dtype),
    ):
        assert on_tiles(body, x).values[0].tolist() == want


def test_options_that_older_generations_or_the_reference_lack_are_refused():
    x = values((16, 64), BF16)

    def transfer(t):
        nisa.dma_copy(
            dst=nl.ndarray((16, 64), dtype=nl.bfloat16), src=t, dge_mode=nisa.dge_mode.hwdge
        )

    refused_on_tiles(transfer, x, rule="target", target="trn1")
    refused_on_tiles(
        lambda t: nisa.dma_transpose(t, dge_mode=nisa.dge_mode.hwdge),
        x,
        rule="target",
        target="trn1",
    )
    refused_on_tiles(
        lambda t: nisa.tensor_scalar_reduce(
            data=t,
            op0=nl.subtract,
            operand0=1.0,
            reverse0=True,
            reduce_op=nl.add,
            reduce_res=nl.ndarray((16, 1), dtype=nl.float32),
        ),
        x,
        rule="argument",
    )
