"""Which line of a kernel keeps a quantity of its state."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .states import named_state


def line_of(run: Any, quantity: str) -> tuple[int, str] | None:
    """The line that updates m, l or |acc|, and its text; None where none or several do.

    `run` is an `nkisim.Run` with values. Fills with a constant do not count.
    """
    name = quantity.strip("|")
    writes = [w for own in named_state(run.names()).get(name, ()) for w in run.writes(own)]
    if not writes:
        return None
    instructions = run.instructions
    lines = Counter(
        (w.line, instructions[w.index].source)
        for w in writes
        if 0 <= w.index < len(instructions) and instructions[w.index].op != "memset"
    )
    return next(iter(lines)) if len(lines) == 1 else None
