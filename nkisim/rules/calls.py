"""A call whose arguments do not fit the function, told as a broken rule: Python says neither which
are there nor what to do."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Iterable
from types import CodeType, FrameType
from typing import Any

from . import source
from .errors import KernelError, broken

_UNKNOWN = re.compile(r"got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: '(\w+)'")
_TWICE = re.compile(r"got multiple values for argument '(\w+)'")
_TOO_MANY = re.compile(r"takes .*positional arguments? but (\d+) ")


def explain(error: TypeError) -> None:
    """Raise the broken rule "argument" if `error` says that a kernel's call of one of our functions
    does not fit it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or isinstance(error, KernelError):
        return
    frame = trace.tb_frame
    # the function began to run: the fault lies elsewhere
    if frame.f_code.co_filename in source.INTERNAL_FILES:
        return
    call = _call(frame.f_code, trace.tb_lasti)
    function = None if call is None else _resolve(call.func, frame)
    if call is None or function is None:
        return
    try:
        at = source.line_of(frame.f_code, trace.tb_lasti)
        _misfit(call, function, str(error), at)
    except KernelError as told:
        raise told from None


def _call(code: CodeType, lasti: int) -> ast.Call | None:
    """The call that the instruction at byte `lasti` makes, as text parsed."""
    span = source.span(code, lasti)
    if span is None:
        return None
    tree = source.tree_of("".join(source.lines_of(code)))
    if tree is None:
        return None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset) == span
        ):
            return node
    return None


def _resolve(callee: ast.expr, frame: FrameType) -> Any:
    """The function of ours that the names of `callee` stand for in `frame`; None if it is
    another's."""
    names: list[str] = []
    node = callee
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    scope = frame.f_locals if node.id in frame.f_locals else frame.f_globals
    if node.id not in scope:
        return None
    found = scope[node.id]
    for name in reversed(names):
        found = getattr(found, name, None)
    code = getattr(found, "__code__", None)
    return found if code is not None and code.co_filename in source.INTERNAL_FILES else None


def _misfit(call: ast.Call, function: Any, why: str, at: source.Line) -> None:
    api = ast.unparse(call.func)
    takes = inspect.signature(function).parameters.values()
    named = [p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if found := _UNKNOWN.search(why):
        no_argument(api, found[1], named, at)
    limit = ", ".join(named) or None
    if found := _MISSING.search(why):
        # where a function takes `dst=` and the like besides, Python overlooks a misspelled name
        others = {given.arg for given in call.keywords if given.arg} - set(named)
        if misspelled := difflib.get_close_matches(found[1], sorted(others), 1, 0.5):
            no_argument(api, misspelled[0], named, at, meant=found[1])
        broken(
            "argument",
            f"{api}: argument '{found[1]}' is missing",
            got=f"no {found[1]}",
            limit=limit,
            remedy=f"Pass {found[1]}=...",
            at=at,
        )
    if found := _TWICE.search(why):
        broken(
            "argument",
            f"{api}: argument '{found[1]}' is given twice",
            got=f"by position and as {found[1]}=",
            limit=limit,
            remedy="Give it once.",
            at=at,
        )
    if found := _TOO_MANY.search(why):
        in_order = [p.name for p in takes if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        broken(
            "argument",
            f"{api}: too many arguments by position",
            got=found[1],
            limit=", ".join(in_order) or "none",
            remedy="Name the others: what=value.",
            at=at,
        )


def no_argument(
    api: str,
    given: str,
    names: Iterable[str],
    at: source.Line | None = None,
    meant: str | None = None,
) -> None:
    """`api` has no argument `given`: name the one that is `meant`, or the nearest of those that it
    has."""
    known = list(names)
    near = [meant] if meant else difflib.get_close_matches(given, known, 1, 0.5)
    broken(
        "argument",
        f"{api} has no argument '{given}'",
        got=f"{given}=",
        limit=", ".join(known) or None,
        at=at,
        remedy=f"Did you mean {near[0]}=?" if near else "Check the name against the nki reference.",
    )
