"""Where in the kernel's own text an event happened, and what the reader called a tensor there."""

from __future__ import annotations

import functools
import itertools
import linecache
import os
import re
import sys
from types import CodeType, FrameType
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep

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


_TARGET = re.compile(r"(?:^|[;:\s])([A-Za-z_]\w*)\s*(?::[^=;]+)?=\s*\(?\s*$")
_CALLEE = re.compile(r"[A-Za-z_][\w.]*(?=\()")


@functools.cache
def _expression(code: CodeType, lasti: int) -> tuple[str, str]:
    """The text before the expression at byte `lasti` on its first line, and the expression's own text there."""
    positions = next(itertools.islice(code.co_positions(), lasti // 2, None), (None,) * 4)
    line, end_line, column, end_column = positions
    if line is None or column is None:
        return "", ""
    text = linecache.getline(code.co_filename, line)
    raw = text.encode()  # columns count bytes of UTF-8
    end = end_column if end_line == line else None
    return raw[:column].decode(errors="replace"), raw[column:end].decode(errors="replace")


def assigned_name(code: CodeType | None, lasti: int) -> str | None:
    """The variable to which the expression at this place is assigned as a whole, if it is."""
    if code is None:
        return None
    match = _TARGET.search(_expression(code, lasti)[0])
    return match.group(1) if match else None


def expression_label(code: CodeType | None, lasti: int) -> str:
    """A short name for a value that no variable holds: "nl.exp(...) of line 12"."""
    place = line_of(code, lasti)
    if code is None or not place.line:
        return "a tile"
    text = _expression(code, lasti)[1].strip()
    match = _CALLEE.match(text)
    what = f"{match.group(0)}(...)" if match else text if 0 < len(text) <= 40 else "the value"
    return f"{what} of line {place.line}"
