"""Known mistakes as text: a key, the sentence that names it, the lines of the twin written wrongly.

    == key [flag ...]
    The sentence, on as many lines as it takes.
        alpha = exp(m_new - m)

Indented lines are ways to make the mistake: see `edits`. A flag tells what the twin alone does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .edits import Way, ways


@dataclass(frozen=True)
class Mistake:
    """`sentence` may use {G}, {sqrt_d}, {tiles} and {S}.

    Flags: "heads" and "tiles" (it takes several of them to make it), "in turn" (heads may come one
    after another), "no keys" (it is about sequences without keys), "alpha" and "no division" (a
    kernel with it computes alpha, or stores what was never divided), "division" and "subtraction"
    (what gives the first NaN), "as KEY" (a form of another mistake, whose sentence is true of it as
    well), "shown" (its sentence says no more than the outputs show), "all keys" (a kernel with it
    reads all of K), "other blocks" (one with it does not load all keys of a paged cache), "starts
    again" (nor one all of K, or it fills m in every tile), "recorded" (outputs alone do not tell it
    from others), "long" (only many tiles tell it from others).
    """

    key: str
    sentence: str
    ways: tuple[Way, ...]
    flags: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The key of the mistake that it is a form of, or its own."""
        forms = [flag.removeprefix("as ") for flag in self.flags if flag.startswith("as ")]
        return forms[0] if forms else self.key


def read(table: str, macros: Mapping[str, str] | None = None) -> tuple[Mistake, ...]:
    """The mistakes of a table; `macros` are texts that a way may name as <NAME>."""
    return tuple(_read(table, macros or {}))


def _read(table: str, macros: Mapping[str, str]) -> Iterator[Mistake]:
    for block in re.split(r"^== ", table, flags=re.MULTILINE)[1:]:
        head, *rest = block.splitlines()
        found = re.fullmatch(r"(.*?)(?: \[(.*)\])?", head)
        assert found is not None
        told = [line for line in rest if line and not line.startswith(" ")]
        made: list[str] = []
        for line in rest:
            if line.startswith("        "):
                made[-1] += f" {line.strip()}"
            elif line.startswith("    "):
                made.append(line.strip())
        for name, text in macros.items():
            made = [line.replace(f"<{name}>", text) for line in made]
        made = [one for line in made for one in _for_each(line)]
        yield Mistake(
            found[1],
            " ".join(told),
            tuple(way for line in made for way in ways(line)),
            frozenset((found[2] or "").split(", ")) - {""},
        )


def _for_each(line: str) -> list[str]:
    """A line with @_ or @[ stands for two: of K, and of V. So does one with m@: it is m_new in one
    pass, and m in several."""
    if "m@" in line:
        return [line.replace("m@", m) for m in ("m_new", "m")]
    if "@_" not in line:
        return [line]
    return [line.replace("@_", f"{x}_").replace("@[", f"{x}[") for x in "kv"]
