"""Mistakes that answer alike, or that only some styles can make: each is given its own name and
place, or none."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution, style
from tutorial import check

MERGED = {
    "a tree of halves": (
        "stage6_halves",
        [("nl.subtract(a[0], top)", "nl.subtract(top, a[0])")],
        "one merge factor inverted",
    ),
    "from the last split to the first": (
        "stage6_from_the_last",
        [("nl.exp(m - m_both)", "nl.exp(m_s - M)"), ("nl.exp(m_s - m_both)", "nl.exp(m - m_both)")]
        + [("nl.exp(m_s - M)", "nl.exp(m_s - m_both)")],
        "factors exchanged in the merge",
    ),
    "all at once": (
        "stage6_merged_at_once",
        [
            ("nl.store(top_hbm[me, g * per:(g + 1) * per, :], top)", "STORE"),
            ("per, :], tot)", "per, :], top)"),
            ("STORE", "nl.store(top_hbm[me, g * per:(g + 1) * per, :], tot)"),
        ],
        "m and l exchanged between split and merge",
    ),
}


@pytest.mark.parametrize("name", MERGED)
def test_a_mistake_of_a_merge_is_named_in_whatever_order_the_states_are_merged(name, tmp_path):
    base, changes, cause = MERGED[name]
    verdict = check(6, load(6, changed(style(base), *changes), tmp_path))
    assert verdict.cause == cause, verdict.sentence


OVERFLOWS = {
    "a part of the tile": (
        "stage3_powers_of_two",
        ("nl.max(y, axis=1", "nl.max(y[:, 0:128], axis=1"),
        "max of a part of the tile",
    ),
    "all tiles but the last": (
        "stage2_short_names",
        (
            "qv = nl.load(q)\n    for t in range(tiles)",
            "qv = nl.load(q)\n    for t in range(tiles - 1 or 1)",
        ),
        "last tile skipped in the max",
    ),
}


@pytest.mark.parametrize("name", OVERFLOWS)
def test_maxima_that_only_overflow_are_told_apart_by_an_input_that_is_answered_rightly(
    name, tmp_path
):
    base, change, cause = OVERFLOWS[name]
    number = int(base[5])
    verdict = check(number, load(number, changed(style(base), change), tmp_path))
    assert verdict.cause == cause, verdict.sentence


def test_a_step_too_wide_is_told_what_is_true_of_the_loop_and_of_the_tile(tmp_path):
    text = changed(style("stage3_columns_of_scores"), ("range(n // 128)", "range(0, n // 128, 2)"))
    verdict = check(3, load(3, text, tmp_path))
    assert "Every second tile does not count, or the second half of every tile" in verdict.sentence


def test_an_m_that_stays_that_of_the_first_tile_is_wrong_from_the_second_on(tmp_path):
    text = changed(style("stage3_peeled"), ("        m[...] = mn\n", ""))
    verdict = check(3, load(3, text, tmp_path))
    assert verdict.cause == "m never updated"
    assert verdict.details["tile"] == 1


def test_a_sum_of_16_bits_that_has_no_name_is_found_by_what_is_added_to_it(tmp_path):
    wide = "both = nl.zeros((group, d + 1), dtype=nl.float32)"
    text = changed(style("stage7_ones_column"), (wide, wide.replace("float32", "bfloat16")))
    assert check(7, load(7, text, tmp_path)).cause == "low precision"


def test_a_max_taken_before_a_negative_scale_is_refused(tmp_path):
    text = changed(solution(7), ("nl.maximum if scale >= 0 else nl.minimum", "nl.maximum"))
    assert check(7, load(7, text, tmp_path)).cause == "sign of the scale lost"


def test_scores_may_be_multiplied_by_log2_e_before_the_matmul(tmp_path):
    assert check(6, load(6, style("stage6_one_output"), tmp_path)).ok
