"""What a run did, counted from its records."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any


def bytes_by_instance(run: Any) -> list[tuple[int, int]]:
    """The HBM bytes that each program instance read: (number of the kernel call, bytes), in the
    order in which they ran. A call without a grid is one instance."""
    found = []
    for number, program in enumerate(run.programs):
        starts = program.instances or [0]
        read = [0] * len(starts)
        for at, record in program.tape.placed():
            read[max(bisect_right(starts, at) - 1, 0)] += record.hbm_read
        found += [(number, size) for size in read]
    return found


def products(run: Any) -> tuple[int, int]:
    """The matrix multiplications that are not transposes, and the transposes on any engine; of the
    records, as a run may have more instructions than it keeps."""
    matmuls = transposes = 0
    for record in run.records():
        op = record.signature.instruction.name
        if op == "nc_matmul" and not record.signature.shown.get("is_transpose"):
            matmuls += 1
        elif op == "nc_matmul" or "transpose" in op:
            transposes += 1
    return matmuls, transposes
