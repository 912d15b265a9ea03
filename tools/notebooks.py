"""Build and check the notebooks of the course.

    python tools/notebooks.py build [STAGE ...]   execute notebooks/*.ipynb in place; derive and execute solutions/*.ipynb
    python tools/notebooks.py check               say what is wrong with them; exit status 1 if anything is

A notebook in `notebooks/` is the source: edit it in JupyterLab, then build. The cell tagged "blank" holds the stage's
exercise; the solved edition in `solutions/` is the same notebook with the text of the solution file in that cell.
"""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

import tutorial
from tutorial.stage import Stage

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("What you will build", "Why the last stage is not enough", "By hand", "The NumPy twin", "Predict",
         "What changes in the kernel", "Your turn", "Check", "If it is wrong", "The trace of your kernel", "Break it",
         "The solution, phase by phase")
METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}}
LARGEST = 600_000  # bytes of a notebook file


def learner_path(lesson: Stage) -> Path:
    return ROOT / "notebooks" / f"stage{lesson.number}_{lesson.name}.ipynb"


def solved_path(lesson: Stage) -> Path:
    return ROOT / "solutions" / f"stage{lesson.number}_{lesson.name}.ipynb"


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def blank_cell(notebook: Any) -> Any:
    """The one cell tagged "blank"."""
    (cell,) = [c for c in notebook.cells if "blank" in c.metadata.get("tags", [])]
    return cell


def solved(notebook: Any, lesson: Stage) -> Any:
    """The solved edition of a learner notebook, not executed."""
    made = copy.deepcopy(notebook)
    blank_cell(made).source = tutorial.solution_text(lesson.number).rstrip("\n")
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def execute(notebook: Any, folder: Path) -> Any:
    """Run every cell in `folder`; the same input gives the same file."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("execution", None)
        cell.id = f"cell-{number:02d}"
    NotebookClient(notebook, timeout=120, kernel_name="python3", record_timing=False, coalesce_streams=True,
                   resources={"metadata": {"path": str(folder)}}).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def build(lessons: list[Stage]) -> None:
    for lesson in lessons:
        learner = read(learner_path(lesson))
        blank_cell(learner).source = lesson.blank.rstrip("\n")
        nbformat.write(execute(learner, learner_path(lesson).parent), learner_path(lesson))
        nbformat.write(execute(solved(learner, lesson), solved_path(lesson).parent), solved_path(lesson))
        print(f"stage {lesson.number}: built")


def code_lines(text: str) -> set[str]:
    """The lines of a kernel that say something, without comments and spaces."""
    body = (line.split("  #")[0].strip() for line in text.splitlines())
    return {line for line in body if len(line) > 30 and not line.startswith(("#", '"""', "import", "assert", "@", "def"))}


def leaks(lesson: Stage, learner: Any) -> list[str]:
    """Lines of the solution that stand in the learner's notebook and in no earlier text."""
    known = code_lines(lesson.blank)
    for earlier in tutorial.stages():
        if earlier.number < lesson.number:
            known |= code_lines(tutorial.solution_text(earlier.number))
    own = code_lines(tutorial.solution_text(lesson.number)) - known
    text = nbformat.writes(learner).replace('\\"', '"')
    return sorted(line for line in own if line in text and line not in lesson.blank)


def texts_of(cell: Any) -> list[str]:
    """Every text that a code cell's outputs hold."""
    found = []
    for output in cell.get("outputs", []):
        found.append(str(output.get("text", "")))
        found += [str(v) for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return found


def problems_of(lesson: Stage) -> list[str]:
    """What is wrong with a stage's two notebooks, a sentence each."""
    name = learner_path(lesson).name
    if not learner_path(lesson).is_file() or not solved_path(lesson).is_file():
        return [f"{name}: one of the two editions is missing."]
    learner, answer = read(learner_path(lesson)), read(solved_path(lesson))
    found = []
    if [c.source for c in answer.cells] != [c.source for c in solved(learner, lesson).cells]:
        found.append(f"{name}: the solved edition is not the learner's with the solution in the blank; build it again.")
    if blank_cell(learner).source != lesson.blank.rstrip("\n"):
        found.append(f"{name}: the blank is not the stage's exercise; build it again.")
    headings = [line[3:] for c in learner.cells if c.cell_type == "markdown" for line in c.source.splitlines()
                if line.startswith("## ")]
    if headings != [f"{i}. {part}" for i, part in enumerate(PARTS, 1)]:
        found.append(f"{name}: its parts are {headings}, not the twelve of a lesson.")
    found += [f"{name}: the learner's edition leaks the solution: {line}" for line in leaks(lesson, learner)]
    for edition, notebook in (("learner", learner), ("solved", answer)):
        found += [f"{name} ({edition}): {sentence}" for sentence in _cells(notebook)]
    if max(p.stat().st_size for p in (learner_path(lesson), solved_path(lesson))) > LARGEST:
        found.append(f"{name}: larger than {LARGEST:,} bytes.")
    return found


def _cells(notebook: Any) -> list[str]:
    found = []
    hints = [c.source for c in notebook.cells if c.cell_type == "markdown" and "<summary>Hint" in c.source]
    for body in re.findall(r"<summary>Hint[^<]*</summary>(.*?)</details>", "".join(hints), re.DOTALL):
        if len(body.strip()) < 20:
            found.append("a hint is empty.")
    if not hints:
        found.append("it has no hints.")
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        where = f"cell {number}"
        if not cell.execution_count:
            found.append(f"{where} has not been executed.")
        if cell.source.rstrip().endswith(";"):
            found.append(f"{where} ends in a semicolon, which nbval does not honour.")
        if any(o.output_type == "error" or o.get("name") == "stderr" for o in cell.outputs):
            found.append(f"{where} ends in an error or writes to stderr.")
        for text in texts_of(cell):
            if re.search(r"0x[0-9a-f]{6,}|/home/|/tmp/|[A-Z]:\\\\|\b\d+(\.\d+)? ?(ms|µs|us|seconds)\b", text):
                found.append(f"{where} shows an address, a path or a time.")
    return found


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in ("build", "check"):
        print(__doc__)
        return 2
    lessons = [tutorial.get(key) for key in arguments[1:]] or list(tutorial.stages())
    if arguments[0] == "build":
        build(lessons)
        return 0
    found = [sentence for lesson in lessons for sentence in problems_of(lesson)]
    print("\n".join(found) or f"The notebooks of {len(lessons)} stages are in order.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
