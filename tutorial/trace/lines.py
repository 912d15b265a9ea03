"""Which line of a kernel keeps a quantity of its state."""

from __future__ import annotations

from itertools import chain
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
    wanted = {w.index for w in writes}
    records = chain.from_iterable(program.records() for program in run.programs)
    lines = {
        (record.place.line, record.place.text)
        for number, record in enumerate(records)
        if number in wanted and record.signature.instruction.name != "memset"
    }
    return next(iter(lines)) if len(lines) == 1 else None
