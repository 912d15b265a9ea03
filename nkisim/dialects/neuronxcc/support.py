"""What the functions of this dialect share: memories, reading of arguments, dtypes of results."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ...machine import dtypes
from ...machine.memory import CONST, HBM, PSUM, SBUF
from ...rules import arguments
from ...rules.calls import no_argument
from ...rules.errors import broken
from ...tensors.const import Const, of_float
from ...tensors.operand_mask import MaskedOperand
from ...tensors.tensor import IndexedTensor, Tensor


class Memory(str):
    """A place for tensors: compares equal to its space's name."""

    shared: bool
    placed: Callable[[str, tuple[int, ...], int, int], None] | None
    """Where the kernel chose the addresses itself: (api, block axes, partitions, bytes per
    partition of one block) -> nothing, or the place is refused. None if the compiler chooses."""

    def __new__(cls, space: str, *, shared: bool = False, placed: Any = None) -> Memory:
        self = super().__new__(cls, space)
        self.shared = shared
        self.placed = placed
        return self

    def __repr__(self) -> str:
        return f"nl.{'shared_hbm' if self.shared else str(self)}"


sbuf = Memory(SBUF)
psum = Memory(PSUM)
hbm = Memory(HBM)
shared_hbm = Memory(HBM, shared=True)


class ParDim(int):
    """nl.par_dim(n): this axis is the partition axis."""

    def __new__(cls, n: Any) -> ParDim:
        return super().__new__(cls, arguments.integer(n, "nl.par_dim", "n"))


def tile(x: Any, api: str) -> Tensor:
    """`x`, which must be a tensor."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, MaskedOperand):
        x.refuse()
    what = (
        (f"a NumPy array of shape {x.shape}")
        if isinstance(x, np.ndarray)
        else f"{type(x).__name__} {x!r}"[:80]
    )
    broken(
        "numpy-on-tile" if isinstance(x, np.ndarray) else "argument",
        f"{api} takes a tile, not {what}",
        got=what,
        remedy="Pass arrays as kernel arguments and nl.load them; pass numbers where "
        "a number is taken.",
    )
    raise AssertionError


def operand(x: Any, api: str) -> Tensor:
    """`x` as a tensor, numbers as constants."""
    if isinstance(x, Tensor):
        return x
    if type(x) is float:
        return of_float(x)
    if isinstance(x, (int, float, np.generic)) or (isinstance(x, np.ndarray) and x.ndim == 0):
        return Const(arguments.number(x, api, "an operand"))
    return tile(x, api)


_DTYPES: dict[Any, np.dtype] = {}
"""What each object that named a data type meant."""


def want_dtype(dtype: Any, api: str) -> np.dtype | None:
    """The dtype asked for, resolved; None if none was."""
    if dtype is None:
        return None
    try:
        return _DTYPES[dtype]
    except (KeyError, TypeError):
        pass
    found = dtypes.wanted(dtype, api)
    if not isinstance(dtype, str):
        _DTYPES[dtype] = found
    return found


def dtype_of(x: Tensor) -> np.dtype:
    return x.meta.dtype


def promoted(*operands: Tensor) -> np.dtype:
    """The result type of arithmetic on these (NKI type promotion)."""
    found = operands[0].meta.dtype
    for o in operands[1:]:
        found = dtypes.promote(found, o.meta.dtype)
    if found == dtypes.BOOL:
        found = dtypes.UINT8
    return found


_MODULES = {"nl": "language", "nisa": "isa"}
_IGNORED = {"name", "dge_mode", "precise_schedule", "lazy_initialization"}


def only(kwargs: dict[str, Any], api: str, *known: str) -> None:
    """Refuse keyword arguments that the function does not have."""
    extra = [k for k in kwargs if k not in _IGNORED and k not in known]
    if extra:
        no_argument(api, extra[0], [*_parameters(api), *known])


def _parameters(api: str) -> list[str]:
    """The named arguments of the function that a kernel calls `api`."""
    module, _, name = api.partition(".")
    function = getattr(sys.modules.get(f"{__package__}.{_MODULES.get(module, module)}"), name, None)
    if function is None:
        return []
    takes = inspect.signature(function).parameters.values()
    return [p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def static_source(t: Tensor, api: str) -> Tensor:
    """`t`, the source of a plain copy on chip, which no run-time indices may pick."""
    if isinstance(t, IndexedTensor) and t.tiles and t.meta.space != HBM:
        broken(
            "indirect-index",
            f"{api}: elements of '{t.label}' are picked by run-time indices",
            tensor=t.label,
            got=f"a pick of shape {t.shape}",
            remedy="Copy them with nisa.tensor_copy_dynamic_src, one offset "
            "at a time; to "
            "gather by a tile of indices use "
            "nl.gather_flattened.",
        )
    return t


def rows_only(t: Tensor, api: str) -> None:
    """Run-time indices pick rows of `t`: one index a partition."""
    for index in t.tiles or () if isinstance(t, IndexedTensor) else ():
        if index.meta.free != 1:
            broken(
                "indirect-index",
                f"{api}: '{t.label}' is indexed by '{index.label}', which "
                "names an element, not a row",
                tensor=t.label,
                got=f"indices of shape {index.shape}",
                limit=f"one index a partition: ({index.shape[0]}, 1)",
                remedy="Index the rows with nl.arange, not nl.mgrid: i_p = nl.arange(p)[:, "
                "None]; t[idx[i_p, 0], i_f].",
            )


def is_const(t: Tensor) -> bool:
    return t.meta.space == CONST
