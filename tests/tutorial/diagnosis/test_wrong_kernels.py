"""Wrong kernels, in several styles: each is caught with the sentence that names its own mistake."""

from __future__ import annotations

import re

import pytest

from tests.asking import one_in
from tests.tutorial.diagnosis import wrong_grouped, wrong_one_head, wrong_other_styles
from tests.tutorial.diagnosis.sample import judged
from tests.tutorial.diagnosis.wrong_one_head import L_UPDATE, SEVERAL_HEADS, SEVERAL_ROWS
from tests.tutorial.kernels import changed, load, refused, solution, style, unnamed
from tutorial import check

WRONG = {**wrong_one_head.WRONG, **wrong_grouped.WRONG, **wrong_other_styles.WRONG}


def _with_and_without_names():
    """Every wrong kernel as it is, and some of those that name their state with the names taken
    away."""
    naming = []
    for name in judged(WRONG):
        yield pytest.param(name, True, id=f"{name}-named")
        text = changed(WRONG[name][1], *WRONG[name][2])
        naming += [name] if unnamed(text) != text else []
    yield from (pytest.param(name, False, id=f"{name}-unnamed") for name in one_in(3, naming))


@pytest.mark.parametrize(("name", "named"), list(_with_and_without_names()))
def test_a_wrong_kernel_is_caught_with_its_own_sentence(name, named, tmp_path):
    verdict = refused(WRONG[name], tmp_path, named)
    assert verdict.exit_code == 1


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "stage1_plain"),
        (2, "stage2_two_pass"),
        (3, "stage3_plain"),
        (3, "stage3_fused"),
        (4, "stage4_sliced"),
        (4, "stage4_rowwise"),
        (3, "stage3_peeled"),
        (3, "stage3_lanes"),
        (2, "stage2_scores_on_chip"),
        (4, "stage4_pairs"),
    ],
)
def test_a_right_kernel_that_names_nothing_is_right_in_another_style(number, name, tmp_path):
    verdict = check(number, load(number, unnamed(style(name)), tmp_path))
    assert verdict.ok, verdict.sentence


@pytest.mark.parametrize(
    ("number", "text"), [(1, SEVERAL_ROWS), (2, SEVERAL_HEADS)], ids=["rows", "heads"]
)
def test_a_kernel_may_take_more_than_its_stage_asks_for(number, text, tmp_path):
    assert check(number, load(number, text, tmp_path)).ok


def test_an_unknown_mistake_is_placed_and_not_guessed_at(tmp_path):
    text = changed(solution(2), ("acc = nl.full((1, d), 0.0", "acc = nl.full((1, d), 2.0"))
    verdict = check(2, load(2, text, tmp_path))
    assert verdict.cause is None
    assert verdict.sentence.startswith("tile 0: |acc| is ")
    assert "No known mistake gives these values" in verdict.sentence
    verdict = check(2, load(2, unnamed(text), tmp_path))
    assert verdict.cause is None
    assert "Name the state" in verdict.sentence


@pytest.mark.parametrize(
    ("number", "stored"), [(1, "o, value"), (4, "o[nl.ds(h * G, G), :], value")]
)
def test_a_division_whose_result_is_not_stored_does_not_count(number, stored, tmp_path):
    text = changed(solution(number), (f"nl.store({stored}=o_tile)", f"nl.store({stored}=acc)"))
    verdict = check(number, load(number, text, tmp_path))
    assert verdict.cause == "never divided", verdict.sentence


def test_the_place_and_the_ratio_are_told(tmp_path):
    text = changed(solution(4), (L_UPDATE, "nisa.tensor_tensor(l, l_tile, op=nl.add)"))
    verdict = check(4, load(4, text, tmp_path))
    assert verdict.sentence == (
        "tile 1, head 1: l is 25.2, expected 17.4 (the old sum in it is too large by 1.96 = "
        "1/alpha). "
        "The old sum was not rescaled by alpha = exp(m_old - m_new): l = l alpha + sum p."
    )
    assert verdict.family == "random"
    assert (verdict.details["tile"], verdict.details["head"], verdict.details["quantity"]) == (
        1,
        1,
        "l",
    )


