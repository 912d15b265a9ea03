"""Which file of which student is meant for which stage, and what text counts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tutorial import get
from tutorial.classroom import submissions
from tutorial.classroom.commands import numbers
from tutorial.classroom.submissions import (
    NoSubmissions,
    Submission,
    found_in,
    unusual,
    without_any,
)
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


@pytest.mark.parametrize(
    "name", ["stage_3.py", "Stage 03.py", "anna_stage3.py", "copy of stage3.py", "stage3 (1).py"]
)
def test_names_as_learners_write_them_tell_the_stage(tmp_path, name):
    put(tmp_path / "anna" / name, "a")
    put(tmp_path / "anna" / "backstage3.py", "another")
    assert texts(found_in(tmp_path, LESSONS)) == {("anna", 3): "a"}


def test_a_name_that_begins_with_the_stage_comes_before_others(tmp_path):
    put(tmp_path / "anna" / "wrong_stage3.py", "a")
    put(tmp_path / "anna" / "stage3.py", "b")
    assert texts(found_in(tmp_path, LESSONS)) == {("anna", 3): "b"}


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


def test_stages_are_told_by_numbers():
    assert [lesson.number for lesson in numbers("3,0-1")] == [0, 1, 3]
    with pytest.raises(StageError, match="takes numbers"):
        numbers("three")
    with pytest.raises(StageError, match="write 1-3"):
        numbers("3-1")


def test_without_numbers_every_stage_of_the_course_is_meant():
    assert [lesson.number for lesson in numbers(None)] == list(range(11))


def test_an_archive_that_nobody_unpacked_is_told_of(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "hand-in.zip").write_bytes(b"PK")
    with pytest.raises(NoSubmissions, match="unpack hand-in.zip first"):
        found_in(tmp_path, numbers(None), None)


def test_what_a_kernel_does_not_need_is_listed():
    text = b"import math, os\nfrom .math import y\nimport numpy.linalg\neval('1')\nopen('f')\n"
    assert unusual(Submission("anna", 1, "", text)) == (".math", "eval", "open", "os")
    assert unusual(Submission("anna", 1, "", b"import (")) == ()


def test_names_that_a_text_imports_are_listed_shortened_and_few():
    text = "".join(f"import {letter * 5000}\n" for letter in "abcdefghijklm").encode()
    assert unusual(Submission("anna", 1, "", text)) == tuple(x * 40 for x in "abcdefghij")


BLANK = (
    'def decode_attention_fwd(q):\n    raise NotImplementedError("stage 3 is not attempted yet")\n'
)
DONE = "def decode_attention_fwd(q): return {}"


def test_where_the_file_is_left_blank_the_notebook_counts(tmp_path):
    put(tmp_path / "anna" / "exercises" / "stage3.py", BLANK)
    put(tmp_path / "anna" / "notebooks" / "stage3.ipynb", notebook(DONE.format(1), tag=0))
    put(tmp_path / "anna" / "tutorial" / "stages" / "stage3_online_softmax.py", "STAGE = 3\n")
    put(tmp_path / "ben" / "exercises" / "stage3.py", BLANK)
    put(tmp_path / "ben" / "tutorial" / "stages" / "stage3_online_softmax.py", "STAGE = 3\n")
    found = texts(found_in(tmp_path, LESSONS))
    assert found == {("anna", 3): DONE.format(1), ("ben", 3): BLANK}


def test_where_the_exercises_cell_is_left_blank_another_that_defines_the_kernel_counts(tmp_path):
    put(tmp_path / "anna" / "stage3.ipynb", notebook(BLANK, DONE.format(1), DONE.format(2), tag=0))
    put(tmp_path / "ben" / "stage3.ipynb", notebook(BLANK, "x = 1", tag=0))
    assert texts(found_in(tmp_path, LESSONS)) == {("anna", 3): DONE.format(2), ("ben", 3): BLANK}


def test_commands_of_the_notebook_in_the_exercises_cell_are_left_out(tmp_path):
    source = f"%%time\n!pip list\n{DONE.format('q % 3')}"
    put(tmp_path / "anna" / "stage3.ipynb", notebook(source, tag=0))
    expected = f"# %%time\n# !pip list\n{DONE.format('q % 3')}"
    assert texts(found_in(tmp_path, LESSONS)) == {("anna", 3): expected}


def test_of_a_notebook_that_was_exported_the_commands_are_left_out(tmp_path):
    source = f"# In[1]:\nget_ipython().system('pip list')\n{DONE.format(1)}\n"
    put(tmp_path / "anna" / "stage3.py", source)
    put(tmp_path / "ben" / "stage3.py", DONE.format("q\n% 3"))
    found = texts(found_in(tmp_path, LESSONS))
    assert found["anna", 3] == source.replace("get_ipython", "# get_ipython")
    assert found["ben", 3] == DONE.format("q\n% 3")


def test_a_file_in_utf_16_is_told_so(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "stage3.py").write_text(DONE.format(1), encoding="utf-16")
    (found,) = found_in(tmp_path, LESSONS)
    assert found.trouble == "it is written in UTF-16, and Python reads UTF-8"


def test_of_files_in_several_folders_the_one_that_lies_least_deep_counts(tmp_path):
    put(tmp_path / "anna" / "build" / "lib" / "exercises" / "stage3.py", "copy")
    put(tmp_path / "anna" / "exercises" / "stage3.py", "own")
    put(tmp_path / "ben" / "attempt 1" / "stage3.py", "first")
    put(tmp_path / "ben" / "attempt 2" / "stage3.py", "second")
    assert texts(found_in(tmp_path, LESSONS)) == {("anna", 3): "own", ("ben", 3): "second"}


def test_many_files_of_one_student_do_not_hide_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MOST_FILES", 5)
    for number in range(9):
        put(tmp_path / "anna" / f"a{number}.txt")
    put(tmp_path / "anna" / "stage3.py", "too late")
    put(tmp_path / "ben" / "stage3.py", "b")
    found = found_in(tmp_path, LESSONS)
    assert texts(found) == {("ben", 3): "b"}
    (tmp_path / "grades").mkdir()
    assert without_any(tmp_path, found, tmp_path / "grades") == ["anna"]


@pytest.mark.skipif(os.name == "nt", reason="a link needs rights there")
def test_a_student_whose_folder_is_a_link_is_named(tmp_path):
    put(tmp_path / "elsewhere" / "stage3.py")
    folder = tmp_path / "submissions"
    folder.mkdir()
    (folder / "anna").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(NoSubmissions, match="Links are not followed"):
        found_in(folder, LESSONS)
    put(folder / "ben" / "stage3.py", "b")
    found = found_in(folder, LESSONS)
    assert texts(found) == {("ben", 3): "b"}
    assert without_any(folder, found, tmp_path / "grades") == ["anna"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "anna").mkdir()
    os.mkfifo(tmp_path / "anna" / "stage3.py")
    (found,) = found_in(tmp_path, LESSONS)
    assert found.trouble == "it is not a file"


@pytest.mark.parametrize(
    "pattern", [r"(?P<student>\w+)(?P<stage>.)\.py", r"(?P<student>\w+)?-?(?P<stage>\d)?.*"]
)
def test_a_pattern_that_matches_without_a_number_or_a_name_takes_nothing(tmp_path, pattern):
    for name in ("anna\u00b2.py", "-3.py", "-.py", ".py", "ben.py"):
        put(tmp_path / name)
    with pytest.raises(NoSubmissions):
        found_in(tmp_path, LESSONS, pattern)


@pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")
def test_names_that_are_no_text_are_spelled_out_and_stay_apart(tmp_path):
    names = [b"\xff", b"\xfe", b"\\xff"]  # the last one is a backslash and three letters
    try:
        for name in names:
            os.mkdir(os.path.join(os.fsencode(tmp_path), name))
            put(Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name, b"stage3_\xff.py"))))
    except OSError:
        pytest.skip("the file system takes text alone")
    found = found_in(tmp_path, LESSONS)
    assert [one.student for one in found] == ["\\xfe", "\\xff", "\\xff'"]
    assert found[0].file.encode() == b"\\xfe/stage3_\\xff.py"
