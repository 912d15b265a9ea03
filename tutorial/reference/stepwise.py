"""A text of NumPy, executed line by line.

A mistake changes one line of a text or two, and its text is run on a few small tiles: to compile
all of it takes longer than to run it. So a line is compiled once, for all texts that have it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

Own = Callable[[str], str]
"""What is executed for a line."""


class Loop(NamedTuple):
    """A `for`: what it goes over, what gives its names the next item, and its body."""

    over: CodeType
    named: CodeType
    body: Steps


Steps = Sequence[CodeType | Loop]


@lru_cache(maxsize=8192)
def steps(text: str, own: Own) -> Steps:
    """The steps of a text, which is indented by four spaces a level, as the twins are."""
    return _block(text.splitlines(), own)


def _block(lines: Sequence[str], own: Own) -> Steps:
    made: list[CodeType | Loop] = []
    at = 0
    while at < len(lines):
        start, indent = at, _indent(lines[at])
        at += 1
        while at < len(lines) and _indent(lines[at]) > indent:
            at += 1
        if lines[start].startswith("for ", indent):
            made.append(Loop(*_head(lines[start].strip(), own), _block(lines[start + 1 : at], own)))
        else:
            made.append(_compiled("\n".join(line[indent:] for line in lines[start:at]), own))
    return made


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@lru_cache(maxsize=1024)
def _head(line: str, own: Own) -> tuple[CodeType, CodeType]:
    (loop,) = ast.parse(f"{own(line)} pass").body
    assert isinstance(loop, ast.For)
    over = compile(ast.Expression(loop.iter), "<twin>", "eval")
    return over, compile(f"{ast.unparse(loop.target)} = item", "<twin>", "exec")


@lru_cache(maxsize=8192)
def _compiled(lines: str, own: Own) -> CodeType:
    return compile(own(lines), "<twin>", "exec")


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
