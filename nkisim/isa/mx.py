"""Micro-scaled (MX) formats on NeuronCore-v4: quantisation by VectorE, matrix multiply by TensorE.

Sources: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py (quantize_mx, nc_matmul_mx),
nki/deep-dives/mxfp-matmul.rst and nki/guides/architecture/trainium3_arch.rst (where scales lie).

32 elements share a scale, a power of two: 8 partitions by the 4 elements that a packed (x4) element
holds. A data tile (p, n) of packed elements has p / 8 rows of n scales. They lie in the quadrant of
32 partitions of their elements, in 4 rows from its offset 0, 4, 8 or 12 on: `scale_rows` takes a
kernel's scale tile for the rows that an instruction uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import PSUM, SBUF, meta_of
from ..rules.errors import broken
from ..tensors.tensor import IndexedTensor, Tensor
from .core import TENSOR, VECTOR, Call, Plan, instruction
from .operands import ISA_32 as _ISA_32

_ELEMENTS = {
    dtypes.float8_e4m3fn_x4: dtypes.float8_e4m3fn,
    dtypes.float8_e5m2_x4: dtypes.float8_e5m2,
}
_LARGEST = {dtypes.float8_e4m3fn_x4: 8, dtypes.float8_e5m2_x4: 15}
"""The largest exponent of an element."""
X4 = (dtypes.float8_e5m2_x4, dtypes.float8_e4m3fn_x4, dtypes.float4_e2m1fn_x4)
SCALES = (dtypes.float8_e8m0fnu, dtypes.UINT8)
_FP4 = np.array(
    [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32
)
_BIAS = 127


def scale_rows(t: Tensor, partitions: int, free: int, what: str, api: str) -> Tensor:
    """The rows of the scale tile `t` that belong to a packed data tile (partitions, free): a view
    of (rows, free) for at most 32 partitions, else of (quadrants, 4, free), where free may be
    several axes. It is an operand of QUANTIZE_MX and NC_MATMUL_MX.
    """
    meta = t.meta
    if isinstance(t, IndexedTensor) or meta.space != SBUF:
        broken(
            "memory",
            f"{api}: {what} '{t.label}' lies in {meta.space}"
            if meta.space != SBUF
            else f"{api}: {what} '{t.label}' is picked by run-time indices",
            tensor=t.label,
            got=meta.describe(),
            limit="sbuf",
        )
    if meta.dtype not in SCALES:
        broken(
            "dtype",
            f"{api}: {what} '{t.label}' is {dtypes.name(meta.dtype)}",
            tensor=t.label,
            got=meta.describe(),
            limit="float8_e8m0fnu or uint8",
        )
    quadrants = -(-partitions // 32)
    least = partitions // 8 if quadrants == 1 else 32 * (quadrants - 1) + 4
    if meta.free != free or meta.partitions < least:
        broken(
            "shape-mismatch",
            f"{api}: {what} '{t.label}' does not hold the scales of ({partitions}, {free}) packed "
            "elements",
            tensor=t.label,
            got=meta.shape,
            limit=f"({least} or more, {free})",
            remedy=f"Make it ({partitions if quadrants > 1 else partitions // 8}, {free}): "
            "above 32 partitions each "
            "quadrant holds its scales in 4 rows.",
        )
    if meta.pstart % 32 not in (0, 4, 8, 12):
        broken(
            "start-partition",
            f"{api}: {what} '{t.label}' starts at partition {meta.pstart}",
            tensor=t.label,
            got=meta.describe(),
            limit="an offset of 0, 4, 8 or 12 within a quadrant of 32 partitions",
        )
    row, *columns = meta.strides
    if quadrants == 1:
        shape, strides, pdim = (least, *meta.shape[1:]), (row, *columns), 0
    else:
        shape = (quadrants, 4, *meta.shape[1:])
        strides, pdim = (32 * row, row, *columns), 1
    return Tensor(
        t.buf,
        t.strided_view(t.off, shape, strides),
        meta_of(SBUF, shape, strides, meta.dtype, pdim, meta.pstart),
        t.off,
    )


def _scales_fit(call: Call, t: Tensor, rows: int, columns: int) -> None:
    """`t` holds a scale for each group of a packed tile, wherever a program has it from."""
    call.memory_of(t, (SBUF,), "scales")
    call.one_of(t, "scales", SCALES)
    if t.meta.size != rows * columns:
        call.fail(
            "shape-mismatch", f"'{t.label}' holds {t.meta.size} scales", t, limit=rows * columns
        )


def _scales(a: np.ndarray, rows: int) -> np.ndarray:
    """Scales (rows, n) in float32; the byte of all ones is NaN."""
    if a.dtype != np.uint8:
        return a.astype(np.float32).reshape(rows, -1)
    flat = a.reshape(rows, -1).astype(np.int32)
    return np.where(flat == 255, np.float32(np.nan), np.ldexp(np.float32(1), flat - _BIAS))


def unpacked(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The packed tile `a` (p, ...) of data type `dtype` as float32 (p, n, 4), the lowest bits of an
    element first."""
    words = np.ascontiguousarray(a[dtype.names[0]]).reshape(a.shape[0], -1)  # type: ignore[index]
    if dtype == dtypes.float4_e2m1fn_x4:
        found: np.ndarray = _FP4[
            (words[..., None] >> np.array([0, 4, 8, 12], dtype=np.uint16)) & np.uint16(15)
        ]
        return found
    return words.view(np.uint8).reshape(*words.shape, 4).view(_ELEMENTS[dtype]).astype(np.float32)