@pytest.mark.parametrize(
    ("line", "half", "cause"),
    [
        ("l[...] = nl.add(nl.multiply(l, alpha)", "nl.multiply(l_s, beta)", "new l"),
        ("acc[...] = nl.add(nl.multiply(acc, alpha)", "nl.multiply(acc_s, beta)", "new acc"),
    ],
)
def test_one_sum_of_one_state_that_is_not_rescaled_in_the_merge_is_named(
    line, half, cause, tmp_path
):
    plain = half.split("(")[1].split(",")[0]
    text = changed(solution(6), (f"{line}, {half}", f"{line}, {plain}"))
    verdict = check(6, load(6, text, tmp_path))
    assert verdict.cause == f"{cause} not rescaled in the merge", verdict.sentence


def test_acc_divided_in_every_split_is_not_a_matter_of_empty_splits(tmp_path):
    store = "for out, state in ((m_out, m), (l_out, l), (acc_out, acc)):"
    divided = f"acc[...] = nl.multiply(acc, nisa.reciprocal(l))\n        {store}"
    verdict = check(6, load(6, changed(solution(6), (store, divided)), tmp_path))
    assert verdict.cause == "normalised states merged", verdict.sentence


def test_where_exp_overflows_nothing_after_the_last_tile_is_blamed(tmp_path):
    whole = "nisa.tensor_tensor(m, m_tile, op=nl.maximum)"
    lowered = whole.replace("m_tile", "nl.multiply(m_tile, 0.7)")
    text = changed(solution(3), (whole, lowered))
    verdict = check(3, load(3, text, tmp_path))
    assert verdict.cause is None
    assert verdict.sentence.startswith("o[0] is nan, expected 0.0273. The first infinity or NaN")
    verdict = check(3, load(3, unnamed(text), tmp_path))
    assert verdict.cause is None
    assert "exp gives infinity above 88" in verdict.sentence
    assert "after the last tile" not in verdict.sentence


@pytest.mark.parametrize(
    ("name", "changes", "cause"),
    [
        (
            "stage3_peeled",
            [
                (
                    "nl.maximum(m, nl.max(s2, axis=1, keepdims=True))",
                    "(m + nl.max(s2, axis=1)) * 0.5",
                )
            ],
            None,
        ),
        (
            "stage3_fused",
            [
                ("nisa.tensor_scalar(m_new, np.multiply, -scale)", "nl.multiply(m, -scale)"),
                ("np.exp, m, bias=neg, scale", "np.exp, nl.subtract(m, m_new), scale"),
            ],
            "p with the old max",
        ),
        ("stage6_strided", [("nl.maximum(M, mj)", "mj")], "m not raised in the merge"),
        (
            "stage8_entries_in_turn",
            [("nl.exp(nl.subtract(m, up))", "nl.exp(nl.subtract(up, m))")],
            "alpha inverted",  # told by the numbers that it kept
        ),
    ],
)
def test_where_no_wrong_row_has_numbers_a_cause_must_agree_with_what_was_kept(
    name, changes, cause, tmp_path
):
    number = int(name[5])
    verdict = check(number, load(number, changed(style(name), *changes), tmp_path))
    assert not verdict.ok
    assert verdict.cause == cause, verdict.sentence


def test_a_max_that_starts_at_another_number_is_not_said_to_start_at_0(tmp_path):
    text = changed(solution(4), ("nl.full((G, 1), nl.fp32.min", "nl.full((G, 1), -5.0"))
    verdict = check(4, load(4, text, tmp_path))
    assert verdict.cause == "m starts too high", verdict.sentence


def test_where_a_row_has_no_numbers_that_row_is_shown(tmp_path):
    text = changed(solution(9), ("op=nl.maximum, data=qk,", "op=nl.maximum, data=qk_psum,"))
    verdict = check(9, load(9, text, tmp_path))
    assert verdict.cause == "scale only on the scores"
    assert re.match(r"head \d: o\[\d+\] is -?(inf|nan), expected", verdict.sentence)


@pytest.mark.parametrize(
    ("old", "new", "cause", "words"),
    [
        ("(c + 1) * per)", "(c + 1) * per - 1)", "last tile skipped", "all tiles of the split"),
        (
            "num / den",
            "num",
            "weighed outputs not divided in the merge",
            "never divided by the sum",
        ),
    ],
)
def test_a_split_that_leaves_its_output_and_the_log_of_its_sum_is_told_in_its_words(
    old, new, cause, words, tmp_path
):
    verdict = check(6, load(6, changed(style("stage6_log_sum"), (old, new)), tmp_path))
    assert verdict.cause == cause
    assert words in verdict.sentence
