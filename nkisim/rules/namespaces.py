"""Whether the text of a kernel keeps to the functions of its own dialect: the compiler of one takes
nothing of the other."""

from __future__ import annotations

import contextlib
import dis
import weakref
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from . import source
from .errors import broken

_OTHER = {"nki": "neuronxcc.nki", "neuronxcc.nki": "nki"}
_RULE = {"nki": "namespace", "neuronxcc.nki": "namespace-old"}
_ROOM = {"nki": "nkisim.dialects.nki.", "neuronxcc.nki": "nkisim.dialects.neuronxcc."}


class _Use(NamedTuple):
    """A name from outside a function that it reads, and where."""

    name: str
    code: CodeType
    lasti: int


_USES: weakref.WeakKeyDictionary[FunctionType, tuple[_Use, ...]] = weakref.WeakKeyDictionary()


def _uses(function: FunctionType) -> tuple[_Use, ...]:
    """The names from outside that a function and those inside it read, each where it does so
    first."""
    known = _USES.get(function)
    if known is None:
        first: dict[str, _Use] = {}
        for code in _codes(function.__code__):
            for made in dis.get_instructions(code):
                if made.opname in ("LOAD_GLOBAL", "LOAD_NAME") or (
                    made.opname == "LOAD_DEREF" and made.argval in function.__code__.co_freevars
                ):
                    first.setdefault(made.argval, _Use(made.argval, code, made.offset))
        known = _USES[function] = tuple(first.values())
    return known


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _outside(function: FunctionType) -> dict[str, Any]:
    """What the names that a function takes from the functions around it stand for."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        with contextlib.suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found


def _belongs(value: Any, dialect: str) -> bool:
    """Whether `value` is a module of a dialect, or a function or constant of one."""
    module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return isinstance(module, str) and f"{module}.".startswith((f"{dialect}.", _ROOM[dialect]))


def check(function: Any, dialect: str) -> None:
    """Refuse a kernel whose text, or that of a function which it calls by its name, reads a name of
    the other dialect."""
    if dialect not in _OTHER:
        return
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        of = waiting.pop()
        if not isinstance(of, FunctionType):
            of = getattr(of, "__dict__", {}).get("function")  # of a kernel
        if (
            not isinstance(of, FunctionType)
            or id(of) in seen
            or of.__code__.co_filename in source.INTERNAL_FILES
        ):
            continue
        seen.add(id(of))
        outside = _outside(of)
        for use in _uses(of):
            value = outside.get(use.name, of.__globals__.get(use.name))
            if _belongs(value, _OTHER[dialect]):
                _refuse(of, use, value, dialect)
            waiting.append(value)


def _refuse(of: FunctionType, use: _Use, value: Any, dialect: str) -> None:
    broken(
        _RULE[dialect],
        f"{of.__name__} runs in a kernel of {dialect} and uses '{use.name}' of {_OTHER[dialect]}",
        got=value.__name__ if isinstance(value, ModuleType) else f"{value.__module__}.{use.name}",
        limit=f"{dialect}, {dialect}.isa, {dialect}.language",
        remedy=f"Import {dialect}.isa and {dialect}.language.",
        at=source.line_of(use.code, use.lasti),
    )
