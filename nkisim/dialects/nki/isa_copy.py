"""nisa on VectorE: copies, fills, and selections by a predicate.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import remember
from ...isa.copies import MEMSET, TENSOR_COPY
from ...isa.mx import X4
from ...isa.select import SELECT_REDUCE, TENSOR_COPY_PREDICATED
from ...machine import dtypes
from ...rules.arguments import flag
from ...rules.errors import broken
from ...tensors.const import Const
from ..functions import alu_of
from . import enums
from .compute import maximum as _maximum
from .enums import engine, reduce_cmd
from .isa_support import (
    ANY_ENGINE,
    DONE,
    again,
    destination,
    engine_name,
    number,
    of_one_size,
    old_dtype,
    run,
)
from .objects import NkiInstruction
from .support import operand, option, same_size, tile
from .targets import needs_trn2
from .tensor import NkiTensor

_NO_ENGINE = (None,)


def tensor_copy(
    dst: Any, src: Any, engine: Any = engine.unknown, name: str | None = None, dtype: Any = None
) -> NkiInstruction:
    """dst = src, two tiles of one size on chip. `dtype` is of older versions, and says what dst
    has."""
    api = "nisa.tensor_copy"
    key: tuple[Any, ...] = ()
    if dtype is not None:
        old_dtype(dtype, destination(dst, api), api)
    elif (
        type(dst) is type(src) is NkiTensor
        and engine is ANY_ENGINE
        and not (dst.runtime or dst.tensor_index or src.runtime or src.tensor_index)
    ):
        key = (tensor_copy, dst.meta, src.meta)
        if again(key, api, dst, (src,)):
            return DONE
    into, t = of_one_size(dst, src, api, "src")
    if engine is ANY_ENGINE:
        done = run(TENSOR_COPY, api, into, (t,), _NO_ENGINE)
        if key:
            remember(key, TENSOR_COPY, _NO_ENGINE, into.meta, None, (t,))
        return done
    wanted = engine_name(engine, api, "vector", "scalar", "gpsimd")
    if wanted == "scalar":
        needs_trn2(f"{api} on ScalarE")
    if wanted == "gpsimd" and any(getattr(x, "tensor_index", None) for x in (dst, src)):
        broken(
            "tensor-indirection",
            f"{api}: GpSimdE does not copy elements picked by indirect",
            got="engine=nisa.engine.gpsimd",
            limit="nisa.engine.vector, nisa.engine.scalar",
        )
    return run(TENSOR_COPY, api, into, (t,), (wanted,))


def memset(
    dst: Any, value: Any, engine: Any = engine.unknown, name: str | None = None
) -> NkiInstruction:
    """Fill dst with the number `value`, which has the type of dst: an integer for integers; a whole
    float is taken with a warning."""
    api = "nisa.memset"
    into = destination(dst, api)
    plain = number(value, api, "value")
    if into.dtype in X4:
        if plain != 0:
            broken(
                "dtype",
                f"{api}: '{into.label}' holds packed elements",
                tensor=into.label,
                got=repr(value),
                limit="0",
            )
        into, plain = into.view(np.dtype(f"u{into.dtype.itemsize}")), 0
    if dtypes.is_integer(into.dtype) and isinstance(plain, float):
        whole = plain.is_integer()
        broken(
            "memset-type" if whole else "dtype",
            f"{api}: the value {plain} is not {dtypes.name(into.dtype)}",
            tensor=into.label,
            got=repr(value),
            limit=f"an integer for {dtypes.name(into.dtype)}",
            remedy=f"Write value={int(plain)}." if whole else "Make the tile with a float dtype.",
        )
        plain = int(plain) if whole else plain
    return run(
        MEMSET,
        api,
        into,
        (Const(plain),),
        (into.shape, engine_name(engine, api, "vector", "gpsimd")),
    )


def tensor_copy_predicated(
    dst: Any, src: Any, predicate: Any, reverse_pred: bool = False, name: str | None = None
) -> NkiInstruction:
    """Where the integer tile `predicate` is not zero, dst takes src (a tile or a number); elsewhere
    it stays."""
    api = "nisa.tensor_copy_predicated"
    into, p, s = destination(dst, api), tile(predicate, api, "predicate"), operand(src, api, "src")
    same_size(into, p, api, "predicate")
    same_size(into, s, api, "src")
    return run(
        TENSOR_COPY_PREDICATED, api, into, (p, s, into), (flag(reverse_pred, api, "reverse_pred"),)
    )


def select_reduce(
    dst: Any,
    predicate: Any,
    on_true: Any,
    on_false: Any,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    reduce_op: Any = _maximum,
    reverse_pred: bool = False,
    name: str | None = None,
) -> NkiInstruction:
    """dst = on_true where the integer tile `predicate` is not zero, else on_false (a number or a
    tile (p, 1)).

    reduce_res: a float tile (p, 1) for the row maxima.
    """
    api = "nisa.select_reduce"
    into, p, a = (
        destination(dst, api),
        tile(predicate, api, "predicate"),
        tile(on_true, api, "on_true"),
    )
    b = operand(on_false, api, "on_false")
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    if alu_of(reduce_op, api, "reduce_op").name != "maximum":
        broken(
            "operator",
            f"{api}: reduce_op",
            got=getattr(reduce_op, "__name__", repr(reduce_op)),
            limit="nl.maximum",
        )
    same_size(into, p, api, "predicate")
    same_size(into, a, api, "on_true")
    extra = None if reduce_res is None else destination(reduce_res, api, "reduce_res")
    return run(
        SELECT_REDUCE,
        api,
        into,
        (p, a, b),
        (flag(reverse_pred, api, "reverse_pred"), cmd.value),
        extra,
    )


__all__ = [
    "memset",
    "select_reduce",
    "tensor_copy",
    "tensor_copy_predicated",
]
