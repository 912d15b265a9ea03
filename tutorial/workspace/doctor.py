"""`python -m tutorial doctor`: what is installed, which backend runs the kernels, and what to do if
something is off."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import nkisim

from ..inputs import datafiles, realdata
from ..stage import solutions_folder, stages

PACKAGES = ("numpy", "ml_dtypes", "matplotlib", "jupyterlab", "pytest", "nbval")
NEEDED = ("numpy", "ml_dtypes")


def findings() -> dict[str, Any]:
    """Versions, backend and target; `advice` is empty if all is well."""
    advice = []
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
            if name in NEEDED:
                advice.append(f"{name} is not installed: python -m pip install {name}")
    if not versions["matplotlib"]:
        advice.append(
            "matplotlib is not installed; traces have no pictures without it: python -m "
            "pip install matplotlib"
        )
    if not versions["jupyterlab"]:
        advice.append(
            "jupyterlab is not installed; the notebooks need it: python -m pip install jupyterlab"
        )
    backend, target, trouble = _backend()
    advice += trouble
    advice += datafiles.troubles()
    try:
        real = (
            f"layers {', '.join(map(str, realdata.layers()))} at "
            f"{', '.join(map(str, realdata.lengths()))} tokens"
        )
    except Exception as error:
        real = f"cannot be read ({type(error).__name__})"
    folder = solutions_folder()
    return {
        "versions": versions,
        "platform": f"{platform.system()} {platform.machine()}",
        "backend": backend,
        "target": target,
        "stages": [f"{stage.number} {stage.name}" for stage in stages()],
        "real data": real,
        "solutions": str(folder) if folder else "not here",
        "advice": advice,
    }


def _backend() -> tuple[str, str, list[str]]:
    """Which package serves neuronxcc.nki, for which target, and what is wrong with it."""
    try:
        nki = importlib.import_module("neuronxcc.nki")
    except BaseException as error:
        return "none", "-", [f"neuronxcc.nki cannot be imported: {type(error).__name__}: {error}"]
    home = Path(getattr(nki, "__file__", "") or "")
    simulated = Path(nkisim.__file__).parent in home.parents
    if simulated:
        name = f"nkisim {nkisim.__version__} (simulator; no real SDK is installed)"
        try:
            with nkisim.record() as run:
                return name, str(run.target), []
        except ValueError as error:
            trouble = f"set NEURON_PLATFORM_TARGET_OVERRIDE to another target, or unset it: {error}"
            return name, "unknown", [trouble]
    try:
        version = importlib.metadata.version("neuronx-cc")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    return (
        f"neuronx-cc {version} (real SDK; counters and traces need the simulator: set "
        "NKISIM_FORCE=1)",
        "the SDK's own",
        [],
    )


def report(found: dict[str, Any]) -> str:
    """The findings as text."""
    lines = [
        f"{name:<11} {version or 'not installed'}" for name, version in found["versions"].items()
    ]
    lines += [
        f"{name:<11} {found[name]}"
        for name in ("platform", "backend", "target", "real data", "solutions")
    ]
    lines.append(f"{'stages':<11} {', '.join(found['stages'])}")
    lines.append("")
    lines += [f"to do: {text}" for text in found["advice"]] or ["All is well."]
    return "\n".join(lines)
