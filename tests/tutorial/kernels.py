"""Kernels for the tests: the solutions, right kernels in other styles, and what becomes of them by
small changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutorial import check, stage
from tutorial.running import runner

ROOT = Path(__file__).resolve().parents[2]
STYLES = Path(__file__).resolve().parent / "styles"
Load = Callable[[int, str], Any]


def solution(number: int) -> str:
    """The text of a stage's solution."""
    return (ROOT / "solutions" / f"{stage.get(number).file_name}.py").read_text(encoding="utf-8")


def style(name: str) -> str:
    """The text of a right kernel in another style."""
    return (STYLES / f"{name}.py").read_text(encoding="utf-8")


def changed(text: str, *changes: tuple[str, str]) -> str:
    """`text` after the replacements, each of which must find something."""
    for old, new in changes:
        assert old in text, f"nothing to change: {old}"
        text = text.replace(old, new)
    return text


def part(text: str, begin: str, end: str) -> str:
    """What stands in `text` from `begin` to the next `end`, both of them included."""
    first = text.index(begin)
    return text[first : text.index(end, first) + len(end)]


def unnamed(text: str) -> str:
    """The same kernel, naming nothing."""
    for name in ("m", "l", "acc"):
        text = text.replace(f', name="{name}"', "")
    return text


def load(number: int, text: str, folder: Path) -> Any:
    """The entry point of a kernel given as text."""
    file = folder / "kernel.py"
    file.write_text(text, encoding="utf-8")
    return runner.load(file, stage.get(number))


def refused(mistake: tuple[int, str, Any, str, str], folder: Path, named: bool = True) -> Any:
    """The verdict on a wrong kernel (stage, text, changes to it, cause, words of its sentence),
    which must be its own."""
    number, base, changes, cause, words = mistake
    text = changed(base, *changes)
    verdict = check(number, load(number, text if named else unnamed(text), folder))
    assert verdict.outcome == "wrong", verdict.sentence
    assert verdict.cause == cause, verdict.sentence
    assert words in verdict.sentence, verdict.sentence
    assert "\n" not in verdict.sentence
    return verdict
