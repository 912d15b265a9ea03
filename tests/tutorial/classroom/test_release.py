"""The learner's edition: what is in it, and that no solution is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tutorial.kernels import solution
from tutorial import get, stages
from tutorial.__main__ import main
from tutorial.classroom import release as module
from tutorial.classroom.release import CARRY, NONE, OWN, WORKED, CannotRelease, leaked, release

LESSONS = [get(n) for n in (3, 4)]


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stages 3 and 4 for learners, proved as the command proves it."""
    out = tmp_path_factory.mktemp("release") / "course"
    assert main(["release", str(out), "--stages", "3,4"]) == 0
    return out


def test_an_edition_has_its_lessons_its_library_and_nothing_of_other_stages(edition):
    names = {path.relative_to(edition).as_posix() for path in edition.rglob("*") if path.is_file()}
    assert {"README.md", "AGENTS.md", "pyproject.toml", "LICENSE"} <= names
    assert {"exercises/stage3_online_softmax.py", "notebooks/stage4_gqa.ipynb"} <= names
    assert "tutorial/data/char_model.npz" in names and "nkisim/isa/vector.py" in names
    assert not [name for name in names if "stage5" in name or name.startswith("solutions")]
    exercises = [name for name in names if "exercises/" in name]
    assert all("stage3" in name or "stage4" in name for name in exercises)


def test_an_edition_compares_with_the_stages_before_and_lists_its_own_alone(edition):
    asked = "import tutorial as t; print([s.number for s in t.stages()], t.tally(2, t.solution(2)))"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=edition, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1].startswith("[3, 4] ")
    assert "The solution of stage 2 kv_tiling is not here" in done.stdout


def test_no_line_of_a_solution_is_in_an_edition(edition):
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in edition.rglob("*")
        if path.suffix in (".py", ".ipynb", ".md")
    )
    for line in (
        "alpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))",
        "m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)",
    ):
        assert line in solution(4) and line not in text


CELLS = """
import json, pathlib
from IPython.core.interactiveshell import InteractiveShell
for lesson in sorted(pathlib.Path("notebooks").glob("*.ipynb")):
    shell = InteractiveShell()
    for cell in json.loads(lesson.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and not shell.run_cell(text).success:
            print(f"FAILS in {lesson.stem}: {text}")
"""


FEW = (6, 9)


@pytest.mark.parametrize(
    "numbers", [FEW, [n for n in range(11) if n not in FEW]], ids=["few", "the others"]
)
def test_every_cell_of_an_edition_runs_before_anything_is_written(tmp_path, numbers):
    release(tmp_path / "out", [get(n) for n in numbers], prove=False)
    done = subprocess.run(
        [sys.executable, "-c", CELLS],
        cwd=tmp_path / "out",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "out"), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert "FAILS" not in done.stdout, done.stdout


@pytest.mark.parametrize("carry", CARRY)
def test_what_is_shown_of_the_stage_before_is_the_teachers_choice(tmp_path, carry):
    release(tmp_path / "out", LESSONS, carry, prove=False)
    read = json.loads((tmp_path / "out/notebooks/stage4_gqa.ipynb").read_text(encoding="utf-8"))
    cells = [c for c in read["cells"] if "last_kernel(" in "".join(c["source"])]
    assert len(cells) == (0 if carry == NONE else 1)
    shown = json.dumps([c.get("outputs") for c in cells])
    assert ("nisa.tensor_reduce" in shown) == (carry == WORKED)


def test_a_line_of_a_solution_anywhere_is_found():
    line = "m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)"
    texts = {"nkisim/machine/target.py": f"# {line}\n", "README.md": "nothing"}
    assert leaked(texts, LESSONS, OWN) == [("nkisim/machine/target.py", line)]


def test_an_edition_whose_exercise_fails_its_tests_is_not_made(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_exercise", lambda lesson, secret, carry: "raise ValueError\n")
    with pytest.raises(CannotRelease, match="own tests fail"):
        release(tmp_path / "out", LESSONS[:1])
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    assert main(["release", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_exercise_quotes_a_worked_kernel_only_where_that_is_wanted():
    lessons = [stage for stage in stages() if stage.number in (4, 9)]
    secret = module.secret_lines(lessons)
    port = get(9)
    quoted = "qk_psum = nisa.nc_matmul(q_tile, k_tile)"
    assert quoted in module._exercise(port, secret, WORKED)
    assert quoted not in module._exercise(port, secret, OWN)


def test_the_material_that_an_installed_course_carries_is_not_handed_on():
    solution = module.stage.INSTALLED / "solutions" / "stage3_online_softmax.py"
    root = module.stage.PACKAGE.parent
    assert module._carried(solution.relative_to(root))
    assert not module._carried(Path("tutorial/stages/stage3_online_softmax.py"))
