"""neuronxcc.nki.language: the names a kernel knows as `nl`.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/language/__init__.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...execution.execution import current as _current
from ...machine import dtypes as _dtypes
from ...machine import narrow as _narrow
from ...rules import arguments as _arguments
from ...rules.errors import broken as _broken
from ...tensors import index as _index
from ..functions import missing as _missing
from ..limits import TileSize as _TileSize
from .creation import (
    empty_like,
    full,
    ndarray,
    ones,
    shared_constant,
    shared_identity_matrix,
    zeros,
    zeros_like,
)
from .elementwise import (
    abs,
    add,
    arctan,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    ceil,
    cos,
    divide,
    equal,
    erf,
    erf_dx,
    exp,
    floor,
    fmod,
    gelu,
    gelu_apprx_sigmoid,
    gelu_apprx_tanh,
    gelu_dx,
    greater,
    greater_equal,
    invert,
    left_shift,
    less,
    less_equal,
    log,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mish,
    mod,
    multiply,
    negative,
    not_equal,
    power,
    reciprocal,
    relu,
    right_shift,
    rsqrt,
    sigmoid,
    sign,
    silu,
    silu_dx,
    sin,
    softplus,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    trunc,
    where,
)
from .isa_support import fp32
from .moving import (
    broadcast_to,
    copy,
    expand_dims,
    matmul,
    static_cast,
    transpose,
)
from .reductions import (
    all,
    max,
    mean,
    min,
    prod,
    rms_norm,
    softmax,
    sum,
    var,
)
from .special import (
    all_reduce,
    atomic_rmw,
    dropout,
    gather_flattened,
    gemm_grid,
    gemm_stationary_grid,
    loop_reduce,
    rand,
    random_seed,
)
from .support import ParDim as par_dim
from .support import hbm, psum, sbuf, shared_hbm
from .transfer import device_print, load, load_transpose2d, store

private_hbm = hbm

# data types
bool_ = np.bool_
int8, int16, int32 = np.int8, np.int16, np.int32
uint8, uint16, uint32 = np.uint8, np.uint16, np.uint32
float16, float32 = np.float16, np.float32
bfloat16 = _dtypes.bfloat16
float8_e4m3 = _dtypes.float8_e4m3
float8_e5m2 = _dtypes.float8_e5m2
tfloat32 = _dtypes.tfloat32

# index grids
arange = _index.arange
mgrid = _index.mgrid


ds = _index.DynamicSlice


class _Range:
    """A loop iterator; each iteration is a scope for the tiles made in it."""

    __slots__ = ("kind", "values")

    def __init__(self, kind: str, *args: Any, **_ignored: Any) -> None:
        if not args or not builtins_all(
            isinstance(a, (int, np.integer)) and not isinstance(a, bool) for a in args
        ):
            _broken(
                "argument",
                f"nl.{kind} takes integers",
                got=repr(args),
                remedy="Trip counts are known when the kernel is built; use // instead of /.",
            )
        if len(args) > 3 or (len(args) == 3 and not args[2]):
            _broken(
                "argument",
                f"nl.{kind} takes (stop) or (start, stop[, step]), with a step that is not 0",
                got=repr(args),
                limit="one to three integers",
            )
        self.kind = kind
        self.values = range(*[int(a) for a in args])

    def __iter__(self) -> Iterator[int]:
        return _current(f"nl.{self.kind}").iterate(self.values, self.kind == "affine_range")

    def __len__(self) -> int:
        return len(self.values)


def builtins_all(values: Any) -> bool:
    for v in values:  # noqa: SIM110
        if not v:
            return False
    return True


def affine_range(*args: Any, **kwargs: Any) -> _Range:
    """Iterations that do not depend on one another (sums in PSUM aside). (stop) or (start, stop[,
    step])."""
    return _Range("affine_range", *args, **kwargs)


def sequential_range(*args: Any, **kwargs: Any) -> _Range:
    """Iterations in order, each seeing what the previous ones wrote. (stop) or (start, stop[,
    step])."""
    return _Range("sequential_range", *args, **kwargs)


def static_range(*args: Any) -> _Range:
    """Iterations unrolled when the kernel is built. (stop) or (start, stop[, step])."""
    return _Range("static_range", *args)


# program instances
def program_id(axis: int) -> int:
    """Index of this program instance along grid axis `axis`."""
    program = _current("nl.program_id")
    axis = _arguments.integer(axis, "nl.program_id", "axis")
    if not program.position and axis == 0:
        return 0
    if not 0 <= axis < len(program.position):
        _broken(
            "argument",
            f"nl.program_id({axis}): the grid has {len(program.position)} axes",
            got=axis,
            limit=f"0..{len(program.position) - 1}",
            remedy="Launch the kernel with a grid: kernel[n](...).",
        )
    return program.position[axis]


def num_programs(axes: Any = None) -> int:
    """Number of program instances along the grid axes `axes` (None: in all)."""
    program = _current("nl.num_programs")
    grid = program.grid or (1,)
    chosen = (
        range(len(grid)) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    )
    total = 1
    for a in chosen:
        a = _arguments.integer(a, "nl.num_programs", "an axis")
        if not 0 <= a < len(grid):
            _broken("argument", f"nl.num_programs: the grid has {len(grid)} axes", got=a)
        total *= grid[a]
    return total


def program_ndim() -> int:
    """Number of axes of the launch grid."""
    return len(_current("nl.program_ndim").grid)


class nc(int):
    """nl.nc(n): grid axis spread over n physical NeuronCores; here its instances run one after the
    other."""

    def __new__(cls, n: Any) -> nc:
        return super().__new__(cls, _arguments.integer(n, "nl.nc", "n"))

    def __mul__(self, other: int) -> int:
        return int(self) * int(other)

    __rmul__ = __mul__


def spmd_dim(outer: int, inner: int) -> int:
    """A grid axis of outer * inner instances."""
    api = "nl.spmd_dim"
    return _arguments.integer(outer, api, "outer") * _arguments.integer(inner, api, "inner")


tile_size = _TileSize()
"""The limits of the target in force."""


class _Bfp16:
    @property
    def min(self) -> float:
        """Bit pattern 0xff80 in bfloat16: minus infinity."""
        return float("-inf")


bfp16 = _Bfp16()


def finfo(dtype: Any) -> Any:
    """Limits of a floating-point type, as numpy.finfo."""
    found = _dtypes.wanted(dtype, "nl.finfo")
    if not _dtypes.is_float(found):
        _broken(
            "dtype", f"nl.finfo: {found} is not a float", got=found, limit="a floating-point type"
        )
    return _narrow.finfo(_dtypes.storage(found))


__all__ = [
    "abs",
    "add",
    "affine_range",
    "all",
    "all_reduce",
    "arange",
    "arctan",
    "atomic_rmw",
    "bfloat16",
    "bfp16",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bool_",
    "broadcast_to",
    "ceil",
    "copy",
    "cos",
    "device_print",
    "divide",
    "dropout",
    "ds",
    "empty_like",
    "equal",
    "erf",
    "erf_dx",
    "exp",
    "expand_dims",
    "finfo",
    "float8_e4m3",
    "float8_e5m2",
    "float16",
    "float32",
    "floor",
    "fmod",
    "fp32",
    "full",
    "gather_flattened",
    "gelu",
    "gelu_apprx_sigmoid",
    "gelu_apprx_tanh",
    "gelu_dx",
    "gemm_grid",
    "gemm_stationary_grid",
    "greater",
    "greater_equal",
    "hbm",
    "int8",
    "int16",
    "int32",
    "invert",
    "left_shift",
    "less",
    "less_equal",
    "load",
    "load_transpose2d",
    "log",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "loop_reduce",
    "matmul",
    "max",
    "maximum",
    "mean",
    "mgrid",
    "min",
    "minimum",
    "mish",
    "mod",
    "multiply",
    "nc",
    "ndarray",
    "negative",
    "not_equal",
    "num_programs",
    "ones",
    "par_dim",
    "power",
    "private_hbm",
    "prod",
    "program_id",
    "program_ndim",
    "psum",
    "rand",
    "random_seed",
    "reciprocal",
    "relu",
    "right_shift",
    "rms_norm",
    "rsqrt",
    "sbuf",
    "sequential_range",
    "shared_constant",
    "shared_hbm",
    "shared_identity_matrix",
    "sigmoid",
    "sign",
    "silu",
    "silu_dx",
    "sin",
    "softmax",
    "softplus",
    "spmd_dim",
    "sqrt",
    "square",
    "static_cast",
    "static_range",
    "store",
    "subtract",
    "sum",
    "tan",
    "tanh",
    "tfloat32",
    "tile_size",
    "transpose",
    "trunc",
    "uint8",
    "uint16",
    "uint32",
    "var",
    "where",
    "zeros",
    "zeros_like",
]

if not TYPE_CHECKING:
    __getattr__ = _missing("nl", __all__)