@instruction(
    "quantize_mx",
    "elements divided by a power of two that 32 of them share, and rounded to fp8",
    f"{_ISA_32} quantize_mx",
    pace=0.25,
)
def QUANTIZE_MX(call: Call) -> Plan:
    """attrs: (). src (p, f), fp16 or bf16 -> a packed tile (p, f / 4). `extra`: its scales, as
    `scale_rows` gives them.

    The scale is 2 ** (floor(log2(largest magnitude)) - (largest exponent of an element - 1)), of
    zeros 2 ** -127.
    """
    src, dst, scales = call.srcs[0], call.dst, call.extra
    assert dst is not None and scales is not None
    call.generation(4)
    for t, what in ((src, "src"), (dst, "dst")):
        call.memory_of(t, (SBUF,), what)
        call.tile(t, what, (SBUF,))
    call.one_of(src, "src", (dtypes.FLOAT16, dtypes.bfloat16), "Copy it to a bfloat16 tile first.")
    call.one_of(dst, "dst", tuple(_ELEMENTS))
    partitions, free = src.meta.partitions, src.meta.free
    if partitions % 32:
        call.fail(
            "dimension-limit",
            f"'{src.label}' has {partitions} partitions",
            src,
            limit="a multiple of 32",
        )
    if free % 4:
        call.fail(
            "element-count",
            f"'{src.label}' has {free} elements per partition",
            src,
            limit="a multiple of 4",
        )
    shape = (partitions, free // 4)
    call.result(shape, VECTOR)
    _scales_fit(call, scales, partitions // 8, free // 4)
    packed = dst.dtype
    element, largest = _ELEMENTS[packed], _LARGEST[packed]

    def compute(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        groups = dtypes.to_fp32(x).reshape(partitions // 8, 8, free // 4, 4)
        most = np.abs(groups).max(axis=(1, 3))
        exponent = np.frexp(most)[1] - 1 - (largest - 1)
        exponent = np.where(most == 0, -_BIAS, np.clip(exponent, -_BIAS, _BIAS))
        with np.errstate(over="ignore", invalid="ignore"):
            small = (groups.astype(np.float64) * np.ldexp(1.0, -exponent)[:, None, :, None]).astype(
                np.float32
            )
            data = small.reshape(partitions, -1).astype(element)
        shared = np.where(np.isfinite(most), exponent + _BIAS, 255).astype(np.uint8)
        if scales.dtype != np.uint8:
            shared = shared.view(dtypes.float8_e8m0fnu)
        return data.view(np.uint32).view(packed), shared

    return Plan(
        VECTOR,
        compute,
        shape,
        packed,
        spread=lambda position, flags, arrays: np.repeat(
            flags.reshape(partitions // 8, 8, free // 4, 4).any(axis=(1, 3)), 8, axis=0
        ),
        spread_to_extra=lambda flags: flags.reshape(partitions // 8, 8, free // 4)[:, 0],
        cost={"elements_per_cycle": 4},
    )


def _sizes_go_together(call: Call, stationary: Tensor, moving: Tensor) -> None:
    """Both operands are contracted over the same rows, as many as the array takes, and the
    stationary one fits its columns."""
    rows, columns = stationary.meta.partitions, stationary.meta.free
    if moving.meta.partitions != rows:
        call.fail(
            "contraction-mismatch",
            f"'{stationary.label}' has {rows} partitions, '{moving.label}' has "
            f"{moving.meta.partitions}",
            moving,
            got=f"{stationary.meta.describe()} and {moving.meta.describe()}",
        )
    if rows % 32:
        call.fail(
            "dimension-limit",
            f"'{stationary.label}' has {rows} partitions",
            stationary,
            limit="a multiple of 32",
        )
    if columns % 2 or columns > 128:
        call.fail(
            "stationary-free-limit",
            f"the stationary operand '{stationary.label}' has {columns} free elements",
            stationary,
            limit="an even number of at most 128",
        )


def _into_psum(call: Call, width: int) -> None:
    """The destination lies in PSUM, is fp32 or bf16, and holds `width` elements per partition."""
    moving = call.srcs[1]
    dst = call.dst
    space = dst.meta.space if dst is not None else call.space
    if space != PSUM:
        call.fail("matmul-destination", "the destination lies in " + space, dst, limit="psum")
    wanted = dst.dtype if dst is not None else call.dtype or dtypes.FLOAT32
    if wanted not in (dtypes.FLOAT32, dtypes.bfloat16):
        call.fail(
            "dtype", f"the destination is {dtypes.name(wanted)}", dst, limit="float32 or bfloat16"
        )
    most = call.target.psum_partition_bytes // wanted.itemsize
    if width > most:
        call.fail(
            "moving-free-limit",
            f"the moving operand '{moving.label}' has {width} free elements",
            moving,
            limit=f"{most} for {dtypes.name(wanted)}, all of PSUM",
        )


def _row_tiling(call: Call, rows: int) -> None:
    """Row tiling: both given, whole columns, as many rows as the stationary tile needs."""
    position, size = call.attrs.tile_position, call.attrs.tile_size
    if (position or size) and (
        not (position and size)
        or size[1] != 128
        or position[1] != 0
        or size[0] not in (32, 64, 128)
        or rows > size[0]
        or (position[0] % size[0] or position[0] + size[0] > 128)
    ):
        call.fail(
            "argument",
            "this row tiling does not exist",
            got=f"tile_position={position}, tile_size={size}",
            limit="both given; 32, 64 or 128 rows, 128 columns; a start at a multiple "
            "of the rows, column 0",
        )


def _scaled(a: np.ndarray, dtype: np.dtype, scales: np.ndarray) -> np.ndarray:
    """The packed tile `a` (k, n) times its scales, as float32 (4 k, n): a packed element is
    four rows of the contraction."""
    values = unpacked(a, dtype)
    found: np.ndarray = (
        (values * np.repeat(_scales(scales, a.shape[0] // 8), 8, axis=0)[..., None])
        .transpose(0, 2, 1)
        .reshape(4 * a.shape[0], -1)
    )
    return found


@instruction(
    "nc_matmul_mx",
    "stationary.T @ moving of packed, micro-scaled elements, into PSUM, optionally added to what "
    "is there",
    f"{_ISA_32} nc_matmul_mx",
    attrs=(
        "tile_position",
        "tile_size",
        "accumulate",
    ),
)
def NC_MATMUL_MX(call: Call) -> Plan:
    """attrs: (tile_position, tile_size, accumulate). Sources: stationary (k, m) and moving (k, n),
    packed; their scales, as `scale_rows` gives them; and with `accumulate` the destination. dst:
    PSUM (m, n), fp32 or bf16.
    """
    accumulate = call.attrs.accumulate
    stationary, moving = call.srcs[:2]
    call.generation(4)
    for t, what in ((stationary, "stationary"), (moving, "moving")):
        call.memory_of(t, (SBUF,), what, "TensorE reads only SBUF.")
        call.tile(t, what, (SBUF,))
        call.one_of(
            t,
            what,
            X4,
            "View the bytes as a packed data type, or quantise them with nisa.quantize_mx.",
        )
    rows, columns, width = stationary.meta.partitions, stationary.meta.free, moving.meta.free
    _sizes_go_together(call, stationary, moving)
    _into_psum(call, width)
    _row_tiling(call, rows)
    for t, count in zip(call.srcs[2:4], (columns, width)):
        _scales_fit(call, t, rows // 8, count)
    shape = (columns,) + moving.meta.shape[1:]
    call.result(shape, TENSOR)

    def compute(
        s: np.ndarray, m: np.ndarray, s_scales: np.ndarray, m_scales: np.ndarray, *held: np.ndarray
    ) -> np.ndarray:
        product = (
            _scaled(s, stationary.dtype, s_scales).T @ _scaled(m, moving.dtype, m_scales)
        ).reshape(shape)
        found: np.ndarray = (
            dtypes.to_fp32(held[0]).reshape(shape) + product if accumulate else product
        )
        return found

    def spread(place: int, flags: np.ndarray, arrays: list[Any]) -> Any:
        if place > 3:
            return flags.reshape(shape)
        columns_of = flags.reshape(-1, columns if place in (0, 2) else width).any(axis=0)
        return (
            columns_of.reshape((-1,) + (1,) * (len(shape) - 1))
            if place in (0, 2)
            else columns_of.reshape((1,) + shape[1:])
        )

    return Plan(
        TENSOR,
        compute,
        shape,
        dtypes.FLOAT32,
        kind="whole",
        spread=spread,
        cost={"passes": 1, "stationary": columns, "moving": width, "transpose": False},
    )
