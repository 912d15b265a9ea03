"""The stored data: missing and damaged files get one sentence, wherever they are needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.tutorial.kernels import load, solution
from tutorial import check
from tutorial.inputs import datafiles, realdata
from tutorial.stages import grouped

DATA = Path(datafiles.__file__).parent.parent / "data"


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the data files in which something may be broken."""
    shutil.copytree(DATA, tmp_path / "data")
    monkeypatch.setattr(datafiles, "folder", lambda: tmp_path / "data")
    yield tmp_path / "data"
    realdata._data.cache_clear()
    grouped.cases.cache_clear()


def test_the_files_are_those_that_their_readme_describes(copied):
    assert datafiles.troubles() == []


@pytest.mark.parametrize("name", datafiles.MADE_BY)
@pytest.mark.parametrize("how", ["missing", "truncated", "overwritten", "empty"])
def test_a_broken_data_file_is_named_with_what_to_do(name, how, copied):
    file = copied / name
    if how == "missing":
        file.unlink()
    else:
        whole = file.read_bytes()
        at = len(whole) // 2
        file.write_bytes(
            {"truncated": whole[:at], "overwritten": whole[:at] + bytes(64) + whole[at + 64 :]}.get(
                how, b""
            )
        )
    (trouble,) = datafiles.troubles()
    assert name in trouble and "install the package" in trouble and "\n" not in trouble


def test_a_check_says_that_it_failed_and_not_the_kernel(copied, tmp_path):
    (copied / "smollm2_attention.npz").write_bytes(b"PK")
    realdata._data.cache_clear()
    grouped.cases.cache_clear()
    verdict = check(4, load(4, solution(4), tmp_path))
    assert (verdict.outcome, verdict.exit_code) == ("check failed", 3)
    assert "smollm2_attention.npz is damaged" in verdict.sentence
