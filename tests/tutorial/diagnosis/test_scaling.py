"""What the check of stage 0 says of a kernel that does something else than scale."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tutorial.kernels import load
from tutorial import check, get
from tutorial.diagnosis.scaling import diagnose_scaling
from tutorial.mistakes.scaling import SCALING
from tutorial.reference import edits, evaluation, twins
from tutorial.running.answer import Answer
from tutorial.running.runner import Result

KERNEL = """
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

@nki.jit
def scale_fwd(x, scale):
    rows, n = x.shape
    y = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(n // 128):
        t = nl.load(x[:, nl.ds(i * 128, 128)])
        nl.store(y[:, nl.ds(i * 128, 128)], {value})
    return y
"""
BLOCKS = """
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

@nki.jit
def scale_fwd(x, scale):
    rows, n = x.shape
    y = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for r in nl.static_range(4):
        t = nl.load(x[nl.ds(r * 32, 32), :])
        nl.store(y[nl.ds({row}, 32), :], {value})
    return y
"""


def _said(text, tmp_path):
    verdict = check(0, load(0, text, tmp_path))
    assert verdict.outcome == "wrong" and "\n" not in verdict.sentence
    return verdict.cause, verdict.sentence


@pytest.mark.parametrize(
    ("value", "cause", "words"),
    [
        ("t * scale * t", "x squared", "scale * x * x"),
        ("nl.square(t * scale)", "squared", "the square of scale * x"),
        ("t * t", "x times x", "the second factor must be scale"),
        ("nl.abs(t * scale)", "absolute value", "the absolute value of scale * x"),
        ("nl.abs(t) * scale", "absolute value", "the absolute value of x"),
        ("t * abs(scale)", "absolute value", "the absolute value of scale"),
        ("nl.relu(t * scale)", "negative values lost", "Negative values come out as 0"),
        ("t * 0.0", "all zero", "0 everywhere"),
    ],
)
def test_a_wrong_operation_is_named(value, cause, words, tmp_path):
    said, sentence = _said(KERNEL.format(value=value), tmp_path)
    assert said == cause and words in sentence


@pytest.mark.parametrize(
    ("value", "cause", "words"),
    [
        ("t * int(scale)", "scale as an integer", "cut to an integer, int(scale)"),
        ("t * round(scale)", "scale as an integer", "rounded to an integer"),
        ("t * scale + t", "x added", "x is added to scale * x"),
        ("t * scale * 2.0", "constant factor", "Every element is 2 times what it must be"),
        ("t * scale * 0.125", "constant factor", "Every element is 0.125 times what it must be"),
        ("t * 3.0", "constant in place of scale", "x is multiplied by 3, whatever scale is"),
        ("t * scale ** 3", "another factor", "x is multiplied by 15.6 everywhere; scale is 2.5"),
        ("t * scale * 1.001", "constant factor", "Every element is 1.001 times what it must be"),
        ("t * (scale + 1e-3)", "another factor", "is multiplied by 2.501 everywhere; scale is 2.5"),
    ],
)
def test_a_factor_that_is_the_same_everywhere_is_named(value, cause, words, tmp_path):
    said, sentence = _said(KERNEL.format(value=value), tmp_path)
    assert said == cause and words in sentence


def test_a_constant_that_is_added_is_named(tmp_path):
    assert ("0.5 is added to every element") in _said(
        KERNEL.format(value="t * scale + 0.5"), tmp_path
    )[1]


@pytest.mark.parametrize(
    ("value", "cause"),
    [("t * scale + scale", "scale added too"), ("t * scale - scale", "scale subtracted too")],
)
def test_scale_beside_the_product_is_named(value, cause, tmp_path):
    assert _said(KERNEL.format(value=value), tmp_path)[0] == cause


@pytest.mark.parametrize(
    "value", ["nl.copy(t * scale, dtype=nl.bfloat16)", "nl.copy(t, dtype=nl.bfloat16) * scale"]
)
def test_values_that_pass_through_bf16_are_named(value, tmp_path):
    assert _said(KERNEL.format(value=value), tmp_path)[0] == "low precision"


@pytest.mark.parametrize(
    ("mistake", "way"),
    [pytest.param(mistake, way, id=way[0].new) for mistake in SCALING for way in mistake.ways],
)
def test_a_known_mistake_given_as_outputs_alone_is_itself(mistake, way):
    lesson = get(0)
    text = edits.edited(twins.SCALING, way)
    answers = []
    for case in lesson.cases():
        x, scale = case.args["x"], np.float32(case.args["scale"])
        tiles = list(np.arange(x.shape[1]).reshape(-1, 128))
        made = evaluation.run(text, {"x": x, "scale": scale, "tiles": tiles, "o": x}).o
        expected = lesson.expected(case)
        answers.append(Answer(Result(case, made), expected, not np.allclose(made, expected)))
    found = diagnose_scaling(answers)
    told = mistake.sentence.replace("{width}", "128")
    assert (found.cause, found.sentence.partition(". ")[2]) == (mistake.key, told)


def test_a_transposed_tile_is_named(tmp_path):
    said, sentence = _said(KERNEL.format(value="nl.copy(nl.transpose(t)) * scale"), tmp_path)
    assert (
        said == "tiles transposed"
        and ("Every tile of 128 rows and 128 columns is transposed") in sentence
    )


def test_blocks_of_rows_in_each_others_place_are_named(tmp_path):
    said, sentence = _said(BLOCKS.format(row="(3 - r) * 32", value="t * scale"), tmp_path)
    assert said == "rows exchanged"
    assert (
        "Every row holds the values of another row, in blocks of 32 rows: row 0 holds those of "
        "row 96."
    ) in sentence


def test_two_blocks_that_are_exchanged_are_counted(tmp_path):
    sentence = _said(
        BLOCKS.format(row="(r if r < 2 else 5 - r) * 32", value="t * scale"), tmp_path
    )[1]
    assert (
        "64 of 128 rows hold the values of another row, in blocks of 32 rows: row 64 holds "
        "those of row 96."
    ) in sentence


def test_columns_in_each_others_place_are_named(tmp_path):
    said, sentence = _said(
        KERNEL.replace("y[:, nl.ds(i * 128, 128)]", "y[:, nl.ds(i * 128 + 127 - j, 1)]")
        .replace("        nl.store", "        for j in nl.static_range(128):\n            nl.store")
        .format(value="t[:, j:j + 1] * scale"),
        tmp_path,
    )
    assert said == "columns exchanged" and "column 0 holds those of column 127" in sentence


def test_rows_that_are_right_are_told_from_those_that_are_not(tmp_path):
    said, sentence = _said(
        BLOCKS.format(row="r * 32", value="t * (scale if r < 2 else 1.0)"), tmp_path
    )
    assert said == "not scaled"
    assert (
        "The wrong values are in 64 of 128 rows (64 to 127) and all 1024 columns. There: x "
        "comes back"
    ) in sentence


def test_a_tile_that_is_wrong_by_a_factor_is_told_with_its_columns(tmp_path):
    said, sentence = _said(
        KERNEL.replace("affine", "static").format(value="t * scale * (2.0 if i == 1 else 1.0)"),
        tmp_path,
    )
    assert (
        said == "constant factor"
        and ("all 128 rows and 128 of 1024 columns (128 to 255). There: Every element is 2")
        in sentence
    )


def test_values_that_are_right_in_other_places_are_told_so(tmp_path):
    turned = "nl.copy(nl.transpose(t)) * scale if i == 0 else t * scale"
    said, sentence = _said(KERNEL.replace("affine", "static").format(value=turned), tmp_path)
    assert said is None and "All values are right, in other places" in sentence


def test_what_nothing_explains_is_counted_in_rows_and_columns(tmp_path):
    said, sentence = _said(
        BLOCKS.format(row="r * 32", value="nl.sin(t) * scale if r == 1 else t * scale"), tmp_path
    )
    assert said is None and "in 32 of 128 rows (32 to 63) and all 1024 columns." in sentence
