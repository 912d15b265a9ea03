"""The reduction registers of an engine, and what an instruction may do with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..rules.errors import broken

IDLE, RESET, REDUCE, RESET_REDUCE, LOAD_REDUCE = 0, 1, 2, 3, 4
"""What an instruction does with its engine's reduction registers (nisa.reduce_cmd)."""


class Registers:
    """The 128 reduction registers of an engine, one per partition."""

    def __init__(self) -> None:
        self.values = np.zeros((128, 1), dtype=np.float32)
        self.known = np.zeros(128, dtype=bool)
        """Which of them have been reset since the kernel began."""

    def read(self, rows: slice, api: str) -> np.ndarray:
        """The registers of the partitions `rows`, shape (p, 1)."""
        if not self.known[rows].all():
            broken(
                "uninitialized-read",
                f"{api}: the reduction registers are read before they are reset",
                got="reduce_cmd does not reset them, and no earlier instruction did",
                remedy="Pass reduce_cmd=nisa.reduce_cmd.reset_reduce in the first instruction "
                "of the reduction.",
            )
        return self.values[rows].copy()

    def write(self, rows: slice, values: Any) -> None:
        self.values[rows] = values
        self.known[rows] = True

    def forget(self, rows: slice) -> None:
        """Their contents are no longer known: an instruction used the engine's accumulator for
        itself."""
        self.known[rows] = False


def registers_of(program: Any, engine: str) -> Registers:
    """The registers of an engine of the program instance that is running."""
    found = program.registers.get(engine)
    if found is None:
        found = program.registers[engine] = Registers()
    result: Registers = found
    return result
