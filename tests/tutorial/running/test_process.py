"""The command line whatever a file does to its process: one sentence, never 0 without a verdict."""

from __future__ import annotations

import json
import os
import signal
import sys

import numpy as np
import pytest

from tests.tutorial.kernels import ROOT, changed, solution
from tutorial import get
from tutorial.__main__ import main
from tutorial.running import process

KERNEL = "import neuronxcc.nki as nki\n\n\n@nki.jit\n" + (
    "def decode_attention_fwd(q, k, v, softmax_scale=None):\n    {body}\n"
)
IN_THE_KERNEL = {
    "SystemExit": "raise SystemExit(0)",
    "GeneratorExit": "raise GeneratorExit",
    "os._exit": "import os; os._exit(0)",
    "a BaseException": "raise type('Odd', (BaseException,), {})('odd')",
    "a text that raises": "raise type('Mute', (Exception,), {'__str__': lambda s: 1 / 0})()",
    "a text that exits": "raise type('Mute', (Exception,), {'__str__': lambda s: exit(0)})()",
    "a text of surrogates": "raise ValueError(chr(0xD800) + chr(0x2264))",
}
AT_IMPORT = {
    "os._exit": "import os\nos._exit(0)\n",
    "a forged verdict": 'import os\nos.write(1, b\'{"outcome": "correct"}\')\nos._exit(0)\n',
    "SystemExit": "raise SystemExit(0)\n",
    "GeneratorExit": "raise GeneratorExit\n",
    "no text": "x = '\\ud800'\nraise ValueError(x)\n",
    "bytes": "\0\1",
}


def judged(capsys, *arguments):
    status = main([str(a) for a in arguments])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("body", IN_THE_KERNEL.values(), ids=list(IN_THE_KERNEL))
def test_whatever_a_kernel_raises_is_one_sentence(body, tmp_path, capsys):
    file = tmp_path / "kernel.py"
    file.write_text(KERNEL.format(body=body), encoding="utf-8")
    status, found = judged(capsys, "check", 3, file, "--json")
    assert (status, found["outcome"]) == (1, "wrong")
    assert found["sentence"] and "\n" not in found["sentence"]
    assert main(["check", "3", str(file)]) == 1


def test_what_a_kernel_says_fits_into_a_terminal_line(tmp_path, capsys):
    file = tmp_path / "kernel.py"
    body = "raise ValueError('\\x1b[31m' + 'x' * 100_000)"
    file.write_text(KERNEL.format(body=body), encoding="utf-8")
    assert main(["check", "3", str(file)]) == 1
    printed = capsys.readouterr().out
    assert r"\x1b[31mxxx" in printed and "\x1b" not in printed and len(printed) < 1000


def test_a_kernel_that_ends_the_process_is_told_by_which_call(tmp_path, capsys):
    file = tmp_path / "kernel.py"
    file.write_text(KERNEL.format(body="import os; os._exit(0)"), encoding="utf-8")
    _, found = judged(capsys, "check", 3, file, "--json")
    assert "it calls os._exit, line 6:" in found["sentence"]


@pytest.mark.parametrize("text", AT_IMPORT.values(), ids=list(AT_IMPORT))
def test_whatever_a_file_does_on_import_is_one_sentence(text, tmp_path, capsys):
    file = tmp_path / "kernel.py"
    file.write_text(text, encoding="utf-8")
    status, found = judged(capsys, "check", 3, file, "--json")
    assert (status, found["outcome"]) == (2, "unusable")
    assert found["sentence"] and "\n" not in found["sentence"]


def test_a_truncated_input_file_is_unusable(tmp_path, capsys):
    whole = tmp_path / "whole.npz"
    np.savez(whole, **{name: np.zeros((64, 128), np.float32) for name in "qkv"})
    for size in (0, 2, 100, 2000):
        cut = tmp_path / f"cut{size}.npz"
        cut.write_bytes(whole.read_bytes()[:size])
        status, found = judged(
            capsys,
            "check",
            3,
            ROOT / "solutions/stage3_online_softmax.py",
            "--json",
            "--input",
            cut,
        )
        assert (status, found["outcome"]) == (2, "unusable"), size
        assert "cannot be read" in found["sentence"] or "that can be read" in found["sentence"]


