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
MISSED = {
    "numpy": "",
    "ml_dtypes": "",
    "matplotlib": "; traces have no pictures without it",
    "jupyterlab": "; the notebooks need it",
}
"""What is missing where a package is."""


def findings() -> dict[str, Any]:
    """Versions, backend and target; `advice` is empty if all is well."""
    advice = []
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = version(name)
        if versions[name] is None and name in MISSED:
            advice.append(f"{name} is not installed{MISSED[name]}: python -m pip install {name}")
    backend, target, trouble = _backend()
    advice += trouble
    advice += datafiles.troubles()
    try:
        layers, lengths = (", ".join(map(str, x)) for x in (realdata.layers(), realdata.lengths()))
        real = f"layers {layers} at {lengths} tokens"
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
    name = f"neuronx-cc {version('neuronx-cc') or 'of unknown version'}"
    lacks = "counters and traces need the simulator: set NKISIM_FORCE=1"
    return f"{name} (real SDK; {lacks})", "the SDK's own", []


def version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def report(found: dict[str, Any]) -> str:
    """The findings as text."""
    lines = [f"{name:<11} {has or 'not installed'}" for name, has in found["versions"].items()]
    lines += [
        f"{name:<11} {found[name]}"
        for name in ("platform", "backend", "target", "real data", "solutions")
    ]
    lines.append(f"{'stages':<11} {', '.join(found['stages'])}")
    lines.append("")
    lines += [f"to do: {text}" for text in found["advice"]] or ["All is well."]
    return "\n".join(lines)
