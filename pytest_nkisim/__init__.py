"""Pytest plugin: a test file or notebook that imports `neuronxcc` or `nki` runs on the simulator.

Installing the distribution is enough; `-p no:nkisim` turns it off. In a project that imports
neither name it does nothing at all: no import of the simulator or of NumPy, no entry in
`PYTHONPATH`, no line in pytest's header. It is a package beside `nkisim` for that reason, since
importing anything of `nkisim` switches the fallback on.

Child processes (xdist's workers, the kernels that nbval starts, spawned pools) inherit the fallback
through the environment from the moment that a collected file names one of the two packages.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NAMES = ("neuronxcc", "nki")
COLLECTED = (".py", ".ipynb")
_TOLD = pytest.StashKey[bool]()
IMPORTS = re.compile(rf"^[\s\"]*(?:import|from)\s+(?:{'|'.join(NAMES)})\b", re.MULTILINE)


@cache
def _finder() -> Any:
    """The module `nkisim.fallback.finder`, loaded by its path: nothing of nkisim is imported."""
    package = importlib.util.find_spec("nkisim")
    assert package is not None and package.origin is not None
    path = Path(package.origin).parent / "fallback" / "finder.py"
    spec = importlib.util.spec_from_file_location("_pytest_nkisim_finder", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FirstImport:
    """Waits at the end of `sys.meta_path` for an import that no real SDK answers."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in NAMES:
            return None
        sys.meta_path.remove(self)
        switch_on()
        for finder in sys.meta_path:
            if getattr(finder, "nkisim_fallback", False):
                found: ModuleSpec | None = finder.find_spec(fullname, path, target)
                return found
        return None


def switch_on() -> None:
    """Serve both names in this process and its children, unless a real SDK is installed."""
    _finder().install()


def names_nki(path: Path) -> bool:
    """True if a file that pytest collects has a line that imports one of the two packages."""
    if path.suffix not in COLLECTED:
        return False
    try:
        return IMPORTS.search(path.read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Before any conftest file or test module is imported."""
    if os.environ.get("NKISIM_FORCE", "") not in ("", "0"):
        sys.meta_path.insert(0, FirstImport())  # in front of a real SDK
    else:
        sys.meta_path.append(FirstImport())


@pytest.hookimpl(tryfirst=True)
def pytest_collect_file(file_path: Path) -> None:
    """The environment of child processes, for a file whose imports may happen only there."""
    if names_nki(file_path):
        switch_on()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """One line in pytest's header where a conftest file has imported NKI already."""
    config.stash[_TOLD] = _switched_on()
    return _line() if config.stash[_TOLD] else []


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """The same line after the collection where it was a test that imports NKI."""
    return [] if config.stash.get(_TOLD, False) or not _switched_on() else _line()


def pytest_unconfigure() -> None:
    """pytest may run several times in one process."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, FirstImport)]


def _switched_on() -> bool:
    loaded = any(name in sys.modules for name in NAMES)
    return loaded or any(getattr(finder, "nkisim_fallback", False) for finder in sys.meta_path)


def _line() -> list[str]:
    return [f"NKI backend: {_finder().backend()}"]
