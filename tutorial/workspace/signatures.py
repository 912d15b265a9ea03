"""How a function of NKI is called: its signature and what its documentation says."""

from __future__ import annotations

import difflib
import importlib
import inspect
from enum import Enum
from typing import Any

import numpy as np

from .. import stage

OLD = "neuronxcc.nki"
MODULES = {"nisa": ".isa", "nl": ".language", "nki": ""}


def signature(name: str, key: int | str = 0) -> None:
    """Print how a function is called and what its documentation says of shapes and data types, as
    in signature("nisa.iota"); for a stage of the nki dialect, signature("nisa.iota", 9)."""
    try:
        print(described(name, key))
    except stage.StageError as error:
        print(error)


def described(name: str, key: int | str = 0) -> str:
    """The text that `signature` prints, in the dialect of a stage (number or name). A name may
    stand without nisa, nl or nki. Raises StageError for a name that the dialect does not have."""
    package = stage.get(key).dialect or OLD
    prefix, _, last = name.strip().removesuffix("()").rpartition(".")
    known = {
        f"{alias}.{each}": found
        for alias, module in MODULES.items()
        for each, found in vars(_module(package + module)).items()
        if not each.startswith("_")
    }
    for alias in (prefix,) if prefix else MODULES:
        if f"{alias}.{last}" in known:
            return _text(f"{alias}.{last}", known[f"{alias}.{last}"])
    elsewhere = [each for each in known if each.rpartition(".")[2] == last]
    close = elsewhere or difflib.get_close_matches(name, known, cutoff=0.75)
    more = f"Did you mean {' or '.join(close)}?" if close else "Write it as in nisa.iota or nl.exp."
    raise stage.StageError(f"There is no {name!r} in {package}. {more}")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise stage.StageError(f"{name} cannot be imported here: {error}.") from error


def _text(name: str, found: Any) -> str:
    """The call and the documentation of a function; what is documented of anything else."""
    said = inspect.getdoc(found) or ""
    if isinstance(found, np.dtype) or (isinstance(found, type) and issubclass(found, np.generic)):
        size = np.dtype(found).itemsize
        return f"{name}\n\nA data type of {size} byte{'s' if size > 1 else ''} an element."
    if isinstance(found, type) and issubclass(found, Enum):
        return f"{name}\n\n{said}\n{', '.join(f'{name}.{each.name}' for each in found)}"
    try:
        call = _call(inspect.signature(found)) if callable(found) else ""
    except (TypeError, ValueError):
        call = "(...)"
    return f"{name}{call}\n\n{said}".rstrip()


def _call(of: inspect.Signature) -> str:
    """The parameters as they are written in a call: names and defaults, without types."""
    own = [each for each in of.parameters.values() if each.kind is not each.VAR_KEYWORD]
    plain = [each.replace(annotation=each.empty, default=_Written(each.default)) for each in own]
    return str(inspect.Signature(plain))


class _Written:
    """A default value that prints as it is written in a kernel."""

    def __new__(cls, value: Any) -> Any:
        return value if value is inspect.Parameter.empty else super().__new__(cls)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        if isinstance(self.value, Enum):
            return f"{type(self.value).__name__}.{self.value.name}"
        return str(getattr(self.value, "__name__", None) or repr(self.value))
