"""A check replays a lowered kernel where cases share a program; what it says does not change."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.tutorial import kernels
from tutorial import check, stage
from tutorial.diagnosis import evidence
from tutorial.inputs.draw import Draw
from tutorial.running import replays, runner


class Direct(replays.Replays):
    """Runs every case directly."""

    def __init__(self, *args):
        super().__init__(*args)
        self.direct = True


@pytest.fixture
def counted(monkeypatch):
    """How many cases were replayed."""
    found = []
    original = replays.Replays.run

    def run(self, case):
        result = original(self, case)
        if result.replayed:
            found.append(case.family)
        return result

    monkeypatch.setattr(replays.Replays, "run", run)
    return found


def both(number, text, tmp_path, monkeypatch):
    """The verdicts of a check that replays, and of one that does not."""
    verdict = check(number, kernels.load(number, text, tmp_path))
    for module in (sys.modules["tutorial.check"], evidence):
        monkeypatch.setattr(module, "Replays", Direct)
    return verdict, check(number, kernels.load(number, text, tmp_path))


@pytest.mark.parametrize("number", [5, 6])
def test_a_right_kernel_is_replayed_on_most_cases_and_its_verdict_is_the_same(
    number, tmp_path, monkeypatch, counted
):
    verdict, direct = both(number, kernels.solution(number), tmp_path, monkeypatch)
    assert verdict.outcome == "correct" and repr(verdict) == repr(direct)
    assert len(counted) > 10


def test_a_replay_counts_the_bytes_that_a_run_moves():
    lesson = stage.get(8)
    kernel = runner.load(kernels.ROOT / "solutions" / f"{lesson.file_name}.py", lesson)
    case = next(c for c in lesson.cases(Draw("", False)) if c.args["lengths"].max() > 200)
    cases = [
        replace(case, args={**case.args, "lengths": case.args["lengths"] // part})
        for part in (1, 2, 3, 4, 300, 1)
    ]
    replaying = replays.Replays(kernel, lesson, cases)
    results = [replaying.run(c) for c in cases]
    assert [r.replayed for r in results] == [False, True, True, True, True, True]
    moved = set()
    for result in results[1:]:
        run = replaying.again(result).run
        assert result.run.hbm_reads == run.hbm_reads
        assert result.run.hbm_bytes_read == run.hbm_bytes_read
        assert result.run.hbm_bytes_written == run.hbm_bytes_written
        moved.add(run.hbm_bytes_read)
    assert len(moved) > 1, "the lengths differ, and with them the bytes"


@pytest.mark.parametrize(
    "change",
    [
        ("nisa.tensor_tensor(m, m_new", "nisa.tensor_tensor(m_new, m"),
        ("operand0=scale)", "operand0=1.0)"),
        ("nl.store(o", "nl.store(q"),
    ],
)
def test_a_wrong_kernel_is_told_the_same(change, tmp_path, monkeypatch):
    text = kernels.changed(kernels.solution(3), change)
    verdict, direct = both(3, text, tmp_path, monkeypatch)
    assert verdict.outcome == "wrong" and repr(verdict) == repr(direct)


def test_a_kernel_that_is_wrong_on_a_few_cases_is_replayed_on_the_others(tmp_path, counted):
    given = "1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale"
    text = kernels.changed(kernels.solution(4), (given, "1.0 / math.sqrt(d)"))
    verdict = check(4, kernels.load(4, text, tmp_path))
    assert verdict.outcome == "wrong", verdict.sentence
    assert len(counted) > 5


def test_the_cases_of_a_program_run_directly_once_its_first_is_wrong(tmp_path, counted):
    text = kernels.changed(kernels.solution(3), ("operand0=scale)", "operand0=1.0)"))
    assert check(3, kernels.load(3, text, tmp_path)).outcome == "wrong"
    assert not [family for family in counted if not family.startswith("probe: ")]


def test_the_probes_of_a_program_are_replayed(tmp_path, counted):
    text = kernels.changed(kernels.solution(3), ("operand0=scale)", "operand0=1.0)"))
    assert check(3, kernels.load(3, text, tmp_path)).cause == "scale missing"
    assert [family for family in counted if family.startswith("probe: ")]


def test_a_kernel_that_looks_at_values_runs_directly(tmp_path, counted):
    text = kernels.changed(
        kernels.solution(3),
        ("@nki.jit\ndef decode_attention_fwd(", "@nki.jit\ndef _fwd("),
    )
    text += (
        "\n\ndef decode_attention_fwd(q, k, v, softmax_scale=None):\n"
        "    assert float(q[0, 0]) == float(q[0, 0]) or True\n"
        "    return _fwd(q, k, v, softmax_scale)\n"
    )
    verdict = check(3, kernels.load(3, text, tmp_path))
    assert not counted
    assert verdict.cause == "not computed by instructions"


def test_a_kernel_that_is_another_one_on_shapes_is_not_replayed(tmp_path, counted):
    text = kernels.solution(3) + (
        "\n\n_right = decode_attention_fwd\n\n"
        "def decode_attention_fwd(q, k, v, softmax_scale=None):\n"
        "    if type(q).__module__ == 'numpy':\n"
        "        return _right(q, k, v, softmax_scale)\n"
        "    return _right(q, k, v, 1.0)\n"
    )
    verdict = check(3, kernels.load(3, text, tmp_path))
    assert verdict.cause == "not computed by instructions" and not counted


def test_a_wrong_answer_runs_directly_until_one_of_its_program_agrees(tmp_path):
    lesson = stage.get(3)
    text = kernels.changed(kernels.solution(3), ("nl.full((1, 1), nl.fp32.min", "nl.zeros((1, 1)"))
    names = ("equal", "scores near -1000", "scores below -110", "scores near -3000")
    cases = [lesson.case(name) for name in names]
    replaying = replays.Replays(kernels.load(3, text, tmp_path), lesson, cases)
    results = [replaying.run(case) for case in cases]
    assert [r.replayed for r in results] == [False, True, True, True]
    again = replaying.was_wrong(results[1])
    assert not again.replayed and np.array_equal(again.output, results[1].output, equal_nan=True)
    assert replaying.was_wrong(results[2]) is results[2]


def test_a_program_whose_wrong_answer_is_not_the_kernels_is_replayed_no_more(tmp_path):
    lesson = stage.get(3)
    cases = [case for case in lesson.cases() if case.args["k"].shape[1] == 1024][:5]
    replaying = replays.Replays(kernels.load(3, kernels.solution(3), tmp_path), lesson, cases)
    result = [replaying.run(case) for case in cases[:4]][-1]
    assert result.replayed
    again = replaying.was_wrong(replace(result, output=result.output + 1))
    assert not again.replayed and not replaying.run(cases[4]).replayed


def test_a_case_is_keyed_by_the_type_of_its_python_arguments_too():
    case = stage.get(3).cases(Draw("", False))[0]
    keys = {
        replays._key(stage.Case(case.family, "", case.args, {"softmax_scale": scale}))
        for scale in (2, 2.0, True, None, np.float32(2.0))
    }
    assert len(keys) == 5
