"""`name: nt.tensor[p, f] = value` inside a kernel: the value has that shape.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki.errors.rst (err_annotation_shape_mismatch).
Python does not evaluate the annotations of local names, so a kernel whose text has some is watched
line by line (unless a debugger does so already).
"""

from __future__ import annotations

import ast
import functools
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, NamedTuple

from ...rules import source
from ...rules.errors import broken
from ...tensors.tensor import Tensor
from .typing import tensor as annotated


class _Promise(NamedTuple):
    """An annotated assignment: its lines, the variable, and the annotation's class and shape."""

    first: int
    last: int
    name: str
    kind: CodeType
    shape: CodeType


def _compiled(node: ast.expr) -> CodeType:
    return compile(ast.Expression(node), "<annotation>", "eval")


@functools.lru_cache(maxsize=64)
def _promises(code: CodeType, filename: str) -> tuple[_Promise, ...]:
    text = source.function_of(code)
    if text is None:
        return ()
    tree = source.tree_of(textwrap.dedent(text[0]))
    if tree is None:
        return ()
    shift = text[1] - 1
    return tuple(
        _Promise(
            node.lineno + shift,
            (node.end_lineno or node.lineno) + shift,
            node.target.id,
            _compiled(node.annotation.value),
            _compiled(node.annotation.slice),
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and node.value is not None
        and isinstance(node.target, ast.Name)
        and isinstance(node.annotation, ast.Subscript)
    )


def _hold(promise: _Promise, frame: FrameType) -> None:
    """Refuse a value whose shape is not that of its annotation; annotations that mean something
    else are left alone."""
    value = frame.f_locals.get(promise.name)
    if not isinstance(value, Tensor):
        return
    try:
        kind = eval(promise.kind, frame.f_globals, frame.f_locals)
        shape: Any = eval(promise.shape, frame.f_globals, frame.f_locals)
        wanted = tuple(int(n) for n in (shape if isinstance(shape, tuple) else (shape,)))
    except Exception:  # it names what is not there: Python would not have noticed either
        return
    if isinstance(kind, type) and issubclass(kind, annotated) and tuple(value.shape) != wanted:
        broken(
            "annotation",
            f"'{promise.name}' does not have the annotated shape",
            tensor=promise.name,
            got=tuple(value.shape),
            limit=wanted,
            at=source.line_of(frame.f_code, _at(frame.f_code, promise.first)),
            remedy="Correct the annotation, or the shape of the value.",
        )


def _at(code: CodeType, line: int) -> int:
    return next((start for start, _, n in code.co_lines() if n == line), 0)


@contextmanager
def watching(function: Any) -> Iterator[None]:
    """While `function` runs, its annotated assignments are checked as they are made."""
    code = getattr(function, "__code__", None)
    promises = _promises(code, code.co_filename) if code is not None else ()
    if not promises or sys.gettrace() is not None:
        yield
        return
    of_line = {line: p for p in promises for line in range(p.first, p.last + 1)}
    pending: list[_Promise] = []

    def lines(frame: FrameType, event: str, _: Any) -> Any:
        now = of_line.get(frame.f_lineno) if event == "line" else None
        if pending and pending[0] is not now and event != "exception":
            _hold(pending.pop(), frame)
        if now is not None and not pending:
            pending.append(now)
        return lines

    def calls(frame: FrameType, event: str, _: Any) -> Any:
        return lines if frame.f_code is code else None

    sys.settrace(calls)
    try:
        yield
    finally:
        sys.settrace(None)
