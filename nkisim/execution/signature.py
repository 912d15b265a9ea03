"""Signatures: what is checked and planned once for all calls that look alike, and then
remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..isa.core import Call, Instruction, Plan
from ..machine import dtypes
from ..machine.config import Config
from ..machine.memory import HBM, PSUM, SBUF, Meta, contiguous, meta_of
from ..machine.running import running
from ..machine.shapes import shape_only
from ..rules.errors import POLICY, KernelError, SimulatorError
from ..tensors.tensor import Tensor
from .banks import may_cross_banks

General = tuple[np.ndarray | None, np.ndarray | None, KernelError | None]


class Signature:
    """A remembered plan: everything about a call that does not depend on where its operands lie."""

    __slots__ = (
        "_adding",
        "api",
        "asked",
        "attrs",
        "compute",
        "deferred",
        "dst",
        "dtype",
        "engine",
        "exact",
        "extra",
        "fixed",
        "general",
        "given",
        "instruction",
        "into",
        "one_bank",
        "plan",
        "read",
        "redirected",
        "srcs",
        "warned",
        "width",
        "written",
    )

    def __init__(
        self,
        instruction: Instruction,
        api: str,
        attrs: tuple[Any, ...],
        dtype: np.dtype | None,
        plan: Plan,
        compute: Callable[..., Any],
        dst: Meta,
        srcs: tuple[Meta, ...],
        extra: Meta | None,
    ) -> None:
        self.instruction = instruction
        self.api = api
        """The name under which the reader first called it, for messages."""
        self.attrs: Any = instruction.attributes(*attrs)
        """The attributes by name."""
        self.asked = attrs
        """Those that the dialect gave, in order."""
        self._adding: tuple[Any, ...] | None = None
        self.given = len(attrs)
        """How many of them the dialect gave."""
        self.dtype = dtype
        """The dtype asked for."""
        self.plan = plan
        self.compute = compute
        self.into: Callable[..., Any] | None = None
        """Source arrays and the destination's -> nothing: computes, and writes there. None on
        shapes alone."""
        self.exact = False
        """Whether `compute` gives an array that a destination might as well be, instead of getting
        its values."""
        self.deferred = False
        """Whether computing may be put off until somebody looks at a tensor."""
        self.fixed: Any = None
        """On shapes alone the result, where the instruction has no effect besides."""
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
        self.one_bank = False
        """Whether it depends on where in its tile the destination lies if that is in one bank."""
        self.general: General | None = None
        """Of an instruction that ran the general way: what its mask kept, and which of its elements
        are unknown."""
        self.redirected: dict[tuple[Meta, tuple[Any, ...] | None], Signature] = {}
        """The signatures of this instruction when it writes to a destination of that layout, with
        those attributes."""

    @property
    def adding(self) -> tuple[Any, ...]:
        """The attributes of this matmul when it adds to what its destination holds."""
        if self._adding is None:
            self._adding = self.attrs._replace(accumulate=True)
        return self._adding

    @property
    def shown(self) -> dict[str, Any]:
        """The attributes that a reader is shown."""
        return self.instruction.shown(self.attrs, self.given)


def build(
    config: Config,
    with_values: bool,
    instruction: Instruction,
    api: str,
    dst: Tensor | None,
    srcs: tuple[Tensor, ...],
    attrs: tuple[Any, ...],
    space: str,
    dtype: np.dtype | None,
    extra: Tensor | None,
) -> Signature:
    """Check the rules of a new signature and make its plan, under `config`, for a run
    `with_values` or on shapes alone."""
    policy = POLICY.get()
    warnings = policy.warnings
    call = Call(api, dst, srcs, instruction.attributes(*attrs), space, dtype, config, extra)
    try:
        plan = instruction.plan(call)
    except (AssertionError, AttributeError, KeyError) as e:
        if type(e).__module__.startswith("nkisim"):
            raise
        raise SimulatorError(f"{api}: {type(e).__name__}: {e}") from e
    meta = _result(call, plan) if dst is None else dst.meta
    want = config.storage(meta.dtype)
    compute = plan.compute
    permuted = any(not _row_major(m) for m in (s.meta for s in srcs))
    exact = (
        plan.dtype is not None
        and plan.dtype == want
        and dtypes.storage(meta.dtype) == want == meta.dtype
    )
    if plan.stateful:
        compute = _with_registers(compute)
    if not with_values:
        compute = _shapes(config, plan, meta, extra)
    elif not exact or permuted:
        compute = _casting(config, compute, meta.dtype, permuted)
    signature = Signature(
        instruction,
        api,
        attrs,
        dtype,
        plan,
        compute,
        meta,
        tuple(s.meta for s in srcs),
        None if extra is None else extra.meta,
    )
    signature.warned = bool(config.warn) and policy.warnings != warnings
    if dst is not None and plan.one_bank:
        signature.one_bank = may_cross_banks(config.target, meta)
    signature.deferred = with_values and not plan.stateful and not plan.refuses and extra is None
    if not with_values:
        signature.fixed = None if plan.effect is not None else compute()
    elif dst is not None and extra is None:
        known = None
        if compute is plan.compute and plan.shape == meta.shape:
            known = _into(plan, len(srcs))
        signature.exact = known is not None
        signature.into = _storing(compute) if known is None else known
    return signature


def _result(call: Call, plan: Plan) -> Meta:
    """The layout of the new tile that the result goes to, which its memory can hold."""
    dtype = call.srcs[0].meta.dtype if call.dtype is None else call.dtype
    meta = meta_of(call.space, plan.shape, contiguous(plan.shape), dtype)
    if call.space == PSUM and meta.free * meta.itemsize > call.target.psum_bank_bytes:
        call.fail(
            "psum-bank",
            "the result does not fit in one PSUM bank",
            got=meta.describe(),
            limit=f"{call.target.psum_bank_bytes} bytes per partition",
            remedy="Work on at most 512 fp32 columns at a time.",
        )
    _check_sbuf_tile(call, meta)
    return meta


def _into(plan: Plan, sources: int) -> Callable[..., Any] | None:
    """What computes the plan's result in the destination."""
    if plan.into is not None:
        return plan.into
    compute = plan.compute
    if isinstance(compute, np.ufunc) and sources in (1, 2):
        return _INTO.get(compute, compute)
    return copy_into if compute is np.ndarray.copy else None


