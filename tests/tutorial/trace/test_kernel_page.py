"""The page of a kernel: one slider moves its picture, its timeline and its text together."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import nkisim
from tests.tutorial.kernels import load, solution
from tutorial import get, picture, pictures
from tutorial.__main__ import main
from tutorial.running import runner
from tutorial.trace.picture import picture_page


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return picture_page(3, load(3, solution(3), tmp_path_factory.mktemp("page")))


def data_of(page):
    found = re.search(r'\}\)\("run-[0-9a-f]+",(\{.*\})\);</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_slider_has_every_instruction_with_its_box_its_line_and_its_modelled_time(
    made, tmp_path
):
    lesson = get(3)
    run = runner.run(load(3, solution(3), tmp_path), lesson.case(lesson.cost_case), lesson).run
    data, timeline = data_of(made), run.timeline()
    assert data["records"] == list(range(len(run)))
    lines = [data["kinds"][kind]["line"] for kind in data["steps"]]
    assert lines == [i.line for i in run.instructions]
    starts = [span[0] for span in data["spans"]]
    assert starts == pytest.approx([float(t) for t in timeline.start], abs=1)
    assert len(data["drawing"]["box"]) == len(run) and -1 not in data["drawing"]["box"]


def test_the_box_of_an_instruction_is_that_of_its_line_in_the_picture(made, tmp_path):
    drawn = picture(3, load(3, solution(3), tmp_path))
    data = data_of(made)["drawing"]
    assert data["size"] == [drawn.width, drawn.height]
    named = {(b.x, b.y, b.width, b.height): b for b in drawn.boxes.values() if b.tip}
    whole = data_of(made)
    text = {
        first + i: line
        for first, lines in whole["files"][0]["pieces"]
        for i, line in enumerate(lines)
    }
    for step, box in zip(whole["steps"], data["box"], strict=True):
        tip = named[tuple(data["boxes"][box])].tip
        line = text[whole["kinds"][step]["line"]].strip()
        assert line.startswith(tip.rsplit(" (", 1)[0].split("  #")[0].strip()[:40])


def test_the_picture_is_on_the_page_without_scripts_too(made, tmp_path):
    drawn = picture(3, load(3, solution(3), tmp_path))
    without = re.sub(r"<script>.*?</script>", "", made, flags=re.DOTALL)
    assert "The kernel as a picture" in without and f'height="{drawn.height}"' in without
    assert "k (64, 1024) is read once" in without


def test_the_page_needs_nothing_else_and_is_the_same_bytes(made, tmp_path):
    assert not re.search(r"(src|href)=\"(?!data:)", made)
    assert made == picture_page(3, load(3, solution(3), tmp_path))


def test_any_recorded_run_has_a_picture_for_its_page(tmp_path):
    case = get(4).case("random")
    with nkisim.record() as run:
        load(4, solution(4), tmp_path)(*case.args.values())
    page = run.html(timeline=run.timeline(), picture=pictures.of_run(run))
    data = data_of(page.html())
    assert len(data["drawing"]["box"]) == len(data["records"]) == len(run)
    with pytest.raises(ValueError, match="picture is of another run"):
        with nkisim.record() as other:
            load(4, solution(4), tmp_path)(*(x.copy() for x in get(4).cases()[1].args.values()))
        other.html(picture=pictures.of_run(run))


def test_many_steps_share_boxes_by_line(tmp_path):
    data = data_of(picture_page(8, load(8, solution(8), tmp_path)))
    by_line = {}
    for step, box in zip(data["steps"], data["drawing"]["box"], strict=True):
        by_line.setdefault(data["kinds"][step]["line"], set()).add(box)
    assert all(len(boxes) == 1 for boxes in by_line.values())
    assert len(np.unique(data["drawing"]["box"])) > 20


def test_there_is_no_page_of_a_kernel_that_does_not_run(tmp_path):
    assert picture_page(3, load(3, get(3).blank, tmp_path)) is None


def test_the_command_line_writes_the_page(tmp_path, capsys):
    path = tmp_path / "stage2.py"
    path.write_text(solution(2), encoding="utf-8")
    assert main(["picture", "2", str(path), "--html", str(tmp_path / "k.html")]) == 0
    assert "<!DOCTYPE html>" in (tmp_path / "k.html").read_text(encoding="utf-8")
    assert main(["picture", "2", str(path), "--html", str(tmp_path / "no" / "k.html")]) == 2
    assert "No such file" in capsys.readouterr().err
