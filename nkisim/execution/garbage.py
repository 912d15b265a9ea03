"""Python's collector of cyclic garbage, while kernels run and after.

A run makes objects by the hundred thousand, which form no cycles and live as long as the run that
recorded them. The collector would walk them over and over while they are made; so it rests. And it
would walk all of them once at the end, as young ones, which takes a tenth of the run's own time; so
they are handed over as old ones, among which cycles are looked for much less often. What cycles
others made meanwhile are old then too: after so many objects, all are collected.
"""

from __future__ import annotations

import gc

_FEW = 500
"""Objects of a run that are left to the collector."""
_MOST = 200_000
"""Objects handed over before all garbage is collected once."""
_handed_over = 0
_others_froze = False
"""Whether someone has frozen objects, so that processes share them. Once seen, it is not asked
again: the collector counts frozen objects one by one, which takes longer than a run."""


def pause() -> bool:
    """Let the collector rest; whether it was at work."""
    working = gc.isenabled()
    gc.disable()
    return working


def resume(made: int) -> None:
    """Let the collector work again, after a run that made so many objects."""
    global _handed_over, _others_froze
    if made > _FEW:
        _others_froze = _others_froze or gc.get_freeze_count() > 0
        if not _others_froze:  # who has frozen objects does not want them thawed
            gc.freeze()
            gc.unfreeze()
            _handed_over += made
    gc.enable()
    if _handed_over > _MOST:
        _handed_over = 0
        gc.collect()
