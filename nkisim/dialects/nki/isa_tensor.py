"""nisa on TensorE: matrix products and transposes.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import remember
from ...execution.execution import current, running
from ...isa.copies import VECTOR_TRANSPOSE
from ...isa.tensor_engine import NC_MATMUL
from ...isa.transpose import NC_TRANSPOSE
from ...machine.memory import EMPTY, FULL, PSUM, SHARED
from ...rules.arguments import flag, integers
from ...rules.errors import broken
from ...tensors.tensor import Tensor
from .enums import engine, matmul_perf_mode
from .isa_support import ANY_ENGINE, DONE, again, destination, engine_name, run, same_dtype
from .objects import NkiInstruction
from .support import option, tile
from .targets import needs_trn2
from .tensor import NkiTensor

_ALL = np.ones(1, dtype=bool)


_PLAIN_MODE = matmul_perf_mode.none


_OVERWRITING: tuple[Any, ...] = (False, False, False, (), (), False, "none", True)


_ADDING: tuple[Any, ...] = (False, False, False, (), (), True, "none", True)
"""The attributes of nc_matmul without options."""


def onto(dst: Tensor, accumulate: bool | None, api: str) -> bool:
    """Whether a matmul adds to what is in `dst`; None: to what has been written of it."""
    program = current(api)
    buf = dst.buf
    if accumulate is not None and not isinstance(accumulate, (bool, np.bool_)):
        broken(
            "argument",
            f"{api}: accumulate is {accumulate!r}",
            got=repr(accumulate),
            limit="True, False or None",
        )
    if accumulate is False or (buf.state == EMPTY and accumulate is None):
        return False
    if dst.meta.space != PSUM:
        return bool(accumulate)
    full = buf.state in (FULL, SHARED)
    written = _ALL if full else program.written_flags(dst)
    if accumulate is None:
        if not written.any():
            return False
        if not written.all():
            program.clear_unwritten(dst)
    if program.config.target.nc_version < 4 and buf not in program.accumulators and written.all():
        broken(
            "psum-accumulate",
            f"{api}: '{dst.label}' is accumulated onto, but no matmul wrote what is there",
            tensor=dst.label,
            got=dst.meta.describe(),
            remedy="On NeuronCore-v2 and v3 the first matmul must overwrite: do without the "
            "memset, and pass "
            "accumulate=(i > 0) or nothing.",
        )
    return True


def nc_matmul(
    dst: Any,
    stationary: Any,
    moving: Any,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    accumulate: bool | None = None,
    tile_position: Any = (),
    tile_size: Any = (),
    perf_mode: Any = matmul_perf_mode.none,
    name: str | None = None,
) -> NkiInstruction:
    """dst = stationary.T @ moving, or added to dst. stationary: SBUF (k, m); moving: SBUF (k, n);
    dst: PSUM (m, n).

    accumulate=None adds to the elements of dst that have been written and overwrites the others.
    """
    api = "nisa.nc_matmul"
    plain = is_stationary_onezero is is_moving_onezero is is_transpose is False
    untiled = type(tile_position) is type(tile_size) is tuple and tile_position == tile_size == ()
    key: tuple[Any, ...] = ()
    if (
        type(dst) is type(stationary) is type(moving) is NkiTensor
        and plain
        and untiled
        and perf_mode is _PLAIN_MODE
        and accumulate is None
        and dst.buf.state == EMPTY
        and not (dst.runtime or stationary.runtime or moving.runtime)
        and not (dst.tensor_index or stationary.tensor_index or moving.tensor_index)
    ):
        key = (nc_matmul, dst.meta, stationary.meta, moving.meta)
        if again(key, api, dst, (stationary, moving)):
            (running() or current(api)).accumulators.add(dst.buf)
            return DONE
    into = destination(dst, api, group=32)
    a, b = tile(stationary, api, "stationary", group=32), tile(moving, api, "moving", group=32)
    _picked(dst, stationary, moving, is_transpose, tile_position, api)
    double = False
    if perf_mode is not _PLAIN_MODE:
        mode = option(perf_mode, matmul_perf_mode, api, "perf_mode")
        double = mode is matmul_perf_mode.double_row
    program = running() or current(api)
    new = accumulate is None and into.buf.state == EMPTY
    adds = False if new else onto(into, accumulate, api)
    if plain and untiled and not double:
        attrs = _ADDING if adds else _OVERWRITING
    else:
        attrs = (
            flag(is_stationary_onezero, api, "is_stationary_onezero"),
            flag(is_moving_onezero, api, "is_moving_onezero"),
            flag(is_transpose, api, "is_transpose"),
            integers(() if tile_position is None else tile_position, api, "tile_position"),
            integers(() if tile_size is None else tile_size, api, "tile_size"),
            adds,
            "double_row" if double else "none",
            True,
        )
    if double:
        needs_trn2(f"{api}(perf_mode=double_row)")
    out = run(NC_MATMUL, api, into, (a, b, into) if adds else (a, b), attrs)
    program.accumulators.add(into.buf)
    if key:
        remember(key, NC_MATMUL, attrs, into.meta, None, (a, b))
    return out


def _picked(
    dst: Any, stationary: Any, moving: Any, is_transpose: Any, tile_position: Any, api: str
) -> None:
    """Elements picked by indirect are 8 or 16 bits wide, and go with the whole array."""
    picked = [t for t in (dst, stationary, moving) if getattr(t, "tensor_index", None) is not None]
    if not picked:
        return
    wide = [t for t in picked if t is not dst and t.dtype.itemsize > 2]
    elsewhere = tile_position not in (None, (), [], (0, 0), [0, 0])
    if wide or elsewhere or (is_transpose and any(t is moving for t in picked)):
        of = (wide or picked)[0]
        broken(
            "tensor-indirection",
            f"{api}: '{of.label}' is picked by indirect",
            tensor=of.label,
            got=f"{of.meta.describe()}, tile_position={tile_position}, is_transpose={is_transpose}",
            limit="operands of 8 or 16 bits, the PE tile at (0, 0), no transposed moving operand",
            remedy="Pick the elements first: nisa.tensor_copy(dst, t.indirect(index)).",
        )


def nc_transpose(
    dst: Any, data: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """The tile `data` (p, f), free axes collapsed, as (f, p): by TensorE into PSUM, by VectorE (32
    x 32) anywhere."""
    api = "nisa.nc_transpose"
    key: tuple[Any, ...] = ()
    if (
        type(dst) is type(data) is NkiTensor
        and engine is ANY_ENGINE
        and not (dst.runtime or dst.tensor_index or data.runtime or data.tensor_index)
    ):
        key = (nc_transpose, dst.meta, data.meta)
        if again(key, api, dst, (data,)):
            (running() or current(api)).accumulators.add(dst.buf)
            return DONE
    into, t = destination(dst, api), tile(data, api, "data")
    wanted = engine_name(engine, api, "tensor", "vector")
    same_dtype(into, t, api, "data")
    small = t.meta.partitions <= 32 and t.meta.free <= 32
    if wanted is None:
        wanted = (
            "vector" if small and (into.meta.space != PSUM or t.meta.space == PSUM) else "tensor"
        )
    if wanted == "vector":
        return run(VECTOR_TRANSPOSE, api, into, (t,))
    done = run(NC_TRANSPOSE, api, into, (t,))
    (running() or current(api)).accumulators.add(into.buf)  # a matmul, with the identity matrix
    if key:
        remember(key, NC_TRANSPOSE, (), into.meta, None, (t,))
    return done


__all__ = ["nc_matmul", "nc_transpose"]
