"""Build and check the notebooks of the course.

    python tools/notebooks.py build [STAGE ...]   execute notebooks/*.ipynb in place; derive and
                                                  execute solutions/*.ipynb
    python tools/notebooks.py check [STAGE ...]   say what is wrong with them; exit status 1 if
                                                  anything is

A notebook in `notebooks/` is the source: edit it in JupyterLab, then build. The cell tagged "blank"
holds the stage's exercise; the solved edition in `solutions/` is the same notebook with the text of
the solution file in that cell.
"""

from __future__ import annotations

import ast
import copy
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that the script also runs in a checkout that is not installed

import tutorial  # noqa: E402
from nkisim.rules import RULES  # noqa: E402
from tutorial.stage import Stage  # noqa: E402

BUILD, TWIN, PREDICT, TURN, CHECK, LOOK, BREAK = (
    "What you will build",
    "The NumPy twin",
    "Predict",
    "Your turn",
    "Check",
    "Look at your kernel",
    "Break it",
)
PARTS = (
    BUILD,
    "The data",
    "By hand",
    TWIN,
    PREDICT,
    "From the last kernel",
    TURN,
    CHECK,
    LOOK,
    BREAK,
)
"""The parts of a lesson, in order. A part that has nothing to say in a lesson is left out there."""
NEEDED = {BUILD, TWIN, PREDICT, TURN, CHECK, LOOK, BREAK}
MOST_WORDS = 1200  # of a lesson, without what is folded
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
LARGEST = 400_000  # bytes of a notebook file
TWIN_LINES = 25
UNSTABLE = re.compile(
    r"0x[0-9a-f]{6,}|(?<![\w.])/(home|root|tmp|work|usr|var|Users|private)/|\b[A-Z]:\\|ipykernel|Warning"
)
NAMELESS = re.compile(r"the value of line \d+|line \d+ of the cell: *(?:\n|$)")
"""A tile without its variable's name, or a place without its line: the text of a cell was lost."""
TIME = re.compile(r"\b\d+(\.\d+)? ?(ms|µs|us|ns|s|sec|seconds|minutes)\b")  # noqa: RUF001
"""A time may only be shown in a line that calls it modelled: then it is the same on every
machine."""


# -- the two editions ------------------------------------------------------------------------------
def learner_path(lesson: Stage) -> Path:
    return ROOT / "notebooks" / f"{lesson.file_name}.ipynb"


def solved_path(lesson: Stage) -> Path:
    return ROOT / "solutions" / f"{lesson.file_name}.ipynb"


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


