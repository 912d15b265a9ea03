"""Where in the kernel's own text an event happened, and what the reader called a tensor there."""

from __future__ import annotations

import ast
import functools
import itertools
import linecache
import os
import re
import sys
from types import CodeType, FrameType
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

# The files of the simulator itself: a frame in one of them is never "the kernel".
INTERNAL_FILES: set[str] = set()


def _collect_internal_files() -> None:
    for folder, _, files in os.walk(_PACKAGE):
        INTERNAL_FILES.update(os.path.join(folder, f) for f in files if f.endswith(".py"))


_collect_internal_files()


class Line(NamedTuple):
    """A place in a kernel's text."""

    filename: str
    line: int
    text: str
    """The stripped source line; empty if the file cannot be read."""


def user_frame(depth: int = 1) -> FrameType:
    """The nearest calling frame outside the simulator."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code.co_filename in INTERNAL_FILES:
        frame = frame.f_back
    return frame if frame is not None else sys._getframe(depth)


@functools.cache
def _line_number(code: CodeType, lasti: int) -> int:
    for start, end, line in code.co_lines():
        if start <= lasti < end and line is not None:
            return line
    return code.co_firstlineno


def line_of(code: CodeType | None, lasti: int) -> Line:
    """The source line of the instruction at byte `lasti` of `code`."""
    if code is None:
        return Line("", 0, "")
    number = _line_number(code, lasti)
    return Line(code.co_filename, number, linecache.getline(code.co_filename, number).strip())


def here(depth: int = 1) -> Line:
    """The kernel line that is executing now."""
    frame = user_frame(depth + 1)
    return line_of(frame.f_code, frame.f_lasti)


_CALLEE = re.compile(r"[A-Za-z_][\w.]*(?=\()")
_Span = tuple[int, int, int, int]


@functools.lru_cache(maxsize=64)
def _targets(text: str) -> dict[_Span, str]:
    """Of each plain assignment in `text`, where its right side lies and the variable it goes to."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    found: dict[_Span, str] = {}
    for node in ast.walk(tree):
        value = getattr(node, "value", None)
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if (
            isinstance(node, (ast.Assign, ast.AnnAssign))
            and isinstance(target, ast.Name)
            and value is not None
        ):
            span = (
                value.lineno,
                value.col_offset,
                value.end_lineno or 0,
                value.end_col_offset or 0,
            )
            found[span] = target.id
    return found


@functools.cache
def span(code: CodeType, lasti: int) -> _Span | None:
    """Line, column, end line, end column of the expression that the instruction at byte `lasti`
    evaluates."""
    line, end_line, column, end_column = next(
        itertools.islice(code.co_positions(), lasti // 2, None), (None,) * 4
    )
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return line, column, end_line, end_column


@functools.cache
def assigned_name(code: CodeType | None, lasti: int) -> str | None:
    """The variable to which the expression at this place is assigned as a whole, if it is."""
    place = None if code is None else span(code, lasti)
    if code is None or place is None:
        return None
    return _targets("".join(linecache.getlines(code.co_filename))).get(place)


def expression_label(code: CodeType | None, lasti: int) -> str:
    """A short name for a value that no variable holds: "nl.exp(...) of line 12"."""
    place = line_of(code, lasti)
    if code is None or not place.line:
        return "a tile"
    at = span(code, lasti)
    raw = linecache.getline(code.co_filename, place.line).encode()  # columns count bytes of UTF-8
    text = (
        ""
        if at is None
        else raw[at[1] : at[3] if at[2] == at[0] else None].decode(errors="replace").strip()
    )
    match = _CALLEE.match(text)
    what = f"{match.group(0)}(...)" if match else text if 0 < len(text) <= 40 else "the value"
    return f"{what} of line {place.line}"
