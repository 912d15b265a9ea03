"""What a submission leaves behind is removed, however it lies there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tutorial.classroom.files import remove

DEEP = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(1200):
    os.mkdir("d")
    os.chdir("d")
open("file", "w").close()
"""


def test_folders_deeper_than_a_path_can_tell_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    subprocess.run([sys.executable, "-c", DEEP, str(folder)], check=os.name != "nt")
    remove(str(folder))
    assert not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="rights are of another kind there")
def test_folders_without_rights_are_removed_and_what_links_lead_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o500)
    (tmp_path / "left" / "a" / "b").mkdir(parents=True)
    (tmp_path / "left" / "a" / "file").write_text("x", encoding="utf-8")
    (tmp_path / "left" / "link").symlink_to(kept, target_is_directory=True)
    (tmp_path / "left" / "pipe").symlink_to(tmp_path / "nowhere")
    (tmp_path / "left" / "a").chmod(0)
    (tmp_path / "left").chmod(0)
    remove(str(tmp_path / "left"))
    assert not (tmp_path / "left").exists()
    assert kept.stat().st_mode & 0o777 == 0o500


def test_what_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    remove(str(tmp_path / "nothing"))
    assert list(tmp_path.iterdir()) == []
