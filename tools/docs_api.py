"""The reference of the public names of both packages, from their signatures and docstrings."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import nkisim
import tutorial
from nkisim.record import Timeline
from nkisim.views.page import Page

PACKAGES: dict[str, ModuleType] = {"nkisim": nkisim, "tutorial": tutorial}
ALSO: dict[str, dict[str, Any]] = {
    "nkisim": {"Run.timeline": Timeline, "Run.html": Page},
    "tutorial": {"pictures": tutorial.pictures},
}
"""What is not a name of the package and is held by everybody: a class under the call that makes
one."""
VALUES = {
    "RULES": "Every rule by its id, as a `Rule`: [the table](rules.md).",
    "TARGETS": 'The targets by name: "trn1", "trn2" and "trn3" ([their sizes](targets.md)).',
}
CONSTRUCTED = {"Config", "EditableScores", "record"}
"""The classes that a reader makes by calling them; all others come out of a call."""
HIDDEN = {"begun"}
"""Methods that the simulator calls."""
_CODE = re.compile(r"(`[^`]*`)")


def api(package: str) -> str:
    """Every public name of a package: what it is called with, and what it does."""
    module = PACKAGES[package]
    parts = []
    for name in sorted(module.__all__, key=lambda name: (name.lower(), name)):
        parts.append(_entry(f"{package}.{name}", getattr(module, name), VALUES.get(name)))
        parts += [
            _entry(what.__name__, what, None, f"What `{made_by}` returns.")
            for made_by, what in ALSO[package].items()
            if made_by.partition(".")[0] == name and "." in made_by
        ]
    parts += [
        _entry(f"{package}.{name}", what, None)
        for name, what in ALSO[package].items()
        if "." not in name
    ]
    return "\n\n".join(parts)


def _entry(name: str, what: Any, value: str | None, before: str = "") -> str:
    """One name: a heading, what it is called with, its docstring, and what it has."""
    lines = [f"### {name}"]
    if before:
        lines.append(before)
    if value is not None:
        return "\n\n".join([*lines, value])
    short = name.rpartition(".")[2]
    if not inspect.ismodule(what) and (not inspect.isclass(what) or short in CONSTRUCTED):
        lines.append(f"```python\n{called(short, what)}\n```")
    lines.append(prose(inspect.getdoc(what)))
    inside = inspect.isclass(what) or inspect.ismodule(what)
    return "\n\n".join([*lines, *(_members(what) if inside else ())])


def called(name: str, what: Any) -> str:
    """The call, its parameters with their types, in lines of at most 88 characters."""
    signature = inspect.signature(what)
    parts: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(p[0] == "*" for p in parts):
            parts.append("*")
        parts.append(_parameter(parameter))
    end = "" if inspect.isclass(what) else _type(signature.return_annotation)
    returns = f" -> {end}" if end else ""
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= 88:
        return line
    inner = "".join(f"    {part},\n" for part in parts)
    return f"{name}(\n{inner}){returns}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text, kind = f"{stars}{parameter.name}", _type(parameter.annotation)
    text += f": {kind}" if kind else ""
    if parameter.default is parameter.empty:
        return text
    default = repr(parameter.default)
    if isinstance(parameter.default, nkisim.Target):
        default = f'TARGETS["{parameter.default.name}"]'
    elif default.startswith("<"):
        default = "..."
    elif default[0] == "'":
        default = f'"{default[1:-1]}"'
    return f"{text} = {default}" if kind else f"{text}={default}"


def _type(annotation: Any) -> str:
    """An annotation as it is written, without the modules that its names come from."""
    if annotation is inspect.Signature.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?!np\.)(?:\w+\.)+(?=[A-Z])", "", text)


def _members(what: Any) -> Iterator[str]:
    """What a class or a module has: its fields, and a list with the first paragraph of each
    docstring."""
    rows = [f"- `{name}`: {escaped(text)}" for name, text in _fields(what)]
    for member, value in _public(what):
        text = first_paragraph(inspect.getdoc(value))
        if text:
            shown = member
            if callable(value) and not inspect.isclass(value):
                shown = " ".join(called(member, value).split())
                shown = shown.replace("( ", "(").replace(", )", ")")
            rows.append(f"- `{shown}`: {text}")
    if rows:
        yield "\n".join(rows)


def _fields(what: Any) -> Iterator[tuple[str, str]]:
    """The fields of a class that have a string below them."""
    if not inspect.isclass(what):
        return
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(what))).body
    assert isinstance(tree, ast.ClassDef)
    for field, text in itertools.pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(text.value, ast.Constant)
            yield field.target.id, " ".join(str(text.value.value).split())


def _public(what: Any) -> Iterator[tuple[str, Any]]:
    """The public functions of a module, or methods and properties of a class, in the order of
    their text; not those that a class has from Python."""
    if inspect.ismodule(what):
        names = getattr(what, "__all__", None) or list(vars(what))
        for name in names:
            value = getattr(what, name)
            own = getattr(value, "__module__", None) or ""
            if name[0] != "_" and callable(value) and own.startswith(what.__name__):
                yield name, value
        return
    seen = set()
    for base in what.__mro__:
        if base.__module__.partition(".")[0] not in PACKAGES:
            continue
        for name, value in vars(base).items():
            plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            if (
                name[0] != "_"
                and name not in seen | HIDDEN
                and (inspect.isfunction(plain) or isinstance(value, property))
            ):
                seen.add(name)
                yield name, plain


def prose(doc: str | None) -> str:
    """A docstring as Markdown: its paragraphs, and its indented examples as blocks of code."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", (doc or "").strip()):
        if block.startswith("    "):
            blocks.append(_example(textwrap.dedent(block)))
        else:
            lead, _, example = block.partition("\n    ")
            blocks.append(escaped(" ".join(lead.split())))
            if example:
                blocks.append(_example(textwrap.dedent("    " + example)))
    return "\n\n".join(blocks)


def _example(text: str) -> str:
    try:
        ast.parse(text)
    except SyntaxError:
        return f"```text\n{text}\n```"
    return f"```python\n{text}\n```"


def first_paragraph(doc: str | None) -> str:
    return escaped(" ".join((doc or "").split("\n\n")[0].split()))


def escaped(text: str) -> str:
    """Text whose stars, brackets and angles are not Markdown; what stands in `code` stays."""
    parts = _CODE.split(text)
    plain = [re.sub(r"([*\[\]<])", r"\\\1", part) for part in parts[::2]]
    return "".join(x for pair in zip(plain, [*parts[1::2], ""]) for x in pair)
