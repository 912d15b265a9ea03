"""A kernel that never ends gets a verdict, whatever its loop does, and a slow one is no such
kernel."""

from __future__ import annotations

import json
import threading

import pytest

from tests.tutorial.kernels import load, solution, style
from tutorial import check, get, stages, tally, trace
from tutorial.__main__ import main
from tutorial.cost.compare import compare
from tutorial.cost.ladder import ladder, measure
from tutorial.running import limits, runner
from tutorial.running.problems import Unusable

KERNEL = (
    "import neuronxcc.nki as nki\nimport neuronxcc.nki.language as nl\nimport numpy as np\n\n\n"
    "@nki.jit\ndef {entry}:\n    {body}\n"
)
ENTRY = "decode_attention_fwd(q, k, v, softmax_scale=None)"
COUNTED = {
    "instructions": "while True:\n        nl.load(q[0:1, 0:1])",
    "tiles": "while True:\n        nl.ndarray((4, 4), dtype=nl.float32)",
    "a bound that moves": "n = 1\n    while n > 0:\n        nl.load(q[0:1, 0:1])\n        n += 1",
}
UNCOUNTED = {
    "nothing": "while True:\n        pass",
    "a long range": "for i in nl.affine_range(10**12):\n        pass",
    "a handler": "while True:\n        try:\n            int('a')\n        except Exception:\n"
    "            pass",
}
TOO_MUCH = {
    "a tile": ("nl.zeros((128, 10**10), dtype=nl.float32)", "larger than SBUF"),
    "a tile in PSUM": (
        "nl.zeros((128, 10**10), dtype=nl.float32, buffer=nl.psum)",
        "does not fit in one bank",
    ),
    "an array": ("np.zeros((10**7, 10**7))", "asks for more memory than this machine has, line 8"),
    "a list": ("[0] * 10**15", "asks for more memory than this machine has, line 8"),
}
DEEP = {
    "a function": "def f():\n        return f()\n    f()",
    "a generator": "def g():\n        yield from g()\n    list(g())",
}


def kernel(body, folder, number=3, entry=ENTRY):
    return load(number, KERNEL.format(entry=entry, body=body), folder)


@pytest.mark.parametrize("body", COUNTED.values(), ids=COUNTED)
def test_a_loop_that_asks_the_machine_for_more_and_more_is_counted(body, tmp_path):
    verdict = check(3, kernel(body, tmp_path))
    assert verdict.exit_code == 1
    assert verdict.cause == "no end"
    assert verdict.details["rule"] == "instruction-limit"
    assert "102,400 instructions" in verdict.sentence
    assert "See that its loop ends." in verdict.sentence


@pytest.mark.parametrize("body", UNCOUNTED.values(), ids=UNCOUNTED)
def test_a_loop_that_asks_the_machine_for_nothing_is_timed(body, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    verdict = check(3, kernel(body, tmp_path))
    assert (verdict.exit_code, verdict.cause) == (1, "no end")
    assert verdict.sentence.startswith("The kernel comes to no end within 0.2 s of CPU time, line ")


def test_a_file_that_is_never_imported_to_its_end_is_unusable(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    with pytest.raises(Unusable, match="the file does not import: NoEnd: no end within 0.2 s"):
        load(3, "while True:\n    pass\n", tmp_path)


@pytest.mark.parametrize(("asked", "words"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_more_memory_than_there_is_is_refused_in_one_sentence(asked, words, tmp_path):
    verdict = check(3, kernel(f"t = {asked}", tmp_path))
    assert verdict.exit_code == 1
    assert words in verdict.sentence
    assert "\n" not in verdict.sentence


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_a_recursion_without_end_is_told_in_one_sentence(body, tmp_path):
    verdict = check(3, kernel(body, tmp_path))
    assert verdict.exit_code == 1
    assert verdict.sentence == "The kernel calls itself without end."


def test_json_says_it_too(tmp_path, capsys):
    file = tmp_path / "endless.py"
    file.write_text(KERNEL.format(entry=ENTRY, body=COUNTED["instructions"]), encoding="utf-8")
    assert main(["check", "3", str(file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["cause"], found["details"]["rule"]) == ("no end", "instruction-limit")


def test_every_reader_of_a_run_says_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(limits, "PER_KEY", 1)
    endless = kernel(COUNTED["instructions"], tmp_path)
    for text in (trace(3, endless), tally(3, endless), compare(3, endless, endless)):
        assert "issues more than 20,000 instructions" in str(text)
    fast = get(7)
    endless = kernel(COUNTED["instructions"], tmp_path, 7, fast.call)
    ladder(7, endless, rungs=[])
    printed = capsys.readouterr().out
    assert "Your kernel does not run at this size: the kernel issues more than" in printed


def test_the_ladder_is_timed_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    endless = kernel(UNCOUNTED["nothing"], tmp_path, 7, get(7).call)
    with pytest.raises(limits.NoEnd):
        measure(7, endless)
    ladder(7, endless, rungs=[])
    assert "does not run at this size: no end within 0.2 s" in capsys.readouterr().out


@pytest.mark.parametrize("body", ["while True:\n        pass", "raise SystemExit(0)"])
def test_a_step_of_stage_10_is_watched_as_a_kernel_is(body, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.2)
    step = load(10, f"def {get(10).call}:\n    {body}\n", tmp_path)
    verdict = check(10, step)
    assert verdict.exit_code == 1
    assert verdict.sentence.startswith("token 0 ('A'), layer 0: the step ")


def test_a_step_that_calls_the_kernel_for_ever_is_refused_by_it(tmp_path):
    body = "while True:\n        cache.attend(kernel, layer, 1, q)"
    step = load(10, f"def {get(10).call}:\n    {body}\n", tmp_path)
    verdict = check(10, step)
    assert verdict.exit_code == 1
    assert "1,000 calls for one token and layer are too many" in verdict.sentence


@pytest.mark.parametrize("stage", [s for s in stages() if s.judge is None], ids=lambda s: s.name)
def test_a_right_kernel_needs_a_tenth_of_what_it_may_issue(stage, tmp_path):
    made = load(stage.number, solution(stage.number), tmp_path)
    for case in stage.cases()[:6]:
        run = runner.run(made, case, stage).run
        assert 10 * len(run) <= limits.most_instructions(case)


@pytest.mark.parametrize("name", ["stage8_rows_of_a_block", "stage8_a_state_a_lane"])
def test_the_slowest_right_kernels_known_need_no_more_than_they_may_issue(name, tmp_path):
    stage = get(8)
    made = load(8, style(name), tmp_path)
    for family in ("blocks of one key", "random, blocks of 128"):
        case = stage.case(family)
        assert len(runner.run(made, case, stage).run) <= limits.most_instructions(case) / 1.8


def test_what_ends_in_time_is_left_alone(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.1)
    before = threading.active_count()
    with limits.ending():
        pass
    for _ in range(10**6):  # nothing is left that would raise in what comes next
        pass
    assert threading.active_count() == before


def test_without_threads_nobody_keeps_the_time(monkeypatch):
    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with limits.ending():
        pass
