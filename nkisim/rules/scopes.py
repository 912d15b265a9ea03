"""Scopes that only the kernel's text shows: branches on a loop variable, and loops over Python's
range.

A tile made inside such a block may not be used after it (errors
err_local_variable_used_out_of_scope). Loops over the nl ranges are followed while they run
(`program.LoopRange`); these two cannot be, so the function's source is read once.
"""

from __future__ import annotations

import ast
import functools
import textwrap
from types import CodeType

from . import source


class Block:
    """Lines `first` to `last` of a file, all in one branch or loop body."""

    __slots__ = ("_seen", "code", "first", "inside", "kind", "last")

    def __init__(self, code: CodeType, first: int, last: int, kind: str) -> None:
        self.code = code
        self.first = first
        self.last = last
        self.kind = kind
        """"if" or "for"."""
        self.inside: set[int] = set()
        """The instructions of `code`, by their bytes, that are known to stand in the block."""
        self._seen: dict[tuple[int, int], tuple[CodeType, bool]] = {}

    def holds(self, code: CodeType, lasti: int) -> bool:
        """Whether the instruction at byte `lasti` of `code` stands in the block; of another
        function's it is taken to."""
        # by identity: comparing or hashing codes by value takes longer than an instruction
        found = self._seen.get((id(code), lasti))
        if found is None:
            other = code is not self.code and code != self.code
            inside = other or self.first <= source.line_of(code, lasti).line <= self.last
            found = self._seen[id(code), lasti] = code, inside  # `code` lives as long as its id
            if inside and code is self.code:
                self.inside.add(lasti)
        return found[1]


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _span(body: list[ast.stmt], shift: int) -> tuple[int, int]:
    return body[0].lineno + shift, max(s.end_lineno or s.lineno for s in body) + shift


def _is_python_range(node: ast.For) -> bool:
    return (
        isinstance(node.iter, ast.Call)
        and isinstance(node.iter.func, ast.Name)
        and node.iter.func.id in ("range", "enumerate", "zip")
    )


class _Finder(ast.NodeVisitor):
    def __init__(self, code: CodeType, shift: int) -> None:
        self.code = code
        self.shift = shift
        self.loop_names: set[str] = set()
        self.blocks: list[Block] = []

    def visit_For(self, node: ast.For) -> None:
        added = _names(node.target) - self.loop_names
        self.loop_names |= added
        if _is_python_range(node):
            self.blocks.append(Block(self.code, *_span(node.body, self.shift), "for"))
        self.generic_visit(node)
        self.loop_names -= added

    def visit_If(self, node: ast.If) -> None:
        if _names(node.test) & self.loop_names:
            self.blocks.append(Block(self.code, *_span(node.body, self.shift), "if"))
            if node.orelse and not (len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If)):
                self.blocks.append(Block(self.code, *_span(node.orelse, self.shift), "if"))
        self.generic_visit(node)


def blocks_of(code: CodeType) -> tuple[Block, ...]:
    """The scoping blocks of a function, innermost last; empty where its source cannot be read."""
    return _blocks_of(code, code.co_filename)


@functools.lru_cache(maxsize=512)
def _blocks_of(code: CodeType, filename: str) -> tuple[Block, ...]:
    text = source.function_of(code)
    if text is None:
        return ()
    tree = source.tree_of(textwrap.dedent(text[0]))
    if tree is None:
        return ()
    finder = _Finder(code, text[1] - 1)
    finder.visit(tree)
    return tuple(sorted(finder.blocks, key=lambda b: (b.first, -b.last)))


def block_at(code: CodeType, lasti: int) -> Block | None:
    """The smallest scoping block around the instruction at byte `lasti`, if any."""
    return _block_at(code, lasti, code.co_filename)


@functools.lru_cache(maxsize=8192)
def _block_at(code: CodeType, lasti: int, filename: str) -> Block | None:
    line = source.line_of(code, lasti).line
    found = [b for b in blocks_of(code) if b.first <= line <= b.last]
    return min(found, key=lambda b: b.last - b.first) if found else None
