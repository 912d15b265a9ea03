"""The instructions of a run, each made when more than its name is asked of it: of thousands a
diagnosis looks at a few kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Executed:
    """One instruction: `op`, and all else that an `nkisim` instruction has."""

    __slots__ = ("_every", "_index", "_whole", "op")

    def __init__(self, every: Sequence[Any], index: int, op: str) -> None:
        self._every = every
        self._index = index
        self._whole: Any = None
        self.op = op

    def __getattr__(self, name: str) -> Any:
        if self._whole is None:
            self._whole = self._every[self._index]
        return getattr(self._whole, name)


def executed(run: Any) -> list[Any]:
    """The instructions of an `nkisim.Run`, or of the replay of a program, in order."""
    recorded = getattr(run, "first", run)
    every = recorded.instructions
    names = (record.signature.instruction.name for record in recorded.records())
    return [Executed(every, index, name) for index, name in enumerate(names)]


def is_exp(made: Any) -> bool:
    """Whether an instruction takes exp."""
    return made.op == "activation" and "exp" in str(made.attrs.get("op", "exp"))
