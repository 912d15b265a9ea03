"""Signatures: what is checked and planned once for all calls that look alike, and then
remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..isa.core import Call, Instruction, Plan
from ..machine import dtypes
from ..machine.memory import HBM, PSUM, SBUF, Meta, contiguous, meta_of
from ..machine.running import STATE
from ..machine.shapes import shape_only
from ..rules.errors import POLICY, SimulatorError
from ..tensors.tensor import Tensor

if TYPE_CHECKING:
    from .execution import Program


class Signature:
    """A remembered plan: everything about a call that does not depend on where its operands lie."""

    __slots__ = (
        "instruction",
        "api",
        "attrs",
        "dtype",
        "plan",
        "compute",
        "into",
        "engine",
        "dst",
        "srcs",
        "read",
        "written",
        "extra",
        "width",
        "general",
        "redirected",
        "warned",
    )

    def __init__(
        self,
        instruction: Instruction,
        api: str,
        attrs: tuple,
        dtype: np.dtype | None,
        plan: Plan,
        compute: Callable,
        dst: Meta,
        srcs: tuple[Meta, ...],
        extra: Meta | None,
    ) -> None:
        self.instruction = instruction
        self.api = api
        """The name under which the reader first called it, for messages."""
        self.attrs = attrs
        self.dtype = dtype
        """The dtype asked for."""
        self.plan = plan
        self.compute = compute
        self.into: Callable | None = None
        """Source arrays and the destination's -> None: computes in place, where that is the same
        and faster."""
        self.engine = plan.engine
        self.dst = dst
        self.srcs = srcs
        self.read = sum(m.nbytes for m in srcs if m.space == HBM)
        """HBM bytes read by one such instruction."""
        self.written = dst.nbytes if dst.space == HBM else 0
        self.extra = extra
        self.width = 6 + 2 * len(srcs) + (0 if extra is None else 2)
        """Entries of one record of it on the tape."""
        self.warned = False
        """Whether making it warned of a rule that the configuration does not insist on: then each
        call shall."""
        self.general: tuple[np.ndarray | None, np.ndarray | None] | None = None
        """Of an instruction that ran the general way: what its mask kept, and which of its elements
        are unknown."""
        self.redirected: dict[tuple[Meta, tuple | None], Signature] = {}
        """The signatures of this instruction when it writes to a destination of that layout, with
        those attributes."""


def build(
    program: Program,
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple,
    space: str,
    dtype: np.dtype | None,
    extra: Tensor | None,
) -> Signature:
    """Check the rules of a new signature and make its plan."""
    asked = dtype
    warnings = POLICY.warnings
    call = Call(api, dst, srcs, attrs, space, dtype, program.config, extra)
    try:
        plan = instruction.plan(call)
    except (AssertionError, AttributeError, KeyError) as e:
        if type(e).__module__.startswith("nkisim"):
            raise
        raise SimulatorError(f"{api}: {type(e).__name__}: {e}") from e
    if dst is not None:
        meta = dst.meta
    else:
        if dtype is None:
            dtype = srcs[0].meta.dtype
        meta = meta_of(space, plan.shape, contiguous(plan.shape), dtype)
        if space == PSUM and meta.free * meta.itemsize > program.config.target.psum_bank_bytes:
            call.fail(
                "psum-bank",
                "the result does not fit in one PSUM bank",
                got=meta.describe(),
                limit=f"{program.config.target.psum_bank_bytes} bytes a partition",
                remedy="Work on at most 512 fp32 columns at a time.",
            )
        _check_sbuf_tile(call, meta)
    want = program.storage(meta.dtype)
    compute = plan.compute
    permuted = any(not _row_major(m) for m in (s.meta for s in srcs))
    exact = (
        plan.dtype is not None
        and plan.dtype == want
        and dtypes.storage(meta.dtype) == want == meta.dtype
    )
    if plan.stateful:
        compute = _with_registers(compute)
    if not program.values:
        compute = _shapes(program, plan, meta, extra)
    elif not exact or permuted:
        compute = _casting(program, compute, meta.dtype, permuted)
    signature = Signature(
        instruction,
        api,
        attrs,
        asked,
        plan,
        compute,
        meta,
        tuple(s.meta for s in srcs),
        None if extra is None else extra.meta,
    )
    signature.warned = bool(program.config.warn) and POLICY.warnings != warnings
    if (
        dst is not None
        and compute is plan.compute
        and plan.shape == meta.shape
        and len(srcs) in (1, 2)
    ):
        if isinstance(compute, np.ufunc):
            signature.into = _INTO.get(compute, compute)
        elif compute is np.ndarray.copy:
            signature.into = _copy_into
    return signature


def _copy_into(source: np.ndarray, out: np.ndarray) -> None:
    out[...] = source


def _maximum_into(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    np.maximum(a, b, out=out)


def _minimum_into(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    np.minimum(a, b, out=out)


_INTO: dict[Callable, Callable] = {np.maximum: _maximum_into, np.minimum: _minimum_into}
"""Functions that take no output by position."""


def _check_sbuf_tile(call: Call, meta: Meta) -> None:
    limit = call.target.sbuf_partition_bytes
    if meta.space == SBUF and meta.free * meta.itemsize > limit:
        call.fail(
            "sbuf-capacity",
            "the tile is larger than SBUF",
            got=f"{meta.describe()}: {meta.free * meta.itemsize} bytes a partition",
            limit=f"{limit} bytes a partition on {call.target.name}",
            remedy="Work on a smaller tile of the free axis at a time.",
        )


def _row_major(meta: Meta) -> bool:
    previous = None
    for n, s in zip(meta.shape, meta.strides):
        if n == 1:
            continue
        if previous is not None and s > previous or s <= 0:
            return False
        previous = s
    return True


def _with_registers(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the running program, which holds the engines' registers, to a plan that uses them."""
    return lambda *arrays: inner(STATE.program, *arrays)


