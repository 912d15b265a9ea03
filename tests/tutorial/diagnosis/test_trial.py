"""The tiles and heads in which a kernel may have taken the keys."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tutorial.kernels import load, solution, style
from tutorial import get
from tutorial.diagnosis import matching, trial
from tutorial.diagnosis.trial import BLOCKS, POSITIONS, Tiling, Trial
from tutorial.running.runner import Result


@pytest.mark.parametrize("width", [1, 8, 15, 16, 100])
def test_positions_of_a_paged_cache_are_all_taken_once_though_they_do_not_divide_a_block(width):
    lesson = get(8)
    case = lesson.case("random")
    want = np.zeros((1, 1))
    names = Trial(lesson, Result(case), want, want, "k_blocks").names(Tiling(width, rule=POSITIONS))
    assert names is not None
    block = case.args["k_blocks"].shape[2]
    taken = np.concatenate(names["tiles"])
    assert sorted(taken) == list(range(case.args["block_table"].shape[1] * block))
    assert len(names["tiles"]) == -(-block // min(width, block)) * -(-len(taken) // (128 * block))


@pytest.mark.parametrize("number", [4, 8])
def test_that_heads_come_in_turn_is_known_without_a_look_at_an_instruction(number, tmp_path):
    """To make thousands of them for every trial took a fifth of the time of a paged diagnosis."""
    lesson = get(number)
    tried = trial.trial(lesson, load(number, solution(number), tmp_path), lesson.probes()[0])
    assert not matching._heads_at_once(tried)
    assert "instructions" not in vars(tried)


def _tried(number, text, folder, family):
    """The tilings of a kernel that are tried on an input."""
    lesson = get(number)
    case = next(case for case in lesson.probes() if case.family == family)
    return list(trial.trial(lesson, load(number, text, folder), case).tilings())


def test_tiles_are_tried_that_have_as_many_keys_as_an_exp(tmp_path):
    blocks = _tried(8, style("stage8_a_block_at_a_time"), tmp_path, "probe: low")
    assert blocks == [Tiling(rule=BLOCKS)]
    # 300 keys in tiles of 128, 128 and 44: none is filled up, and no other widths
    assert _tried(5, solution(5), tmp_path, "probe: softmax_scale = 0.25") == [Tiling(read=True)]


def test_where_no_exp_has_as_many_keys_as_a_tile_all_tilings_are_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "is_exp", lambda made: False)
    assert len(_tried(8, style("stage8_a_block_at_a_time"), tmp_path, "probe: low")) > 2