def test_an_unknown_target_in_the_environment_is_no_fault_of_the_kernel(monkeypatch, capsys):
    monkeypatch.setenv("NEURON_PLATFORM_TARGET_OVERRIDE", "trn9")
    status, found = judged(capsys, "check", 1, ROOT / "solutions/stage1_single_tile.py", "--json")
    assert (status, found["outcome"]) == (3, "check failed")
    assert "'trn9'" in found["sentence"]
    assert main(["doctor"]) == 1
    assert "NEURON_PLATFORM_TARGET_OVERRIDE" in capsys.readouterr().out


def test_imprecise_arithmetic_in_the_environment_changes_no_verdict(monkeypatch, tmp_path, capsys):
    file = tmp_path / "kernel.py"
    text = changed(
        solution(3), ("nisa.tensor_copy(nisa.nc_transpose(p))", "nl.copy(p_t, dtype=nl.bfloat16)")
    )
    text = text.replace("p_t = nl.copy", "p_t = nisa.nc_transpose(p)\n        p_t = nl.copy")
    file.write_text(text, encoding="utf-8")
    for value in ("1", "0"):
        monkeypatch.setenv("NKI_PRECISE_FP", value)
        assert main(["check", "3", str(file)]) == 1
    capsys.readouterr()


def test_a_rung_that_cannot_be_measured_is_not_reached(tmp_path, capsys):
    file = tmp_path / "kernel.py"
    rung = ROOT / "solutions/stage7_fast/v2_v_rows.py"
    file.write_text(
        rung.read_text(encoding="utf-8").replace("def decode_attention_fast_fwd", "def inner")
        + "\n\ndef decode_attention_fast_fwd(q, k, v, softmax_scale=None):\n"
        "    return inner(q, k, v, softmax_scale)\n",
        encoding="utf-8",
    )
    status, found = judged(capsys, "check", 7, file, "--rung", 7, "--json")
    assert status == 1 and "rung 7, keys on partitions, is not reached" in found["sentence"]


@pytest.mark.skipif(sys.platform == "win32", reason="streams that the system closes")
@pytest.mark.parametrize("where", [">&-", "> /dev/full"])
def test_a_verdict_that_cannot_be_printed_is_no_success(where, run_python, tmp_path):
    import subprocess

    if where == "> /dev/full" and not (ROOT / "/dev/full").exists():
        pytest.skip("this system has no full device")
    file = ROOT / "solutions/stage1_single_tile.py"
    command = f"{sys.executable} -m tutorial check 1 {file} {where}"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 3, done.stderr


def test_run_judges_each_file_in_a_process_of_its_own(tmp_path, capsys, monkeypatch):
    def write(name, text):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    endless = write("stage0_loops.py", "import time\nwhile True:\n    time.sleep(0.1)\n")
    files = [
        write("stage0_ends.py", "import ctypes\nctypes.CDLL(None).exit(0)\n"),
        write("stage0_right.py", solution(0)),
        endless,
        write("stage0_blank.py", get(0).blank),
    ]
    apart = process.apart

    def hurried(arguments, seconds):  # a file that never ends need not be waited for long
        return apart(arguments, 1 if endless in arguments else seconds)

    monkeypatch.setattr(process, "apart", hurried)
    assert main(["run", "--json", *files]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [v["outcome"] for v in found] == ["unusable", "correct", "unusable", "not attempted"]
    assert "ended the process with status 0" in found[0]["sentence"]
    assert "did not end within 1 seconds" in found[2]["sentence"]


def test_run_gives_each_file_the_seconds_that_it_is_told(tmp_path, capsys):
    file = tmp_path / "stage0_sleeps.py"
    file.write_text("import time\ntime.sleep(3600)\n", encoding="utf-8")
    assert main(["run", "--seconds", "0.5", str(file)]) == 2
    assert "did not end within 0.5 seconds" in capsys.readouterr().out


def test_a_second_ctrl_c_ends_the_process_where_a_file_has_caught_the_first(monkeypatch, capfd):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with process.stoppable():
            for ended in ([], [130]):
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
                assert left == ended
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err.startswith("Stopped: ")
