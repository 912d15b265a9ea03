"""What every picture keeps to: its words fit, its colours read on light and dark pages, its bytes
are the same each time, and it needs nothing but itself."""

from __future__ import annotations

import base64
import itertools
import re
import xml.etree.ElementTree as ElementTree

from tests.asking import of_each
from tests.tutorial.kernels import ROOT
from tests.tutorial.pictures.samples import SAMPLES
from tutorial.pictures.canvas import (
    EDGE,
    INK,
    INK_IN_THE_DARK,
    SMALL,
    TONES,
    Arrow,
    Box,
    Canvas,
    Words,
    plain,
)

DARK = ("#111111", "#131416", "#181c22")
"""Pages that are dark: JupyterLab's, the site's, and that of the course's own pages."""

every_picture = of_each(SAMPLES)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def span(words):
    """The smallest box that the words may fill: left, right, top, bottom."""
    left = words.x - {"start": 0, "middle": 0.5, "end": 1}[words.anchor] * words.width
    return left, left + words.width, words.y - 0.75 * words.size, words.y + 0.2 * words.size


@every_picture
def test_all_that_is_drawn_lies_inside_the_picture(picture):
    for shape in picture.shapes:
        if isinstance(shape, Box):
            sides = (shape.x, shape.x + shape.width, shape.y, shape.y + shape.height)
        elif isinstance(shape, Words):
            sides = span(shape)
        else:
            sides = (*sorted((shape.x1, shape.x2)), *sorted((shape.y1, shape.y2)))
        left, right, top, bottom = sides
        assert left >= 0 and right <= picture.width and top >= 0 and bottom <= picture.height, shape


@every_picture
def test_no_two_texts_lie_on_one_another(picture):
    texts = [s for s in picture.shapes if isinstance(s, Words)]
    for a, b in itertools.combinations(texts, 2):
        (l1, r1, t1, b1), (l2, r2, t2, b2) = span(a), span(b)
        assert not (l1 < r2 and l2 < r1 and t1 < b2 and t2 < b1), (a.text, b.text)


@every_picture
def test_white_words_lie_on_a_filled_box(picture):
    filled = [s for s in picture.shapes if isinstance(s, Box) and s.tone in TONES]
    for words in picture.shapes:
        if isinstance(words, Words) and "on" in words.look.split():
            left, right, top, bottom = span(words)
            assert any(
                b.x <= left + 4
                and right - 4 <= b.x + b.width
                and b.y <= top
                and bottom <= b.y + b.height
                for b in filled
            ), words.text


@every_picture
def test_letters_are_large_enough_for_a_telephone(picture):
    at_phone_width = min(1.0, 344 / picture.width)
    sizes = [s.size * at_phone_width for s in picture.shapes if isinstance(s, Words)]
    assert min(sizes) >= 9


@every_picture
def test_boxes_with_a_name_are_named_once(picture):
    names = [s.name for s in picture.shapes if isinstance(s, Box) and s.name]
    assert len(set(names)) == len(names)


@every_picture
def test_the_alternative_text_is_sentences_and_is_the_plain_text(picture):
    assert len(picture.alt) > 60 and picture.alt.endswith(".")
    assert "\n" not in picture.alt and "  " not in picture.alt
    assert repr(picture) == str(picture) == picture.alt


@every_picture
def test_the_svg_is_well_formed_has_a_title_and_needs_nothing_else(picture):
    root = ElementTree.fromstring(picture.svg)
    assert root.get("viewBox") == f"0 0 {picture.width} {picture.height}"
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None and title.text == picture.alt
    assert not re.search(r"<script|href|url\(|@import|foreignObject", picture.svg)


@every_picture
def test_a_notebook_gets_an_image_that_survives_without_trust(picture):
    html = picture._repr_html_()
    assert re.fullmatch(r"<img [^<>]*>", html)
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert data is not None and base64.b64decode(data[1]).decode() == picture.svg
    assert 'style="max-width:100%;height:auto"' in html and 'alt="' in html


def test_the_same_sizes_give_the_same_bytes(tmp_path):
    from tutorial import pictures

    one, two = pictures.splits(5, 4), pictures.splits(5, 4)
    assert one.svg == two.svg and one.image() == two.image()
    one.save(str(tmp_path / "splits.svg"))
    assert (tmp_path / "splits.svg").read_bytes() == one.svg.encode()


def test_fills_read_under_white_letters_and_stand_out_from_light_and_dark_pages():
    for name, colour in TONES.items():
        assert contrast(colour, "#ffffff") >= 4.5, name
        assert min(contrast(colour, page) for page in DARK) >= 3.0, name


def test_words_and_frames_read_on_pages_of_either_scheme():
    assert contrast(INK, "#ffffff") >= 4.5
    assert all(contrast(INK_IN_THE_DARK, page) >= 4.5 for page in DARK)
    assert contrast(INK_IN_THE_DARK, "#ffffff") >= 2.7 and all(contrast(INK, p) >= 3 for p in DARK)
    assert contrast(EDGE, "#ffffff") >= 3 and all(contrast(EDGE, page) >= 3 for page in DARK)


def test_the_dark_scheme_changes_words_and_nothing_else():
    made = Canvas(40)
    made.words(0, 20, "word")
    svg = made.picture("A word that stands alone in a picture, for a test of it.").svg
    assert f"@media (prefers-color-scheme:dark){{text{{fill:{INK_IN_THE_DARK}}}}}" in svg
    assert "background" not in svg and '<rect width="480"' not in svg


def test_words_are_written_as_text_and_not_as_markup():
    made = Canvas(40)
    made.words(0, 20, "m < n & l")
    made.box(0, 0, 10, 10, tip='a "tip" <b>')
    svg = made.picture('Names that hold <b> & "quotes", for a test of it, and no more.').svg
    ElementTree.fromstring(svg)
    assert "m &lt; n &amp; l" in svg and "<b>" not in svg


def test_coordinates_are_short_and_never_minus_zero():
    assert [plain(x) for x in (-0.001, 0.0, 1.0, 2.5, 1 / 3, -4.126)] == [
        "0",
        "0",
        "1",
        "2.5",
        "0.33",
        "-4.13",
    ]


def test_an_arrow_ends_at_its_point():
    made = Canvas(40)
    made.arrow(0, 10, 100, 10)
    arrow = made.shapes[0]
    assert isinstance(arrow, Arrow) and arrow.head
    svg = made.picture("An arrow that points to the right, for a test of its head.").svg
    assert 'points="100,10 ' in svg


def test_a_label_in_a_row_of_cells_is_small_and_each_cell_has_a_name():
    made = Canvas(40)
    made.cells(0, 0, 30, ["a", "b"], ["k", "v"], "row")
    picture = made.picture("A row of two cells with a label each, for a test of them.")
    assert list(picture.boxes) == ["row[0]", "row[1]"]
    assert [b.x for b in picture.boxes.values()] == [0, 30]
    assert [s.size for s in picture.shapes if isinstance(s, Words)] == [SMALL, SMALL]


def test_pictures_need_no_matplotlib(run_python):
    done = run_python(
        "-c",
        "import sys; from tutorial import pictures; pictures.memories().svg; "
        "print('matplotlib' in sys.modules)",
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "False", done.stderr
