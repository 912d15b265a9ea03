"""The notebooks of both editions: whole, executed, undrifted, and without the solution where it does not belong.

That their outputs are still true is checked by nbval, which collects them when pytest runs on the whole repository.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tutorial

ROOT = Path(__file__).resolve().parent.parent
STAGES = [pytest.param(s, id=f"stage{s.number}") for s in tutorial.stages()]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tools_notebooks", ROOT / "tools" / "notebooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tools_notebooks"] = module
    spec.loader.exec_module(module)
    return module


notebooks = _tool()


@pytest.mark.parametrize("lesson", STAGES)
def test_a_stage_has_both_editions_and_they_are_in_order(lesson):
    assert notebooks.problems_of(lesson) == []


@pytest.mark.parametrize("lesson", STAGES)
def test_the_solved_edition_differs_from_the_learners_only_in_the_blank(lesson):
    learner, solved = notebooks.read(notebooks.learner_path(lesson)), notebooks.read(notebooks.solved_path(lesson))
    different = [(a, b) for a, b in zip(learner.cells, solved.cells, strict=True) if a.source != b.source]
    assert [b.source + "\n" for _, b in different] == [tutorial.solution_text(lesson.number)]
    assert [a.source + "\n" for a, _ in different] == [lesson.blank]


@pytest.mark.parametrize("lesson", STAGES)
def test_every_code_cell_has_been_executed_in_order(lesson):
    for path in (notebooks.learner_path(lesson), notebooks.solved_path(lesson)):
        counts = [c.execution_count for c in notebooks.read(path).cells if c.cell_type == "code"]
        assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("lesson", STAGES)
def test_the_check_says_not_attempted_to_the_learner_and_correct_to_the_solution(lesson):
    for path, outcome in ((notebooks.learner_path(lesson), "not attempted"), (notebooks.solved_path(lesson), "correct")):
        cells = [c for c in notebooks.read(path).cells if c.cell_type == "code" and c.source.startswith("check(")]
        (said,) = [text for c in cells for text in notebooks.texts_of(c) if text.strip()]
        assert said.splitlines()[0] == f"{lesson.title}: {outcome}"


@pytest.mark.parametrize("number", [2, 3, 4])
def test_the_trace_of_the_solution_stands_in_both_editions(number):
    lesson = tutorial.get(number)
    heads = [0, 4] if number == 4 else [0]
    lines = str(tutorial.trace(lesson, tutorial.solution(number)).only(heads)).splitlines()
    for path in (notebooks.learner_path(lesson), notebooks.solved_path(lesson)):
        texts = [t for c in notebooks.read(path).cells if c.cell_type == "code" for t in notebooks.texts_of(c)]
        assert any(all(line in text for line in lines) for text in texts)


def test_the_leak_check_finds_a_line_of_the_solution():
    lesson = tutorial.get(3)
    learner = notebooks.read(notebooks.learner_path(lesson))
    assert notebooks.leaks(lesson, learner) == []
    learner.cells[0].source += "\nalpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))"
    assert len(notebooks.leaks(lesson, learner)) == 1


def test_the_check_finds_an_unexecuted_cell_an_empty_hint_and_a_time():
    notebook = notebooks.read(notebooks.learner_path(tutorial.get(1)))
    notebook.cells[2].execution_count = None
    for cell in notebook.cells:
        if "<summary>Hint 1" in cell.source:
            cell.source = "<details><summary>Hint 1</summary>\n\n</details>"
    printed = next(c for c in notebook.cells if c.cell_type == "code" and c.outputs)
    printed.outputs[0]["text"] = "it took 3.2 ms"
    said = " ".join(notebooks._cells(notebook))
    assert "has not been executed" in said and "a hint is empty" in said and "a time" in said
