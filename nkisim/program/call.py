"""One kernel call of a lowered program: its steps, and the tables that they refer to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..execution.lowering import Lowering
from ..execution.steps import END, LOOP, NEXT, Allocation, Form, Pattern, Pick, View
from ..machine.memory import Meta
from ..rules import source
from ..rules.listing import Place


class Given(NamedTuple):
    """An array that a kernel is called with."""

    name: str
    """The parameter's."""
    slot: int
    """Which array of the program it is (`Program.slots`)."""
    shape: tuple[int, ...]
    """The shape it has for the kernel."""
    dtype: np.dtype
    mutable: bool
    """Whether the kernel may write to it."""


@dataclass(frozen=True, eq=False)
class Call:
    """One kernel call. Nothing in it depends on Python's text, nor on values."""

    name: str
    """The kernel's."""
    dialect: str
    """"neuronxcc.nki" or "nki"."""
    grid: tuple[int, ...]
    cores: int
    given: tuple[Given, ...]
    returned: tuple[View, ...]
    """Where the arrays lie that it returns..."""
    into: tuple[int, ...]
    """...and which arrays of the program they become."""
    steps: NDArray[np.int64]
    """(n, 4): kind, what, place, end of its arguments. See `execution.steps`."""
    args: NDArray[np.int64]
    forms: tuple[Form, ...]
    metas: tuple[Meta, ...]
    allocations: tuple[Allocation, ...]
    texts: tuple[str, ...]
    masks: tuple[Pattern, ...]
    attributes: tuple[tuple[Any, ...], ...]
    constants: tuple[Any, ...]
    """Numbers, and patterns."""
    picks: tuple[Pick, ...]
    arrays: tuple[tuple[Meta, np.ndarray], ...]
    """Tensors in HBM that the kernel was built with, as values."""
    places: tuple[Place, ...]
    outputs: tuple[int, ...]
    """The buffers that lie in shared HBM."""
    undecided: bool = False
    """Whether values decide if unknown elements are read. Not in a file: it is found out again."""


def _places(codes: Sequence[tuple[CodeType | None, int]], steps: NDArray[Any]) -> tuple[Place, ...]:
    """The places of a call's steps, which are renumbered: Python 3.12 moves a loop's place in
    the byte code when it has run a few times, and what reads alike is one loop."""
    of_loops = set(steps[np.isin(steps[:, 0], (LOOP, NEXT, END)), 2].tolist())
    found: dict[tuple[Place, int | None], int] = {}
    numbers = []
    for number, (code, lasti) in enumerate(codes):
        line = source.line_of(code, lasti)
        name = source.assigned_name(code, lasti) or source.expression_label(code, lasti)
        place = Place(line.filename, line.line, line.text, name)
        key = place, None if number in of_loops else number
        numbers.append(found.setdefault(key, len(found)))
    steps[:, 2] = np.array(numbers, dtype=np.int64)[steps[:, 2]]
    return tuple(place for place, _ in found)


def call_of(
    lowering: Lowering,
    kernel_name: str,
    dialect: str,
    grid: tuple[int, ...],
    cores: int,
    given: tuple[Given, ...],
    undecided: bool,
) -> Call:
    """What a kernel call that has ended noted."""
    steps = np.array(lowering.steps, dtype=np.int64).reshape(-1, 4)
    places = _places(lowering.codes, steps)
    buffers = lowering.buffers
    return Call(
        kernel_name,
        dialect,
        grid,
        cores,
        given,
        tuple(lowering.outputs),
        tuple(lowering.into),
        steps,
        np.array(lowering.args, dtype=np.int64),
        tuple(lowering.forms.entries),
        tuple(lowering.metas.entries),
        tuple(lowering.allocations.entries),
        tuple(lowering.texts.entries),
        tuple(lowering.masks.entries),
        tuple(lowering.attributes.entries),
        tuple(lowering.constants.entries),
        tuple(lowering.picks),
        tuple((buffers[number].meta, values) for number, values in lowering.arrays),
        places,
        tuple(n for n, b in enumerate(buffers) if b.role in ("output", "scattered")),
        undecided,
    )
