"""`tools/canary_report.py`: what failed with the newest packages, and which packages those are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import canary_report  # noqa: E402

JUNIT = """<testsuites><testsuite tests="3">
<testcase classname="tests.a" name="test_right"/>
<testcase classname="tests.a" name="test_left_out"><skipped message="no Chromium"/></testcase>
<testcase classname="tests.b" name="test_wrong[x|y]">
<failure message="assert 1 == 2&#10;more">trace</failure></testcase>
</testsuite></testsuites>"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_report_counts_and_names_each_failure_with_its_first_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert canary_report.main([str(write(tmp_path / "r.xml", JUNIT))]) == 1
    said = capsys.readouterr().out
    assert "1 passed, 1 failed, 1 skipped." in said
    assert "| tests.b::test_wrong[x\\|y] | assert 1 == 2 |" in said and "more" not in said
    assert summary.read_text(encoding="utf-8") == said


def test_where_all_passed_the_report_says_so_and_the_status_is_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    junit = write(tmp_path / "r.xml", JUNIT.replace("failure", "system-out"))
    types = write(tmp_path / "types.txt", "Success: no issues found in 3 source files\n")
    assert canary_report.main([str(junit), "--types", str(types)]) == 0
    assert "all passed" in capsys.readouterr().out


def test_what_the_type_checker_objects_to_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    junit = write(tmp_path / "r.xml", JUNIT.replace("failure", "system-out"))
    types = write(tmp_path / "t", "a.py:1: error: no [x]\nFound 1 error in 1 file\n")
    assert canary_report.main([str(junit), "--types", str(types)]) == 1
    assert "The type checker objects: Found 1 error in 1 file" in capsys.readouterr().out


@pytest.mark.parametrize("text", [None, "", "<testsuites>", "<testsuites></testsuites>"])
def test_a_run_that_left_no_result_has_failed(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "r.xml"
    if text is not None:
        write(path, text)
    outcome = canary_report.read(path)
    assert len(outcome.failures) == 1 and outcome.failures[0].test == "pytest"


CONSTRAINTS = """# a comment
numpy==2.1.0; python_version >= "3.11"
numpy==1.0; python_version < "3.11"
ml_dtypes==0.5.1

furo==1
"""


def test_a_package_with_another_version_than_the_constraints_is_named() -> None:
    constraints = canary_report.pinned(CONSTRAINTS)
    here = {"numpy": "2.5.0", "ml-dtypes": "0.5.1", "Other": "1"}
    assert canary_report.newer(constraints, here) == [("numpy", "2.1.0", "2.5.0")]
