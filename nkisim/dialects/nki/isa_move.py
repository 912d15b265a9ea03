"""nisa that moves data by DMA, between cores, and between memory and registers.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...execution.execute import remember
from ...execution.execution import current
from ...isa.copies import MEMSET
from ...isa.dma import DMA_COPY, DMA_TRANSPOSE
from ...isa.link import SENDRECV
from ...machine.memory import HBM, SBUF
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.masks import Mask
from ...tensors.tensor import IndexedTensor, Tensor
from . import enums
from .enums import dge_mode, dma_engine, engine, oob_mode
from .isa_support import ANY_ENGINE, DONE, again, destination, done, engine_name, run
from .objects import NkiInstruction, VirtualRegister
from .support import as_tensor, option, tile
from .targets import needs_trn2, needs_trn3
from .tensor import NkiTensor

_ANY_MODE, _REFUSED = dge_mode.unknown, oob_mode.error
"""What transfers are called with as a rule."""


def _transfer(
    dst: Any, src: Any, api: str, oob: Any, priority: Any, dge: Any
) -> tuple[Tensor, Tensor, Any]:
    """Both ends of a transfer, and a mask of what lies inside where out-of-bounds indices are
    skipped."""
    if dge is not _ANY_MODE:
        option(dge, enums.dge_mode, api, "dge_mode")
    skip = oob is not _REFUSED and option(oob, enums.oob_mode, api, "oob_mode") is oob_mode.skip
    if priority is not None:
        needs_trn3(f"{api}(priority=)")
        arguments.integer(priority, api, "priority", least=0, most=3)
    if isinstance(dst, (int, float)) or dst is None:
        destination(dst, api)
    into, source = tile(dst, api, "dst", skip=skip), tile(src, api, "src", skip=skip)
    mask = None
    if skip:
        for t in (into, source):
            if isinstance(t, IndexedTensor):
                inside = Mask(t.inside())
                mask = inside if mask is None else mask & inside
    return into, source, mask


def dma_copy(
    dst: Any,
    src: Any,
    priority: int | None = None,
    oob_mode: Any = oob_mode.error,
    dge_mode: Any = dge_mode.unknown,
    engine: Any = engine.unknown,
    name: str | None = None,
) -> NkiInstruction:
    """dst = src, each in HBM or SBUF, with the same number of elements; casts if the dtypes
    differ."""
    api = "nisa.dma_copy"
    key: tuple[Any, ...] = ()
    if (
        type(dst) is type(src) is NkiTensor
        and priority is None
        and oob_mode is _REFUSED
        and dge_mode is _ANY_MODE
        and engine is ANY_ENGINE
        and not (dst.runtime or dst.tensor_index or src.runtime or src.tensor_index)
    ):
        key = (dma_copy, dst.meta, src.meta)
        if again(key, api, dst, (src,)):
            return DONE
    into, source, mask = _transfer(dst, src, api, oob_mode, priority, dge_mode)
    if dge_mode is _ANY_MODE and engine is ANY_ENGINE:
        out = run(DMA_COPY, api, into, (source,), (False, True), mask=mask)
        if key:
            remember(key, DMA_COPY, (False, True), into.meta, None, (source,))
        return out
    hardware = option(dge_mode, enums.dge_mode, api, "dge_mode") is enums.dge_mode.hwdge
    if engine_name(engine, api, "sync", "scalar") is not None and not hardware:
        broken(
            "argument",
            f"{api}: engine= goes with dge_mode.hwdge",
            got=repr(dge_mode),
            limit="nisa.dge_mode.hwdge",
            remedy="Pass dge_mode=nisa.dge_mode.hwdge too, or leave engine= out.",
        )
    if hardware:
        needs_trn2(f"{api}(dge_mode=hwdge)")
        if into.dtype != source.dtype:
            broken(
                "dtype",
                f"{api}: dge_mode.hwdge does not cast",
                tensor=into.label,
                got=f"{source.meta.describe()} -> {into.meta.describe()}",
                limit="one data type",
                remedy="Reinterpret one side with .view(dtype), or leave dge_mode out.",
            )
    return run(DMA_COPY, api, into, (source,), (False, True), mask=mask)


_ORDERS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 1, 2, 0)}


def dma_transpose(
    dst: Any,
    src: Any,
    axes: Any = None,
    priority: int | None = None,
    dge_mode: Any = dge_mode.unknown,
    oob_mode: Any = oob_mode.error,
    name: str | None = None,
) -> NkiInstruction:
    """dst, in SBUF, = src with its axes permuted: (1, 0), (2, 1, 0) or (3, 1, 2, 0) by its number
    of axes."""
    api = "nisa.dma_transpose"
    dge_mode = option(dge_mode, enums.dge_mode, api, "dge_mode")
    into, source, mask = _transfer(dst, src, api, oob_mode, priority, dge_mode)
    if oob_mode is not _REFUSED and mask is None:
        broken(
            "argument",
            f"{api}: oob_mode.skip goes with a source of run-time indices",
            tensor=source.label,
            got=source.meta.describe(),
            limit="a source made by .ap(..., vector_offset=...), for instance",
            remedy="Leave oob_mode out.",
        )
    order = None if axes is None else arguments.integers(axes, api, "axes")
    if source.ndim not in _ORDERS or order not in (None, _ORDERS[source.ndim]):
        broken(
            "argument",
            f"{api}: axes {axes} for {source.ndim} axes",
            tensor=source.label,
            limit="(1, 0), (2, 1, 0), (3, 1, 2, 0)",
        )
    order = _ORDERS[source.ndim]
    if into.shape != tuple(source.shape[a] for a in order):
        broken(
            "shape-mismatch",
            f"{api}: '{into.label}' of shape {into.shape} takes the transpose of {source.shape}",
            tensor=into.label,
            got=into.shape,
            limit=tuple(source.shape[a] for a in order),
            remedy="Give dst the shape of src with its axes permuted, with as many axes.",
        )
    if into.dtype != source.dtype:
        broken(
            "dtype",
            f"{api}: dst and src have different types",
            tensor=into.label,
            got=f"{source.meta.describe()} -> {into.meta.describe()}",
            limit="one data type",
        )
    return run(DMA_TRANSPOSE, api, into, (source,), (order, dge_mode.name), mask=mask)


# -- between the cores of a logical one ------------------------------------------------------------
def _both(api: str) -> Any:
    program = current(api)
    needs_trn2(api)
    if program.cores is None:
        broken(
            "lnc",
            f"{api} needs two physical cores",
            got=f"a launch on {1 if program.grid else 'one core, without a grid'}",
            limit="kernel[2](...)",
            remedy="Launch the kernel with kernel[2](...), or leave "
            "the exchange out where "
            "nl.num_programs() is 1.",
        )
    return program.cores


def _other_core(rank: Any, me: int, what: str, api: str) -> None:
    """A rank names the other of the two cores."""
    arguments.integer(rank, api, what)
    if rank not in (0, 1):
        broken("lnc", f"{api}: {what} is {rank!r}", got=repr(rank), limit="0 or 1")
    if rank == me:
        broken(
            "lnc",
            f"{api}: core {me} exchanges with itself",
            got=f"{what}={rank}",
            limit=f"{what}={1 - me}",
        )


def sendrecv(
    src: Any,
    dst: Any,
    send_to_rank: int,
    recv_from_rank: int,
    pipe_id: int,
    dma_engine: Any = dma_engine.dma,
    name: str | None = None,
) -> NkiInstruction:
    """Send the SBUF tile src to the other core and receive its tile into dst, of the same shape and
    dtype."""
    api = "nisa.sendrecv"
    cores = _both(api)
    option(dma_engine, enums.dma_engine, api, "dma_engine")
    source, into = tile(src, api, "src"), destination(dst, api)
    program = current(api)
    me = cores.number(program)
    arguments.integer(pipe_id, api, "pipe_id")
    for rank, what in ((send_to_rank, "send_to_rank"), (recv_from_rank, "recv_from_rank")):
        _other_core(rank, me, what, api)
    # memory without a value may be sent along: it stays without one over there
    written = program.written_flags(source)
    if not written.any():
        program.check_read(source, api)
    values, meta, label, known, sent = cores.exchange(
        ("sendrecv", pipe_id),
        (
            source.array.copy() if program.values else source.array,
            source.meta,
            source.label,
            written,
            None if program.lowering is None else program.lowering.send(source),
        ),
        api,
    )
    if meta.shape != into.shape or meta.dtype != into.dtype:
        broken(
            "shape-mismatch",
            f"{api}: core {1 - me} sends '{label}', which does not fit into '{into.label}'",
            tensor=into.label,
            got=meta.describe(),
            limit=into.meta.describe(),
        )
    arrived = Const(0)
    arrived.array = values
    if sent is not None:
        arrived.off = sent
    if written.all():
        program.check_read(source, api)
    partly = not (known.all() and written.all())
    return run(
        SENDRECV,
        api,
        into,
        (arrived,) if partly else (arrived, source),
        mask=Mask(known) if partly else None,
    )


def core_barrier(
    data: Any, cores: Any, engine: Any = engine.gpsimd, name: str | None = None
) -> NkiInstruction:
    """Wait until both cores have come here; what each wrote to the shared HBM tensor `data` may
    then be read by both."""
    api = "nisa.core_barrier"
    t = as_tensor(data, api, "data")
    one = isinstance(cores, (int, np.integer))
    group = arguments.integers((cores,) if one else cores, api, "cores")
    if group == (0,):  # a core has not to wait for itself
        return done()
    both = _both(api)
    if group != (0, 1):
        broken("lnc", f"{api}: cores is {cores}", got=repr(cores), limit="(0, 1)")
    if t.meta.space != HBM or t.buf.role == "tile":
        broken(
            "memory",
            f"{api}: '{t.label}' is not shared by the cores",
            tensor=t.label,
            got=t.meta.describe(),
            limit="a tensor in nl.shared_hbm",
        )
    both.exchange(("core_barrier",), None, api)
    return done()


# -- registers -------------------------------------------------------------------------------------
def register_alloc(x: Any = None) -> VirtualRegister:
    """A register, with the integer `x` (or the one element of the tile `x`) in it; without a value
    if None."""
    api = "nisa.register_alloc"
    current(api)
    register = VirtualRegister()
    if isinstance(x, Tensor):
        register_load(register, x)
    elif x is not None:
        register_move(register, x)
    return register


def _register(value: Any, api: str, what: str) -> VirtualRegister:
    if isinstance(value, VirtualRegister):
        return value
    broken(
        "argument",
        f"{api}: {what} is {type(value).__name__}",
        got=repr(value)[:80],
        limit="a register",
        remedy="Make one with nisa.register_alloc().",
    )
    raise AssertionError


def register_move(dst: Any, src: Any) -> None:
    """Put an integer, or the value of another register, into the register dst."""
    api = "nisa.register_move"
    if isinstance(src, VirtualRegister):
        value = src.read(api) if src.known else None
    elif isinstance(src, (int, np.integer)) and not isinstance(src, bool):
        value = int(src)
    else:
        broken(
            "argument",
            f"{api}: src is {type(src).__name__}",
            got=repr(src)[:80],
            limit="an integer or a register",
            remedy="The element of a tile is loaded with nisa.register_load.",
        )
        raise AssertionError
    _register(dst, api, "dst").write(value, api)


def _one_element(t: Any, api: str, what: str) -> Tensor:
    found = tile(t, api, what)
    if found.size != 1:
        broken(
            "shape-mismatch",
            f"{api}: '{found.label}' has {found.size} elements",
            tensor=found.label,
            got=found.shape,
            limit="one element: shape (1, 1) or (1,)",
        )
    if found.meta.space not in (SBUF, HBM):
        broken(
            "memory",
            f"{api}: '{found.label}' lies in {found.meta.space}",
            tensor=found.label,
            limit="sbuf or hbm",
        )
    return found


def register_load(dst: Any, src: Any) -> None:
    """Load the one element of src, in SBUF or HBM, into the register dst."""
    api = "nisa.register_load"
    register, t = _register(dst, api, "dst"), _one_element(src, api, "src")
    program = current(api)
    program.check_read(t, api, decides=True)
    t.buf.last = program.clock + 1
    register.write(int(t.array.reshape(-1)[0]) if program.values else None, api)


def register_store(dst: Any, src: Any) -> None:
    """Store the register src into the one element of dst, in SBUF or HBM."""
    api = "nisa.register_store"
    register, t = _register(src, api, "src"), _one_element(dst, api, "dst")
    value = register.read(api) if register.known or current(api).lowering else 0
    if t.meta.space == SBUF:
        run(MEMSET, api, t, (Const(value),), (t.shape, None))
        return
    from ...execution.execute import execute

    block = execute(MEMSET, api, None, (Const(value),), ((1, 1), None), SBUF, t.dtype)
    run(DMA_COPY, api, t, (block,), (False, True))


__all__ = [
    "core_barrier",
    "dma_copy",
    "dma_transpose",
    "register_alloc",
    "register_load",
    "register_move",
    "register_store",
    "sendrecv",
]
