"""Lines of a text, written wrongly.

A way to make a mistake is a few edits, joined by ` & `. An edit is `old => new`, where `old` is the
beginning of the lines that it replaces, or just the wrong line, which then takes the place of the
line that begins most like it. `[2] old => new` changes the second such line only. `{a|b}` stands
for two ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product


@dataclass(frozen=True)
class Edit:
    """`new` in place of the lines that begin with `old` (of the `which`th, counted from 1; 0: of
    all)."""

    old: str
    new: str
    which: int = 0


Way = tuple[Edit, ...]


@cache
def ways(text: str) -> tuple[Way, ...]:
    """The ways that a line of a table stands for."""
    return tuple(tuple(map(_edit, one.split(" & "))) for one in _expanded(text))


def _expanded(text: str) -> Iterator[str]:
    pieces = re.split(r"\{([^{}]*\|[^{}]*)\}", text)
    for chosen in product(*(piece.split("|") for piece in pieces[1::2])):
        yield "".join(a + b for a, b in zip(pieces[::2], (*chosen, ""), strict=True))


def _edit(text: str) -> Edit:
    found = re.fullmatch(r"(?:\[(\d)\] )?(?:(.*?) => )?(.*)", text.strip())
    assert found is not None
    return Edit((found[2] or "").strip(), found[3].strip(), int(found[1] or 0))


@lru_cache(maxsize=8192)
def edited(text: str, way: Way) -> str | None:
    """`text` with the edits of a way; None where one of them finds nothing to change."""
    lines = text.splitlines()
    for edit in way:
        places = _places(lines, edit)
        if not places:
            return None
        for place in places:
            indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
            lines[place] = indent + edit.new
    return "\n".join(lines) + "\n"


def _places(lines: Sequence[str], edit: Edit) -> list[int]:
    """Which lines an edit replaces."""
    bare = [line.strip() for line in lines]
    old = edit.old or _most_alike(bare, edit.new)
    places = [i for i, line in enumerate(bare) if old and line.startswith(old)]
    if edit.which:
        places = places[edit.which - 1 : edit.which]
    return [i for i in places if bare[i] != edit.new]


def _most_alike(lines: Sequence[str], wrong: str) -> str:
    """The line that assigns to the same name and begins most like a wrong one; "" if none does."""
    target = wrong[: wrong.find(" = ") + 3]
    if len(target) < 4:
        return ""
    words = set(re.findall(r"\w+", wrong))
    alike = {
        line: (_common(line, wrong), len(words & set(re.findall(r"\w+", line))))
        for line in lines
        if line.startswith(target)
    }
    most = max(alike.values(), default=(0, 0))
    best = [line for line, how_much in alike.items() if how_much == most]
    return best[-1] if best else ""


def _common(a: str, b: str) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
