"""A kernel as a decode loop calls it: on the same shapes for many tokens.

As on the device, it is built for its shapes once: it runs directly for the first tokens, then it is
lowered, and its program is replayed. The answers are the same to the last bit. A replay leaves no
record, so what such a token cost is counted on one direct run of its calls, and is the same for
every other token with such calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import nkisim

from ..running.replays import lowered, lowered_for, same_bits

TOKENS = 2
"""So many tokens run directly before a program is lowered for their shapes: to lower it takes about
as long as the direct calls of one more token."""
PLAIN = (bool, int, float, str, type(None), np.generic)


@dataclass(eq=False)
class Call:
    """One call of the kernel: its arguments, and what tells its cost apart from another's."""

    args: list[Any]
    options: dict[str, Any]
    key: Any
    skipped: tuple[tuple[str, int], ...] | None = None
    """Bytes that indices out of bounds left out; None of a call that was not replayed."""


@dataclass(eq=False)
class Shapes:
    """What is known of the kernel for some shapes and Python arguments."""

    tokens: int = 0
    flat: Any = None
    direct: bool = False
    """Whether it has no program, or one that does something else."""
    last: tuple[Call, Any] | None = None
    """The last direct call, and what it returned."""


@dataclass(eq=False)
class ReplayedKernel:
    """Calls `kernel`, which the simulator must have made, or replays it."""

    kernel: Callable[..., Any]
    _run: Any = None
    _recorded: int = 0
    """Instructions of this token that direct calls recorded."""
    _calls: list[Call] = field(default_factory=list)
    _known: dict[Any, Shapes] = field(default_factory=dict)
    _alone: bool = True
    """Whether no other kernel was recorded: then costs are this kernel's."""

    def begin(self, run: Any) -> None:
        """A new token, whose direct calls `run` records."""
        for key in {call.key for call in self._calls}:
            self._known[key].tokens += 1
        self._run, self._recorded, self._calls = run, 0, []

    def __call__(self, *args: Any, **options: Any) -> Any:
        """What the kernel returns for these arguments. Raises what it raises."""
        named = {name: _copied(value) for name, value in options.items()}
        call = Call([_copied(a) for a in args], named, _key(args, options))
        self._calls.append(call)
        known = self._known.setdefault(call.key, Shapes())
        if self._alone and not known.direct and known.tokens >= TOKENS:
            if known.flat is None:
                known.flat = self._lowered(known)
                known.direct = known.flat is None
            if known.flat is not None:
                try:
                    found = known.flat(*_arrays(call))
                except Exception:  # the kernel itself says it better
                    known.direct = True
                else:
                    call.skipped = tuple(sorted(known.flat.skipped.items()))
                    return found
        before = len(self._run)
        found = self.kernel(*args, **options)
        self._recorded += len(self._run) - before
        known.last = call, found
        return found

    def replayed(self) -> Any:
        """What tells this token's cost apart from another's; None if all of it is recorded."""
        if len(self._run) != self._recorded:
            self._alone = False
        if all(call.skipped is None for call in self._calls):
            return None
        return tuple((call.key, call.skipped) for call in self._calls)

    def again(self) -> Any:
        """A record of this token's calls, run directly."""
        with nkisim.record(config=self._run.config) as run, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tokens before have said it
            for call in self._calls:
                self.kernel(*call.args, **call.options)
        return run

    def _lowered(self, known: Shapes) -> Any:
        """The program as a list of NumPy calls; None where there is none, or where it does not do
        what the kernel did."""
        assert known.last is not None
        call, returned = known.last
        made = None if call.key is None else lowered(self.kernel, call.args, call.options)
        if made is None:
            return None
        try:
            found = made[1](*_arrays(call))
        except Exception:
            return None
        arrays = isinstance(found, np.ndarray) and isinstance(returned, np.ndarray)
        return made[1] if arrays and same_bits(found, returned) else None


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _arrays(call: Call) -> list[Any]:
    return [v for v in (*call.args, *call.options.values()) if isinstance(v, np.ndarray)]


def _key(args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What a program is lowered for; None where an argument is something else."""
    arguments = [*enumerate(args), *options.items()]
    if not all(isinstance(value, (np.ndarray, *PLAIN)) for _, value in arguments):
        return None
    return lowered_for(arguments)
