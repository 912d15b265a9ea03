"""The notebooks of both editions: whole, executed, undrifted, and without the solution where it
does not belong.

That their outputs are still true is checked by nbval, which collects them when pytest runs on the
whole repository.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import tutorial
from tests.asking import of_each
from tutorial import stage
from tutorial.inputs import realdata
from tutorial.reference.text import DIGITS

ROOT = Path(__file__).resolve().parent.parent
STAGES = [pytest.param(s, id=f"stage{s.number}") for s in tutorial.stages()]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "tools_notebooks", ROOT / "tools" / "notebooks.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tools_notebooks"] = module
    spec.loader.exec_module(module)
    return module


notebooks = _tool()
each_stage = of_each({f"stage{s.number}": s for s in tutorial.stages()})
every_stage = pytest.mark.parametrize("lesson", STAGES)


def both(lesson):
    return (
        lesson,
        notebooks.read(notebooks.learner_path(lesson)),
        notebooks.read(notebooks.solved_path(lesson)),
    )


# -- what `python tools/notebooks.py check` checks -------------------------------------------------
@each_stage
def test_a_stage_has_both_editions_and_they_are_in_order(lesson):
    assert notebooks.problems_of(lesson) == []


@each_stage
def test_a_notebook_has_the_parts_of_a_lesson_in_order(lesson):
    assert notebooks.parts_in_order(*both(lesson)) == []


@each_stage
def test_a_notebook_says_how_long_it_takes_and_links_to_its_neighbours(lesson):
    assert notebooks.it_says_where_it_stands(*both(lesson)) == []


@each_stage
def test_a_notebook_can_be_read_in_a_sitting(lesson):
    assert notebooks.it_can_be_read_in_a_sitting(*both(lesson)) == []


@each_stage
def test_no_prediction_is_answered_on_the_page(lesson):
    assert notebooks.answers_are_not_given_away(*both(lesson)) == []


@each_stage
def test_the_solved_edition_is_the_learners_with_the_solution_in_the_blank(lesson):
    assert notebooks.solved_is_learner_with_solution(*both(lesson)) == []


@each_stage
def test_the_blank_is_the_exercise_of_the_stage(lesson):
    assert notebooks.blank_is_the_exercise(*both(lesson)) == []


@each_stage
def test_the_prose_tells_the_budgets_of_the_stage(lesson):
    assert notebooks.budgets_are_told(*both(lesson)) == []


@each_stage
def test_the_learners_edition_leaks_no_line_of_the_solution(lesson):
    assert notebooks.nothing_leaks(*both(lesson)) == []


@each_stage
def test_there_are_three_hints_none_empty_and_the_errors_they_explain_exist(lesson):
    assert notebooks.hints_are_there(*both(lesson)) == []


@each_stage
def test_the_numpy_twin_has_25_lines_at_most(lesson):
    assert notebooks.twin_is_short(*both(lesson)) == []


@each_stage
def test_every_code_cell_has_been_executed_in_order(lesson):
    assert notebooks.executed_in_order(*both(lesson)) == []


@each_stage
def test_no_cell_ends_in_an_error(lesson):
    assert notebooks.nothing_fails(*both(lesson)) == []


@each_stage
def test_no_output_shows_an_address_a_path_a_warning_or_a_time(lesson):
    assert notebooks.outputs_are_stable(*both(lesson)) == []


@each_stage
def test_the_metadata_are_those_of_a_build(lesson):
    assert notebooks.metadata_is_plain(*both(lesson)) == []


@each_stage
def test_a_notebook_is_small(lesson):
    assert notebooks.files_are_small(*both(lesson)) == []


# -- the check itself ------------------------------------------------------------------------------
def _cell_with(notebook, text):
    return next(c for c in notebook.cells if text in c.source)


def _printing(notebook):
    return next(
        c for c in notebook.cells if c.cell_type == "code" and c.outputs and "text" in c.outputs[0]
    )


def _swap_parts(learner, answer):
    _cell_with(learner, "## By hand").source = "## Check"


def _edit_the_solved_edition(learner, answer):
    _cell_with(answer, "## By hand").source += "\nMore."


def _answer_the_blank(learner, answer):
    notebooks.blank_cell(learner).source += "\n    return o"


def _another_budget(learner, answer):
    _cell_with(
        learner, "## Your turn"
    ).source = "## Your turn\n\nReplace the `raise` by at most 99 lines."


def _no_glossary(learner, answer):
    learner.cells[0].source = learner.cells[0].source.replace("#glossary", "")


def _long_prose(learner, answer):
    _cell_with(learner, "## By hand").source += "\n\n" + "word " * 1200


def _show_the_answer(learner, answer):
    cell = _cell_with(learner, "predict(3,")
    cell.outputs[0]["text"] += "  [0, 2] is right."


def _leak(learner, answer):
    learner.cells[
        0
    ].source += "\nalpha = nisa.activation(nl.exp, nisa.tensor_tensor(m, m_new, op=nl.subtract))"


def _empty_hint(learner, answer):
    cell = _cell_with(learner, "<summary>Hint 1")
    start, end = (
        cell.source.index("</summary>", cell.source.index("Hint 1")),
        cell.source.index("</details>"),
    )
    cell.source = cell.source[:start] + "</summary>\n\n \n\n" + cell.source[end:]


def _unknown_rule(learner, answer):
    cell = _cell_with(learner, "<summary>Hint 1")
    cell.source = cell.source.replace("| `scope` |", "| `out-of-luck` |")


def _long_twin(learner, answer):
    _cell_with(learner, "def online_twin").source += "\ndef more():\n" + "    pass\n" * 25


def _not_executed(learner, answer):
    _cell_with(answer, "check(3,").execution_count = None


def _stderr(learner, answer):
    _printing(learner).outputs[0]["name"] = "stderr"


def _time(learner, answer):
    _printing(learner).outputs[0]["text"] = "it took 3.2 ms"


def _path(learner, answer):
    _printing(answer).outputs[0]["text"] = "File C:\\course\\kernel.py"


def _nameless(learner, answer):
    _printing(learner).outputs[0]["text"] = "'the value of line 8' is read before it is written"


def _lineless(learner, answer):
    _printing(answer).outputs[0]["text"] = "a problem\nline 9 of the cell: \n"


def _semicolon(learner, answer):
    _cell_with(learner, "check(3,").source += ";"


def _timed(learner, answer):
    _cell_with(learner, "check(3,").metadata["execution"] = {"iopub.execute_input": "2026"}


@pytest.mark.parametrize(
    ("rule", "spoil", "said"),
    [
        ("parts_in_order", _swap_parts, "not those of a lesson"),
        ("it_says_where_it_stands", _no_glossary, "glossary"),
        ("it_can_be_read_in_a_sitting", _long_prose, "1200 at most"),
        ("answers_are_not_given_away", _show_the_answer, "[0, 2] is right"),
        ("solved_is_learner_with_solution", _edit_the_solved_edition, "build it again"),
        ("blank_is_the_exercise", _answer_the_blank, "not the stage's exercise"),
        ("budgets_are_told", _another_budget, "does not say 'at most 25 lines'"),
        ("nothing_leaks", _leak, "leaks the solution: alpha ="),
        ("hints_are_there", _empty_hint, "is empty"),
        ("hints_are_there", _unknown_rule, "no rule 'out-of-luck'"),
        ("twin_is_short", _long_twin, "25 at most"),
        ("executed_in_order", _not_executed, "has execution count None"),
        ("nothing_fails", _stderr, "writes to stderr"),
        ("outputs_are_stable", _time, "a time that is not called modelled: 3.2 ms"),
        ("outputs_are_stable", _path, "a path"),
        ("outputs_are_stable", _nameless, "says too little: the value of line 8"),
        ("outputs_are_stable", _lineless, "says too little: line 9 of the cell:"),
        ("outputs_are_stable", _semicolon, "semicolon"),
        ("metadata_is_plain", _timed, "metadata besides tags"),
    ],
)
def test_the_check_finds_what_it_is_for(rule, spoil, said):
    lesson, learner, answer = copy.deepcopy(both(tutorial.get(3)))
    spoil(learner, answer)
    assert said in " ".join(getattr(notebooks, rule)(lesson, learner, answer))


def test_the_command_says_that_all_is_in_order_and_refuses_what_it_does_not_know(capsys):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "notebooks.py", "check", "0", "3"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "The notebooks of 2 stages are in order.\n")
    assert notebooks.main(["check"]) == 0
    said = capsys.readouterr().out
    assert said == f"The notebooks of {len(STAGES)} stages are in order.\n"
    assert notebooks.main(["check", "99"]) == 2
    assert notebooks.main(["mend"]) == 2


def test_a_missing_edition_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    assert notebooks.problems_of(tutorial.get(3))[0] == (
        "notebooks/stage3_online_softmax.ipynb is missing."
    )


# -- what the notebooks show -----------------------------------------------------------------------
@each_stage
def test_the_check_says_not_attempted_to_the_learner_and_correct_to_the_solution(lesson):
    _, learner, answer = both(lesson)
    for notebook, outcome in ((learner, "not attempted"), (answer, "correct")):
        cells = [
            c for c in notebook.cells if c.cell_type == "code" and c.source.startswith("check(")
        ]
        (said,) = [o.data["text/plain"] for c in cells for o in c.outputs if "data" in o]
        assert said.splitlines()[0] == f"{lesson.title}: {outcome}"


@pytest.mark.parametrize("number", [2, 3, 4])
def test_the_trace_of_the_solution_stands_in_both_editions_and_the_readers_own_is_drawn(number):
    lesson = tutorial.get(number)
    heads = [1, 5] if number == 4 else [0]
    wanted = str(tutorial.trace(lesson, tutorial.solution(number)).only(heads))
    _, learner, answer = both(lesson)
    for notebook, times in ((learner, 1), (answer, 2)):
        cells = [
            c
            for c in notebooks.part(notebook, notebooks.LOOK)
            if c.cell_type == "code" and c.source.endswith(".show()")
        ]
        assert sum(any(wanted in text for text in notebooks.texts_of(c)) for c in cells) == times
        drawn = [c for c in cells if any("image/png" in o.get("data", {}) for o in c.outputs)]
        assert sum(any(wanted in text for text in notebooks.texts_of(c)) for c in drawn) == times


def test_the_stages_that_use_real_data_show_real_tokens():
    shown = {1: ["Alice", "ERY"], 3: [" eat", "84.8 %"], 4: [" bats", "73.6 %", "Alice"]}
    for number, tokens in shown.items():
        _, learner, _ = both(tutorial.get(number))
        text = "".join(
            t for _, cell in notebooks.code_cells(learner) for t in notebooks.texts_of(cell)
        )
        assert [token for token in tokens if token not in text] == []
        assert "to 1e-5: True" in text and "to 1e-5: False" not in text


def _shown_traces():
    """Every trace that a notebook or a page of the documentation shows: its name, and what makes
    it."""

    def trace(*arguments, heads=None, **options):
        made = tutorial.trace(*arguments, **options)
        return made if heads is None else made.only(heads)

    for number, heads in ((1, [0]), (2, [0]), (3, [0]), (4, [1, 5])):
        for kernel in (tutorial.solution(number), tutorial.get(number).twin):
            yield f"stage {number}, ascending", partial(trace, number, kernel, heads=heads)
    yield "twin, descending", partial(trace, 3, tutorial.get(3).twin, "descending")
    yield (
        "documentation, real data",
        partial(trace, 3, tutorial.solution(3), "real data, layer 9 head 2"),
    )
    for number, family, heads in (
        (2, "ascending", [0]),
        (3, "first tile dominates", [0]),
        (4, "rows of different scale", [0, 1, 2]),
    ):
        broken = tutorial.broken(number)
        yield f"broken {number}", partial(trace, number, broken, family, heads=heads)
    for number, layer, n, h in ((1, 18, 128, 2), (1, 18, 128, 5), (3, 0, 1024, 6), (3, 9, 1024, 2)):
        inputs = dict(zip("qkv", realdata.load(layer, n).head(h), strict=False))
        yield (
            f"layer {layer} head {h}, {n} tokens",
            partial(trace, number, tutorial.solution(number), inputs=inputs),
        )
    case = realdata.load(18, 1024)
    inputs = {"q": case.q, "k": case.k, "v": case.v}
    yield "layer 18", partial(trace, 4, tutorial.solution(4), inputs=inputs, heads=[2, 8])


@pytest.mark.parametrize(
    "make", [pytest.param(m, id=f"{i} {name}") for i, (name, m) in enumerate(_shown_traces())]
)
def test_a_shown_trace_reads_the_same_where_fp32_rounds_a_little_differently(make):
    """BLAS libraries and vector units add in different orders: sums differ by an ulp or two, real
    scores by a few more."""
    made = make()
    exact = made.digits == DIGITS
    off = (
        {"l": 3e-7, "acc": 3e-7}
        if exact
        else {"l": 1.5e-6, "acc": 1.5e-6, "m_old": 1.5e-6, "m_new": 1.5e-6, "alpha": 1.5e-6}
    )
    for row in made.rows:
        for sign in (-1, 1):
            moved = {
                name: value * (1 + sign * by)
                for name, by in off.items()
                if (value := getattr(row, name)) is not None
            }
            assert dataclasses.replace(row, **moved).line(made.digits) == row.line(made.digits)


# -- what only the notebooks call ------------------------------------------------------------------
@every_stage
def test_a_prediction_is_checked_and_no_answer_is_no_error(lesson, capsys):
    questions = lesson.questions
    tutorial.predict(lesson.number)
    assert capsys.readouterr().out.count("No answer yet.") == len(questions)
    tutorial.predict(lesson.number, *[question.right for question in questions])
    assert capsys.readouterr().out.count(" is right. ") == len(questions)
    tutorial.predict(lesson.number, *(["nonsense", [1, 2, 3], -7, -8][: len(questions)]))
    said = capsys.readouterr().out
    assert said.count(" is not it. ") == len(questions) and not any(
        q.because in said for q in questions
    )


def test_what_shows_the_answers_runs_only_when_every_question_has_one(capsys):
    shown = []
    tutorial.predict(4, 1, None, then=lambda: shown.append("too soon"))
    assert shown == []
    tutorial.predict(4, 7, 8, then=lambda: shown.append("now"))
    assert shown == ["now"]


@every_stage
def test_the_broken_kernel_runs_and_the_check_names_its_mistake(lesson):
    verdict = tutorial.check(lesson, tutorial.broken(lesson.number))
    assert (verdict.outcome, verdict.cause) == ("wrong", lesson.broken.cause)


@pytest.fixture
def without_solutions(monkeypatch):
    monkeypatch.setattr(stage, "solutions_folder", lambda: None)


@pytest.mark.parametrize(
    ("number", "family"),
    [(1, "scores near 1000"), (2, "ascending"), (3, "descending"), (4, "rows of different scale")],
)
def test_where_the_solutions_are_not_here_the_same_mistake_is_shown_in_numpy(
    number, family, request
):
    wanted = tutorial.trace(number, tutorial.broken(number), family)
    request.getfixturevalue("without_solutions")
    made = tutorial.trace(number, tutorial.broken(number), family)
    assert len(made) == len(wanted)
    for row, other in zip(made.rows, wanted.rows, strict=True):
        for name in ("head", "tile", "m_old", "m_new", "l", "acc"):
            if getattr(other, name) is not None:
                assert getattr(row, name) == pytest.approx(
                    getattr(other, name), rel=1e-5, nan_ok=True
                )


def test_what_the_notebooks_call_raises_nothing_where_the_solutions_are_not_here(
    without_solutions, capsys
):
    for number in (1, 2, 3, 4):
        assert tutorial.trace(number, tutorial.solution(number)).rows
        assert "nothing is counted" in capsys.readouterr().out
        tutorial.excerpt(number, "o = nl.ndarray")
        assert "is not here" in capsys.readouterr().out
    tutorial.instructions(0, tutorial.broken(0))
    assert capsys.readouterr().out == "The solution of stage 0 first_kernel is not here.\n"


def test_the_list_of_instructions_is_of_the_readers_kernel(capsys):
    tutorial.instructions(0, tutorial.solution(0), 3)
    assert [line.split()[1:3] for line in capsys.readouterr().out.splitlines()] == [
        ["dma", "dma_copy"],
        ["vector", "tensor_scalar"],
        ["dma", "dma_copy"],
    ]
    tutorial.instructions(0, None)
    tutorial.instructions(0, len)
    assert capsys.readouterr().out.splitlines() == [
        "stage 0 first_kernel is not attempted yet.",
        "len(obj, /) cannot be called as scale_fwd(x, scale).",
    ]
