"""nki.language: the names a kernel of this dialect knows as `nl`.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...execution.execution import current as _current
from ...machine import dtypes as _dtypes
from ...rules import arguments as _arguments
from ...rules.errors import broken as _broken
from ..functions import missing as _missing
from ..limits import TileSize as _SharedTileSize
from .compute import *  # noqa: F403
from .compute import __all__ as _compute_names
from .creation import *  # noqa: F403
from .creation import __all__ as _creation_names
from .loops import *  # noqa: F403
from .loops import __all__ as _loop_names
from .moving import *  # noqa: F403
from .moving import __all__ as _moving_names
from .objects import MemoryRegion, NKIObject, is_hbm, is_on_chip, is_psum, is_sbuf  # noqa: F401
from .rand import *  # noqa: F403
from .rand import __all__ as _random_names
from .tensor import NkiTensor, ds  # noqa: F401

DType = np.dtype

# data types: NumPy's, so that they compare with array.dtype and serve as its arguments
bool_ = np.dtype(np.bool_)
int8, int16, int32 = np.dtype(np.int8), np.dtype(np.int16), np.dtype(np.int32)
uint8, uint16, uint32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.uint32)
float16, float32 = np.dtype(np.float16), np.dtype(np.float32)
bfloat16 = _dtypes.bfloat16
tfloat32 = _dtypes.tfloat32
float8_e4m3 = _dtypes.float8_e4m3
float8_e5m2 = _dtypes.float8_e5m2
float8_e4m3fn = _dtypes.float8_e4m3fn
float8_e8m0fnu = _dtypes.float8_e8m0fnu
float8_e5m2_x4 = _dtypes.float8_e5m2_x4
float8_e4m3fn_x4 = _dtypes.float8_e4m3fn_x4
float4_e2m1fn_x4 = _dtypes.float4_e2m1fn_x4


# operators that are names only: they go into op=, op0= and op1= of instructions
def _operator_only(name: str, where: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        _broken(
            "operator",
            f"nl.{name} is an operator for instructions, not a function",
            got=f"nl.{name}(...)",
            remedy=f"Pass it to an instruction: {where}.",
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"The operator {name}, for {where}."
    return function


prelu = _operator_only("prelu", "nisa.activate2(op=nl.prelu, relu_param=slope, ...)")
bypass = _operator_only("bypass", "nisa.activate2(op0=nl.bypass, ...)")
average = _operator_only("average", "nisa.tensor_partition_reduce(dst, nl.average, data)")


# -- program instances -----------------------------------------------------------------------------
def _cores(api: str, axes: Any, default: int) -> int:
    program = _current(api)
    chosen = axes if isinstance(axes, (tuple, list)) and axes else (axes,)
    for axis in chosen:
        axis = _arguments.integer(axis, api, "an axis")
        if axis != 0:
            _broken("argument", f"{api}: the launch grid has one axis", got=axis, limit="0")
    return program.grid[0] if program.grid else default


def program_id(axis: int = 0) -> int:
    """Number of the physical core that runs this instance: 0, or 0 and 1 for kernel[2]."""
    _cores("nl.program_id", axis, 1)
    position = _current("nl.program_id").position
    return position[0] if position else 0


def num_programs(axes: Any = 0) -> int:
    """Number of physical cores that run the kernel: 1 or 2."""
    return _cores("nl.num_programs", 0 if axes is None else axes, 1)


def program_ndim() -> int:
    """Number of axes of the launch grid: 1 for kernel[lnc](...), 0 without."""
    return len(_current("nl.program_ndim").grid)


class _TileSize(_SharedTileSize):
    """nl.tile_size: the limits of the target in force, with those that NKI 0.4 added."""

    @property
    def psum_bank_fmax(self) -> int:
        """fp32 elements of a PSUM bank a partition."""
        return self._target.psum_bank_fp32

    @property
    def psum_bank_fmax_bytes(self) -> int:
        """Bytes of a PSUM bank a partition."""
        return self._target.psum_bank_bytes

    @property
    def psum_num_banks(self) -> int:
        """PSUM banks per partition."""
        return self._target.psum_banks

    @property
    def sbuf_size_bytes(self) -> int:
        """Bytes of SBUF, all partitions together."""
        return self._target.sbuf_partition_bytes * self._target.partitions

    @property
    def sbuf_fmax(self) -> int:
        """fp32 elements of SBUF a partition."""
        return self._target.sbuf_partition_bytes // 4

    @property
    def sbuf_fmax_bytes(self) -> int:
        """Bytes of SBUF a partition."""
        return self._target.sbuf_partition_bytes


tile_size = _TileSize()

_SIMPLE = [
    "DType",
    "MemoryRegion",
    "NKIObject",
    "NkiTensor",
    "average",
    "bfloat16",
    "bool_",
    "bypass",
    "ds",
    "float16",
    "float32",
    "float4_e2m1fn_x4",
    "float8_e4m3",
    "float8_e4m3fn",
    "float8_e4m3fn_x4",
    "float8_e5m2",
    "float8_e5m2_x4",
    "float8_e8m0fnu",
    "int16",
    "int32",
    "int8",
    "is_hbm",
    "is_on_chip",
    "is_psum",
    "is_sbuf",
    "num_programs",
    "prelu",
    "program_id",
    "program_ndim",
    "tfloat32",
    "tile_size",
    "uint16",
    "uint32",
    "uint8",
]
__all__ = sorted(
    [
        *_SIMPLE,
        *_compute_names,
        *_creation_names,
        *_loop_names,
        *_moving_names,
        *_random_names,
    ]
)

_GONE = {
    "range": "use Python's range",
    "arange": "slice tensors with integers, slices and nl.ds, or build a pattern with .ap",
    "mgrid": "slice tensors with integers, slices and nl.ds, or build a pattern with .ap",
    "loop_reduce": "accumulate in a tile",
    "static_cast": "use nl.copy(x, dtype=...)",
    "cast": "use nl.copy(x, dtype=...)",
    "all_reduce": "see nki.collectives",
    "nc": "launch with kernel[lnc]",
    "spmd_dim": "launch with kernel[lnc]",
    "fp32": "use numpy.finfo(numpy.float32)",
    "atomic_rmw": "use nisa.dma_compute",
}

if not TYPE_CHECKING:
    __getattr__ = _missing("nl", __all__, _GONE)
