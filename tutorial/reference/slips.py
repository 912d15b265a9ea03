"""Every small change of a text, made by machine: what a kernel may do that no known mistake tells.

A slip is one change, in one place or in all lines that read alike: a name for another of its kind,
an operator or an operand, a factor too many, a line that is left out or stands elsewhere. It says
no more than that the kernel answers as if the text were changed so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

_ALIKE = (
    "m m_new m_tile alpha l l_new l_old l_tile",
    "m_a m_b m",
    "l_a l_b l",
    "acc_a acc_b acc",
    "a b_ alpha",
    "raw qk p",
    "M L",
    "b h t 0",
    "G per d n Hkv Hq",
    "k v",
    "k_tile v_tile",
    "k_blocks v_blocks",
)
"""Names that stand for one another's shapes or places."""
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
_CALLS = {"maximum": ("minimum",), "exp": ("exp2", "square"), "max": ("min", "sum", "mean")}
_CALLS |= {"sum": ("max", "mean"), "min": ("max",)}
_INDEX = ("{} + 1", "{} - 1", "0", "-1", "{} % 2", "{} // 2")
_KEYS = ("tiles[0]", "tiles[t - 1]", "tiles[-1]", "(keys + 1)", "(keys - 1)", "keys[::-1]")
_STATES = ("[0]", "[-1]", "[::-1]")  # of several states one, or in another order
_PARTS = ("{}[:, 1:]", "{}[:, :-1]", "{}[:, : len(keys) // 2]", "{}[:, len(keys) // 2 :]")
_MORE = ("-{}", "2 * {}", "0.5 * {}", "abs({})", "{} * scale", "{} * alpha", "{} / l")
_LOOPS = ("[1:]", "[:-1]", "[:1]", "[-1:]", "[::2]", "[1::2]", "[::-1]")
_HALVES = ("[: len(tiles) // 2]", "[len(tiles) // 2 :]")
_WORD = re.compile(r"[A-Za-z_]\w*")
_OF_K = re.compile(r"\bk(?=_tile|_blocks|\[)")
_SIZES = ("scale", "G", "per", "d", "n", "B", "Hq", "Hkv", "len", "tiles", "pass")
_FUNCTIONS = ("abs", "exp2", "square", "min", "max", "sum", "mean", "minimum", "maximum", "ones")
_GIVEN = {*_SIZES, *_FUNCTIONS}
"""What a change may name that its text does not."""
_BEGIN = re.compile(r" = (full|zeros)\(")
_WHICH = ("the first ", "the second ", "the third ")
FAR = 7  # lines that a line may stand from its place


@dataclass(frozen=True)
class Slip:
    """A text with one change, and what is different in it: "with ...", or "without ..."."""

    text: str
    told: str


@cache
def slips(text: str) -> tuple[Slip, ...]:
    """The slips of a text, the likeliest first; no two with the same text."""
    lines = text.splitlines()
    known = {*_WORD.findall(text), *_GIVEN}
    found: dict[str, Slip] = {}
    for made in (_without, _changed, _changed_alike, _everywhere, _elsewhere):
        for i in range(len(lines)):
            for new, told in made(lines, i):
                changed = "\n".join(new) + "\n"
                if changed != text and set(_WORD.findall(changed)) <= known:
                    found.setdefault(changed, Slip(changed, told))
    return tuple(found.values())


def _is_step(line: str) -> bool:
    """Whether a line computes something."""
    return " = " in line and not line.lstrip().startswith(("keep(", "def ", "return", "for "))


def _without(lines: Sequence[str], i: int) -> Iterator[tuple[list[str], str]]:
    if _is_step(lines[i]):
        yield _replaced(lines, i, "pass"), f"without {_shown(lines, i)}"


def _shown(lines: Sequence[str], i: int) -> str:
    """Line i as it is told: of several that read alike, which one."""
    line = lines[i].strip()
    alike = [at for at, other in enumerate(lines) if other.strip() == line]
    which = _WHICH[alike.index(i)] if len(alike) > 1 else ""
    return f"{which}`{line}`"