def _shapes(program: Program, plan: Plan, meta: Meta, extra: Tensor | None) -> Callable[..., Any]:
    """What stands for `plan.compute` in a run without values."""
    result: Any = shape_only(meta.shape, program.storage(meta.dtype))
    if extra is not None:
        result = result, shape_only(extra.meta.shape, dtypes.FLOAT32)
    effect = plan.effect
    if effect is None:
        return lambda *arrays: result

    def compute(*arrays: Any) -> Any:
        effect(STATE.program)
        return result

    return compute


def _casting(
    program: Program, inner: Callable[..., Any], dtype: np.dtype, permuted: bool
) -> Callable[..., Any]:
    cast = program.cast

    def compute(*arrays: Any) -> Any:
        out = inner(*arrays)
        if type(out) is tuple:
            return np.ascontiguousarray(cast(out[0], dtype)), out[1]
        out = cast(out, dtype)
        return np.ascontiguousarray(out) if permuted else out

    return compute


_ASSOCIATIVE = {
    "add",
    "multiply",
    "maximum",
    "minimum",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
}


def reduces(signature: Signature, srcs: tuple[Tensor, ...], dst: Tensor) -> bool:
    """Whether the instruction combines `dst` with something else by an associative operator: a step
    of a reduction."""
    name, attrs = signature.instruction.name, signature.attrs
    if name == "nc_matmul":
        return bool(attrs[5])
    if name == "dma_copy":
        return bool(attrs[0])
    if name == "tensor_tensor":
        associative = attrs[0].name in _ASSOCIATIVE
    elif name == "tensor_scalar":
        associative = attrs[0].name in _ASSOCIATIVE and attrs[2] is None
    else:
        return False
    return associative and any(
        s.buf is dst.buf and s.off == dst.off and s.meta.shape == dst.meta.shape for s in srcs
    )
