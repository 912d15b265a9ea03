"""One instruction that ran, as its reader sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from ..execution import tape
from ..machine import dtypes
from ..machine.memory import CONST


class Operand(NamedTuple):
    """One tile or tensor of an instruction."""

    name: str
    space: str
    """"hbm", "sbuf" or "psum"; "const" for a number."""
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Instruction:
    """One instruction that ran."""

    index: int
    engine: str
    """"tensor", "vector", "scalar", "gpsimd" or "dma"."""
    op: str
    """The instruction of the machine, e.g. "nc_matmul", "activation", "dma_copy"."""
    dst: tuple[Operand, ...]
    srcs: tuple[Operand, ...]
    hbm_bytes_read: int
    hbm_bytes_written: int
    filename: str
    line: int
    source: str
    """The stripped source line of the kernel."""
    attrs: dict[str, Any]

    def __str__(self) -> str:
        sources = ", ".join(f"{o.name}{list(o.shape)}" for o in self.srcs if o.space != "const")
        targets = ", ".join(f"{o.name}{list(o.shape)}" for o in self.dst)
        return (
            f"{self.index:5d}  {self.engine:<6} {self.op:<16} {targets} <- {sources}   line "
            f"{self.line}"
        )


def operand(view: tape.Operand) -> Operand:
    """What a reader sees of an operand."""
    name = view.buffer.label if view.meta.space != CONST else "constant"
    return Operand(name, view.meta.space, view.meta.shape, dtypes.name(view.meta.dtype))


def instruction(index: int, record: tape.Record) -> Instruction:
    """What a reader sees of the record at position `index` of a run."""
    signature, place = record.signature, record.place
    return Instruction(
        index,
        signature.engine,
        signature.instruction.name,
        tuple(map(operand, record.written)),
        tuple(map(operand, record.srcs)),
        record.hbm_read,
        record.hbm_written,
        place.filename,
        place.line,
        place.text,
        attributes(signature),
    )


_ATTRIBUTES: dict[str, tuple[str | None, ...]] = {
    "nc_matmul": (
        "is_stationary_onezero",
        "is_moving_onezero",
        "is_transpose",
        "tile_position",
        "tile_size",
        "accumulate",
        "perf_mode",
    ),
    "nc_matmul_mx": ("tile_position", "tile_size", "accumulate"),
    "activation": ("op", None, None, "reduce_op", "reduce_cmd"),
    "activate2": ("op", "op0", "reverse0", "op1", "reverse1", "reduce_op", "reduce_cmd"),
    "tensor_tensor": ("op", None),
    "tensor_scalar": ("op0", "reverse0", "op1", "reverse1", None),
    "scalar_tensor_tensor": ("op0", "reverse0", "op1", "reverse1"),
    "tensor_tensor_scan": ("op0", "op1", "reverse0", "reverse1"),
    "tensor_reduce": ("op", "axis", "negate", "keepdims"),
    "tensor_scalar_reduce": ("op0", "reverse0", "reduce_op", "reduce_cmd", "reduce_res_negate"),
    "tensor_scalar_cumulative": ("op0", "reverse0", "op1", "reduce_cmd"),
    "exponential": ("reduce_cmd",),
    "tensor_copy_predicated": ("reverse_pred",),
    "select_reduce": ("reverse_pred", "reduce_cmd"),
    "range_select": ("comp_op0", "comp_op1", "range_start", "reduce_cmd", None),
    "tensor_partition_reduce": ("op",),
    "nc_stream_shuffle": ("shuffle_mask",),
    "local_gather": ("num_elem_per_idx", "num_valid_indices"),
    "nonzero_with_count": ("index_offset", "padding_val"),
    "topk": ("n",),
    "rng": ("shape", None),
    "rand": ("shape", None),
    "memset": ("shape", None),
    "dma_transpose": ("axes", "dge_mode"),
    "dma_copy": ("add",),
}
"""The readable names of instructions' attributes, in order; None for one that is not shown."""


def _attributes(signature: Any) -> dict[str, Any]:
    """The attributes of an instruction by readable name."""
    names = _ATTRIBUTES.get(signature.instruction.name, ())
    return {n: getattr(v, "name", v) for n, v in zip(names, signature.attrs) if n is not None}


def attributes(signature: Any) -> dict[str, Any]:
    """The attributes of an instruction by readable name."""
    names = _ATTRIBUTES.get(signature.instruction.name, ())
    return {n: getattr(v, "name", v) for n, v in zip(names, signature.attrs) if n is not None}
