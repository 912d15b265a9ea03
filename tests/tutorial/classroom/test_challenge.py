"""The challenge: a right kernel gets its line, a wrong or forged one gets none."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.tutorial.kernels import ROOT, solution
from tutorial import stage
from tutorial.__main__ import main
from tutorial.classroom import challenge
from tutorial.cost import ladder
from tutorial.running import runner

pytest.importorskip("ml_dtypes")
SHORT = (2048,)  # one size is enough to tell a kernel that is wrong everywhere
SEED = "a word"
ROWS = re.compile(r"^\| (?!kernel |---).*`[0-9a-f]{12}` \|$", re.MULTILINE)
PAGE = ROOT / "docs" / "challenge.md"
ENTERED = ROOT / "solutions" / "challenge"


def files() -> dict[str, Path]:
    """The kernels that the table may speak of, by digest: worked ones, and those that were
    entered."""
    folder = ROOT / "solutions"
    found = [folder / "stage7_fast.py", *sorted((folder / "stage7_fast").glob("*.py"))]
    found += sorted(ENTERED.glob("*.py"))
    return {hashlib.sha256(f.read_bytes()).hexdigest()[:12]: f for f in found}


def rows() -> list[list[str]]:
    table = PAGE.read_text(encoding="utf-8").partition("<!-- challenge: table -->")[2]
    return [line.strip("| ").split(" | ") for line in ROWS.findall(table)]


def edited(old: str, new: str) -> bytes:
    text = solution(7)
    assert text.count(old) == 1
    return text.replace(old, new).encode()


def refusal(text: bytes, sizes: tuple[int, ...] = SHORT) -> str:
    with pytest.raises(challenge.NoLine) as caught:
        challenge.judged(text, "x", sizes, SEED)
    return str(caught.value)


@pytest.mark.slow
def test_the_worked_kernel_is_right_and_takes_what_the_page_says() -> None:
    entry = challenge.judged(solution(7).encode(), "worked, keys on partitions", SHORT)
    assert entry.bytes_ratio == 1.0 and entry.time_ratio == 1.0
    assert entry.line.split(" | ")[:2] == ["| worked, keys on partitions", "40.7"]
    assert f"`{entry.digest}`" in PAGE.read_text(encoding="utf-8")
    assert all(challenge.WORKED[s.keys] == s.us for s in entry.scores)


def test_the_line_has_a_cell_for_each_column_of_the_table() -> None:
    header = f"| {' | '.join(challenge.HEADER)} |"
    assert header in PAGE.read_text(encoding="utf-8")
    assert all(len(row) == len(challenge.HEADER) for row in rows())


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_line_of_the_table_is_earned_by_a_file_that_is_here(row: list[str]) -> None:
    file = files()[row[-1].strip("`")]
    lesson = stage.get(7)
    if file.is_relative_to(ENTERED):
        assert challenge.judged(file.read_bytes(), row[0], SHORT, SEED).scores
    kernel, us, ratios = runner.load(file, lesson), [], []
    for n in challenge.SIZES:
        found = ladder.measure(lesson, kernel, challenge._shapes(n), targets=("trn2",))
        assert found is not None
        us.append(round(found.latency_us["trn2"], 1))
        ratios.append(us[-1] / challenge.WORKED[n])
    assert row[1:4] == [f"{t:,.1f}" for t in us]
    assert row[5] == f"{challenge._mean(ratios):.3f}"


def test_the_table_is_in_order_of_time() -> None:
    times = [float(row[5]) for row in rows()]
    assert times == sorted(times) and len(times) >= 3


def test_a_wrong_kernel_gets_the_sentence_of_the_check_and_no_line() -> None:
    rescaled = "nisa.tensor_tensor(nisa.tensor_tensor(l, alpha, op=nl.multiply), l_tile"
    said = refusal(edited(rescaled, "nisa.tensor_tensor(l, l_tile"))
    assert "stage 7 fast: wrong" in said and "alpha" in said


def test_a_kernel_that_is_wrong_at_one_size_only_gets_no_line() -> None:
    added = "alpha[0:d, :], op=nl.multiply), pv, op=nl.add"
    said = refusal(edited(added, added.replace("nl.add", "nl.subtract if n == 2048 else nl.add")))
    assert said.startswith("At n = 2,048, o[0, ") and "wrong at this size" in said


def test_a_kernel_that_leaves_keys_out_at_one_size_gets_no_line() -> None:
    chunks = "nl.sequential_range(n // chunk)"
    said = refusal(edited(chunks, chunks.replace("chunk)", "chunk if n != 2048 else 0)")))
    assert said.startswith("At n = 2,048")


def test_a_kernel_that_computes_in_numpy_gets_no_line() -> None:
    text = b"""
import numpy as np
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    scale = q.shape[0] ** -0.5 if softmax_scale is None else softmax_scale
    q, k, v = (np.asarray(x, np.float32) for x in (q, k, v))
    group = q.shape[1] // k.shape[0]
    s = scale * np.einsum("dhg,hdn->hgn", q.reshape(q.shape[0], -1, group), k)
    p = np.exp(s - s.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True) @ v).reshape(q.shape[1], -1)
"""
    assert refusal(text)


def test_a_kernel_that_changes_the_model_of_time_changes_it_for_itself_only() -> None:
    forged = (
        solution(7).encode()
        + b"""
import nkisim.timeline.report as report
report.Timeline.latency_us = property(lambda self: 0.001)
import tutorial.cost.ladder as ladder
ladder.measured = lambda *args, **options: None
"""
    )
    entry = challenge.judged(forged, "forged", SHORT, SEED)
    assert [s.us for s in entry.scores] == [challenge.WORKED[2048]]


def test_an_endless_or_a_huge_file_gets_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = challenge.Limits(seconds=2.0)
    monkeypatch.setattr(challenge, "Limits", lambda: limits)
    assert "2 s" in refusal(b"while True:\n    pass\n")
    assert "are accepted" in refusal(b"#" * (challenge.LARGEST + 1))


def test_the_command_says_why_there_is_no_line_and_ends_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = tmp_path / "blank.py"
    blank.write_text(stage.get(7).blank, encoding="utf-8")
    assert main(["challenge", str(blank)]) == 1
    assert capsys.readouterr().out.endswith("No line for the table.\n")
    assert main(["challenge", str(blank), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["line"] is None


@pytest.mark.parametrize("name", ["", "a | b", "x" * 41, "a\nb"])
def test_a_name_that_would_break_the_table_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["challenge", str(tmp_path / "x.py"), "--name", name]) == 2
    assert "--name is 1 to 40" in capsys.readouterr().err
