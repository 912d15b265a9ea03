"""The page of a kernel: one slider, and the picture, the timeline and the text that it moves."""

from __future__ import annotations

import json
import re

import pytest

from tests.tutorial.kernels import load, solution
from tutorial import get
from tutorial.__main__ import main
from tutorial.running import runner
from tutorial.trace.picture import picture_page


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return picture_page(3, load(3, solution(3), tmp_path_factory.mktemp("page")))


def data_of(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_every_instruction_has_a_box_a_line_and_a_time(made, tmp_path):
    lesson = get(3)
    run = runner.run(load(3, solution(3), tmp_path), lesson.case(lesson.cost_case), lesson).run
    data, timeline = data_of(made), run.timeline()
    assert data["line"] == [i.line for i in run.instructions]
    assert data["start"] == pytest.approx([t / 1e3 for t in timeline.start], abs=1e-3)
    assert data["end"] == pytest.approx([t / 1e3 for t in timeline.end], abs=1e-3)
    boxes = set(re.findall(r'data-name="step (\d+)"', made))
    assert {str(box) for box in data["box"]} == boxes
    assert made.count("<rect data-at=") == len(run)


def test_the_boxes_are_those_of_the_instructions(made):
    data = data_of(made)
    for box, line, said in zip(data["box"], data["line"], data["said"], strict=True):
        tip = re.search(rf'data-name="step {box}" [^>]*><title>([^<]*)</title>', made)
        shown = re.search(rf'<span data-line="{line}"><b> *{line}</b> ([^<]*)', made)
        assert tip is not None and shown is not None
        assert tip[1].rsplit(" (", 1)[0].split("  #")[0] in shown[1]
        assert said.split(" on ")[1] in tip[1]


def test_times_are_called_modelled(made):
    assert "us (model)" in made and " us (model)</text>" in made
    assert not re.search(r"\d us(?! \(model\))", made)


def test_the_page_needs_nothing_else_and_is_the_same_bytes(made, tmp_path):
    assert not re.search(r"(src|href)=\"(?!data:)", made)
    assert made == picture_page(3, load(3, solution(3), tmp_path))


def test_many_steps_share_boxes_by_line(tmp_path):
    data = data_of(picture_page(8, load(8, solution(8), tmp_path)))
    by_line = {}
    for box, line in zip(data["box"], data["line"], strict=True):
        by_line.setdefault(line, set()).add(box)
    assert all(len(boxes) == 1 for boxes in by_line.values())
    assert -1 not in data["box"]


def test_there_is_no_page_of_a_kernel_that_does_not_run(tmp_path):
    assert picture_page(3, load(3, get(3).blank, tmp_path)) is None


def test_the_command_line_writes_the_page(tmp_path, capsys):
    path = tmp_path / "stage2.py"
    path.write_text(solution(2), encoding="utf-8")
    assert main(["picture", "2", str(path), "--html", str(tmp_path / "k.html")]) == 0
    assert "<!DOCTYPE html>" in (tmp_path / "k.html").read_text(encoding="utf-8")
    assert main(["picture", "2", str(path), "--html", str(tmp_path / "no" / "k.html")]) == 2
    assert "No such file" in capsys.readouterr().err
