"""A text of NumPy, executed line by line.

A mistake changes one line of a text or two, and its text is run on a few small tiles: to compile
all of it takes longer than to run it. So a line is compiled once, for all texts that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple


class Loop(NamedTuple):
    """A `for`: what it goes over, what gives its names the next item, and its body."""

    over: CodeType
    named: CodeType
    body: Sequence[CodeType | Loop]


Steps = Sequence[CodeType | Loop]


@lru_cache(maxsize=8192)
def steps(text: str, own: Callable[[str], str]) -> Steps:
    """The steps of a text; `own` gives what is executed for a line."""
    return _block(text.splitlines(), own)


def _block(lines: Sequence[str], own: Callable[[str], str]) -> Steps:
    made: list[CodeType | Loop] = []
    at = 0
    while at < len(lines):
        start, indent = at, len(lines[at]) - len(lines[at].lstrip())
        at += 1
        while at < len(lines) and lines[at].startswith(" " * (indent + 1)):
            at += 1
        if lines[start].startswith("for ", indent):
            name, _, over = own(lines[start][indent:])[4:-1].partition(" in ")
            named = _compiled(f"{name} = item", "exec")
            made.append(Loop(_compiled(over, "eval"), named, _block(lines[start + 1 : at], own)))
        else:
            made.append(_compiled(own("\n".join(x[indent:] for x in lines[start:at])), "exec"))
    return made


@lru_cache(maxsize=8192)
def _compiled(text: str, mode: str) -> CodeType:
    return compile(text, "<twin>", mode)


def run(made: Steps, known: dict[str, Any]) -> None:
    """Execute steps on the names that are known; what they assign is known after them."""
    for step in made:
        if isinstance(step, Loop):
            for item in eval(step.over, known):
                known["item"] = item
                exec(step.named, known)
                run(step.body, known)
        else:
            exec(step, known)
