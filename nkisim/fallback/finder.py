"""Serve the import names `neuronxcc` and `nki` when, and only when, no real package provides them.

Standard library only, and no import of the rest of `nkisim`: a child process loads this file by its
path while the interpreter starts (`children/sitecustomize.py`), where NumPy must not be imported
and `nkisim` may not be findable.

One finder, the last on `sys.meta_path`, resolves the top-level names alone, to the thin packages
under `packages/`. Their submodules are then found by the ordinary machinery through the packages'
own `__path__`, so every module exists once. (A finder that aliased each submodule would lose to
`PathFinder` and load everything twice.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

SDK_NAMES = ("neuronxcc", "nki")
FORCE_VARIABLE = "NKISIM_FORCE"

_HERE = os.path.dirname(os.path.realpath(__file__))
_PACKAGES = os.path.join(_HERE, "packages")
_CHILDREN = os.path.join(_HERE, "children")
_DISTRIBUTIONS = {"neuronxcc": "neuronx-cc", "nki": "nki"}


_ELSEWHERE = {
    "neuronxcc.nki.kernels": "the kernels of neuronxcc.nki.kernels are published in the repository "
    "aws-neuron/nki-samples: put src/ of a clone on PYTHONPATH, and import nki_samples.reference",
    "neuronxcc.nki._private": "it is private to AWS's compiler, and in no documentation",
    "neuronxcc.nki._private_kernels": "it is private to AWS's compiler, and in no documentation",
    "neuronxcc.nki._pre_prod_kernels": "it is private to AWS's compiler, and in no documentation",
    "neuronxcc.starfish": "it is a part of AWS's compiler behind NKI, and in no documentation",
}
"""Modules that published kernels import and that are not here: why, and where to look."""


def _explain(fullname: str) -> None:
    """Say why a module of our `neuronxcc` is missing, where published kernels import it."""
    ours = getattr(sys.modules.get("neuronxcc"), "__file__", None) or ""
    if not ours.startswith(_PACKAGES):
        return
    for name, why in _ELSEWHERE.items():
        if fullname == name or fullname.startswith(name + "."):
            # without a name, so that `from package import module` passes it on
            raise ModuleNotFoundError(f"nkisim has no {fullname}: {why}")


class FallbackFinder:
    """Meta-path finder for the top-level names; everything else is none of its business."""

    # A child process may hold two copies of this class (this file loaded by path, then as a module
    # of nkisim), so that a finder is recognised by this attribute and not by its type.
    nkisim_fallback = True

    # nkisim itself is last on the list for children of a process that ran from a checkout without
    # installing it.
    homes = {  # noqa: RUF012
        "neuronxcc": _PACKAGES,
        "nki": _PACKAGES,
        "nkisim": os.path.dirname(os.path.dirname(_HERE)),
    }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        home = self.homes.get(fullname)
        if home is None:
            if fullname.startswith("neuronxcc."):
                _explain(fullname)
            return None
        # Asked again here, and not only in install(): sys.path may have grown since.
        if fullname in SDK_NAMES and not forced() and real_sdk() is not None:
            return None
        return PathFinder.find_spec(fullname, [home])


def forced() -> bool:
    """True when the user asks for the simulator even beside a real SDK (`NKISIM_FORCE=1`)."""
    return os.environ.get(FORCE_VARIABLE, "") not in ("", "0")


def real_sdk() -> str | None:
    """Return `"neuronxcc"` or `"nki"` if a real package of that name can be imported here, else
    None. Imports nothing.

    A plain directory or a single file of that name (a learner's own `nki/` or `nki.py`) is not an
    SDK.
    """
    for name in SDK_NAMES:
        loaded = sys.modules.get(name)
        spec = getattr(loaded, "__spec__", None) if loaded is not None else _spec_without_us(name)
        if spec is None or _is_ours(spec):
            continue
        if spec.submodule_search_locations is not None and spec.origin is not None:
            return name
    return None


def backend() -> str:
    """Say in a few words what `import neuronxcc` and `import nki` give in this process.

    Returns:
        `"nkisim fallback"`, `"neuronxcc 2.21.1 (real)"` or `"nki 0.6.0 (real)"` (without the number
        if the package
        was put on the path by hand), or `"none"` while neither is importable.
    """
    if any(_is_ours(getattr(sys.modules.get(name), "__spec__", None)) for name in SDK_NAMES):
        return "nkisim fallback"
    real = real_sdk()
    if installed() and (real is None or forced()):
        return "nkisim fallback"
    if real is None:
        return "none"
    from importlib import metadata  # slow to import, and every child process would pay for it

    try:
        return f"{real} {metadata.version(_DISTRIBUTIONS[real])} (real)"
    except metadata.PackageNotFoundError:
        return f"{real} (real)"


def installed() -> bool:
    """True while the finder is on `sys.meta_path`."""
    return any(getattr(finder, "nkisim_fallback", False) for finder in sys.meta_path)


def install() -> None:
    """Switch the fallback on for this process and for the Python processes it will start.

    Does nothing where a real SDK is found, prints nothing, and may be called any number of times.
    With `NKISIM_FORCE=1` the finder comes first instead of last, so that the simulator also hides a
    real SDK.

    Children are reached through `PYTHONPATH`, which gains the directory of a small
    `sitecustomize.py`. Without that a process started by `multiprocessing` with the method `spawn`
    (the only one on Windows, the default on macOS) would fail on `import neuronxcc` or `import
    nki`, and a pool would start such processes for ever.
    """
    if not forced() and real_sdk() is not None:
        return
    if not installed():
        finder = FallbackFinder()
        if forced():
            sys.meta_path.insert(0, finder)
        else:
            sys.meta_path.append(finder)
    entries = _python_path()
    if _CHILDREN not in entries:
        os.environ["PYTHONPATH"] = os.pathsep.join([_CHILDREN, *entries])


def uninstall() -> None:
    """Undo `install()`: the finder, the entry in `PYTHONPATH`, and the thin packages that were
    already imported.

    Objects that were imported through them stay valid, because they live in `nkisim`.
    """
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if not getattr(finder, "nkisim_fallback", False)
    ]
    entries = _python_path()
    if _CHILDREN in entries:
        entries = [entry for entry in entries if entry != _CHILDREN]
        if entries:
            os.environ["PYTHONPATH"] = os.pathsep.join(entries)
        else:
            del os.environ["PYTHONPATH"]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in SDK_NAMES and _is_ours(getattr(module, "__spec__", None)):
            del sys.modules[name]


def _spec_without_us(name: str) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if getattr(finder, "nkisim_fallback", False) or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(name, None)
        if spec is not None:
            return spec
    return None


def _is_ours(spec: ModuleSpec | None) -> bool:
    return (
        spec is not None and spec.origin is not None and spec.origin.startswith(_PACKAGES + os.sep)
    )


def _python_path() -> list[str]:
    value = os.environ.get("PYTHONPATH", "")
    return value.split(os.pathsep) if value else []
