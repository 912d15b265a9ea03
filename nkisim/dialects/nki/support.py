"""What the functions of this dialect share: reading arguments, run-time views, options, targets."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from ...machine import dtypes
from ...machine import target as targets
from ...machine.memory import CONST, HBM
from ...machine.running import STATE, current
from ...rules.errors import broken
from ...tensors import strided
from ...tensors.tensor import Const, Tensor
from .objects import VirtualRegister
from .tensor import NkiTensor


def as_tensor(x: Any, api: str, what: str = "operand") -> Tensor:
    """`x`, which must be a tensor."""
    if isinstance(x, Tensor):
        return x
    got = (
        (f"a NumPy array of shape {x.shape}")
        if isinstance(x, np.ndarray)
        else f"{type(x).__name__} {x!r}"[:80]
    )
    broken(
        "numpy-on-tile" if isinstance(x, np.ndarray) else "argument",
        f"{api}: {what} is no tensor",
        got=got,
        remedy="Pass arrays as kernel arguments and load them; pass numbers where a number is "
        "taken.",
    )
    raise AssertionError


def tile(x: Any, api: str, what: str = "operand", *, skip: bool = False, group: int = 16) -> Tensor:
    """`x` as the instruction sees it: run-time indices are read now. `group`: partitions a list of
    offsets serves."""
    t = as_tensor(x, api, what)
    if type(t) is not NkiTensor:
        return t
    if t.tensor_index is not None:
        of, index = t.tensor_index
        return strided.scattered(of, index, group, t.shape[1], api)
    if t.runtime is not None:
        return strided.resolve(t, api, skip)
    return t


def operand(x: Any, api: str, what: str = "operand") -> Tensor:
    """`x` as the instruction sees it, numbers as constants."""
    if isinstance(x, Tensor):
        return tile(x, api, what)
    if isinstance(x, (int, float, np.generic)):
        return Const(x)
    if isinstance(x, np.ndarray) and x.ndim == 0:
        return Const(x[()])
    if isinstance(x, VirtualRegister):
        broken(
            "register",
            f"{api}: {what} is a register",
            got=repr(x),
            remedy="Store it into a tile of one element a partition with nisa.register_store, "
            "and pass that.",
        )
    return as_tensor(x, api, what)


def is_const(t: Tensor) -> bool:
    return t.meta.space == CONST


def want_dtype(dtype: Any, api: str) -> np.dtype | None:
    """The dtype asked for, resolved; None if none was."""
    if dtype is None:
        return None
    try:
        return dtypes.resolve(dtype)
    except TypeError as e:
        broken("dtype", f"{api}: {e}", got=repr(dtype))
        raise


def option(value: Any, kind: type[Enum], api: str, what: str) -> Any:
    """`value`, which must be a member of the enumeration `kind` (or the text of one whose values
    are texts)."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and any(value == m.value for m in kind):
        return kind(value)
    names = ", ".join(f"nisa.{kind.__name__}.{m.name}" for m in kind)
    broken(
        "enum-constant",
        f"{api}: {what} is {value!r}",
        got=repr(value),
        limit=names,
        remedy=f"Pass a member of nisa.{kind.__name__}.",
    )
    raise AssertionError


def same_size(dst: Tensor, src: Tensor, api: str, what: str) -> None:
    """Two tiles must have the same partitions and the same number of elements a partition: nothing
    is broadcast."""
    a, b = dst.meta, src.meta
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
            f"{api}: '{dst.label}' has {a.free} elements a partition, {what} "
            f"'{src.label}' has {b.free}",
            tensor=src.label,
            got=f"{a.describe()} and {b.describe()}",
            remedy="Nothing is broadcast: for one value a partition use nisa.tensor_scalar, or "
            "repeat the tile with "
            ".broadcast(dim, size).",
        )


def explicit_target() -> bool:
    """Whether somebody said which target is meant."""
    run = STATE.run
    if run is not None and (run.target_asked or run.config.target is not targets.DEFAULT):
        return True
    return bool(os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE"))


def needs_trn3(api: str) -> None:
    """Refuse on an older target that was asked for; where none was, warn, and go on as trn3."""
    program = current(api)
    target = program.config.target
    if target.nc_version >= 4:
        return
    if explicit_target():
        broken(
            "engine",
            f"{api} needs NeuronCore-v4 (trn3)",
            got=f"target {target.name}",
            remedy="Set NEURON_PLATFORM_TARGET_OVERRIDE=trn3, or do without it.",
        )
    broken(
        "target-default",
        f"{api} needs NeuronCore-v4 (trn3), and no target is set",
        got=f"target {target.name}",
        remedy="Set NEURON_PLATFORM_TARGET_OVERRIDE=trn3 where trn3 is meant; the kernel goes "
        "on as if it were.",
    )
    program.retarget(dataclasses.replace(program.config, target=targets.TRN3))


def needs_trn2(api: str) -> None:
    """Refuse what NeuronCore-v2 lacks."""
    target = current(api).config.target
    if target.nc_version < 3:
        broken(
            "engine",
            f"{api} needs NeuronCore-v3 (trn2) or later",
            got=f"target {target.name}",
            remedy="Set NEURON_PLATFORM_TARGET_OVERRIDE=trn2 or trn3.",
        )


def missing(
    module: str, names: list[str], others: dict[str, str] | None = None
) -> Callable[[str], Any]:
    """A module's `__getattr__`: what it says of a name it does not have. `others`: what became of
    some."""

    def getattribute(name: str) -> Any:
        if others and name in others:
            raise AttributeError(f"{module}.{name} is not part of NKI 0.6: {others[name]}")
        near = difflib.get_close_matches(name, names, 1)
        raise AttributeError(
            f"{module} has no '{name}'" + (f"; did you mean {module}.{near[0]}?" if near else "")
        )

    return getattribute