def _storing(compute: Callable[..., Any]) -> Callable[..., None]:
    """What computes, and then writes the result to a destination, converting it where that is of
    another type."""

    def into(*arrays: Any) -> None:
        out = arrays[-1]
        result = compute(*arrays[:-1])
        out[...] = result if result.shape == out.shape else result.reshape(out.shape)

    return into


def copy_into(source: np.ndarray, out: np.ndarray) -> None:
    """Copy the values of an array to another."""
    out[...] = source


def _maximum_into(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    np.maximum(a, b, out=out)


def _minimum_into(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    np.minimum(a, b, out=out)


_INTO: dict[Callable[..., Any], Callable[..., Any]] = {
    np.maximum: _maximum_into,
    np.minimum: _minimum_into,
}
"""Functions that take no output by position."""


def _check_sbuf_tile(call: Call, meta: Meta) -> None:
    limit = call.target.sbuf_partition_bytes
    if meta.space == SBUF and meta.free * meta.itemsize > limit:
        call.fail(
            "sbuf-capacity",
            "the tile is larger than SBUF",
            got=f"{meta.describe()}: {meta.free * meta.itemsize} bytes per partition",
            limit=f"{limit} bytes per partition on {call.target.name}",
            remedy="Work on a smaller tile of the free axis at a time.",
        )


def _row_major(meta: Meta) -> bool:
    previous = None
    for n, s in zip(meta.shape, meta.strides):
        if n == 1:
            continue
        if (previous is not None and s > previous) or s <= 0:
            return False
        previous = s
    return True


def _with_registers(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Hand the running program, which holds the engines' registers, to a plan that uses them."""
    return lambda *arrays: inner(running(), *arrays)


def _shapes(config: Config, plan: Plan, meta: Meta, extra: Tensor | None) -> Callable[..., Any]:
    """What stands for `plan.compute` in a run without values."""
    result: Any = shape_only(meta.shape, config.storage(meta.dtype))
    if extra is not None:
        result = result, shape_only(extra.meta.shape, dtypes.FLOAT32)
    effect = plan.effect
    if effect is None:
        return lambda *arrays: result

    def compute(*arrays: Any) -> Any:
        effect(running())
        return result

    return compute


def _casting(
    config: Config, inner: Callable[..., Any], dtype: np.dtype, permuted: bool
) -> Callable[..., Any]:
    cast = config.cast

    def compute(*arrays: Any) -> Any:
        out = inner(*arrays)
        if type(out) is tuple:
            return np.ascontiguousarray(cast(out[0], dtype)), out[1]
        out = cast(out, dtype)
        return np.ascontiguousarray(out) if permuted else out

    return compute


_ADD_ON_THE_WAY = ("nc_matmul", "dma_copy")
"""Instructions that add to what their destination holds, of themselves."""


def _states_a_reduction(api: str) -> bool:
    """Whether the kernel says that it reduces: `dst op= value`, nl.loop_reduce."""
    return api.endswith("=") or api == "nl.loop_reduce"


def reduces(signature: Signature, srcs: tuple[Tensor, ...], dst: Tensor, api: str) -> bool:
    """Whether the instruction is a step of a reduction into `dst` that the compiler knows as one: a
    matmul or a DMA that adds to what is there, `dst op= value` with an associative operator, or
    nl.loop_reduce.

    Published kernels that run on devices sum so over an affine_range (the scan of Mamba, the
    gradients of attention). `dst[...] = nl.add(dst, value)` is an assignment like any other: the
    compiler sees one iteration overwrite what another wrote.
    """
    rule = signature.instruction.reduces
    return (
        rule is not None
        and (_states_a_reduction(api) or signature.instruction.name in _ADD_ON_THE_WAY)
        and rule(signature.attrs)
        and any(
            s.buf is dst.buf and s.off == dst.off and s.meta.shape == dst.meta.shape for s in srcs
        )
    )
