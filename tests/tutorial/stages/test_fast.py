"""Stage 7: the ladder's rungs, its accuracy, its traces, and its wrong kernels."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import nkisim
from tests.tutorial.diagnosis.wrong_fast import WRONG, rung
from tests.tutorial.kernels import ROOT, load, refused, solution, style
from tutorial import StageError, check, get, trace
from tutorial.cost import ladder
from tutorial.running import precision, runner
from tutorial.stages.stage7_fast import RUNGS, ladder_case

STAGE = get(7)
BF16 = ml_dtypes.bfloat16
FILES = {r.number: r for r in RUNGS}


def zeros(*shape, dtype=BF16):
    return np.zeros(shape, dtype)


def measured(number, n=8192):
    case, at = ladder_case(n), FILES[number]
    kernel = runner.load(ROOT / "solutions" / "stage7_fast" / at.file, STAGE)
    args = at.arguments(case) if at.arguments else case.args
    with nkisim.record(values=False) as run:
        kernel(*(nkisim.shape(x.shape, x.dtype) for x in args.values()))
    return ladder.measured(run)


@pytest.fixture(scope="module")
def climbed():
    return {number: measured(number) for number in FILES}


def test_the_solution_is_the_last_rung_that_is_asked_for():
    last = [r for r in RUNGS if not r.tried][-1]
    assert solution(7) == (ROOT / "solutions" / "stage7_fast" / last.file).read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("number", [r.number for r in RUNGS])
def test_a_rung_is_right_on_every_family(number, tmp_path):
    at = FILES[number]
    kernel = load(7, rung(at.file.removesuffix(".py")), tmp_path)
    for case in STAGE.cases():
        args = at.arguments(case) if at.arguments else case.args
        error = np.abs(
            kernel(*args.values(), **case.options).astype(np.float64) - STAGE.expected(case)
        )
        assert (error <= STAGE.tolerance(case)).all(), case.family


@pytest.mark.parametrize("number", [r.number for r in RUNGS if not r.tried])
def test_a_rung_keeps_its_own_budget_and_not_the_next_ones(number, climbed):
    assert ladder.unmet(FILES[number], climbed[number]) == []
    assert ladder.reached(STAGE.ladder, climbed[number]) == number


def test_every_rung_is_sooner_than_the_one_before_by_the_model(climbed):
    for target in ladder.TARGETS:
        times = [
            climbed[r.number].latency_us[target]
            for r in RUNGS
            if not r.tried and (target == "trn2" or r.number != 6)
        ]
        assert times == sorted(times, reverse=True)


def test_the_solution_is_five_times_sooner_than_the_first_rung_and_moves_no_needless_bytes(climbed):
    assert climbed[1].latency_us["trn2"] >= 5 * climbed[7].latency_us["trn2"]
    case = ladder_case()
    least = sum(x.nbytes for x in case.args.values()) + 2 * 32 * 128
    assert climbed[7].counts["HBM bytes"] <= 1.02 * least


def test_a_long_cache_reaches_four_fifths_of_the_achievable_bandwidth():
    case = ladder_case(2048)  # its values are not looked at: only the shapes grow
    with nkisim.record(values=False) as run:
        runner.load(ROOT / "solutions" / "stage7_fast.py", STAGE)(
            nkisim.shape(case.args["q"].shape, BF16),
            nkisim.shape((8, 128, 32768), BF16),
            nkisim.shape((8, 32768, 128), BF16),
        )
    found = ladder.measured(run)
    assert found.share["trn2"] >= 0.8 and found.bound["trn2"] == "dma"


def test_the_bound_is_kept_and_is_tight_within_a_factor_of_ten(tmp_path):
    kernel, used = load(7, solution(7), tmp_path), []
    for case in STAGE.cases():
        error = np.abs(
            kernel(*case.args.values(), **case.options).astype(np.float64) - STAGE.expected(case)
        )
        used.append((error / STAGE.tolerance(case)).max())
    assert 0.1 < max(used) <= 1


def test_the_unit_is_the_largest_relative_error_of_rounding_to_bfloat16():
    x = np.linspace(1, 2, 4097, dtype=np.float32)
    assert np.abs(x.astype(BF16).astype(np.float32) - x).max() == precision.UNIT


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_kernel_is_caught_with_its_own_sentence(name, tmp_path):
    refused(WRONG[name], tmp_path)


def test_a_right_kernel_in_another_style_is_right(tmp_path):
    verdict = check(7, load(7, style("stage7_whole_cache"), tmp_path))
    assert verdict.ok, verdict.sentence


def test_a_check_tells_the_rung_and_what_the_next_one_asks_for(tmp_path):
    kernel = load(7, rung("v3_wide_tiles"), tmp_path)
    assert check(7, kernel, rung=3).ok
    assert check(7, kernel).notes[-1].startswith("ladder: rung 3 of 7 (wide tiles), ")
    short = check(7, kernel, rung=4)
    assert (
        short.outcome == "wrong"
        and ("rung 4, large transfers, is not reached: DMA transfers at most 100, yours 272")
        in short.sentence
    )


@pytest.mark.parametrize(("key", "number"), [(7, 0), (7, 8), (4, 1)])
def test_there_is_no_other_rung(key, number):
    with pytest.raises(StageError, match="rungs"):
        check(key, None, rung=number)


def test_the_ladder_is_a_table_whose_times_say_model(capsys):
    ladder.ladder(7, rungs=[2, 7])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["rung", "transfers"] and "model trn2 us" in lines[1]
    shown = [line.split()[0] for line in lines if line[:2] in ("2 ", "2:", "7 ", "7:")]
    assert shown == ["2", "7", "2:", "7:"]


def test_lanes_that_hold_the_keys_fold_into_one_row_a_head(tmp_path):
    made = trace(7, load(7, solution(7), tmp_path), "ascending, n = 16384")
    twin = trace(7, STAGE.twin, "ascending, n = 16384")
    assert made.to_dict()["first_key"] == twin.to_dict()["first_key"] == [0, 8192, 0, 8192]
    for name in ("m_new", "l", "alpha"):
        np.testing.assert_allclose(made.to_dict()[name], twin.to_dict()[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((zeros(64, 3), zeros(2, 64, 128), zeros(2, 128, 64)), "Hq must be a multiple of Hkv"),
        ((zeros(32, 4), zeros(2, 64, 128), zeros(2, 128, 64)), "q must be (d, Hq)"),
        ((zeros(64, 4), zeros(2, 64, 128), zeros(2, 64, 128)), "v must be (Hkv, n, d)"),
        (
            (zeros(64, 4), zeros(2, 64, 100), zeros(2, 100, 64)),
            "n must be a positive multiple of 128",
        ),
        (
            (zeros(64, 4, dtype=np.float32), zeros(2, 64, 128), zeros(2, 128, 64)),
            "must be bfloat16",
        ),
    ],
)
def test_the_solution_refuses_bad_input_with_one_sentence(args, text, tmp_path):
    with pytest.raises(AssertionError) as caught:
        load(7, solution(7), tmp_path)(*args)
    assert text in str(caught.value)
