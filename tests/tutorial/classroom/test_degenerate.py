"""An answer that does not depend on the inputs is wrong at every stage, on hidden inputs too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tutorial.kernels import solution
from tutorial import get
from tutorial.check import check
from tutorial.running.runner import load

STORED = re.compile(r"nl\.store\(([yo]\b.*?), value=(.*)\)$", re.MULTILINE)
PORTED = "nisa.dma_copy(dst=o[group, :], src=o_tile)"


def flattened(number: int, value: float) -> str:
    """The solution of a stage that stores its output times 0 plus `value`."""
    text = solution(number)
    scaled = f"op0=nl.multiply, operand0=0.0, op1=nl.add, operand1={value}"
    if number == 9:
        assert text.count(PORTED) == 1
        made = f"nisa.tensor_scalar(dst=o_tile, data=o_tile, {scaled})\n        {PORTED}"
        return text.replace(PORTED, made)
    found = STORED.findall(text)
    assert len(found) == 1
    return STORED.sub(rf"nl.store(\1, value=nisa.tensor_scalar(\2, {scaled}))", text)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("number", range(10))
def test_a_constant_output_is_wrong_on_hidden_inputs(tmp_path: Path, number: int, value: float):
    lesson = get(number)
    path = tmp_path / f"{lesson.file_name}.py"
    path.write_text(flattened(number, value), encoding="utf-8")
    found = check(lesson, load(path, lesson), seed="a-word", sizes=True, explain=False)
    assert (found.outcome, found.cause) == ("wrong", None), found.sentence
