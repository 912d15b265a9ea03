"""Python in a kernel's text that runs here, since a kernel runs as Python, but that the compiler
does not take.

Source: aws-neuron-sdk v2.32.0 nki/get-started/nki-language-guide.rst (NKI Values, Control Flow,
Class Support), nki/migration/index.rst (Language restrictions), nki/guides/nki_simulator.rst (NKI
Meta-Programming Support).
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

from ...rules import source
from ...rules.errors import broken


class Finding(NamedTuple):
    """One construct outside the subset."""

    line: int
    what: str
    remedy: str


_STATEMENTS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Try: ("try", "Check sizes and options with assert before they are used."),
    ast.Raise: ("raise", "Use assert condition, message."),
    ast.Yield: ("yield", "Return a list, or call a function for each item."),
    ast.YieldFrom: ("yield from", "Return a list, or call a function for each item."),
    ast.Await: ("await", "Kernels are not asynchronous."),
    ast.AsyncFor: ("async for", "Kernels are not asynchronous."),
    ast.AsyncWith: ("async with", "Kernels are not asynchronous."),
    ast.Global: ("global", "Pass values as arguments: a kernel is a pure function of them."),
    ast.Nonlocal: ("nonlocal", "Keep the state in a tile, a list or an object that is passed on."),
    ast.ClassDef: ("a class inside the kernel", "Define it outside, on nl.NKIObject."),
    ast.Import: ("import", "Import at the top of the file."),
    ast.ImportFrom: ("import", "Import at the top of the file."),
    ast.Delete: ("del", "Leave it out: a tile's memory is free after its last use."),
    ast.Set: ("a set", "Use a tuple or a list."),
    ast.SetComp: ("a set", "Use a tuple or a list."),
    ast.GeneratorExp: ("a generator expression", "Use a for loop over a list."),
    ast.Match: ("match", "Use if and elif."),
    ast.NamedExpr: (":=", "Assign in a separate statement."),
}


class _Finder(ast.NodeVisitor):
    def __init__(self, shift: int, numpy_names: set[str]) -> None:
        self.shift = shift
        self.numpy_names = numpy_names
        self.found: list[Finding] = []

    def _note(self, node: Any, what: str, remedy: str) -> None:
        self.found.append(Finding(node.lineno + self.shift, what, remedy))

    def visit(self, node: ast.AST) -> Any:
        known = _STATEMENTS.get(type(node))
        if known is not None:
            self._note(node, *known)
        return super().visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if any(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops):
            self._note(node, "is and is not", "Compare with == and !=.")
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key in node.keys:
            if isinstance(key, (ast.Tuple, ast.Constant)) and not isinstance(
                getattr(key, "value", None), str
            ):
                self._note(key, "a key that is not a string", "Use strings, or a list.")
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            called = (
                item.context_expr.func
                if isinstance(item.context_expr, ast.Call)
                else item.context_expr
            )
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name != "no_reorder":
                self._note(node, "with", "Only nl.no_reorder() is a context of a kernel.")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        root = node.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if (
            isinstance(root, ast.Name)
            and root.id in self.numpy_names
            and isinstance(node.func, ast.Attribute)
        ) and node.func.attr not in ("finfo", "iinfo", "dtype", "prod"):
            self._note(
                node,
                f"{root.id}.{node.func.attr}(...)",
                "NumPy runs on the host: compute sizes with Python, values with nl and nisa.",
            )
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.args.kwonlyargs and not node.args.vararg:
            self._note(
                node,
                "keyword-only arguments (*)",
                "Give them defaults, at the end of the signature.",
            )
        self.generic_visit(node)


def findings(code: CodeType, numpy_names: frozenset[str]) -> tuple[Finding, ...]:
    """What the text of a function has that the compiler does not take; empty where the text cannot
    be read."""
    return _findings(code, numpy_names, code.co_filename)


@functools.lru_cache(maxsize=256)
def _findings(code: CodeType, numpy_names: frozenset[str], filename: str) -> tuple[Finding, ...]:
    text = source.function_of(code)
    if text is None:
        return ()
    tree = source.tree_of(textwrap.dedent(text[0]))
    if tree is None:
        return ()
    body = tree.body[0]
    if isinstance(body, ast.FunctionDef):
        body.decorator_list, body.returns = [], None  # these are for Python, not for the compiler
        for arg in [*body.args.args, *body.args.kwonlyargs, *body.args.posonlyargs]:
            arg.annotation = None
    finder = _Finder(text[1] - 1, set(numpy_names))
    finder.visit(tree)
    return tuple(sorted(finder.found))


def check(function: Callable[..., Any]) -> None:
    """Warn of (or refuse, if so configured) what the compiler does not take in the text of
    `function`."""
    code = getattr(function, "__code__", None)
    if code is None:
        return
    names = frozenset(
        name
        for name, value in getattr(function, "__globals__", {}).items()
        if getattr(value, "__name__", "") == "numpy" and inspect.ismodule(value)
    )
    for line, what, remedy in findings(code, names):
        text = source.lines_of(code)[line - 1].strip()
        broken(
            "python-subset",
            f"{function.__name__} uses {what}, which the NKI compiler does not take",
            got=text,
            remedy=remedy,
            at=source.Line(code.co_filename, line, text),
        )
