"""What a lesson tells about its own output is in that output: an answer cannot go stale unseen."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.replay import numbers, texts

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PRECISE = re.compile(r"(?<![\w.])-?\d[\d,]*\.\d+(?![\w.])|(?<![\w.])\d{1,3}(?:,\d{3})+(?![\w.])")
CODE_OR_LINK = re.compile(r"`[^`]*`|\]\([^)]*\)")


def untold(cells: list[dict[str, Any]]) -> list[str]:
    """The precise numbers (with decimals or thousands) in the prose that follows "Break it" which
    that part's outputs do not show, nor as a difference of two of them or a small multiple of one.
    """
    headings = ["".join(cell["source"]).startswith("## Break it") for cell in cells]
    part = cells[headings.index(True) :]
    shown = [
        float(number.replace(",", ""))
        for cell in cells
        for number in numbers(texts(cell.get("outputs", [])))
        if cell in part or "," in number
    ]
    prose = " ".join("".join(cell["source"]) for cell in part if cell["cell_type"] == "markdown")
    found = PRECISE.findall(CODE_OR_LINK.sub("", prose))
    return [number for number in found if not _follows(number, shown)]


def _follows(number: str, shown: list[float]) -> bool:
    value, digits = float(number.replace(",", "")), len(number.partition(".")[2])
    near = 0.501 * 10**-digits
    if "," in number:
        return any(abs(times * x - value) < near for x in shown for times in range(1, 9))
    fractions = [x for x in shown if x % 1]  # differences of whole numbers would excuse anything
    return any(abs(x - value) < near for x in shown) or any(
        abs(x - y - value) < near for x in fractions for y in fractions
    )


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem.partition("_")[0])
def test_the_numbers_of_an_answer_are_those_that_the_lesson_prints(lesson: Path) -> None:
    assert untold(json.loads(lesson.read_text("utf-8"))["cells"]) == []


def test_a_number_of_an_answer_that_nothing_prints_any_more_is_found() -> None:
    lesson = ROOT / "notebooks" / "stage8_paged.ipynb"
    cells = json.loads(lesson.read_text("utf-8"))["cells"]
    cells.append({"cell_type": "markdown", "source": "l is 27.0 instead of 14.252."})
    assert untold(cells) == ["27.0"]
