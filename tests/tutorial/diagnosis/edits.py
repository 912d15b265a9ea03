"""Mistakes and right kernels as edits of a few base texts, read from the tables in
`tests/tutorial/diagnosis/learned`.

A table is plain text. `@ NAME` names the base: `solution`, or a file of `styles`. `== WORDS` begins
one kernel and says what is different about it; after ` => ` stand the causes that are true of it,
where they were judged, with ` | ` between them. `- OLD` and the `+ NEW` below it replace every OLD;
`-2 OLD` replaces the second one only. A further `+` line is a further line of NEW, with its own
indentation. Edits are made to the base as `ast.unparse` writes it, so that no change of its
formatting loses one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.tutorial.kernels import solution, style

TABLES = Path(__file__).resolve().parent / "learned"
_EDIT = re.compile(r"-(\d*) (.*)")


@dataclass
class Edited:
    """One kernel of a table: its stage, base and words, the true causes, and the replacements
    (which one, or 0 for all; old; new)."""

    stage: int
    base: str
    words: str
    causes: tuple[str, ...] = ()
    edits: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.stage} {self.base}: {self.words}"

    @property
    def text(self) -> str:
        """The kernel's file."""
        text = normal(solution(self.stage) if self.base == "solution" else style(self.base))
        for which, old, new in self.edits:
            parts = text.split(old)
            assert len(parts) > max(1, which), f"{self.name}: nothing to change: {old}"
            if which:
                parts = [old.join(parts[:which]), old.join(parts[which:])]
            text = new.join(parts)
        ast.parse(text)
        return text


def normal(text: str) -> str:
    """`text` in one fixed layout, a statement a line."""
    return ast.unparse(ast.parse(text))


def table(stage: int, kind: str) -> list[Edited]:
    """The kernels of one stage, `kind` being `wrong` or `right`."""
    return list(_read(stage, (TABLES / f"stage{stage}_{kind}.txt").read_text(encoding="utf-8")))


def _read(stage: int, text: str) -> Iterator[Edited]:
    base, kernel = "", None
    for line in text.splitlines():
        mark, rest = line[:2], line[3:]
        edit = _EDIT.match(line)
        if line.startswith("@ "):
            base = line[2:]
        elif mark == "==":
            if kernel:
                yield kernel
            words, _, causes = rest.partition(" =>")
            true = tuple(cause.strip() for cause in causes.split(" |") if cause.strip())
            kernel = Edited(stage, base, words, true)
        elif kernel and edit:
            kernel.edits.append((int(edit[1] or 0), edit[2], "\0"))
        elif kernel and line.startswith("+"):
            which, old, new = kernel.edits[-1]
            kernel.edits[-1] = (which, old, line[2:] if new == "\0" else f"{new}\n{line[2:]}")
        elif line:
            raise ValueError(f"stage {stage}: not a line of a table: {line}")
    if kernel:
        yield kernel
