"""With the real nbgrader: hand out, autograde without running a submission, give back."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tutorial.kernels import solution
from tutorial import get
from tutorial.classroom.nbgrader_course import marked
from tutorial.classroom.release import release_for_nbgrader

STAGE = get(1)
NAME = STAGE.file_name
FORGED = """
def check(*arguments, **options):
    return "correct"

get_ipython().set_custom_exc((Exception,), lambda *a, **k: None)
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course folder for nbgrader with one stage."""
    out = tmp_path_factory.mktemp("nbgrader") / "course"
    release_for_nbgrader(out, [STAGE], prove=False)
    return out


def cell(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    """The cell of this name in nbgrader's metadata."""
    return next(
        c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name
    )


def test_a_lesson_for_nbgrader_has_a_solution_cell_and_a_check_that_asserts(course):
    notebook = json.loads((course / "source" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8"))
    exercise, check = cell(notebook, "exercise"), cell(notebook, "check")
    assert (
        exercise["metadata"]["nbgrader"]["solution"]
        and not exercise["metadata"]["nbgrader"]["grade"]
    )
    assert check["metadata"]["nbgrader"]["grade"] and check["metadata"]["nbgrader"]["locked"]
    assert "".join(check["source"]) == "check(1, decode_attention_fwd, raise_on_fail=True)"
    assert "### BEGIN SOLUTION\n    raise NotImplementedError(" in "".join(exercise["source"])


def test_every_stage_has_both_cells_and_its_notebook_is_otherwise_unchanged():
    notebooks = Path(__file__).parents[3] / "notebooks"
    for path in sorted(notebooks.glob("stage*.ipynb")):
        before = json.loads(path.read_text(encoding="utf-8"))
        after = marked(copy.deepcopy(before))
        changed = [a for a, b in zip(after["cells"], before["cells"], strict=True) if a != b]
        names = [c["metadata"]["nbgrader"]["grade_id"] for c in changed]
        assert names == ["exercise", "check"], path.name


def _blank(notebook: dict[str, Any]) -> None:
    assert "YOUR CODE HERE" in cell(notebook, "exercise")["source"]


def _right(notebook: dict[str, Any]) -> None:
    cell(notebook, "exercise")["source"] = "%%time\n" + solution(1)


def _wrong(notebook: dict[str, Any]) -> None:
    text = solution(1)
    assert text.count("nisa.activation(nl.exp, shifted)") == 1
    text = text.replace("nisa.activation(nl.exp, shifted)", "nisa.activation(nl.exp, qk)")
    cell(notebook, "exercise")["source"] = text


def _edited(notebook: dict[str, Any]) -> None:
    cell(notebook, "check")["source"] = "print('correct')"


def _redefined(notebook: dict[str, Any]) -> None:
    cell(notebook, "exercise")["source"] += FORGED


def _deleted(notebook: dict[str, Any]) -> None:
    notebook["cells"].remove(cell(notebook, "check"))


STUDENTS: dict[str, tuple[Callable[[dict[str, Any]], None], float]] = {
    "right": (_right, 10.0),
    "wrong": (_wrong, 2.0),
    "blank": (_blank, 0.0),
    "edited": (_edited, 0.0),
    "redefined": (_redefined, 0.0),
    "deleted": (_deleted, 0.0),
}
"""What each of them does to the notebook, and the points of it."""


@pytest.fixture(scope="module")
def graded(course: Path) -> tuple[dict[str, float], Path]:
    """The points of a class by nbgrader itself, and its folder after feedback."""
    pytest.importorskip("nbgrader", reason="needs nbgrader: the extra `classroom`")
    from nbgrader.apps import NbGraderAPI
    from traitlets.config.loader import PyFileConfigLoader

    before = os.environ["PATH"], os.getcwd()
    # nbgrader calls alembic by name
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before[0]])
    os.chdir(course)
    try:
        config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
        config.CourseDirectory.db_url = f"sqlite:///{course}/gradebook.db"
        api = NbGraderAPI(config=config)
        assert api.generate_assignment(NAME)["success"]
        released = (course / "release" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
        for student, (change, _) in STUDENTS.items():
            notebook = json.loads(released)
            for c in notebook["cells"]:
                c["source"] = "".join(c["source"])
            change(notebook)
            own = course / "submitted" / student / NAME
            own.mkdir(parents=True)
            (own / f"{NAME}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
        for student in STUDENTS:
            done = api.autograde(NAME, student)
            assert done["success"], done
        done = api.generate_feedback(NAME)
        assert done["success"], done
        with api.gradebook as book:
            points = {s: book.find_submission(NAME, s).score for s in STUDENTS}
    finally:
        os.environ["PATH"] = before[0]
        os.chdir(before[1])
    return points, course


@pytest.mark.slow
def test_nbgrader_gives_the_points_of_the_judge_whatever_the_notebook_does(graded):
    points, _ = graded
    assert points == {student: of for student, (_, of) in STUDENTS.items()}


@pytest.mark.slow
def test_the_feedback_says_what_is_wrong_and_leaks_neither_seed_nor_solution(graded):
    _, course = graded
    seed = (course / "seed.txt").read_text(encoding="utf-8").strip()
    pages = {s: (course / "feedback" / s / NAME / f"{NAME}.html") for s in STUDENTS}
    texts = {s: page.read_text(encoding="utf-8") for s, page in pages.items()}
    assert not [s for s, text in texts.items() if seed in text]
    assert "The max is not subtracted before exp" in texts["wrong"]
    assert not [
        s for s in STUDENTS if s != "right" and "shifted = nisa." in texts[s] and s != "wrong"
    ]


@pytest.mark.slow
def test_what_is_handed_out_keeps_the_lines_around_the_answer(graded):
    _, course = graded
    released = (course / "release" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
    source = "".join(cell(json.loads(released), "exercise")["source"])
    assert source.rstrip().endswith("# YOUR CODE HERE\n    raise NotImplementedError()")
    assert "def decode_attention_fwd(" in source and "SOLUTION" not in source
