"""A program as data: what a random kernel does, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tests.nkisim.random_programs.numbers import Numbers


class Step(NamedTuple):
    """One thing that the kernel does."""

    what: str
    """The name of the emitter's method, and of the oracle's."""
    out: int | None
    """The number of the tensor that comes out, if one does."""
    operands: tuple[int, ...]
    """The numbers of the tensors that go in."""
    how: dict[str, Any]
    """All else: operators, numbers, data types, sizes."""

    def __str__(self) -> str:
        made = "" if self.out is None else f"t{self.out} = "
        given = ", ".join(
            [*(f"t{n}" for n in self.operands), *(f"{k}={v!r}" for k, v in self.how.items())]
        )
        return f"{made}{self.what}({given})"


@dataclass(slots=True)
class Held:
    """A tensor as the oracle knows it. Views share their arrays with what they are views of."""

    numbers: Numbers
    dtype: str
    space: str
    """"hbm", "sbuf" or "psum"."""
    written: np.ndarray
    start: int = 0
    """The partition at which it starts."""
    root: int = -1
    """The tensor that it is a view of."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.values.shape

    @property
    def exact(self) -> bool:
        return self.numbers.exact


@dataclass(slots=True)
class Program:
    """A random kernel for one dialect, with its inputs and what they must give."""

    dialect: str
    target: str
    seed: int
    inputs: list[tuple[np.ndarray, str]] = field(default_factory=list)
    """Values in float64, and the data type in which they are passed."""
    numbers: list[int] = field(default_factory=list)
    """The number of each input among the tensors."""
    steps: list[Step] = field(default_factory=list)
    outputs: list[Held] = field(default_factory=list)

    def __str__(self) -> str:
        head = f"seed {self.seed}, {self.dialect} on {self.target}: inputs " + ", ".join(
            f"t{n} {values.shape} {dtype}" for n, (values, dtype) in zip(self.numbers, self.inputs)
        )
        return "\n".join([head, *(f"  {step}" for step in self.steps)])
