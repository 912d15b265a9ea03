"""What an older target lacks, and what happens where no target was asked for."""

from __future__ import annotations

import dataclasses
import os

from ...execution.execution import current
from ...machine import target as targets
from ...machine.running import LISTENER
from ...rules.errors import broken


def explicit_target() -> bool:
    """Whether somebody said which target is meant."""
    run = LISTENER.get()
    if run is not None and (run.target_asked or run.config.target is not targets.DEFAULT):
        return True
    return bool(os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE"))


def needs_trn3(api: str) -> None:
    """Refuse on an older target that was asked for; where none was, warn, and go on as trn3."""
    execution = current(api)
    target = execution.config.target
    if target.nc_version >= 4:
        return
    if explicit_target():
        broken(
            "engine",
            f"{api} needs NeuronCore-v4 (trn3)",
            got=f"target {target.name}",
            remedy="Set NEURON_PLATFORM_TARGET_OVERRIDE=trn3, or do without it.",
        )
    broken(
        "target-default",
        f"{api} needs NeuronCore-v4 (trn3), and no target is set",
        got=f"target {target.name}",
        remedy="Set NEURON_PLATFORM_TARGET_OVERRIDE=trn3 where trn3 is meant; the kernel goes "
        "on as if it were.",
    )
    execution.retarget(dataclasses.replace(execution.config, target=targets.TRN3))


def needs_trn2(api: str) -> None:
    """Refuse what NeuronCore-v2 lacks."""
    target = current(api).config.target
    if target.nc_version < 3:
        broken(
            "engine",
            f"{api} needs NeuronCore-v3 (trn2) or later",
            got=f"target {target.name}",
            remedy="Set NEURON_PLATFORM_TARGET_OVERRIDE=trn2 or trn3.",
        )
