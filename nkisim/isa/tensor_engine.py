"""TensorE: matrix multiply, SBUF in, PSUM out.

Sources: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (nc_matmul),
general/nki/arch/trainium_inferentia2_arch.rst (Tensor Engine); v2.32.0 nki/api/nki/isa/__init__.py
(performance modes, tiling, the limits of NeuronCore-v4), nki/guides/architecture/
trainium2_arch.rst (Built-in Transpose Support).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.counts import size_of
from ..machine.memory import PSUM, SBUF
from ..tensors.tensor import Tensor
from .core import TENSOR, Call, Plan, dense, instruction

_ISA = "aws-neuron-sdk v2.26.0 nki.isa"


def in_sbuf(call: Call, operand: Any, what: str) -> None:
    """An operand of TensorE lies in SBUF, in a data type that it multiplies."""
    call.memory_of(
        operand,
        (SBUF,),
        what,
        None
        if operand.meta.space != PSUM
        else "TensorE reads only SBUF: evacuate the PSUM tile first, t_sbuf = nisa.tensor_copy(t).",
    )
    call.tile(operand, what, (SBUF,))
    if operand.dtype not in dtypes.MATMUL_DTYPES and not (
        operand.dtype == dtypes.float8_e4m3fn and call.target.nc_version >= 4
    ):
        call.fail(
            "dtype",
            f"{what} '{operand.label}' is {dtypes.name(operand.dtype)}",
            operand,
            limit="float32, tfloat32, bfloat16, float16 or float8",
            remedy="Cast it with nl.copy(t, dtype=...).",
        )


def into_psum(call: Call, remedy: str, whole: bool = False) -> None:
    """The destination lies in PSUM, inside one bank (`whole`: it may take all eight)."""
    space = call.dst.meta.space if call.dst is not None else call.space
    if space != PSUM:
        name = f"'{call.dst.label}' " if call.dst is not None else ""
        call.fail(
            "matmul-destination",
            f"the destination {name}lies in {space}",
            call.dst,
            limit="psum",
            remedy=remedy,
        )
    if call.dst is not None and not whole and call.dst.meta.free * 4 > call.target.psum_bank_bytes:
        call.fail(
            "psum-bank",
            f"the destination '{call.dst.label}' spans more than one PSUM bank",
            call.dst,
            limit=f"{call.target.psum_bank_fp32} fp32 per partition",
            remedy="Write at most 512 columns at a time.",
        )


def _tiling(
    call: Call, position: tuple[Any, ...], size: tuple[Any, ...], rows: int, columns: int
) -> None:
    """PE tiling: both given, multiples of 32, inside the array, large enough for the stationary
    tile; in NKI 0.6 the array is cut into PE tiles of one size, at which a tile starts."""
    if not position and not size:
        return
    if len(position) != 2 or len(size) != 2:
        call.fail(
            "argument",
            "tile_position and tile_size are given together, as (row, column)",
            got=f"tile_position={position}, tile_size={size}",
            limit="both, or none",
            remedy="Pass both, or leave both out.",
        )
    if any(v % 32 for v in position + size):
        call.fail(
            "argument",
            "tile_position and tile_size are multiples of 32",
            got=f"tile_position={position}, tile_size={size}",
            limit="0, 32, 64, 96 and 32, 64, 128",
        )
    if call.attrs.newer and not {32, 64, 128}.issuperset(size):
        call.fail(
            "argument",
            "the PE array is not cut into tiles of this size",
            got=f"tile_size={size}",
            limit="32, 64 or 128 rows and columns",
            remedy="Take the next larger size.",
        )
    if size[0] < rows or size[1] < columns:
        call.fail(
            "argument",
            "tile_size is smaller than the stationary tile",
            got=size,
            limit=f"({rows}, {columns})",
        )
    if position[0] + size[0] > 128 or position[1] + size[1] > 128:
        call.fail(
            "argument",
            "the PE tile reaches beyond the 128 x 128 array",
            got=f"tile_position={position}, tile_size={size}",
            limit="position + size of at most (128, 128)",
            remedy="Move the PE tile, or make it smaller.",
        )
    if call.attrs.newer and (position[0] % size[0] or position[1] % size[1]):
        call.fail(
            "argument",
            "tile_position is not a multiple of tile_size",
            got=f"tile_position={position}, tile_size={size}",
            limit="the row a multiple of the row size, the column of the column size",
            remedy="Start at such a row and column, or make the PE tile smaller.",
        )
    if call.target.nc_version == 2 and tuple(size) == (32, 32):
        call.fail(
            "argument",
            "a 32 x 32 PE tile needs NeuronCore-v3 or later",
            got=f"target {call.target.name}",
            limit="trn2 or later",
            remedy="Make the rows or the columns 64 or 128.",
        )


@instruction(
    "nc_matmul",
    "stationary.T @ moving, into PSUM, optionally added to what is there",
    f"{_ISA} nc_matmul",
    attrs=(
        "is_stationary_onezero",
        "is_moving_onezero",
        "is_transpose",
        "tile_position",
        "tile_size",
        "accumulate",
        "perf_mode",
        "newer",
    ),
    defaults=("none", False),
    hidden=("newer",),
    reduces=lambda attrs: bool(attrs.accumulate),
)
def NC_MATMUL(call: Call) -> Plan:
    """attrs: (stationary_onezero, moving_onezero, is_transpose, tile_position, tile_size,
    accumulate), then, where they are not the defaults, (..., performance mode: "none", "double_row"
    or, in NKI 0.1, "double_row_gen3"; whether the rules of NKI 0.6 hold: types that go together,
    and what NeuronCore-v4 takes). Sources: stationary, moving, and with `accumulate` the
    destination.

    Double row: stationary (k, 2, m), moving (k, 2, n) of fp8, contracted over k and the axis of
    two.
    """
    stationary, moving = call.srcs[0], call.srcs[1]
    is_transpose, position, size, accumulate, mode, newer = call.attrs[2:]
    in_sbuf(call, stationary, "stationary operand")
    in_sbuf(call, moving, "moving operand")
    _one_contraction(call, stationary, moving)
    rows, columns, width = stationary.meta.partitions, stationary.meta.free, moving.meta.free
    double = mode != "none"
    if double:
        _double_row(call, mode, size)
        columns, width = columns // 2, width // 2
    if newer:
        _together(call, stationary, moving)
    large = newer and call.target.nc_version >= 4
    _free_sizes(call, columns, width, large)
    _tiling(call, position, size, rows, columns)
    into_psum(
        call,
        "Take the result as a new PSUM tile, or make it with nl.ndarray(..., dtype=nl.float32, "
        "buffer=nl.psum); copy it to SBUF afterwards with nisa.tensor_copy.",
        large,
    )
    shape = (columns,) + moving.meta.shape[2 if double else 1 :]
    call.result(shape, TENSOR)
    compute = _product(stationary, moving, shape, accumulate, double)
    if is_transpose and call.target.nc_version >= 3:
        compute = _exactly_turned(compute, shape)
    return Plan(
        TENSOR,
        compute,
        shape,
        dtypes.FLOAT32,
        kind="whole",
        spread=_columns(shape) if double else None,
        cost={
            "passes": _passes(call, stationary, moving),
            "stationary": columns,
            "moving": width,
            "transpose": is_transpose,
            "tile_position": position,
            "tile_size": size,
            "double_row": double,
        },
        into=None if is_transpose else _product_into(call, accumulate, double),
        one_bank=not large,
    )


def _exactly_turned(
    product: Callable[..., np.ndarray], shape: tuple[int, ...]
) -> Callable[..., np.ndarray]:
    """The transpose mode of NeuronCore-v3: by an identity matrix each element arrives as it is, and
    a NaN or infinity does not spoil its row. What any other moving operand gives is not documented;
    here it is the product."""

    def compute(s: np.ndarray, m: np.ndarray, *held: np.ndarray) -> np.ndarray:
        rows = m.shape[0]
        flat = dtypes.to_fp32(m).reshape(rows, -1)
        if held or flat.shape != (rows, rows) or (flat != np.eye(rows)).any():
            return product(s, m, *held)
        return dtypes.to_fp32(s).reshape(rows, -1).T.reshape(shape)

    return compute


def _product_into(call: Call, accumulate: bool, double: bool) -> Callable[..., None] | None:
    """What computes a product of two-dimensional tiles of float32 in its destination, which lies
    there like a new array."""
    tiles, dst = call.srcs[:2], call.dst
    if (
        double
        or dst is None
        or not dense(dst)
        or any(t.ndim != 2 or t.array.dtype != np.float32 for t in (*tiles, dst))
    ):
        return None

    def into(s: np.ndarray, m: np.ndarray, out: np.ndarray) -> None:
        s.T.dot(m, out)

    def onto(s: np.ndarray, m: np.ndarray, held: np.ndarray, out: np.ndarray) -> None:
        np.add(held, s.T @ m, out=out)

    return onto if accumulate else into


def _one_contraction(call: Call, stationary: Tensor, moving: Tensor) -> None:
    """Both operands have the same number of partitions, over which they are contracted."""
    if stationary.meta.partitions != moving.meta.partitions:
        call.fail(
            "contraction-mismatch",
            f"'{stationary.label}' has {stationary.meta.partitions} partitions, '{moving.label}' "
            f"has {moving.meta.partitions}",
            moving,
            got=f"{stationary.meta.describe()} and {moving.meta.describe()}",
            remedy="The contraction axis is the partition axis of both operands: transpose "
            "one, or slice both "
            "to the same rows.",
        )


def _free_sizes(call: Call, columns: int, width: int, large: bool) -> None:
    """The stationary columns fit the array, the moving ones a bank of PSUM (`large`: all of it)."""
    stationary, moving = call.srcs[:2]
    if columns > call.target.stationary_free_max:
        call.fail(
            "stationary-free-limit",
            f"the stationary operand '{stationary.label}' has {columns} free elements",
            stationary,
            limit=f"{call.target.stationary_free_max} (nl.tile_size.gemm_stationary_fmax)",
            remedy="Make the wider tile the moving operand, or split it into blocks of 128 "
            "columns.",
        )
    most = (
        call.target.psum_partition_bytes // _result_dtype(call).itemsize
        if large
        else call.target.moving_free_max
    )
    if width > most:
        call.fail(
            "moving-free-limit",
            f"the moving operand '{moving.label}' has {width} free elements",
            moving,
            limit=f"{most}" + ("" if large else " (nl.tile_size.gemm_moving_fmax)"),
            remedy=f"Split it into blocks of {most} columns.",
        )


def _product(
    stationary: Tensor, moving: Tensor, shape: tuple[int, ...], accumulate: bool, double: bool
) -> Callable[..., np.ndarray]:
    """stationary.T @ moving in float32, of `shape`, added to what is held; `double`:
    contracted over the second axis too."""
    rows = stationary.meta.partitions * (2 if double else 1)
    flat_s, flat_m = (rows, stationary.meta.size // rows), (rows, moving.meta.size // rows)
    two_d = stationary.ndim == 2 and moving.ndim == 2
    plain = two_d and stationary.array.dtype == np.float32 and moving.array.dtype == np.float32

    if plain and not accumulate:

        def plainly(s: np.ndarray, m: np.ndarray) -> np.ndarray:
            found: np.ndarray = s.T.dot(m)  # less overhead than @ for two small matrices
            return found

        return plainly

    def compute(s: np.ndarray, m: np.ndarray, *held: np.ndarray) -> np.ndarray:
        product = dtypes.to_fp32(s).reshape(flat_s).T @ dtypes.to_fp32(m).reshape(flat_m)
        product = product.reshape(shape)
        found: np.ndarray = dtypes.to_fp32(held[0]).reshape(shape) + product if held else product
        return found

    return compute


def _passes(call: Call, stationary: Tensor, moving: Tensor) -> int:
    """How often the array is run through: fp32 takes four passes, two if an fp32 operand is said to
    hold only ones and zeros."""
    fp32 = np.dtype(np.float32) in (stationary.dtype, moving.dtype)
    onezero = (call.attrs.is_stationary_onezero and stationary.dtype == np.float32) or (
        call.attrs.is_moving_onezero and moving.dtype == np.float32
    )
    return (2 if onezero else 4) if fp32 else 1


def _result_dtype(call: Call) -> np.dtype:
    return call.dst.dtype if call.dst is not None else call.dtype or dtypes.FLOAT32


def _double_row(call: Call, mode: str, size: tuple[Any, ...]) -> None:
    """The fp8 mode that contracts two elements a row of the array at once."""
    call.generation(3)
    if mode not in ("double_row", "double_row_gen3"):
        call.fail("argument", f"perf_mode '{mode}' does not exist", got=mode, limit="double_row")
    if size and size[1] != 128:
        call.fail(
            "argument",
            "double_row does not go with column tiling",
            got=f"tile_size={size}",
            limit="128 columns",
        )
    fp8 = (dtypes.float8_e4m3, dtypes.float8_e5m2) + (
        (dtypes.float8_e4m3fn,) if call.target.nc_version >= 4 else ()
    )
    for t, what in zip(call.srcs, ("the stationary operand", "the moving operand")):
        call.one_of(t, what, fp8, "The double-row mode multiplies fp8 only.")
        if t.ndim < 3 or t.meta.shape[1] != 2:
            call.fail(
                "shape-mismatch",
                f"{what} '{t.label}' has no second axis of two",
                t,
                limit=f"({t.meta.partitions}, 2, n): the contraction is split over "
                "partitions and that axis",
            )


def _together(call: Call, stationary: Any, moving: Any) -> None:
    """Which data types NKI 0.6 multiplies with each other, and what it writes."""
    wide = (dtypes.FLOAT32, dtypes.tfloat32)
    if (stationary.dtype in wide) != (moving.dtype in wide):
        call.fail(
            "dtype",
            f"'{stationary.label}' is {dtypes.name(stationary.dtype)}, '{moving.label}' "
            f"{dtypes.name(moving.dtype)}",
            moving,
            limit="float32 or tfloat32 with float32 or tfloat32 only",
            remedy="Copy one operand to the data type of the other.",
        )
    if {stationary.dtype, moving.dtype} == {dtypes.float8_e4m3, dtypes.float8_e4m3fn}:
        call.fail(
            "dtype",
            "float8_e4m3 and float8_e4m3fn meet in one matmul",
            moving,
            limit="one of the two",
        )
    if call.dst is not None:
        call.one_of(
            call.dst,
            "the destination",
            _written_types(call, stationary),
            "Make the PSUM tile with dtype=nl.float32.",
        )


def _written_types(call: Call, stationary: Any) -> tuple[np.dtype, ...]:
    """What NKI 0.6 writes into PSUM: float32; bfloat16 too from NeuronCore-v4 on; and, in the
    transpose mode of NeuronCore-v3, the 16-bit type of what is transposed."""
    found: tuple[np.dtype, ...] = (dtypes.FLOAT32,)
    if call.target.nc_version >= 4:
        found += (dtypes.bfloat16,)
    turned = call.attrs.is_transpose and call.target.nc_version >= 3
    if turned and stationary.dtype in (dtypes.FLOAT16, dtypes.bfloat16):
        found += (stationary.dtype,) if stationary.dtype not in found else ()
    return found


def _columns(shape: tuple[int, ...]) -> Any:
    """Where unknown elements of a matmul's operands reach: those of stationary columns rows, those
    of moving ones columns."""

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> Any:
        if position > 1:
            return flags.reshape(shape)
        any_of = flags.reshape(
            flags.shape[0], -1, shape[0] if position == 0 else size_of(shape[1:])
        ).any(axis=(0, 1))
        return (
            any_of.reshape((-1,) + (1,) * (len(shape) - 1))
            if position == 0
            else any_of.reshape((1,) + shape[1:])
        )

    return spread
