"""What students get back, by level, and what it never shows."""

from __future__ import annotations

from typing import Any

import pytest

from tutorial.classroom.feedback import CAUSE, FULL, LEVELS, OUTCOME, of_a_student, of_the_class
from tutorial.classroom.gradebook import Grade, graded, rubric
from tutorial.classroom.submissions import Submission

SENTENCE = "tile 2: l is 29.9, expected 27.9."
PICTURE = '<img src="data:image/svg+xml;base64,AAAA" alt="the first wrong tile">'


def grade(student: str = "Ann <a>", number: int = 3, **changes: Any) -> Grade:
    """The grade of a wrong kernel, with these changes to its result."""
    result: dict[str, Any] = {
        "outcome": "wrong",
        "cause": "alpha inverted",
        "sentence": "",
        "counters": {},
        "ladder": 0,
        "judged": "program",
        "open": {"outcome": "wrong", "sentence": SENTENCE, "cause": "alpha inverted"},
        "trace": "tile  keys  <b>",
        "pictures": [PICTURE],
        "ended": "",
        "limits": [],
    }
    return graded(Submission(student, number, "stage3.py"), {**result, **changes}, rubric())


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_tells_so_much_and_no_more(level):
    made = of_a_student("anna", [grade()], level)
    for text in (made.markdown, made.html):
        assert "2 of 10 points" in text
        assert (SENTENCE in text) == (level == FULL)
        assert ("alpha inverted" in text) == (level == CAUSE)
        assert ("tile  keys" in text) == (level == FULL)


def test_a_page_shows_the_pictures_and_escapes_everything_else():
    text = of_a_student("Ann <a>", [grade()], FULL).html
    assert f"<figure>{PICTURE}</figure>" in text
    assert "&lt;b&gt;" in text and "<b>" not in text and "Ann <a>" not in text
    assert "<img" not in of_a_student("anna", [grade()], FULL).markdown
    assert "<img" not in of_a_student("anna", [grade()], OUTCOME).html


def test_of_a_hidden_input_the_cause_alone_is_told():
    hidden = grade(open={"outcome": "correct"}, trace="", pictures=[], sentence="l is 1.234")
    for level in LEVELS:
        text = of_a_student("anna", [hidden], level).markdown
        assert "1.234" not in text
        assert ("(alpha inverted.)" in text) == (level != OUTCOME)


def test_of_a_kernel_that_was_never_run_the_reason_is_told():
    told = grade(outcome="wrong", cause=None, open=None, sentence="It has no v.", trace="")
    assert "It has no v." in of_a_student("anna", [told], FULL).markdown
    unexplained = grade(open={"outcome": "check failed", "sentence": "x y z"}, trace="")
    assert "x y z" not in of_a_student("anna", [unexplained], FULL).markdown


def test_what_a_submission_says_is_one_paragraph_and_no_markup():
    said = "# The class\n\n```\n<img src=x> [grade](http://x) `10 of 10`"
    told = grade(outcome="unusable", open=None, sentence=said, trace="", pictures=[])
    text = of_a_student("anna", [told], FULL).markdown
    line = next(line for line in text.splitlines() if "The class" in line)
    assert line.startswith("\\# The class") and "<img" not in text
    assert "\\[grade\\]" in line and "```" not in text


def test_a_check_that_failed_is_for_the_teachers_eye():
    failed = grade(outcome="check failed", cause=None, open=None)
    assert (failed.points, failed.look) == (0, "could not be judged")


def test_the_class_page_names_the_stages_that_a_student_has_not_handed_in():
    text = of_the_class(
        [grade("anna"), grade("anna", 4), grade("ben", 4), grade("cem", 3)], []
    ).markdown
    part = text.partition("Not handed in")[2].splitlines()
    assert [line.split() for line in part[3:6]] == [
        ["student", "stages"],
        ["ben", "3"],
        ["cem", "4"],
    ]
    assert "Not handed in" not in of_the_class([grade("anna"), grade("ben")], []).markdown


def test_what_says_little_by_its_name_is_not_proposed_to_speak_about():
    vague = [grade(cause="exception"), grade("ben", cause=None), grade("cem", cause="output")]
    text = of_the_class(vague, []).markdown
    assert "exception" in text and "output" in text and "To speak about" not in text
    text = of_the_class([grade(cause="exception"), grade("ben")], []).markdown
    assert "To speak about: alpha inverted (stage 3)." in text
