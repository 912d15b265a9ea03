"""Between the physical cores of a logical one: tiles that cross from one SBUF to the other.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py (sendrecv).
"""

from __future__ import annotations

from ..machine.memory import SBUF
from .core import DMA, Call, Plan, instruction


@instruction(
    "sendrecv",
    "a tile sent to the other core, and the other core's tile received",
    "aws-neuron-sdk v2.32.0 nki.isa sendrecv",
)
def SENDRECV(call: Call) -> Plan:
    """attrs: (). Sources: the values that arrived (a constant), and, where all of it has a value,
    the tile that is sent."""
    dst = call.dst
    assert dst is not None
    for t, what in [(dst, "dst"), *[(src, "src") for src in call.srcs[1:]]]:
        call.memory_of(t, (SBUF,), what, "Copy it to SBUF first.")
        call.tile(t, what, (SBUF,), streamed=False)
        if t.meta.shape != dst.meta.shape or t.dtype != dst.dtype:
            call.fail(
                "shape-mismatch",
                f"'{t.label}' and '{dst.label}' differ",
                dst,
                got=f"{t.meta.describe()} and {dst.meta.describe()}",
                limit="one shape and one data type",
            )
    return Plan(DMA, lambda arrived, *sent: arrived, dst.meta.shape, dst.array.dtype)
