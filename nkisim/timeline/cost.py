"""What one instruction costs: how long it occupies its engine, and when its result can be used.

Computed once for each signature. Everything here follows from layouts (`memory.Meta`) and from what
the plan of an instruction says in `Plan.cost`; nothing looks at values.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from ..execution.signature import Signature
from ..execution.tape import FIRST, OPERAND
from ..isa.core import COPIES, DMA, GPSIMD, SCALAR, TENSOR, TWO_INPUTS, VECTOR
from ..machine import dtypes
from ..machine.memory import CONST, HBM, PSUM, SBUF, Meta, meta_of
from .timing import Timing

ENGINES = (TENSOR, VECTOR, SCALAR, GPSIMD)
_INDEX = {TENSOR: 0, VECTOR: 1, SCALAR: 2, GPSIMD: 3, DMA: -1}

EVERYWHERE = {"copy", "identity", "relu", "square", "abs", "sign"}
"""Activation functions taken to be in every table [assumed: which functions share a table is not
documented]. Every other function is taken to have its own table."""


@dataclass(slots=True)
class Cost:
    """One signature's cost, in ns."""

    engine: str
    occupancy: float
    """How long it keeps its engine: the next instruction of the same engine starts after it."""
    latency: float
    """From its start to its result, `occupancy` included."""
    index: int
    """Position of the engine in `ENGINES`; -1 for DMA."""
    width: int = 0
    """Entries of a record."""
    reads: tuple[tuple[int, Meta | None], ...] = ()
    """Of each source to wait for: where its buffer stands in the record, and its layout; None if
    indices pick its elements, so that it may be any part of the buffer."""
    dst: Meta | None = None
    """Layout of the destination, in the same way."""
    extra: Meta | None = None
    """Layout of a second destination, which stands before the last entry."""
    stationary: float = 0.0
    """Loading the stationary operand of a matmul."""
    tile: tuple[Any, ...] | None = None
    """The tile of the PE array that a matmul uses alone, where the array is tiled, and how long."""
    tile_time: float = 0.0
    table: str | None = None
    """The activation table that ScalarE needs."""
    sbuf_port: bool = False
    psum_port: bool = False
    shared: bool = False
    """Whether it uses the way to SBUF, to PSUM, or either, that engines of NeuronCore-v2 share."""
    on_scalar: Cost | None = None
    """Its cost on ScalarE, if it is a copy on VectorE for which the kernel named no engine."""
    outbound: int = 0
    """1 for a transfer that is not a load from HBM to SBUF."""
    run: int = 0
    """Bytes of the contiguous pieces of a transfer."""
    moved: int = 0
    """Bytes of a transfer."""
    uses: float = 0.0
    """How many such instructions ran; a masked transfer counts with the share that it moved."""
    hbm: int = 0
    """HBM bytes that it reads and writes."""
    flops: float = 0.0
    """Multiplications and additions of a matmul."""
    flop_rate: float = 0.0
    """flop/ns of TensorE's peak in its data type."""


def cost_of(signature: Signature, t: Timing, in_psum: tuple[int, ...] = ()) -> Cost:
    """The cost of an instruction like this. `in_psum`: which of its sources are taken to be read
    from PSUM instead."""
    if in_psum:
        signature = copy(signature)
        signature.srcs = tuple(
            _moved(m) if k in in_psum else m for k, m in enumerate(signature.srcs)
        )
    engine = signature.engine
    spaces = {m.space for m in (*signature.srcs, signature.dst)}
    tiles = [(FIRST + OPERAND * k, m) for k, m in enumerate(signature.srcs) if m.space != CONST]
    cost = {TENSOR: _tensor, VECTOR: _vector, SCALAR: _scalar, GPSIMD: _gpsimd, DMA: _dma}[engine](
        signature, t
    )
    cost.width = signature.width
    if (
        signature.instruction.name == "tensor_copy"
        and engine == VECTOR
        and signature.attrs.engine is None
    ) and all(dtypes.is_float(m.dtype) for m in (signature.srcs[0], signature.dst)):
        cost.on_scalar = _scalar(signature, t)
        cost.on_scalar.shared = cost.on_scalar.psum_port = t.shared_ports and PSUM in spaces
    # matmuls that add up in PSUM wait for nothing but their operands
    cost.reads = tuple((k, _known(m)) for k, m in tiles if engine != TENSOR or m.space != PSUM)
    cost.dst = _known(signature.dst)
    cost.extra = signature.extra
    if t.shared_ports:
        cost.sbuf_port = engine in (VECTOR, GPSIMD) and SBUF in spaces
        cost.psum_port = engine in (VECTOR, SCALAR) and PSUM in spaces
        cost.shared = cost.sbuf_port or cost.psum_port
    return cost


def _known(m: Meta) -> Meta | None:
    """A layout that tells which elements it covers; those of picked elements are shared with
    nothing (`IndexedTensor`)."""
    return m if meta_of(m.space, m.shape, m.strides, m.dtype, m.pdim, m.pstart) is m else None


