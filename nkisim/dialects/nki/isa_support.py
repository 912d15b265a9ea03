"""Reading the arguments of instructions, and handing them over."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import execute, write
from ...execution.execution import current, running
from ...isa.core import Instruction
from ...machine.memory import CONST, EMPTY, HBM, PSUM, SBUF
from ...rules import arguments
from ...rules.errors import KernelError, broken, shown
from ...tensors.const import Const, of_float
from ...tensors.tensor import Tensor
from .enums import engine as _Engine
from .objects import NkiInstruction
from .support import as_tensor, operand, option, same_size, tile, want_dtype
from .tensor import NkiTensor

_NAMES: dict[Any, str | None] = {e: e.name for e in _Engine} | {_Engine.unknown: None, None: None}
ANY_ENGINE = _Engine.unknown
DONE = NkiInstruction()


def engine_name(wanted: Any, api: str, *allowed: str) -> str | None:
    """The engine asked for, by name; None where the choice is left open."""
    if wanted is None or wanted is ANY_ENGINE:
        return None
    name = _NAMES[option(wanted, _Engine, api, "engine")]
    if name is not None and allowed and name not in allowed:
        broken(
            "engine",
            f"{api} does not run on the {name} engine",
            got=name,
            limit=", ".join(allowed),
            remedy="Leave engine= out to let it be chosen.",
        )
    return name


def destination(dst: Any, api: str, what: str = "dst", *, group: int = 16) -> Tensor:
    """The tensor to write to."""
    if type(dst) is NkiTensor and dst.runtime is None and dst.tensor_index is None:
        return dst
    if dst is None or isinstance(dst, (int, float, str)):
        broken(
            "argument",
            f"{api}: {what} is {shown(dst)}",
            got=shown(dst),
            limit="a tensor",
            remedy="Instructions of NKI 0.3 and later write to a tensor that is given first: "
            "make it with nl.ndarray.",
        )
    return tile(as_tensor(dst, api, what), api, what, group=group)


def of_one_size(dst: Any, src: Any, api: str, what: str) -> tuple[Tensor, Tensor]:
    """The tensor to write to and the source `what`, which are of one size."""
    if type(dst) is type(src) is NkiTensor and not (
        dst.runtime or dst.tensor_index or src.runtime or src.tensor_index
    ):  # as a rule: spares three calls
        into, made = dst.meta, src.meta
        if into.partitions == made.partitions and into.free == made.free:
            return dst, src
    found = destination(dst, api), tile(src, api, what)
    same_size(*found, api, what)
    return found


def operator_operand(api: str, op: Any, value: Any, what: str) -> Tensor:
    """An operand of `op`: unary operators take None or 0."""
    if value is None and getattr(op, "unary", False):
        return Const(0) if op.bitvec else Const(0.0)
    if value is None:
        broken(
            "argument",
            f"{api}: {what} is missing",
            got="None",
            remedy=f"Pass {what}= a number or a tile (p, 1).",
        )
    if op.unary and not (isinstance(value, (int, float)) and value == 0):
        broken(
            "argument",
            f"{api}: '{op.name}' takes one operand, and {what} is given",
            got=shown(value),
            limit="None or 0",
            remedy=f"Leave {what} at None; another step goes into op1 or a second instruction.",
        )
    return operand(value, api, what)


def again(key: tuple[Any, ...], api: str, dst: Any, srcs: tuple[Tensor, ...]) -> bool:
    """Run what a call of `api` on tensors of these forms has come down to before, if that is known
    (`remember`), and something has been written of each source; whether it ran."""
    execution = running() or current(api)
    try:
        known = execution.signatures.get(key)
    except TypeError:  # no operator has no hash
        return False
    if known is None:
        return False
    for s in srcs:
        if s.buf.state == EMPTY:
            return False
    write(execution, known, api, dst, srcs, None, 3)
    return True


def plain_operand(x: Any) -> Any:
    """The operand, if it is a float or a tensor without a run-time index; None for any other."""
    if type(x) is float:
        return of_float(x)
    return x if type(x) is NkiTensor and not (x.runtime or x.tensor_index) else None


def run(
    instruction: Instruction,
    api: str,
    dst: Tensor,
    srcs: tuple[Tensor, ...],
    attrs: tuple[Any, ...] = (),
    extra: Tensor | None = None,
    mask: Any = None,
) -> NkiInstruction:
    """Run one instruction into `dst`."""
    for s in srcs:
        if s.buf.state == EMPTY and s.meta.space != CONST:
            return _run_on_unwritten(instruction, api, dst, srcs, attrs, extra, mask, s)
    try:
        execute(instruction, api, dst, srcs, attrs, dst.meta.space, None, mask, extra, 3)
    except KernelError as error:
        _look_closer(error, api, dst, srcs, None, False)
        raise
    return DONE


def _run_on_unwritten(
    instruction: Instruction,
    api: str,
    dst: Tensor,
    srcs: tuple[Tensor, ...],
    attrs: tuple[Any, ...],
    extra: Tensor | None,
    mask: Any,
    fresh: Tensor,
) -> NkiInstruction:
    """`run` where nothing has been written of the source `fresh`."""
    overwrites = False
    if all(s.buf is not dst.buf for s in srcs):
        overwrites = bool(current(api).written_flags(dst).all())
    try:
        execute(instruction, api, dst, srcs, attrs, dst.meta.space, None, mask, extra)
    except KernelError as error:
        _look_closer(error, api, dst, srcs, fresh, overwrites)
        raise
    origin = current(api).origins.get(fresh.buf)
    if origin is not None and origin.likely is None:
        _look_closer(origin, api, dst, srcs, fresh, overwrites)
    return DONE


def _look_closer(
    error: KernelError,
    api: str,
    dst: Tensor,
    srcs: tuple[Tensor, ...],
    unwritten: Tensor | None,
    overwrites: bool,
) -> None:
    """Add what the destination tells about a refusal: that it was swapped with a source, or never
    overwritten. `unwritten`: a source of which nothing is written; `overwrites`: all of the
    destination was written before."""
    if unwritten is not None and error.rule in (
        "uninitialized-read",
        "shape-mismatch",
        "partition-mismatch",
    ):
        if unwritten.buf is dst.buf and dst.meta.space == PSUM:
            error.suspect(
                "accumulate",
                "accumulate=True adds to what a matmul wrote there before: leave accumulate out, "
                "or pass False to the first matmul into the tile.",
            )
        elif overwrites:
            error.suspect(
                "swapped",
                f"The destination comes first, and '{dst.label}' has been written before: swap the "
                f"two if '{unwritten.label}' is to be written here, otherwise write "
                f"'{unwritten.label}' first.",
            )
    elif (
        error.rule in ("matmul-destination", "memory")
        and dst.meta.space == SBUF
        and api.startswith(("nisa.nc_matmul", "nisa.nc_transpose"))
    ):
        swapped = next((s for s in srcs if s.meta.space == PSUM), None)
        if swapped is not None:
            error.suspect(
                "swapped",
                "The destination comes first, and TensorE writes to PSUM and reads SBUF: swap "
                f"'{dst.label}' and '{swapped.label}'.",
            )


def on_chip(t: Tensor, api: str, what: str) -> Tensor:
    """`t`, which must lie on chip."""
    if t.meta.space == HBM:
        broken(
            "memory",
            f"{api}: {what} '{t.label}' lies in hbm",
            tensor=t.label,
            got=t.meta.describe(),
            limit="sbuf or psum",
            remedy="Bring it on chip with nisa.dma_copy or nl.load first.",
        )
    return t


def done() -> NkiInstruction:
    """The handle that an instruction returns."""
    return DONE


def same_dtype(dst: Tensor, src: Tensor, api: str, what: str) -> None:
    """`dst` and `src` must have one dtype."""
    if dst.meta.dtype is src.meta.dtype:
        return
    if dst.dtype != src.dtype:
        broken(
            "dtype",
            f"{api}: '{dst.label}' and {what} '{src.label}' have different types",
            tensor=dst.label,
            got=f"{dst.meta.describe()} and {src.meta.describe()}",
            limit="one data type",
            remedy="Make the destination with the source's dtype.",
        )


def old_dtype(dtype: Any, dst: Tensor, api: str) -> None:
    """The dtype= of older versions: warned about, and it must be that of `dst`."""
    if dtype is None:
        return
    wanted = want_dtype(dtype, api)
    if wanted != dst.dtype:
        broken(
            "dtype",
            f"{api}: dtype= is not that of '{dst.label}'",
            tensor=dst.label,
            got=repr(dtype),
            limit=dst.meta.describe(),
            remedy="The result has the dtype of dst: leave dtype= out.",
        )
    broken(
        "keyword-argument",
        f"{api} has no dtype= any more",
        tensor=dst.label,
        got=f"dtype={dtype}",
        remedy="The result has the dtype of dst: leave dtype= out.",
    )


def number(value: Any, api: str, what: str) -> Any:
    """A number known when the kernel is built."""
    found = arguments.number(value, api, what)
    return found.item() if isinstance(found, np.generic) else found
