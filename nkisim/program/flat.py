"""Replaying a program as a flat list of NumPy calls on memory that is laid out beforehand.

Each step becomes one call with its arrays bound: tiles lie in arrays that are used again when a
tile is dead, and a copy of a tile that dies there is only another name for it. What needs to be
checked on values (run-time indices) still is; all else was, when the program was lowered or loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..execution.execution import Execution
from ..execution.launch import launched
from ..execution.redirect import spend_memset
from ..machine.config import Config
from ..rules.listing import CURSOR
from .call import Call
from .flat_calls import Calls
from .flat_memory import Inputs, Memory
from .flat_steps import CannotFlatten, Steps
from .stand_ins import Dialect


class FlatCall:
    """One kernel call as a list of NumPy calls."""

    def __init__(self, call: Call, config: Config, given: list[Any], derive: bool) -> None:
        """`given`: the shapes of its inputs; `derive`: the program came from a file. CannotFlatten
        where a step has no such call."""
        self.call = call
        self.config = config
        steps = Steps(call, config, given, derive)
        memory = Memory(config, steps, steps.ops)
        self.inputs = Inputs(config)
        self.cursor = steps.replay.cursor
        self.dialect = Dialect(call.dialect)
        self.calls = Calls(steps, memory, self.inputs).all(memory.ops)
        self.outputs = [memory.view(v.buffer, v.offset, v.meta) for v in call.returned]

    @property
    def skipped(self) -> dict[str, int]:
        """Bytes of each input that the last call left out, where indices were out of bounds."""
        given = self.call.given
        return {given[k].name: nbytes for k, nbytes in self.inputs.skipped.items()}

    def __call__(self, given: list[np.ndarray]) -> list[np.ndarray]:
        """The arrays that the kernel returns."""
        execution = Execution(self.config, self.dialect, None, spend_memset)
        execution.grid, execution.position = self.call.grid, ()
        token = CURSOR.set(self.cursor)
        try:
            with launched(execution):
                self.inputs.bind(given)
                for call in self.calls:
                    call()
        finally:
            CURSOR.reset(token)
            self.inputs.release()
        return [out.copy() for out in self.outputs]


__all__ = ["CannotFlatten", "FlatCall"]
