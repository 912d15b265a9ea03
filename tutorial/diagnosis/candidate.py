"""Known mistakes as they are compared with a kernel's answers."""

from __future__ import annotations

from dataclasses import dataclass

from ..reference.mistake import Mistake
from .trial import Tiling, Trial


@dataclass(frozen=True)
class Candidate:
    """A mistake, the twin's text with its lines and as it is right, and whether the heads come in
    turn."""

    mistake: Mistake
    text: str
    right: str
    in_turn: bool


@dataclass(frozen=True)
class Match:
    """A candidate that answers like the kernel, and by how much it does not."""

    candidate: Candidate
    misfit: float
    tiling: Tiling


def same_kind(trial: Trial, tiling: Tiling) -> Tiling:
    """The tiling as this trial has it: its own reads, or tiles as wide where they fit."""
    if tiling.read and trial.names(tiling) is None:
        return next(trial.tilings(), tiling)
    if not tiling.read and trial.names(tiling) is None:
        return Tiling(trial.problem.n, rule=tiling.rule)
    return tiling
