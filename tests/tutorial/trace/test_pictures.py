"""The figure and the step-through view of a trace: self-contained, deterministic, and readable
without scripts."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from tests.tutorial.kernels import changed, load, solution, unnamed
from tutorial.trace import trace


@pytest.fixture
def made(tmp_path):
    return trace(4, load(4, solution(4), tmp_path))


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags(html):
    parser = Tags()
    parser.feed(html)
    return parser.found


def test_the_steps_are_the_same_bytes_every_time(made, tmp_path):
    again = trace(4, load(4, solution(4), tmp_path))
    assert made.steps().fragment() == again.steps().fragment()
    assert made.steps().html() == again.steps().html()
    assert made.only(0).steps().fragment() != made.only(1).steps().fragment()


def test_the_steps_need_no_script_no_network_and_no_library(made):
    page = made.steps().html()
    outside = [
        v
        for tag, attrs in tags(page)
        for k, v in attrs.items()
        if k in ("src", "href") and not v.startswith("data:")
    ]
    assert outside == []
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    details = [attrs for tag, attrs in tags(page) if tag == "details"]
    assert len(details) == len(made)
    assert [("open" in attrs) for attrs in details] == [True] + [False] * (len(made) - 1)
    assert not any("display:none" in str(attrs.get("style")) for _, attrs in tags(page))


def test_every_picture_has_its_words(made):
    images = [attrs for tag, attrs in tags(made.steps().html()) if tag == "img"]
    strips, steps = images[: len(made.heads)], images[len(made.heads) :]
    assert all(image["alt"].startswith("4 tiles side by side") for image in strips)
    for row, image in zip(made.rows, steps, strict=True):
        assert f"The largest score of this tile is {row.tile_max:.2f}." in image["alt"]
        svg = base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,"))
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert b"prefers-color-scheme:dark" in svg


def test_the_slider_can_be_used_by_keyboard_and_read_aloud(made):
    fragment = made.steps().fragment()
    for needed in ("ArrowRight", "ArrowLeft", "Home", "End", 'type = "range"', "aria-live"):
        assert needed in fragment
    assert 'setAttribute("data-lm-suppress-shortcuts", "true")' in fragment  # JupyterLab's keys
    name = re.search(r'<div id="(trace-[0-9a-f]{12})"', fragment)[1]
    assert fragment.count(name) == 2


def test_lost_values_are_drawn_and_told(tmp_path):
    text = changed(
        solution(3),
        (
            "nisa.tensor_tensor(m, m_new, op=nl.subtract)",
            "nisa.tensor_tensor(m_new, m, op=nl.subtract)",
        ),
    )
    lost = trace(3, load(3, text, tmp_path))
    assert "Now l is nan and |acc| is nan." in lost.steps().html()
    (legend,) = lost.figure().legends
    assert "NaN or infinite" in [text.get_text() for text in legend.get_texts()]


def test_an_empty_trace_says_so_in_its_view(tmp_path):
    page = trace(3, load(3, unnamed(solution(3)), tmp_path)).steps().html()
    assert "The kernel names none of m, l and acc." in page


def test_the_figure_has_a_line_a_head(made, tmp_path):
    figure = made.figure()
    axes = figure.axes
    assert [ax.get_ylabel() for ax in axes] == ["m", "alpha", "l", "|acc|"]
    assert all(ax.yaxis.label.get_rotation() == 0 for ax in axes)
    assert [len(ax.lines) for ax in axes] == [8, 4, 4, 4]
    figure.savefig(tmp_path / "trace.svg")


def test_heads_differ_by_more_than_their_colour_and_are_named_outside_the_curves(made):
    figure = made.figure()
    lines = figure.axes[3].lines
    assert len({line.get_marker() for line in lines}) == len(lines) == 4
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *(f"head {h}" for h in made.heads),
        "largest score of the tile",
    ]
    assert not any(axes.get_legend() for axes in figure.axes)


def test_a_panel_that_is_empty_says_so(tmp_path):
    alpha = trace(2, load(2, solution(2), tmp_path)).figure().axes[1]
    assert [text.get_text() for text in alpha.texts] == [
        "none in this trace"
    ] and "none" not in str(alpha.get_ylabel())


def test_show_prints_the_text_first(made, capsys):
    made.show()
    assert capsys.readouterr().out == f"{made}\n"


def test_the_view_displays_itself_in_a_notebook(made):
    assert made.steps()._repr_html_() == made.steps().fragment()
    assert repr(made.steps()) == str(made)