def _moved(m: Meta) -> Meta:
    return meta_of(PSUM, m.shape, m.strides, m.dtype, m.pdim, m.pstart)


def _made(engine: str, occupancy: float, latency: float, **more: Any) -> Cost:
    return Cost(engine, occupancy, latency, _INDEX[engine], **more)


def _elements(signature: Signature) -> int:
    """Elements per partition that an engine streams: the largest of its operands."""
    return max((m.free for m in (*signature.srcs, signature.dst) if m.space != CONST), default=1)


# -- TensorE ---------------------------------------------------------------------------------------
def passes_of(dtype: Any, cost: dict[str, Any], transpose: bool) -> int:
    """How often the PE array works through a matmul: 4 times for fp32 (isa), 2 in a transpose
    (arch-v3) or where one operand holds zeros and ones only ("up to 2x", isa), once otherwise. That
    an fp32 transpose takes 2 on NeuronCore-v2 as well is assumed: its moving operand, the identity,
    holds zeros and ones only."""
    if "passes" in cost:
        found: int = min(cost["passes"], 2) if transpose else cost["passes"]
        return found
    return 2 if dtype == dtypes.FLOAT32 else 1


def _tensor(signature: Signature, t: Timing) -> Cost:
    plan = signature.plan.cost
    data = signature.srcs[0]
    if signature.instruction.name == "nc_transpose":  # the data is stationary, the identity moves
        columns, width, transpose = data.free, data.partitions, True
    else:
        columns, width, transpose = data.free, signature.srcs[1].free, bool(plan.get("transpose"))
    passes = passes_of(data.dtype, plan, transpose)
    # Both published formulas, max(N, 64) of arch-v2 and max(N, min(64, stationary)) of isa, agree
    # but for two small operands; the first is taken, since it is the interval at which the array
    # starts a matmul.
    occupancy = max(width, t.min_interval) * passes / t.tensor_ghz
    # "fast LoadStationary", four columns a cycle (perf)
    stationary = columns / 4 * passes / t.tensor_ghz
    # four elements per partition (arch-v4)
    deep = 4 if signature.instruction.name == "nc_matmul_mx" else 1
    flops = 0.0 if transpose else 2.0 * data.partitions * columns * width * deep
    made = _made(
        TENSOR,
        occupancy,
        occupancy + t.tensor_fill,
        stationary=stationary,
        flops=flops,
        flop_rate=t.peak_flops_bf16 * deep / passes,
    )
    position, size = (plan.get("tile_position") or ()), (plan.get("tile_size") or ())
    # disjoint tiles of the array work in parallel: each takes its share of the engine
    if size and size != (128, 128):
        made.tile, made.tile_time = (*position, *size), occupancy
        made.occupancy = occupancy * size[0] * size[1] / (128 * 128)
    return made


# -- VectorE, ScalarE, GpSimdE ---------------------------------------------------------------------
def _short(m: Meta) -> bool:
    """Where isa names bf16, any float of 16 bits or fewer is taken: the limit of self attention in
    fp16 on trn1 (nki-samples) is kept by no slower rate."""
    return m.itemsize <= 2 and dtypes.is_float(m.dtype)


def _inner_contiguous(m: Meta) -> bool:
    return m.shape[-1] == 1 or m.strides[-1] == 1


def _vector_factor(signature: Signature, t: Timing) -> float:
    """Cycles an element."""
    name, pace = signature.instruction.name, signature.instruction.pace
    srcs = [m for m in signature.srcs if m.space != CONST]
    tiles = [m for m in srcs if m.free > 1] or srcs
    everything = [*tiles, signature.dst]
    operators = [getattr(a, "name", None) for a in signature.attrs]
    if pace == TWO_INPUTS and len(tiles) > 1:
        mixed = any(m.space == PSUM for m in tiles)
        short = all(_short(m) for m in everything)
        if name == "tensor_tensor_scan":
            return 2.0
        if t.vector_wide:
            return 0.5 if short and not mixed and name == "tensor_tensor" else 1.0
        if name == "scalar_tensor_tensor":  # isa: one special case
            halves = all(map(_short, tiles)) and tiles[0].free % 2 == 0
            return 1.0 if halves and operators[:3:2] == ["subtract", "multiply"] else 2.0
        fast = short and name == "tensor_tensor" and operators[0] in ("add", "subtract", "multiply")
        return 1.0 if mixed or (fast and all(map(_inner_contiguous, tiles))) else 2.0
    if pace == COPIES and all(_short(m) for m in everything):
        if t.vector_wide:
            slow = any(m.space == PSUM for m in everything) or not all(
                map(_inner_contiguous, everything)
            )
            return 0.5 if slow else 0.25
        return 0.5 if name == "memset" else 1.0
    if (
        name == "tensor_reduce"
        and all(_short(m) for m in everything)
        and operators[0] in ("add", "maximum")
    ):
        return 0.5
    return 1.0 if isinstance(pace, str) else pace


