"""What a max or a sum leaves out, read off the instructions of one run."""

from __future__ import annotations

import re

import pytest

from tests.tutorial.kernels import changed, load, solution, style
from tutorial import check, get
from tutorial.diagnosis import left_out
from tutorial.running import runner

MAX_OF_QK, SUM_OF_P = "tensor_reduce(nl.maximum, qk,", "tensor_reduce(nl.add, p,"
LEFT = {
    "keys of a tile": (
        3,
        solution(3),
        (MAX_OF_QK, MAX_OF_QK.replace("qk", "qk[:, 0:96]")),
        left_out.MAX,
        "The max in line N is taken of 96 of the 128 numbers in a row that line N reads: m must "
        "be the largest of all of them, or exp(qk - m) overflows.",
    ),
    "lanes": (
        7,
        solution(7),
        ("nc_transpose(lane_max)", "nc_transpose(lane_max[0:64, :])"),
        left_out.MAX,
        "Line N makes 384 numbers, each the max of others, and of them line N reads 192: m must "
        "be the largest of all of them, or exp(qk - m) overflows.",
    ),
    "weights": (
        4,
        solution(4),
        (SUM_OF_P, SUM_OF_P.replace("p,", "p[:, 0:100],")),
        left_out.SUM,
        "The sum in line N is taken of 100 of the 128 numbers in a row that line N reads: l must "
        "be the sum of all of them.",
    ),
}


def _run(number, text, folder):
    stage = get(number)
    case = min(stage.cases(), key=lambda case: case.args["k"].size)
    return runner.run(load(number, text, folder), case, stage).run


@pytest.mark.parametrize("name", LEFT)
def test_what_a_reduction_leaves_out_is_told(name, tmp_path):
    number, base, change, op, told = LEFT[name]
    run = _run(number, changed(base, change), tmp_path)
    said = left_out.of_a_reduction(run, op)
    assert said is not None and re.sub(r"ine \d+", "ine N", said) == told


@pytest.mark.parametrize("name", ["stage3_lanes", "stage4_pairs", "stage7_slots"])
def test_of_a_right_kernel_nothing_is_left_out(name, tmp_path):
    run = _run(int(name[5]), style(name), tmp_path)
    assert not any(left_out.of_a_reduction(run, op) for op in (left_out.MAX, left_out.SUM))


def test_a_sum_that_leaves_keys_out_is_named_where_no_known_mistake_is_like_it(tmp_path):
    text = changed(solution(1), (SUM_OF_P, SUM_OF_P.replace("p,", "p[:, 0:min(n, 60)],")))
    verdict = check(1, load(1, text, tmp_path), inputs=get(1).case("random").args)
    assert verdict.cause == "sum of a part of the tile", verdict.sentence
    assert "60 of the 128 numbers in a row" in verdict.sentence
