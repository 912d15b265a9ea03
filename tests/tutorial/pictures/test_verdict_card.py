"""A verdict as a notebook shows it: the words of its text, in HTML that survives without trust."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

from tests.tutorial.kernels import changed, load, solution
from tutorial import Verdict, check
from tutorial.pictures.verdict_card import LONGEST, OVER, RIGHT, WRONG
from tutorial.verdict import Counter


def words(fragment):
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", fragment)).split())


def widths(fragment):
    return [int(w) for w in re.findall(r"width:(\d+)px", fragment)]


def verdict(**given):
    return Verdict(
        **{"outcome": "correct", "sentence": "All is well.", "stage": 3, "name": "x", **given}
    )


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    text = changed(
        solution(3),
        (
            "operand0=alpha, op1=nl.add, operand1=l_tile",
            "operand0=1.0, op1=nl.add, operand1=l_tile",
        ),
    )
    return check(3, load(3, text, tmp_path_factory.mktemp("wrong")))


def test_every_word_of_the_text_is_on_the_card():
    made = verdict(
        outcome="wrong",
        sentence="K < V & more.",
        family="random",
        target="trn2",
        counters=(Counter("HBM bytes read", 2048, 1024),),
        notes=("note: mind <this>.",),
    )
    shown = words(made._repr_html_())
    for line in made.text().splitlines():
        if line and not line.startswith("stage"):
            assert " ".join(line.split()) in shown
    assert "wrong stage 3 x" in shown


def test_the_card_has_only_tags_and_styles_that_an_untrusted_notebook_keeps():
    card = verdict(counters=(Counter("matmuls", 3, 2),), notes=("one",))._repr_html_()
    seen = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append((tag, tuple(name for name, _ in attrs)))

    Tags().feed(card)
    assert {tag for tag, _ in seen} <= {
        "div",
        "p",
        "b",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "code",
    }
    assert all(set(names) <= {"style"} for _, names in seen)


def test_bars_are_to_scale_and_orange_where_there_is_more_than_the_minimum():
    card = verdict(
        counters=(Counter("a", 4000, 1000), Counter("b", 7, 7), Counter("c", 0, 0))
    )._repr_html_()
    assert widths(card) == [LONGEST, LONGEST / 4, LONGEST, LONGEST]
    assert card.count(OVER) == 1 and "4 times" in card


def test_the_outcome_has_its_colour_and_its_word():
    assert RIGHT in verdict()._repr_html_() and ">correct</b>" in verdict()._repr_html_()
    assert WRONG in verdict(outcome="wrong")._repr_html_()
    card = verdict(outcome="not attempted")._repr_html_()
    assert WRONG not in card and RIGHT not in card


def test_the_line_that_a_sentence_quotes_is_set_as_code():
    sentence = "f: axis 2 is beyond p (line 46: l = f(p, axis=(2, 3))). Try axis 1."
    card = verdict(outcome="wrong", sentence=sentence)._repr_html_()
    assert "<p>f: axis 2 is beyond p. Try axis 1.</p>" in card
    assert "<p>line 46: <code>l = f(p, axis=(2, 3))</code></p>" in card


def test_a_wrong_value_is_shown_with_the_line_that_keeps_it(wrong):
    assert wrong.details["quantity"] == "l"
    assert wrong.details["source"].startswith("l[...] = nisa.tensor_scalar(l")
    card = wrong._repr_html_()
    assert f"line {wrong.details['line']}, which keeps l: <code>l[...] = " in card


def test_the_same_verdict_is_the_same_bytes(wrong, tmp_path):
    assert wrong._repr_html_() == wrong._repr_html_()
    once = check(0, load(0, solution(0), tmp_path))
    again = check(0, load(0, solution(0), tmp_path))
    assert once._repr_html_() == again._repr_html_()
    assert repr(once) == once.text()
