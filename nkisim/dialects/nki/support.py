"""What the functions of this dialect share: reading arguments, run-time views, options."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from ...machine import dtypes
from ...machine.memory import CONST, HBM
from ...rules import arguments
from ...rules.errors import broken
from ...tensors import runtime
from ...tensors.beyond import BeyondView
from ...tensors.const import Const, of_float
from ...tensors.tensor import Tensor
from .objects import VirtualRegister
from .tensor import NkiTensor


def as_tensor(x: Any, api: str, what: str = "operand") -> Tensor:
    """`x`, which must be a tensor."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, BeyondView):
        x.refuse()
    got = (
        (f"a NumPy array of shape {x.shape}")
        if isinstance(x, np.ndarray)
        else f"{type(x).__name__} {x!r}"[:80]
    )
    broken(
        "numpy-on-tile" if isinstance(x, np.ndarray) else "argument",
        f"{api}: {what} is not a tensor",
        got=got,
        remedy="Pass arrays as kernel arguments and load them; pass numbers where a number is "
        "taken.",
    )
    raise AssertionError


_PICKS = {
    "activate2": ("dst", "data"),
    "activation": ("dst", "data"),
    "activation_reduce": ("dst", "data"),
    "exponential": ("dst", "src"),
    "nc_matmul": ("dst", "stationary", "moving"),
    "nc_matmul_mx": ("dst",),  # its other operands come in pairs, which are not simulated
    "tensor_copy": ("dst", "src"),
    "tensor_copy_predicated": ("dst", "predicate"),
    "tensor_reduce": ("dst", "data"),
    "tensor_scalar": ("dst", "data"),
    "tensor_scalar_cumulative": ("dst", "src"),
    "tensor_scalar_reduce": ("dst", "data"),
    "tensor_tensor": ("dst", "data1"),
}
"""Which operands of which instructions of nisa may be picked by NkiTensor.indirect."""


def tile(x: Any, api: str, what: str = "operand", *, skip: bool = False, group: int = 16) -> Tensor:
    """`x` as the instruction sees it: run-time indices are read now. `group`: partitions a list of
    offsets serves."""
    if type(x) is not NkiTensor:
        return as_tensor(x, api, what)
    if x.tensor_index is not None:
        if what not in _PICKS.get(api.removeprefix("nisa."), ()):
            broken(
                "tensor-indirection",
                f"{api} does not take elements picked by indirect as {what}",
                tensor=x.label,
                got=f"{x.label}.indirect(...)",
                limit=", ".join(f"nisa.{f} ({', '.join(o)})" for f, o in _PICKS.items()),
                remedy="Pick them first: nisa.tensor_copy(dst, t.indirect(index)).",
            )
        of, index = x.tensor_index
        return runtime.scattered(of, index, group, x.shape[1], api)
    if x.runtime is not None:
        return runtime.resolve(x, api, skip)
    return x


def operand(x: Any, api: str, what: str = "operand") -> Tensor:
    """`x` as the instruction sees it, numbers as constants."""
    if isinstance(x, Tensor):
        return tile(x, api, what)
    if type(x) is float:
        return of_float(x)
    if isinstance(x, (int, float, np.generic)) or (isinstance(x, np.ndarray) and x.ndim == 0):
        return Const(arguments.number(x, api, what))
    if isinstance(x, VirtualRegister):
        broken(
            "register",
            f"{api}: {what} is a register",
            got=repr(x),
            remedy="Store it into a tile of one element per partition with nisa.register_store, "
            "and pass that.",
        )
    return as_tensor(x, api, what)


def is_const(t: Tensor) -> bool:
    return t.meta.space == CONST


def want_dtype(dtype: Any, api: str) -> np.dtype | None:
    """The dtype asked for, resolved; None if none was."""
    if dtype is None:
        return None
    return dtypes.wanted(dtype, api)


def option(value: Any, kind: type[Enum], api: str, what: str) -> Any:
    """`value` as a member of the enumeration `kind`: one of them, the text of one whose values
    are texts, or with a warning the raw number of one."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and any(value == m.value for m in kind):
        return kind(value)
    names = ", ".join(f"nisa.{kind.__name__}.{m.name}" for m in kind)
    raw = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))
    known = next((m for m in kind if raw and m.value == value), None)
    if known is None:
        broken(
            "argument",
            f"{api}: {what} is {value!r}",
            got=repr(value),
            limit=names,
            remedy=f"Pass a member of nisa.{kind.__name__}.",
        )
    broken(
        "enum-constant",
        f"{api}: {what} is {value!r}",
        got=repr(value),
        limit=names,
        remedy=f"Write nisa.{kind.__name__}.{known.name if known is not None else ''}.",
    )
    return known


def same_size(dst: Tensor, src: Tensor, api: str, what: str) -> None:
    """Two tiles must have the same partitions and the same number of elements per partition:
    nothing is broadcast."""
    a, b = dst.meta, src.meta
    if a.partitions == b.partitions and a.free == b.free:
        return
    if b.space == CONST or HBM in (a.space, b.space):
        return
    if a.partitions != b.partitions:
        broken(
            "partition-mismatch",
            f"{api}: '{dst.label}' has {a.partitions} partitions, {what} '{src.label}' has "
            f"{b.partitions}",
            tensor=src.label,
            got=f"{a.describe()} and {b.describe()}",
            remedy="Slice both to the same partitions; data moves between partitions by "
            "nisa.nc_transpose or a matmul.",
        )
    if a.free != b.free:
        broken(
            "shape-mismatch",
            f"{api}: '{dst.label}' has {a.free} elements per partition, {what} "
            f"'{src.label}' has {b.free}",
            tensor=src.label,
            got=f"{a.describe()} and {b.describe()}",
            remedy="Nothing is broadcast: for one value per partition use nisa.tensor_scalar, or "
            "repeat the tile with "
            ".broadcast(dim, size).",
        )
