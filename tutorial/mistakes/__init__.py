"""The known mistakes, one table for each subject."""

from __future__ import annotations

from ..reference.attention import Attention
from ..reference.mistake import Mistake
from ..stage import Stage
from .attention import ATTENTION
from .batches import BATCH
from .splits import SPLIT


def known(stage: Stage, attention: Attention) -> tuple[Mistake, ...]:
    """The mistakes that can be made at a stage: its own, those with lengths or splits, then those
    of every attention."""
    shared = BATCH if attention.lengths is not None else SPLIT if attention.splits else ()
    return (*stage.known, *shared, *ATTENTION)
