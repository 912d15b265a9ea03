"""Micro-scaled formats: quantising and multiplying, against NumPy."""

from __future__ import annotations

import math

import ml_dtypes
import neuronxcc.nki.language as nl
import nki
import nki.isa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim
from nkisim.execution.execution import running
from nkisim.isa.mx import NC_MATMUL_MX, QUANTIZE_MX, scale_rows
from nkisim.machine import dtypes

from ..helpers import (
    BF16,
    FP16,
    FP32,
    assert_same_bits,
    covers,
    instruct,
    on_tiles,
    refused_on_tiles,
    values,
)


def made(shape, dtype, space="sbuf"):
    """A tensor of any data type, those that neuronxcc.nki does not name included."""
    return running().allocate(space, shape, np.dtype(dtype))


PACKED = {
    "e4m3fn": (dtypes.float8_e4m3fn_x4, ml_dtypes.float8_e4m3fn, 8, 448.0),
    "e5m2": (dtypes.float8_e5m2_x4, ml_dtypes.float8_e5m2, 15, 57344.0),
}


def quantised(x, name):
    """Independent: bytes (p, f / 4, 4) of the elements and scale exponents (p / 8, f / 4), each
    group by itself."""
    _, element, largest, _ = PACKED[name]
    p, f = x.shape
    data, exponents = np.zeros((p, f // 4, 4), element), np.zeros((p // 8, f // 4), int)
    for i in range(p // 8):
        for j in range(f // 4):
            group = x[8 * i : 8 * i + 8, 4 * j : 4 * j + 4].astype(np.float64)
            most = np.abs(group).max()
            e = -127 if most == 0 else math.floor(math.log2(most)) - (largest - 1)
            exponents[i, j] = e
            data[8 * i : 8 * i + 8, j] = (group / 2.0**e).astype(np.float32).astype(element)
    return data, exponents


def rows_of(scales, p, start=0):
    """The rows of a scale tile that belong to a data tile of p partitions."""
    return np.concatenate([scales[start + 32 * q : start + 32 * q + 4] for q in range(p // 32)])


def run_mx(x, name, scale_dtype, start=0):
    """The data bytes and the scale bytes that quantize_mx leaves of x (p, f)."""
    found = {}
    p, f = x.shape

    def body(t):
        d = made((p, f // 4), PACKED[name][0])
        s = made((max(p, 32), f // 4), scale_dtype)
        rows = scale_rows(
            s[start : start + max(p, 32) - start, :] if start else s,
            p,
            f // 4,
            "dst_scale",
            "quantize_mx",
        )
        instruct(QUANTIZE_MX, "quantize_mx", d, (t,), extra=rows)
        found["d"], found["s"] = d.array.copy(), s.array.copy()
        return t

    on_tiles(body, x, target="trn3")
    return found["d"].view(np.uint32).view(np.uint8).reshape(p, f // 4, 4), found["s"].view(
        np.uint8
    )


@covers("quantize_mx")
@given(
    p=st.sampled_from([32, 64, 96, 128]),
    n=st.integers(1, 6),
    name=st.sampled_from(sorted(PACKED)),
    dtype=st.sampled_from([BF16, FP16]),
    exponent=st.integers(-6, 6),
    scale=st.sampled_from([dtypes.UINT8, dtypes.float8_e8m0fnu]),
)
def test_quantize_mx_shares_a_power_of_two_between_32_elements_and_rounds_the_rest_to_fp8(
    p, n, name, dtype, exponent, scale
):
    x = (
        values((p, 4 * n))
        * np.float32(2.0**exponent)
        * np.exp2(np.rint(values((p, 1), seed=9) * 2))
    ).astype(dtype)
    x[:8, :4] = 0
    data, scales = run_mx(x, name, scale)
    want, exponents = quantised(x, name)
    assert_same_bits(data, want.view(np.uint8))
    assert_same_bits(rows_of(scales, p), (exponents + 127).astype(np.uint8))


@pytest.mark.parametrize("start", [4, 8, 12])
def test_scales_of_several_tensors_share_a_tile_by_slices_as_2_32_corrects(start):
    x = values((128, 8), BF16)
    _data, scales = run_mx(x, "e5m2", dtypes.UINT8, start)
    _want, exponents = quantised(x, "e5m2")
    assert_same_bits(rows_of(scales, 128, start), (exponents + 127).astype(np.uint8))
    others = [r for r in range(128) if not start <= r % 32 < start + 4]
    assert (scales[others] == 0).all()


@nki.jit
def quantised_tiles(x):
    """x (p, f, n, 4) as packed tiles (p, f, n) and their scales."""
    p, f, n, _ = x.shape
    tile = nki.language.load(x)
    packed = nki.language.ndarray((p, f, n), np.dtype(PACKED["e4m3fn"][0]), nki.language.sbuf)
    scales = nki.language.zeros((p, f, n), nki.language.uint8, nki.language.sbuf)
    nki.isa.quantize_mx(packed, tile, scales)
    data = nki.language.ndarray((p, f, n), packed.dtype, nki.language.shared_hbm)
    rows = nki.language.ndarray((p, f, n), nki.language.uint8, nki.language.shared_hbm)
    nki.isa.dma_copy(data, packed)
    nki.isa.dma_copy(rows, scales)
    return data, rows


@nki.jit
def multiplied_tiles(packed, scales):
    """The sum over f of packed[:, f, :4].T @ packed[:, f], each with its scales."""
    _, f, n = packed.shape
    a, s = nki.language.load(packed), nki.language.load(scales)
    dst = nki.language.ndarray((4, n), nki.language.float32, nki.language.psum)
    for i in range(f):
        tiles = a[:, i : i + 1, :4], a[:, i : i + 1, :], s[:, i : i + 1, :4], s[:, i : i + 1, :]
        nki.isa.nc_matmul_mx(dst, *tiles)
    out = nki.language.ndarray((4, n), nki.language.float32, nki.language.shared_hbm)
    nki.language.store(out, nki.language.copy(dst))
    return out


def test_tiles_and_scales_of_several_free_axes_come_out_of_a_kernel_and_go_into_another(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn3")
    x = values((64, 2, 6, 4), BF16)
    data, scales = quantised_tiles(x)
    got = multiplied_tiles(data, scales)
    np.testing.assert_array_equal(nkisim.lower(multiplied_tiles, data, scales)(data, scales), got)
    for kernel, arrays, want in (
        (quantised_tiles, (x,), data),
        (multiplied_tiles, (data, scales), got),
    ):
        nkisim.lower(kernel, *arrays).save(tmp_path / "saved.nki.json")
        again = nkisim.load(tmp_path / "saved.nki.json")(*arrays)
        assert_same_bits(again[0] if isinstance(again, tuple) else again, want)
    want = np.zeros((4, 6))
    for i in range(2):
        elements, exponents = quantised(x[:, i].reshape(64, 24), "e4m3fn")
        assert_same_bits(data[:, i].view(np.uint8).reshape(64, 6, 4), elements.view(np.uint8))
        wide = elements.astype(np.float64) * np.exp2(np.repeat(exponents, 8, axis=0))[..., None]
        want += np.einsum("kmq,knq->mn", wide[:, :4], wide)
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize(("rows", "known"), [(24, True), (16, True), (23, False)])
def test_what_was_not_written_makes_its_own_groups_and_their_scales_unknown(
    monkeypatch, rows, known
):
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn3")
    x = values((32, 8), BF16)

    @nki.jit
    def kernel(x):
        t = nki.language.ndarray((32, 8), nki.language.bfloat16, nki.language.sbuf)
        nki.isa.dma_copy(t[:rows], x[:rows])
        packed = nki.language.ndarray((32, 2), np.dtype(PACKED["e5m2"][0]), nki.language.sbuf)
        scales = nki.language.ndarray((4, 2), nki.language.uint8, nki.language.sbuf)
        nki.isa.quantize_mx(packed, t, scales)
        full = -(-rows // 8)
        data = nki.language.ndarray((8 * full, 2), packed.dtype, nki.language.shared_hbm)
        out = nki.language.ndarray((full, 2), nki.language.uint8, nki.language.shared_hbm)
        nki.isa.dma_copy(out, scales[:full])
        nki.isa.dma_copy(data, packed[: 8 * full])
        return data, out

    if not known:
        with pytest.raises(nkisim.KernelError) as caught:
            kernel(x)
        assert caught.value.rule == "uninitialized-read"
        return
    elements, exponents = quantised(x[:rows], "e5m2")
    data, scales = kernel(x)
    assert_same_bits(data.view(np.uint8).reshape(rows, 2, 4), elements.view(np.uint8))
    assert_same_bits(scales, (exponents + 127).astype(np.uint8))


FP4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def packed_input(rng, p, n, name):
    """Random packed data as an array of its data type, its values (p, n, 4), and scale exponents (p
    / 8, n)."""
    exponents = rng.integers(-6, 6, (p // 8, n))
    if name == "fp4":
        codes = rng.integers(0, 16, (p, n, 4)).astype(np.uint16)
        words = (codes << np.array([0, 4, 8, 12], np.uint16)).sum(axis=2).astype(np.uint16)
        floats = np.array(FP4 + [-v for v in FP4])[codes]
        return words.view(dtypes.float4_e2m1fn_x4), floats, exponents
    dtype, element, _, _ = PACKED[name]
    elements = rng.normal(0, 4, (p, n, 4)).astype(np.float32).astype(element)
    return (
        elements.view(np.uint32).view(dtype).reshape(p, n),
        elements.astype(np.float64),
        exponents,
    )


@covers("nc_matmul_mx")
@given(
    p=st.sampled_from([32, 64, 128]),
    m=st.sampled_from([2, 16, 128]),
    n=st.integers(1, 20),
    a=st.sampled_from(["e4m3fn", "e5m2", "fp4"]),
    b=st.sampled_from(["e4m3fn", "e5m2", "fp4"]),
    accumulate=st.booleans(),
    scale=st.sampled_from([dtypes.UINT8, dtypes.float8_e8m0fnu]),
)
def test_nc_matmul_mx_multiplies_scaled_elements_over_partitions_and_packs(
    p, m, n, a, b, accumulate, scale
):
    rng = np.random.default_rng([p, m, n])
    operands = [packed_input(rng, p, width, name) for width, name in ((m, a), (n, b))]

    def body(t):
        srcs, scales = [], []
        for words, _, exponents in operands:
            d, s = made(words.shape, words.dtype), made((max(p, 32), words.shape[1]), scale)
            d.array[...] = words
            running().mark_written(d)
            view = scale_rows(s, p, words.shape[1], "scale", "nc_matmul_mx")
            view.array[...] = (
                (exponents + 127).astype(np.uint8).view(view.array.dtype).reshape(view.shape)
            )
            running().mark_written(view)
            srcs.append(d)
            scales.append(view)
        dst = made((m, n), FP32, "psum")
        instruct(NC_MATMUL_MX, "nc_matmul_mx", dst, (*srcs, *scales), ((), (), False))
        if accumulate:
            instruct(NC_MATMUL_MX, "nc_matmul_mx", dst, (*srcs, *scales, dst), ((), (), True))
        return nl.copy(dst)

    wide = [
        floats * np.repeat(np.exp2(exponents.astype(np.float64)), 8, axis=0)[..., None]
        for _, floats, exponents in operands
    ]
    want = np.einsum("kmq,knq->mn", *wide) * (2 if accumulate else 1)
    got = on_tiles(body, values((1, 1)), target="trn3").values
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(want).max()))


def test_micro_scaled_instructions_refuse_what_the_reference_does_not_allow():
    def quantise(
        p=32,
        f=8,
        dtype=BF16,
        out=dtypes.float8_e5m2_x4,
        scale=(4, 2),
        scale_dtype=dtypes.UINT8,
        target="trn3",
        rule="",
    ):
        def body(t):
            d = made((p, f // 4), out)
            instruct(
                QUANTIZE_MX,
                "q",
                d,
                (t,),
                extra=scale_rows(made(scale, scale_dtype), p, f // 4, "dst_scale", "q"),
            )

        refused_on_tiles(body, values((p, f), dtype), rule=rule, target=target)

    quantise(target="trn2", rule="target")
    quantise(dtype=FP32, rule="dtype")
    quantise(out=dtypes.UINT8, rule="dtype")
    quantise(p=24, scale=(3, 2), rule="dimension-limit")
    quantise(f=10, rule="element-count")
    quantise(scale=(3, 2), rule="shape-mismatch")
    quantise(p=64, scale=(8, 2), rule="shape-mismatch")
    quantise(scale_dtype=np.int8, rule="dtype")

    def multiply(
        p=32,
        m=16,
        n=8,
        dtype=dtypes.float8_e5m2_x4,
        out=FP32,
        space="psum",
        position=(),
        size=(),
        target="trn3",
        rule="",
    ):
        def body(t):
            srcs = [made((p, width), dtype) for width in (m, n)]
            scales = [
                scale_rows(made((4, width), dtypes.UINT8), 32, width, "scale", "mx")
                for width in (m, n)
            ]
            instruct(
                NC_MATMUL_MX,
                "mx",
                made((m, n), out, space),
                (*srcs, *scales),
                (position, size, False),
            )

        refused_on_tiles(body, values((1, 1)), rule=rule, target=target)

    multiply(target="trn2", rule="target")
    multiply(dtype=dtypes.UINT8, rule="dtype")
    multiply(p=16, rule="dimension-limit")
    multiply(m=15, rule="stationary-free-limit")
    multiply(n=4097, rule="psum-capacity")  # a wider moving operand has no destination
    multiply(out=FP16, rule="dtype")
    multiply(space="sbuf", rule="matmul-destination")
    multiply(position=(0, 0), size=(32, 64), rule="argument")
    multiply(position=(16, 0), size=(32, 128), rule="argument")


def test_the_scale_of_a_zero_group_is_the_least_that_the_type_has_as_2_31_documents():
    _, scales = run_mx(np.zeros((32, 8), BF16), "e4m3fn", dtypes.UINT8)
    assert (scales[:4] == 0).all()