def _stretch(signature: Signature, t: Timing) -> float:
    """2 if a streamed operand steps by more than 16 bytes from element to element, which halves the
    bandwidth of its way to memory (arch-v2 [T]; taken to hold for the later generations [A]); else
    1."""
    for m in (*signature.srcs, signature.dst):
        if m.space in (SBUF, PSUM) and m.free > 1:
            steps = [s for n, s in zip(m.shape[1:], m.strides[1:]) if n > 1]
            if steps and abs(steps[-1]) * m.itemsize > t.full_rate_step:
                return 2.0
    return 1.0


def _vector(signature: Signature, t: Timing) -> Cost:
    cycles = (
        _elements(signature) * _vector_factor(signature, t) * _stretch(signature, t)
        + t.access_cycles
    )
    if signature.instruction.name == "tensor_scalar_reduce" or signature.plan.cost.get(
        "accumulate"
    ):
        cycles += t.accumulator_read
    occupancy = max(cycles, _least(signature, t)) / t.vector_ghz
    return _made(VECTOR, occupancy, occupancy + t.vector_fill)


def _scalar(signature: Signature, t: Timing) -> Cost:
    wide = t.scalar_wide and all(m.itemsize <= 2 for m in (signature.srcs[0], signature.dst))
    cycles = (
        _elements(signature) * (0.5 if wide else 1.0) * _stretch(signature, t) + t.access_cycles
    )
    if signature.extra is not None:
        cycles += t.accumulator_read
    occupancy = max(cycles, _least(signature, t)) / t.scalar_ghz
    activates = signature.instruction.name in ("activation", "activate2")
    table = signature.attrs.op if activates else None
    if table in EVERYWHERE:
        table = None
    return _made(SCALAR, occupancy, occupancy + t.scalar_fill, table=table)


def _least(signature: Signature, t: Timing) -> int:
    """The least cycles of an instruction: MIN_II, or MIN_II_DYNAMIC for an offset that is known at
    run time only (isa)."""
    return t.dynamic_interval if signature.plan.cost.get("dynamic") else t.min_interval


def _gpsimd(signature: Signature, t: Timing) -> Cost:
    plan, n = signature.plan.cost, float(_elements(signature))
    if signature.instruction.name == "local_gather":  # isa: 150 + gathered elements / C
        each, size = plan["elements"] or 1, signature.srcs[0].itemsize
        at_once = ((28 + 4 * each) / (4 * each)) / min(4 / size, each)
        n = (plan["indices"] or n) * each / at_once
    elif signature.instruction.name == "topk":  # v2.32.0 nki.isa topk: 4 n + k in all
        n = 4.0 * plan["elements"] + plan["k"] - t.gpsimd_start
    occupancy = max(t.gpsimd_start + n, _least(signature, t)) / t.gpsimd_ghz
    return _made(GPSIMD, occupancy, occupancy)


# -- DMA -------------------------------------------------------------------------------------------
def contiguous_run(m: Meta, within_partition: bool) -> int:
    """Bytes of the longest contiguous piece of a view; on chip a piece ends with its partition."""
    run = 1
    for axis in range(len(m.shape) - 1, -1 if not within_partition else 0, -1):
        n, step = m.shape[axis], m.strides[axis]
        if n == 1:
            continue
        if step != run:
            break
        run *= n
    return run * m.itemsize


def descriptor_time(run: int, t: Timing, stores: bool = False) -> float:
    """How long one DMA engine is busy with `run` contiguous bytes, which it reads from HBM or
    `stores` there.

    At its rate if the run is long. A short run takes longer than its bytes: on NeuronCore-v2 the
    published matmuls move runs of 256 bytes and of 1 KiB alike at 6.4 bytes a ns, and 2 KiB in
    about 160 ns; on NeuronCore-v3 any run takes some 62 ns.
    """
    least = t.dma_store_min if stores else t.dma_run_min
    return max(run / t.dma_rate, min(t.dma_run_time, run / t.dma_run_rate), least)


def _dma(signature: Signature, t: Timing) -> Cost:
    src, dst = signature.srcs[0], signature.dst
    moved = max(src.nbytes, dst.nbytes)
    transposes = signature.instruction.name == "dma_transpose"
    # A piece is contiguous on both sides; in elements, since a cast changes the bytes.
    pieces = min(contiguous_run(m, m.space != HBM) // m.itemsize for m in (src, dst))
    run = pieces * max(src.itemsize, dst.itemsize)
    if transposes:
        busy = moved / (t.dma_rate * t.dma_transpose_rate)
    else:
        busy = descriptor_time(run, t, src.space != HBM and dst.space == HBM) * (moved / run)
    on_chip = [m.partitions for m in (src, dst) if m.space != HBM]
    engines = min(t.dma_engines, -(-max(on_chip) // 8)) if on_chip else t.dma_engines
    both = 2.0 if src.space == HBM and dst.space == HBM else 1.0
    hbm = signature.read + signature.written
    return _made(
        DMA,
        both * busy / t.dma_engines,
        both * busy / engines,
        run=run,
        moved=moved,
        hbm=hbm,
        outbound=int(src.space != HBM or dst.space == HBM),
    )
