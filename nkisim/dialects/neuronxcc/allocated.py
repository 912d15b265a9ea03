"""What a kernel may not do that places its tiles itself (nki.compiler's sbuf.alloc, psum.mod_alloc
and their kin).

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki.errors.rst. The addresses themselves are not
simulated.
"""

from __future__ import annotations

from types import CodeType
from typing import Any

from ...execution.execution import running
from ...rules.errors import broken

AUTOMATIC: set[CodeType] = set()
"""Kernels decorated with nki.compiler.force_auto_alloc: their placements are ignored."""


def note() -> None:
    """The kernel that is running has placed a tile."""
    execution = running()
    if execution is not None and execution.kernel_code not in AUTOMATIC:
        execution.places_tiles = True


def places_tiles() -> bool:
    """Whether the kernel that is running has placed a tile."""
    execution = running()
    return execution is not None and execution.places_tiles


def needs_bias(api: str) -> None:
    """Refuse an activation without a bias tile."""
    if places_tiles():
        broken(
            "allocated-bias",
            f"{api} has no bias tile, in a kernel that places its tiles itself",
            got="no bias",
            limit="a bias tile of one element per partition, which the kernel has placed too",
            remedy="Use nisa.activation(op, data, bias=zeros), with zeros a placed tile that "
            "holds 0.",
        )


def no_transpose(api: str) -> None:
    """Refuse a transpose on TensorE, whose identity matrix nobody has placed."""
    if places_tiles():
        broken(
            "allocated-transpose",
            f"{api} transposes on TensorE, in a kernel that places its tiles itself",
            got="an identity matrix that nobody placed",
            limit="VectorE, or a matmul with an identity matrix of your own",
            remedy="Multiply by a placed identity matrix, nisa.nc_matmul(data, identity, "
            "is_transpose=True), or use "
            "nisa.nc_transpose(data, engine=nisa.vector_engine) for 32 x 32.",
        )


def no_value(api: str, place: Any) -> None:
    """Refuse a placed tensor that is made with a value."""
    execution = running()
    if (
        getattr(place, "placed", None) is not None
        and execution is not None
        and execution.kernel_code not in AUTOMATIC
    ):
        broken(
            "allocated-init",
            f"{api} fills a tensor that the kernel places itself",
            got=f"{api}(..., buffer=a placement)",
            limit="nl.ndarray",
            remedy="Make it with nl.ndarray and write it: t[...] = value.",
        )