def _replaced(lines: Sequence[str], i: int, new: str) -> list[str]:
    return [*lines[:i], lines[i][: _indent(lines[i])] + new, *lines[i + 1 :]]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _changed(lines: Sequence[str], i: int) -> Iterator[tuple[list[str], str]]:
    old = lines[i].strip()
    if old.startswith("for ") and "(tiles)" in old:
        news: Iterator[str] = (old.replace("tiles", f"tiles{part}") for part in (*_LOOPS, *_HALVES))
    elif _is_step(lines[i]):
        news = _variants(old)
    else:
        return
    for new in news:
        yield _replaced(lines, i, new), f"with `{new}` instead of {_shown(lines, i)}"


def _changed_alike(lines: Sequence[str], i: int) -> Iterator[tuple[list[str], str]]:
    """One change in all lines that read like line i, or in what is read of K and of V."""
    old, bare = lines[i].strip(), [line.strip() for line in lines]
    if not _is_step(lines[i]) or bare.index(old) < i:
        return
    if bare.count(old) > 1:
        for new in _variants(old):
            made = [line.replace(old, new) for line in lines]
            yield made, f"with `{new}` instead of every `{old}`"
    of_v = _OF_K.sub("v", old)
    if of_v != old and of_v in bare:
        for new in _variants(old):
            both = (line.replace(old, new).replace(of_v, _OF_K.sub("v", new)) for line in lines)
            yield list(both), f"with `{new}` instead of `{old}`, and {of_v[:1]} likewise"


def _variants(line: str) -> Iterator[str]:
    """A line with one place of what it computes changed."""
    (step,) = ast.parse(line).body
    value = getattr(step, "value", None)
    if value is None or isinstance(value, ast.GeneratorExp):
        return
    target = line[: value.col_offset]
    places = list(_places(value))
    for node, number in places:
        if number and not isinstance(node, ast.Name):
            continue
        for new in _others(node, number):
            yield target + _with(line[value.col_offset :], value, node, new)


def _places(node: ast.AST, number: bool = False) -> Iterator[tuple[ast.expr, bool]]:
    """The parts of what a line computes, and which of them are indices or sizes."""
    if isinstance(node, ast.expr) and isinstance(
        getattr(node, "ctx", None), (ast.Load, type(None))
    ):
        yield node, number
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.Call) and child is node.func and isinstance(child, ast.Name):
            continue
        sized = isinstance(node, ast.Call) and ast.unparse(node.func) in ("full", "zeros")
        inside = isinstance(node, ast.Subscript) and child is node.slice
        yield from _places(child, number or inside or sized)


def _with(shown: str, value: ast.expr, old: ast.expr, new: str) -> str:
    """`shown`, the text of `value`, with `new` instead of its part `old`."""
    before = shown[: old.col_offset - value.col_offset]
    after = shown[old.end_col_offset - value.col_offset :]  # type: ignore[operator]
    bare, wrapped = before + new + after, before + f"({new})" + after
    try:
        alike = ast.dump(ast.parse(bare)) == ast.dump(ast.parse(wrapped))
    except SyntaxError:
        alike = False
    return bare if alike else wrapped


def _others(node: ast.expr, number: bool) -> Iterator[str]:
    """What a part of a line may be replaced by."""
    own = ast.unparse(node)
    if isinstance(node, ast.Name):
        yield from (name for kind in _ALIKE if own in kind.split() for name in kind.split())
        if own == "keys":
            yield from _KEYS
        elif own in ("b", "h", "t", "s"):
            yield from (form.format(own) for form in _INDEX)
        elif own in ("weight", "factor", "M", "L", "A", "out"):
            yield from (own + form for form in _STATES)
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = ast.unparse(node.left), ast.unparse(node.right)
        yield from (left, right)
        own_sign = _OPERATORS[type(node.op)]
        for sign in _OPERATORS.values():
            if sign != own_sign:
                yield _unparsed(f"({left}) {sign} ({right})")
        if own_sign == "+":
            yield f"maximum({left}, {right})"
        yield from _otherwise_grouped(node)
        if own_sign in "-/":
            yield _unparsed(f"({right}) {own_sign} ({left})")
    fixed = own.startswith(("full(", "zeros(", "where("))
    if not (number or fixed) and isinstance(node, (ast.BinOp, ast.Call, ast.Name)):
        yield from (_unparsed(form.format(f"({own})")) for form in _MORE)


