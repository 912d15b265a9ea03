"""The frames of a trace show the reader's own numbers: scores, m, what alpha leaves, what is new,
and the first value that is wrong.
"""

from __future__ import annotations

import base64
import copy
import re
from dataclasses import replace

import pytest

from tests.tutorial.kernels import changed, load, solution
from tutorial import trace
from tutorial.pictures.canvas import Box
from tutorial.trace.frames import as_shown, frame, strip


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    return trace(3, load(3, solution(3), tmp_path_factory.mktemp("right")))


@pytest.fixture(scope="module")
def not_rescaled(tmp_path_factory):
    old = (
        "l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, "
        "op1=nl.add, operand1=l_tile)"
    )
    text = changed(solution(3), (old, "l[...] = nisa.tensor_tensor(l, l_tile, op=nl.add)"))
    return trace(3, load(3, text, tmp_path_factory.mktemp("wrong")))


def boxes(table, tile):
    return frame(table, table.rows[tile], "the words of a frame, for a test").boxes


def test_bars_of_l_are_what_alpha_leaves_and_what_the_tile_adds(right):
    for tile in range(1, 8):
        row, before = (as_shown(right.rows[t], right.digits) for t in (tile, tile - 1))
        drawn = boxes(right, tile)
        whole = drawn["l kept"].width + drawn["l added"].width
        assert drawn["l kept"].width / whole == pytest.approx(
            row.alpha * before.l / row.l, rel=1e-6
        )
        assert drawn["l kept"].width == pytest.approx(row.alpha * drawn["l before"].width)


def test_what_was_there_shrinks_to_what_alpha_leaves_and_only_then(right):
    shrinking = boxes(right, 3)["l shrinks"]
    assert shrinking.fades_to == pytest.approx(right.rows[3].alpha, abs=1e-4)
    assert "l shrinks" not in boxes(right, 0)
    svg = frame(right, right.rows[3], "words of a frame, for a test.").svg
    assert "prefers-reduced-motion:no-preference" in svg and ".fades{opacity:0}" in svg


def test_the_largest_score_has_a_tone_of_its_own_and_m_stands_on_it(right):
    picture = frame(right, right.rows[2], "the words of a frame, for a test")
    scores = [b for name, b in picture.boxes.items() if name.startswith("score")]
    (top,) = [b for b in scores if b.tone == "p"]
    assert top.y == min(b.y for b in scores)
    (m,) = [s for s in picture.shapes if getattr(s, "name", "") == "m" and not isinstance(s, Box)]
    assert m.y1 == pytest.approx(top.y, abs=0.5)


def test_the_first_wrong_value_is_red_and_no_other(not_rescaled):
    assert not_rescaled.wrong is not None
    assert (not_rescaled.wrong.tile, not_rescaled.wrong.quantity) == (1, "l")
    for tile in range(8):
        red = [name for name, box in boxes(not_rescaled, tile).items() if box.tone == "wrong"]
        assert red == (["l wrong"] if tile == 1 else [])
    strips = strip(not_rescaled, 0)
    assert {n for n, b in strips.boxes.items() if b.tone == "wrong"} == {"1 kept", "1 added"}
    assert "Red, tile 1: the first wrong value." in strips.alt


def test_the_words_say_what_was_expected_of_the_first_wrong_value(not_rescaled):
    html = not_rescaled.steps().fragment()
    said = f"Here l is wrong for the first time: expected {not_rescaled.wrong.expected:.3f}"[:-1]
    assert html.count(said) == 2  # below the picture, and as its alternative text


def test_a_right_kernel_has_nothing_red(right):
    assert right.wrong is None
    assert not any(box.tone == "wrong" for t in range(8) for box in boxes(right, t).values())


def test_the_strip_tells_in_which_tiles_m_rises(tmp_path):
    made = trace(3, load(3, solution(3), tmp_path), scores=[0, 0, 2, 2, 1, 1, 3, 3])
    assert "m rises in tile 1 and 3." in strip(made, 0).alt
    falling = trace(3, load(3, solution(3), tmp_path), "descending")
    assert "m stays as tile 0 left it." in strip(falling, 0).alt


def test_a_picture_is_the_same_where_fp32_rounds_a_little_differently(right):
    """BLAS libraries and vector units add in different orders; nbval compares the pictures."""
    for sign in (-1, 1):
        moved = copy.copy(right)
        moved.all_rows = tuple(
            replace(row, l=row.l * (1 + sign * 3e-7), acc=row.acc * (1 + sign * 3e-7))
            for row in right.all_rows
        )
        assert moved.steps().fragment() == right.steps().fragment()


def test_lost_values_are_not_drawn(tmp_path):
    text = changed(
        solution(3),
        (
            "nisa.tensor_tensor(m, m_new, op=nl.subtract)",
            "nisa.tensor_tensor(m_new, m, op=nl.subtract)",
        ),
    )
    lost = trace(3, load(3, text, tmp_path))
    for row in lost.rows:
        svg = frame(lost, row, "the words of a frame, for a test.").svg
        assert not re.search(r'="(nan|inf|-inf)"', svg)


def test_a_page_without_scripts_has_the_strip_in_view_and_every_step_to_open(right):
    html = re.sub(r"<script>.*?</script>", "", right.steps().fragment(), flags=re.DOTALL)
    before, first, *_ = html.split("<details")
    assert before.count("<img") == 1 and first.startswith(" open")
    assert html.count("<details") == 8 == html.count("<summary>")
    assert "display:none" not in html
    for data in re.findall(r"base64,([^\"]+)", html):
        assert b"<script" not in base64.b64decode(data)
