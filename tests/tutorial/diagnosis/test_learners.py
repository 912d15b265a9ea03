"""Kernels as a hundred learners write them: the right ones are right, the wrong ones get the
sentence of their own mistake."""

from __future__ import annotations

import pytest

from tests.asking import one_in
from tests.tutorial.diagnosis.wrong_learners import WRONG
from tests.tutorial.kernels import load, refused, style
from tutorial import check

# in stage 9, by kernels in the old way
pytestmark = pytest.mark.filterwarnings("ignore:nl.*_range is deprecated:DeprecationWarning")

RIGHT = (
    "stage1_columns",
    "stage1_by_vector_engine",
    "stage1_transposed",
    "stage2_row_of_maxima",
    "stage2_language",
    "stage3_negated",
    "stage3_wide",
    "stage3_unscaled",
    "stage3_states_merged",
    "stage3_recursive",
    "stage4_tiles_outside",
    "stage4_row_state",
    "stage4_heads_inside",
    "stage4_wide",
    "stage5_range_select",
    "stage5_filled_up",
    "stage5_wide_steps",
    "stage6_strided",
    "stage6_log_sum",
    "stage7_wide",
    "stage7_plain",
    "stage8_rows_of_a_block",
    "stage8_a_position_at_a_time",
    "stage9_negated",
    "stage9_scores_on_chip",
    "stage3_blocks_of_two",
    "stage3_long_steps",
    "stage4_state_as_columns",
    "stage5_padding_cleared_in_k",
    "stage6_two_level",
    "stage7_rows_of_heads",
    "stage9_keys_on_partitions",
)


@pytest.mark.parametrize("name", one_in(2, RIGHT))
def test_a_right_kernel_is_right_in_whatever_style(name, tmp_path):
    number = int(name[5])
    verdict = check(number, load(number, style(name), tmp_path))
    assert verdict.ok, verdict.sentence


@pytest.mark.parametrize("name", WRONG)
def test_a_learners_mistake_gets_its_own_sentence(name, tmp_path):
    refused(WRONG[name], tmp_path)