def _otherwise_grouped(node: ast.BinOp) -> Iterator[str]:
    """a * b + c as (a + c) * b, and (a + c) / b as a / b + c or a + c / b."""
    if not (isinstance(node.left, ast.BinOp) and type(node.left.op) in _OPERATORS):
        return
    a, b, c = (ast.unparse(x) for x in (node.left.left, node.left.right, node.right))
    inner, outer = _OPERATORS[type(node.left.op)], _OPERATORS[type(node.op)]
    if outer in "+-" and inner in "*/":
        yield _unparsed(f"(({a}) {outer} ({c})) {inner} ({b})")
    if outer in "*/" and inner in "+-":
        yield _unparsed(f"({a}) {outer} ({c}) {inner} ({b})")
        yield _unparsed(f"({a}) {inner} ({b}) {outer} ({c})")


def _unparsed(text: str) -> str:
    """`text` without the parentheses that it does not need."""
    return ast.unparse(ast.parse(text))


def _other_calls(node: ast.Call) -> Iterator[str]:
    """Another function of what a call is given, a part of it, or no function at all."""
    given = [ast.unparse(x) for x in node.args]
    if isinstance(node.func, ast.Attribute):
        given += [ast.unparse(x) for x in node.keywords]
        receiver = ast.unparse(node.func.value)
        for name in _CALLS.get(node.func.attr, ()):
            yield f"{receiver}.{name}({', '.join(given)})"
        for part in _PARTS:
            yield f"{part.format(receiver)}.{node.func.attr}({', '.join(given)})"
        return
    name = ast.unparse(node.func)
    if len(node.args) == 1 and isinstance(node.args[0], ast.BinOp):
        inner = node.args[0]
        sign = _OPERATORS.get(type(inner.op))
        if sign:
            left, right = ast.unparse(inner.left), ast.unparse(inner.right)
            yield f"{name}({left}) {sign} {right}"
            yield from (_unparsed(f"({left}) {other} ({right})") for other in "*/")
    yield from given[name == "full" :]
    yield from (f"{other}({', '.join(given)})" for other in _CALLS.get(name, ()))
    if name == "full":
        yield from (f"full({given[0]}, {x})" for x in ("0", "1", "-1"))
    if name == "zeros":
        yield f"ones({given[0]})"


def _everywhere(lines: Sequence[str], i: int) -> Iterator[tuple[list[str], str]]:
    """What line i makes, under another name wherever it is read after it."""
    name = lines[i].strip().partition(" = ")[0]
    if not (_is_step(lines[i]) and name.isidentifier()):
        return
    read = re.compile(rf"\b{name}\b(?! =)")
    for other in (other for kind in _ALIKE if name in kind.split() for other in kind.split()):
        if other != name and other.isidentifier():
            later = [read.sub(other, line) if _is_step(line) else line for line in lines[i + 1 :]]
            yield [*lines[: i + 1], *later], f"with `{other}` wherever `{name}` is read"


def _elsewhere(lines: Sequence[str], i: int) -> Iterator[tuple[list[str], str]]:
    """A line that computes something, or a few that begin a state, in another place: at the indent
    of what stands there."""
    for count in (1, 2, 3):
        own = lines[i : i + count]
        if not all(map(_is_step, own)) or (count > 1 and not all(map(_BEGIN.search, own))):
            return
        rest = [*lines[:i], *lines[i + count :]]
        told = " and ".join(_shown(lines, i + at) for at in range(count))
        for at in range(max(i - FAR, 0), min(i + FAR, len(rest)) + 1):
            if at == i:
                continue
            where, other = ("before", at) if at < i else ("after", at - 1)
            beside = rest[other]
            indent = _indent(beside) + 4 * (at > i and beside.endswith(":"))
            moved = [" " * indent + line.strip() for line in own]
            yield [*rest[:at], *moved, *rest[at:]], f"with {told} {where} {_shown(rest, other)}"
