"""nisa that NKI 0.1 did not have: activate2, exponential, running reductions, sums by DMA, ranks,
micro-scaled formats.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from typing import Any

from ...execution.execution import current
from ...isa.dma import DMA_COMPUTE
from ...isa.mx import NC_MATMUL_MX, QUANTIZE_MX, scale_rows
from ...isa.rank import NONZERO, TOPK, first_partitions
from ...isa.running import EXPONENTIAL, TENSOR_SCALAR_CUMULATIVE
from ...isa.scalar import ACTIVATE2
from ...rules import arguments
from ...rules.errors import broken
from ...tensors.masks import Mask
from ...tensors.tensor import IndexedTensor, Tensor
from ..functions import activation_name, alu_of
from . import enums
from .enums import oob_mode, reduce_cmd
from .isa_support import destination, of_one_size, run
from .isa_tensor import onto
from .objects import NkiInstruction
from .support import as_tensor, operand, option, tile
from .targets import needs_trn2, needs_trn3


def _vector(value: Any, api: str, what: str) -> Tensor:
    """A number, as a float, or a tile of one element per partition."""
    return operand(arguments.real(value, api, what) if isinstance(value, int) else value, api, what)


def _extra(t: Any, api: str, what: str = "reduce_res") -> Tensor | None:
    return None if t is None else destination(t, api, what)


# -- ScalarE and VectorE ---------------------------------------------------------------------------
def activate2(
    dst: Any,
    op: Any,
    data: Any,
    imm0: Any,
    imm1: Any,
    op0: Any,
    op1: Any,
    relu_param: Any = 0.0,
    reverse0: bool = False,
    reverse1: bool = False,
    reduce_op: Any = None,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    name: str | None = None,
) -> NkiInstruction:
    """dst = op((data op0 imm0) op1 imm1) on ScalarE; op0 and op1 may be nl.bypass; trn3 only.

    imm0, imm1, relu_param: numbers or tiles (p, 1). reduce_res (p, 1): the reduction over the free
    axes by reduce_op.
    """
    api = "nisa.activate2"
    needs_trn3(api)
    into, t = of_one_size(dst, data, api, "data")

    def stage(o: Any, what: str) -> Any:
        return None if o is None or getattr(o, "__name__", "") == "bypass" else alu_of(o, api, what)

    function = "prelu" if getattr(op, "__name__", "") == "prelu" else activation_name(op, api)
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    attrs = (
        function,
        stage(op0, "op0"),
        arguments.flag(reverse0, api, "reverse0"),
        stage(op1, "op1"),
        arguments.flag(reverse1, api, "reverse1"),
        None if reduce_op is None else alu_of(reduce_op, api, "reduce_op"),
        cmd.value,
    )
    srcs = (
        t,
        _vector(imm0, api, "imm0"),
        _vector(imm1, api, "imm1"),
        _vector(relu_param, api, "relu_param"),
    )
    return run(ACTIVATE2, api, into, srcs, attrs, _extra(reduce_res, api))


def exponential(
    dst: Any,
    src: Any,
    max_value: Any = 0.0,
    reduce_res: Any = None,
    reduce_cmd: Any = reduce_cmd.idle,
    reduce_init: Any = 0.0,
    name: str | None = None,
) -> NkiInstruction:
    """dst = exp(src - max_value) on VectorE, and the sums of its rows in reduce_res (p, 1); trn3
    only."""
    api = "nisa.exponential"
    needs_trn3(api)
    into, t = of_one_size(dst, src, api, "src")
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    srcs = (t, _vector(max_value, api, "max_value"))
    if cmd is enums.reduce_cmd.load_reduce or not (
        isinstance(reduce_init, (int, float)) and reduce_init == 0
    ):
        srcs += (_vector(reduce_init, api, "reduce_init"),)  # type: ignore[assignment]
    return run(EXPONENTIAL, api, into, srcs, (cmd.value,), _extra(reduce_res, api))


def tensor_scalar_cumulative(
    dst: Any,
    src: Any,
    op0: Any,
    op1: Any,
    imm0: Any,
    imm1: Any = None,
    reduce_cmd: Any = reduce_cmd.reset_reduce,
    name: str | None = None,
) -> NkiInstruction:
    """dst[i] = op1(src[i] op0 imm0, dst[i - 1]) along the free axes, on VectorE; imm1 is where
    load_reduce begins."""
    api = "nisa.tensor_scalar_cumulative"
    into, t = of_one_size(dst, src, api, "src")
    cmd = option(reduce_cmd, enums.reduce_cmd, api, "reduce_cmd")
    srcs = (t, _vector(imm0, api, "imm0"), *(() if imm1 is None else (_vector(imm1, api, "imm1"),)))
    return run(
        TENSOR_SCALAR_CUMULATIVE,
        api,
        into,
        srcs,
        (alu_of(op0, api, "op0"), False, alu_of(op1, api, "op1"), cmd.value),
    )


# -- GpSimdE ---------------------------------------------------------------------------------------
def nonzero_with_count(
    dst: Any, src: Any, index_offset: int = 0, padding_val: int = -1, name: str | None = None
) -> NkiInstruction:
    """The places of the elements of src (p, t) that are not zero, padding, and their count, into
    dst (p, t + 1), int32.

    Only partitions 0, 16, 32, ... are read and written.
    """
    api = "nisa.nonzero_with_count"
    needs_trn2(api)
    into, t = destination(dst, api), tile(src, api, "src")
    kept = first_partitions(into)
    return run(
        NONZERO,
        api,
        into,
        (t,),
        (
            arguments.integer(index_offset, api, "index_offset"),
            arguments.integer(padding_val, api, "padding_val"),
        ),
        mask=None if kept is None else Mask(kept),
    )


def topk(val_dst: Any, idx_dst: Any, src: Any, n: int, name: str | None = None) -> NkiInstruction:
    """The largest of the n bf16 elements that each group of 16 partitions of src holds, ascending,
    and their places."""
    api = "nisa.topk"
    return run(
        TOPK,
        api,
        destination(val_dst, api, "val_dst"),
        (tile(src, api, "src"),),
        (arguments.integer(n, api, "n"),),
        destination(idx_dst, api, "idx_dst"),
    )


# -- DMA -------------------------------------------------------------------------------------------
def dma_compute(
    dst: Any,
    srcs: Any,
    reduce_op: Any,
    scales: Any = None,
    unique_indices: bool = True,
    oob_mode: Any = oob_mode.error,
    name: str | None = None,
) -> NkiInstruction:
    """dst = the sum of srcs (at most 16) in HBM or SBUF; with run-time rows, what is added and what
    it is added to."""
    api = "nisa.dma_compute"
    if alu_of(reduce_op, api, "reduce_op").name != "add":
        broken(
            "operator",
            f"{api}: reduce_op",
            got=getattr(reduce_op, "__name__", repr(reduce_op)),
            limit="nl.add",
        )
    for scale in () if scales is None else arguments.several(scales, api, "scales"):
        if arguments.number(scale, api, "a scale") == 1.0:
            continue
        broken(
            "argument",
            f"{api}: scales are not all 1.0",
            got=repr(scales),
            limit="None or 1.0 for each source",
            remedy="Scale the tiles on chip first.",
        )
    if not arguments.flag(unique_indices, api, "unique_indices"):
        broken("argument", f"{api}: unique_indices=False does not exist", got="False", limit="True")
    skip = option(oob_mode, enums.oob_mode, api, "oob_mode") is enums.oob_mode.skip
    into = tile(as_tensor(dst, api, "dst"), api, "dst", skip=skip)
    given = arguments.several(srcs, api, "srcs")
    sources = [tile(s, api, f"srcs[{i}]", skip=skip) for i, s in enumerate(given)]
    mask = None
    picked = [t for t in (into, *sources) if isinstance(t, IndexedTensor)]
    if skip and not picked:
        broken(
            "argument",
            f"{api}: oob_mode.skip goes with run-time indices",
            got="no run-time index",
            remedy="Pick rows with .ap(..., vector_offset=), or leave oob_mode away.",
        )
    if skip:
        for t in picked:
            mask = Mask(t.inside()) if mask is None else mask & Mask(t.inside())
    # the addend first: each time that an element is picked it is added
    if isinstance(into, IndexedTensor):
        sources.sort(key=lambda t: isinstance(t, IndexedTensor))
    return run(DMA_COMPUTE, api, into, tuple(sources), (), mask=mask)


# -- micro-scaled formats --------------------------------------------------------------------------
def quantize_mx(dst: Any, src: Any, dst_scale: Any, name: str | None = None) -> NkiInstruction:
    """src (p, f), fp16 or bf16, as packed fp8 in dst (p, f / 4) and a scale for each 32 elements in
    dst_scale; trn3 only."""
    api = "nisa.quantize_mx"
    needs_trn3(api)
    into, t = destination(dst, api), tile(src, api, "src")
    scales = scale_rows(
        destination(dst_scale, api, "dst_scale"),
        t.meta.partitions,
        into.meta.free,
        "dst_scale",
        api,
    )
    return run(QUANTIZE_MX, api, into, (t,), (), scales)


def nc_matmul_mx(
    dst: Any,
    stationary: Any,
    moving: Any,
    stationary_scale: Any,
    moving_scale: Any,
    tile_position: Any = None,
    tile_size: Any = None,
    accumulate: bool | None = None,
    name: str | None = None,
) -> NkiInstruction:
    """dst = stationary.T @ moving of packed micro-scaled tiles (p, m) and (p, n), into PSUM (m, n);
    trn3 only."""
    api = "nisa.nc_matmul_mx"
    needs_trn3(api)
    into = destination(dst, api, group=32)
    a, b = tile(stationary, api, "stationary", group=32), tile(moving, api, "moving", group=32)
    scales = [
        scale_rows(tile(s, api, what), t.meta.partitions, t.meta.free, what, api)
        for s, t, what in (
            (stationary_scale, a, "stationary_scale"),
            (moving_scale, b, "moving_scale"),
        )
    ]
    adds = onto(into, accumulate, api)
    position = () if tile_position is None else tile_position
    size = () if tile_size is None else tile_size
    attrs = (
        arguments.integers(position, api, "tile_position"),
        arguments.integers(size, api, "tile_size"),
        adds,
    )
    done = run(NC_MATMUL_MX, api, into, (a, b, *scales, into) if adds else (a, b, *scales), attrs)
    current(api).accumulators.add(into.buf)
    return done


__all__ = [
    "activate2",
    "dma_compute",
    "exponential",
    "nc_matmul_mx",
    "nonzero_with_count",
    "quantize_mx",
    "tensor_scalar_cumulative",
    "topk",
]
