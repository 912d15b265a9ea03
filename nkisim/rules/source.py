"""Where in the kernel's own text an event happened, and what the reader called a tensor there."""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import itertools
import linecache
import operator
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable
from types import CodeType, FrameType
from typing import NamedTuple, TypeVar

import numpy as np

from .listing import CURSOR, Listing

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep

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


_Found = TypeVar("_Found")
_PLACES = 1 << 16  # places that are remembered, as a bound


def _by_place(
    find: Callable[[CodeType, int], _Found],
) -> Callable[[CodeType, int], _Found]:
    """`find`, with what it said of each place remembered.

    By the code object itself and not by what it is equal to: hashing one walks its byte code, which
    takes longer than all the rest of a look-up. The object is kept, so that its id stays its own.
    """
    known: dict[tuple[int, int], tuple[CodeType, _Found]] = {}

    @functools.wraps(find)
    def found(code: CodeType, lasti: int) -> _Found:
        kept = known.get((id(code), lasti))
        if kept is None:
            if len(known) >= _PLACES:
                known.clear()
            kept = known[id(code), lasti] = (code, find(code, lasti))
        return kept[1]

    return found


def user_frame(depth: int = 1) -> FrameType:
    """The nearest calling frame outside the simulator; in a replay, what stands for it."""
    cursor = CURSOR.get()
    if cursor is not None:
        return cursor  # type: ignore[return-value]
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and (
        frame.f_code.co_filename in INTERNAL_FILES
        or frame.f_code.co_filename.startswith(NUMPY)  # it asks a tile for its value
    ):
        frame = frame.f_back
    return frame if frame is not None else sys._getframe(depth)


@functools.lru_cache(maxsize=1 << 16)
def _line_number(code: CodeType, lasti: int) -> int:
    for start, end, line in code.co_lines():
        if start <= lasti < end and line is not None:
            return line
    return code.co_firstlineno


_WORD = re.compile(r"\w+")


def lines_of(code: CodeType) -> tuple[str, ...]:
    """The lines of the file that `code` was compiled from; none where it is not on disk (nor a
    cell of a notebook), or where what is there is another text under the same name."""
    return _lines_of(code, code.co_filename)


# Code of two files is equal if it does the same: the file's name is a part of every key.
@functools.lru_cache(maxsize=4096)
def _lines_of(code: CodeType, filename: str) -> tuple[str, ...]:
    lines = linecache.getlines(filename)
    last = max((line for _, _, line in code.co_lines() if line), default=code.co_firstlineno)
    if last > len(lines):
        return ()
    known = {*code.co_varnames, *code.co_freevars, *code.co_cellvars, *code.co_names}
    # a test's assertions are rewritten by pytest, whose names have an "@"
    if not any("@" in name for name in known):
        # as far as the last line of the function's last statement, which may have several
        text = "".join(lines[code.co_firstlineno - 1 : last + 20])
        parts = {part for name in known if name[0] not in "._" for part in name.split(".")}
        if not parts <= set(_WORD.findall(text)) or not _compiles_to(code, "".join(lines)):
            return ()
    return tuple(lines)


# One thread at a time. Python 3.11 counts how deep it is in a tree for all threads together, and
# raises a SystemError where another one takes its turn in the middle (as it may where the garbage
# collector calls back); filters of warnings, too, belong to all threads.
_PARSER = threading.RLock()


def tree_of(text: str) -> ast.Module | None:
    """`text` parsed; None where that is not possible."""
    with _PARSER:
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):
            return None


_FUTURE = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


def _compiles_to(code: CodeType, text: str) -> bool:
    """Whether `text` has a function that compiles to `code`, on its lines: a file may have been
    edited since. True where the text does not compile by itself, as a cell with an await."""
    found = _compiled(text, code.co_flags & _FUTURE)
    return found is None or _shape_of(code) in found


_Shape = tuple[str, bytes, tuple[tuple[int, int, int | None], ...]]


def _shape_of(code: CodeType) -> _Shape:
    """The name, the byte code and the lines of a function."""
    return code.co_name, code.co_code, tuple(code.co_lines())


@functools.lru_cache(maxsize=64)
def _compiled(text: str, flags: int) -> set[_Shape] | None:
    """The functions in `text`, compiled whole and statement by statement; None if it does not
    compile.

    A cell of a notebook is compiled statement by statement. The byte code is another one then: a
    call `nl.load(...)` compiles to an attribute where the same text imports `nl`, else to a method.
    """
    try:
        with _PARSER, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = tree_of(text)
            if tree is None:
                return None
            parts = [tree, *(ast.Module([statement], []) for statement in tree.body)]
            waiting = [compile(part, "<text>", "exec", flags, dont_inherit=True) for part in parts]
    except (SyntaxError, ValueError):
        return None
    found: set[_Shape] = set()
    while waiting:
        one = waiting.pop()
        found.add(_shape_of(one))
        waiting.extend(c for c in one.co_consts if isinstance(c, CodeType))
    return found