# -- build -----------------------------------------------------------------------------------------
def execute(notebook: Any, folder: Path) -> Any:
    """Run every cell in `folder`; the same input gives the same file."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("execution", None)
        cell.id = f"cell-{number:02d}"
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def build(lessons: list[Stage]) -> None:
    for lesson in lessons:
        learner = read(learner_path(lesson))
        blank_cell(learner).source = lesson.blank.rstrip("\n")
        nbformat.write(execute(learner, learner_path(lesson).parent), learner_path(lesson))
        nbformat.write(
            execute(solved(learner, lesson), solved_path(lesson).parent), solved_path(lesson)
        )
        print(f"stage {lesson.number}: built")


# -- reading a notebook ----------------------------------------------------------------------------
def code_cells(notebook: Any) -> Iterator[tuple[int, Any]]:
    """The code cells, each with its place."""
    return (
        (number, cell) for number, cell in enumerate(notebook.cells) if cell.cell_type == "code"
    )


def texts_of(cell: Any) -> list[str]:
    """Every text that a code cell's outputs hold."""
    found = []
    for output in cell.get("outputs", []):
        found.append(str(output.get("text", "")))
        found += [str(v) for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return found


def part(notebook: Any, title: str) -> list[Any]:
    """The cells of the part with this title."""
    found: list[Any] = []
    inside = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (heading := re.match(r"## (.*)", cell.source)):
            inside = heading[1] == title
        if inside:
            found.append(cell)
    return found


def prose(cells: list[Any]) -> str:
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def code_lines(text: str) -> set[str]:
    """The lines of a kernel that say something, without comments and spaces."""
    body = (line.split("  #")[0].strip() for line in text.splitlines())
    return {
        line
        for line in body
        if len(line) > 30 and not line.startswith(("#", '"""', "import", "assert", "@", "def"))
    }


# -- check: every function gives a sentence for each thing that is wrong ---------------------------
def parts_in_order(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    headings = [line[3:] for line in prose(learner.cells).splitlines() if line.startswith("## ")]
    known = [heading for heading in PARTS if heading in headings]
    if lesson.number == 0:  # the first kernel comes from NumPy
        known = ["From NumPy to a kernel" if h == "From the last kernel" else h for h in PARTS]
    if headings != known or not set(headings) >= NEEDED:
        return [f"its parts are {headings}, not those of a lesson in their order."]
    return []


def it_says_where_it_stands(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    """How long, how hard, the stages before and after, and the glossary; how to look things up."""
    top = learner.cells[0].source
    near = [s for s in tutorial.stages() if abs(s.number - lesson.number) == 1]
    wanted = [r"\d+ minutes", r"difficulty [1-5] of 5", r"\(../docs/learners-guide.md#glossary\)"]
    wanted += [rf"\({stage.file_name}\.ipynb\)" for stage in near]
    if lesson.number != 10:  # its exercise is a Python function
        wanted.append(r"`n\w+\.\w+\?`")
    return [f"its first cell lacks {text!r}." for text in wanted if not re.search(text, top)]


def it_can_be_read_in_a_sitting(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    text = re.sub(r"<details>.*?</details>", "", prose(learner.cells), flags=re.DOTALL)
    words = len(text.split())
    return [] if words < MOST_WORDS else [f"it has {words} words unfolded, {MOST_WORDS} at most."]


def answers_are_not_given_away(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    """Until the reader has answered, the cells of a prediction print the questions and no more."""
    allowed = {q.text for q in lesson.questions} | {"  No answer yet.", ""}
    shown = [
        line
        for cell in part(learner, PREDICT)
        if cell.cell_type == "code"
        for text in texts_of(cell)
        for line in text.splitlines()
    ]
    return [f"the prediction shows {line!r}." for line in shown if line not in allowed]


def solved_is_learner_with_solution(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    def plain(notebook: Any) -> list[Any]:
        return [(c.cell_type, c.source, c.id, c.metadata) for c in notebook.cells]

    if plain(answer) != plain(solved(learner, lesson)):
        return [
            "the solved edition is not the learner's with the solution in the blank; build it "
            "again."
        ]
    return []


def blank_is_the_exercise(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    if blank_cell(learner).source != lesson.blank.rstrip("\n"):
        return ["the blank is not the stage's exercise; build it again."]
    return []


def budgets_are_told(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    told = " ".join(prose(part(learner, TURN)).replace(";", ",").split())
    missing = [
        text
        for text in (f"at most {lesson.line_budget} lines", f"{lesson.cost_budget}.")
        if text not in told
    ]
    return [f"{TURN!r} does not say {text!r}." for text in missing]


def nothing_leaks(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    return [f"the learner's edition leaks the solution: {line}" for line in leaks(lesson, learner)]


def leaks(lesson: Stage, learner: Any) -> list[str]:
    """Lines of the solution that stand in the learner's notebook and in no earlier text."""
    known = code_lines(lesson.blank)
    for earlier in tutorial.stages():
        if earlier.number < lesson.number:
            known |= code_lines(tutorial.solution_text(earlier.number))
    own = code_lines(tutorial.solution_text(lesson.number)) - known
    text = nbformat.writes(learner).replace('\\"', '"')
    return sorted(line for line in own if line in text and line not in lesson.blank)


def hints_are_there(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    text = prose(part(learner, CHECK))
    folded = re.findall(
        r"<details><summary>(.*?)</summary>\n\n(.*?)\n\n</details>", text, re.DOTALL
    )
    found = [f"{title!r} is empty." for title, body in folded if len(body.strip()) < 20]
    if [title[:6] for title, _ in folded if title.startswith("Hint")] != [
        "Hint 1",
        "Hint 2",
        "Hint 3",
    ]:
        found.append("there are not three hints.")
    if not any("but fails" in title or "passes everything but" in title for title, _ in folded):
        found.append('there is no "passes A but fails B".')
    if len(folded) != text.count("<details>") or len(folded) != text.count("</details>"):
        found.append("there is something that does not fold.")
    table = next((body for title, body in folded if title == "What the errors mean"), "")
    ids = re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)
    if not ids:
        found.append('there is no "error X means Y".')
    return found + [f"there is no rule {name!r}." for name in ids if name not in RULES]


def twin_is_short(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    lengths = [
        node.end_lineno - node.lineno + 1
        for cell in part(learner, TWIN)
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.FunctionDef)
    ]
    return (
        []
        if lengths and max(lengths) <= TWIN_LINES
        else [f"the twin has {lengths} lines, {TWIN_LINES} at most."]
    )


def executed_in_order(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    found = []
    for edition, notebook in (("learner", learner), ("solved", answer)):
        for wanted, (number, cell) in enumerate(code_cells(notebook), 1):
            if cell.execution_count != wanted:
                found.append(
                    f"cell {number} ({edition}) has execution count "
                    f"{cell.execution_count}, not {wanted}."
                )
    return found


def nothing_fails(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    return [
        f"cell {number} ({edition}) ends in an error or writes to stderr."
        for edition, notebook in (("learner", learner), ("solved", answer))
        for number, cell in code_cells(notebook)
        if any(o.output_type == "error" or o.get("name") == "stderr" for o in cell.outputs)
    ]


def outputs_are_stable(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    found = []
    for edition, notebook in (("learner", learner), ("solved", answer)):
        for number, cell in code_cells(notebook):
            for text in texts_of(cell):
                if seen := NAMELESS.search(text):
                    found.append(f"cell {number} ({edition}) says too little: {seen[0].strip()}")
                if seen := UNSTABLE.search(text):
                    found.append(
                        f"cell {number} ({edition}) shows an address, a path or a "
                        f"warning: {seen[0]}"
                    )
                found += [
                    f"cell {number} ({edition}) shows a time that is not called modelled: {seen[0]}"
                    for line in text.splitlines()
                    if "model" not in line and (seen := TIME.search(line))
                ]
            if cell.source.rstrip().endswith(";"):
                found.append(
                    f"cell {number} ({edition}) ends in a semicolon, which nbval does not honour."
                )
    return found


def metadata_is_plain(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    found = []
    for edition, notebook in (("learner", learner), ("solved", answer)):
        if notebook.metadata != METADATA:
            found.append(f"the metadata of the {edition} edition are not those of a build.")
        if any(set(cell.metadata) - {"tags"} for cell in notebook.cells):
            found.append(f"a cell of the {edition} edition has metadata besides tags.")
        if [cell.id for cell in notebook.cells] != [
            f"cell-{i:02d}" for i in range(len(notebook.cells))
        ]:
            found.append(f"the cells of the {edition} edition are not numbered in order.")
    return found


def files_are_small(lesson: Stage, learner: Any, answer: Any) -> list[str]:
    sizes = {path: path.stat().st_size for path in (learner_path(lesson), solved_path(lesson))}
    return [
        f"{path.parent.name}/{path.name} has {size:,} bytes, over {LARGEST:,}."
        for path, size in sizes.items()
        if size > LARGEST
    ]


CHECKS: tuple[Callable[[Stage, Any, Any], list[str]], ...] = (
    parts_in_order,
    it_says_where_it_stands,
    it_can_be_read_in_a_sitting,
    answers_are_not_given_away,
    solved_is_learner_with_solution,
    blank_is_the_exercise,
    budgets_are_told,
    nothing_leaks,
    hints_are_there,
    twin_is_short,
    executed_in_order,
    nothing_fails,
    outputs_are_stable,
    metadata_is_plain,
    files_are_small,
)


def problems_of(lesson: Stage) -> list[str]:
    """What is wrong with a stage's two notebooks, a sentence each."""
    missing = [path for path in (learner_path(lesson), solved_path(lesson)) if not path.is_file()]
    if missing:
        return [f"{path.parent.name}/{path.name} is missing." for path in missing]
    learner, answer = read(learner_path(lesson)), read(solved_path(lesson))
    return [
        f"{lesson.file_name}: {sentence}"
        for rule in CHECKS
        for sentence in rule(lesson, learner, answer)
    ]


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in ("build", "check"):
        print(__doc__)
        return 2
    try:
        lessons = [tutorial.get(key) for key in arguments[1:]] or list(tutorial.stages())
    except tutorial.StageError as error:
        print(error)
        return 2
    if arguments[0] == "build":
        build(lessons)
        return 0
    found = [sentence for lesson in lessons for sentence in problems_of(lesson)]
    print("\n".join(found) or f"The notebooks of {len(lessons)} stages are in order.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
