"""Which file of which student is meant for which stage, and what text counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutorial import get
from tutorial.classroom.commands import numbers
from tutorial.classroom.submissions import NoSubmissions, Submission, file_name, found_in, unusual
from tutorial.stage import StageError

LESSONS = [get(n) for n in (1, 3)]


def put(path: Path, text: str = "pass\n") -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def notebook(*sources: str, tag: int | None = None) -> str:
    """A notebook of these cells, one of which may have the exercise's tag."""
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "source": [source], "metadata": {}} for source in sources
    ]
    if tag is not None:
        cells[tag]["metadata"] = {"tags": ["blank"]}
    return json.dumps({"cells": cells})


def texts(found: list[Submission]) -> dict[tuple[str, int], str]:
    return {(one.student, one.stage): one.text.decode() for one in found}


def test_folders_and_flat_files_tell_student_and_stage(tmp_path):
    put(tmp_path / "anna" / "stage3_online_softmax.py", "a")
    put(tmp_path / "anna" / "week 2" / "stage1.py", "b")
    put(tmp_path / "ben_stage3.py", "c")
    put(tmp_path / "ben_stage30.py")
    put(tmp_path / "cleo-stage1_final.py", "d")
    put(tmp_path / "anna" / "notes.py")
    wanted = {("anna", 1): "b", ("anna", 3): "a", ("ben", 3): "c", ("cleo", 1): "d"}
    assert texts(found_in(tmp_path, LESSONS)) == wanted


def test_a_pattern_takes_other_names_apart(tmp_path):
    put(tmp_path / "anna-a3.py", "a")
    found = found_in(tmp_path, LESSONS, r"(?P<student>\w+)-a(?P<stage>\d)\.py")
    assert texts(found) == {("anna", 3): "a"}


@pytest.mark.parametrize("pattern", ["(", r"(?P<student>\w+)\.py"])
def test_a_pattern_that_is_none_is_a_sentence(tmp_path, pattern):
    put(tmp_path / "anna" / "stage3.py")
    with pytest.raises(NoSubmissions, match="pattern"):
        found_in(tmp_path, LESSONS, pattern)


def test_a_python_file_comes_before_a_notebook_and_the_last_name_counts(tmp_path):
    put(tmp_path / "anna" / "stage3_a.py", "a")
    put(tmp_path / "anna" / "stage3_b.py", "b")
    put(tmp_path / "anna" / "stage3_c.ipynb", notebook("def decode_attention_fwd(): c"))
    assert texts(found_in(tmp_path, LESSONS)) == {("anna", 3): "b"}


def test_of_a_notebook_the_tagged_cell_counts_and_else_the_last_that_defines_the_kernel(tmp_path):
    define = "def decode_attention_fwd(q): return {}"
    put(tmp_path / "anna" / "stage3.ipynb", notebook(define.format(1), define.format(2), tag=0))
    put(tmp_path / "ben" / "stage3.ipynb", notebook(define.format(1), define.format(2), "x = 1"))
    found = texts(found_in(tmp_path, LESSONS))
    assert found == {("anna", 3): define.format(1), ("ben", 3): define.format(2)}


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": 3}', notebook("x = 1"), "[" * 100_000])
def test_a_notebook_without_the_exercise_cannot_be_judged(tmp_path, text):
    put(tmp_path / "anna" / "stage3.ipynb", text)
    (found,) = found_in(tmp_path, LESSONS)
    assert "has no cell that defines decode_attention_fwd" in found.trouble


def test_names_are_safe_in_files_and_stages_are_told_by_numbers():
    assert file_name("../Zoë: a/b") == ".._Zoë__a_b"
    assert [lesson.number for lesson in numbers("3,0-1")] == [0, 1, 3]
    with pytest.raises(StageError, match="takes numbers"):
        numbers("three")


def test_what_a_kernel_does_not_need_is_listed():
    text = b"import math, os\nfrom .math import y\nimport numpy.linalg\neval('1')\nopen('f')\n"
    assert unusual(Submission("anna", 1, "", text)) == (".math", "eval", "open", "os")
    assert unusual(Submission("anna", 1, "", b"import (")) == ()