def function_of(code: CodeType) -> tuple[str, int] | None:
    """The text of a function, indented as it is, and its first line; None where there is none."""
    lines = lines_of(code)
    if not lines or code.co_firstlineno > len(lines):
        return None
    first = code.co_firstlineno
    return "".join(inspect.getblock(list(lines[first - 1 :]))), first


def line_of(code: CodeType | Listing | None, lasti: int) -> Line:
    """The source line of the instruction at byte `lasti` of `code`."""
    if code is None:
        return Line("", 0, "")
    if isinstance(code, Listing):
        return Line(*code.places[lasti][:3])
    return _line_of(code, lasti)


@_by_place
def _line_of(code: CodeType, lasti: int) -> Line:
    number = _line_number(code, lasti)
    lines = lines_of(code)
    return Line(code.co_filename, number, lines[number - 1].strip() if lines else "")


def is_internal(error: BaseException) -> bool:
    """Whether `error` was raised in the simulator's own code, or in NumPy's that it called."""
    trace, inner = error.__traceback__, False
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        inner = name in INTERNAL_FILES or (inner and f"{os.sep}numpy{os.sep}" in name)
        trace = trace.tb_next
    return inner


def here(depth: int = 1) -> Line:
    """The kernel line that is executing now."""
    frame = user_frame(3)
    return line_of(frame.f_code, frame.f_lasti)


_CALLEE = re.compile(r"[A-Za-z_][\w.]*(?=\()")
_Span = tuple[int, int, int, int]


@functools.lru_cache(maxsize=64)
def _targets(text: str) -> dict[_Span, str]:
    """Of each plain assignment in `text`, where its right side lies and the variable it goes to."""
    tree = tree_of(text)
    if tree is None:
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


@functools.lru_cache(maxsize=1 << 16)
def span(code: CodeType, lasti: int) -> _Span | None:
    """Line, column, end line, end column of the expression that the instruction at byte `lasti`
    evaluates."""
    line, end_line, column, end_column = next(
        itertools.islice(code.co_positions(), lasti // 2, None), (None,) * 4
    )
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return line, column, end_line, end_column


_Branch = ast.If | ast.While | ast.IfExp | ast.Assert


def _span_of(node: ast.expr | ast.stmt) -> _Span:
    end, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
    return node.lineno, node.col_offset, end, end_column


@functools.lru_cache(maxsize=64)
def _branches(text: str) -> tuple[tuple[_Span, _Span, bool], ...]:
    """Where the branches, loops and assertions in `text` lie, and their conditions; whether it is a
    loop that goes on as long as one value is true."""
    tree = tree_of(text)
    if tree is None:
        return ()
    nodes = [node for node in ast.walk(tree) if isinstance(node, _Branch)]
    return tuple(
        (
            _span_of(node),
            _span_of(node.test),
            isinstance(node, ast.While) and not isinstance(node.test, ast.BoolOp),
        )
        for node in nodes
    )


def _decided() -> list[bool] | None:
    """Of each branch or assertion whose condition the expression that is evaluated now is (part
    of), whether it is a loop on one value; None where the kernel's text cannot be read."""
    frame = user_frame(3)
    place = span(frame.f_code, frame.f_lasti)
    lines = lines_of(frame.f_code)
    if place is None or not lines:
        return None
    # Python 3.11 gives the jump of a branch the place of the whole statement
    return [
        loop
        for whole, test, loop in _branches("".join(lines))
        if place == whole or (test[:2] <= place[:2] and place[2:] <= test[2:])
    ]


def decides_a_branch() -> bool:
    """Whether the kernel's expression that is evaluated now is (part of) the condition of a branch,
    a loop or an assertion; also where its text cannot be read."""
    found = _decided()
    return found is None or bool(found)


def decides_a_loop() -> bool:
    """Whether it is the condition of a `while`, not one of several; not where the text cannot be
    read."""
    return any(_decided() or ())


def assigned_name(code: CodeType | Listing | None, lasti: int) -> str | None:
    """The variable to which the expression at this place is assigned as a whole, if it is."""
    if code is None:
        return None
    if isinstance(code, Listing):
        return code.places[lasti].label
    return _assigned_name(code, lasti)


@_by_place
def _assigned_name(code: CodeType, lasti: int) -> str | None:
    place = span(code, lasti)
    if place is None:
        return None
    return _targets("".join(lines_of(code))).get(place)


def expression_label(code: CodeType | None, lasti: int) -> str:
    """A short name for a value that no variable holds: "nl.exp(...) of line 12"."""
    if code is None or not line_of(code, lasti).line:
        return "a tile"
    return _expression_label(code, lasti)


@_by_place
def _expression_label(code: CodeType, lasti: int) -> str:
    place = line_of(code, lasti)
    at = span(code, lasti)
    lines = lines_of(code)
    raw = lines[place.line - 1].encode() if lines else b""  # columns count bytes of UTF-8
    text = (
        ""
        if at is None
        else raw[at[1] : at[3] if at[2] == at[0] else None].decode(errors="replace").strip()
    )
    match = _CALLEE.match(text)
    what = f"{match.group(0)}(...)" if match else text if 0 < len(text) <= 40 else "the value"
    return f"{what} of line {place.line}"
