"""Which processes there are, from /proc and from `ps`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tutorial.classroom import processes

SOURCES = []
if os.path.isdir("/proc/1"):
    SOURCES.append(processes.of_proc)
if shutil.which("ps"):
    SOURCES.append(processes.of_ps)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_a_child_of_a_child_descends_from_both_and_takes_memory(source):
    script = (
        "import subprocess, sys\n"
        "inner = [sys.executable, '-c', 'print(flush=True); input()']\n"
        "child = subprocess.Popen(inner, stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "input()\n"
        "child.communicate(b'\\n')\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = [
            child.stdout.readline(),
            child.stdout.readline(),
        ]  # the inner one says that it is up
        inner = int(b"".join(said))
        found = source()
        child.communicate(b"\n")
    assert found[inner].parent == child.pid
    assert {child.pid, inner} <= processes.descendants(found, os.getpid())
    assert inner in processes.descendants(found, child.pid)
    assert processes.descendants(found, inner) == set()
    assert found[inner].resident > 1 << 20


def test_where_nobody_tells_there_are_none(monkeypatch):
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    monkeypatch.setenv("PATH", "")
    assert processes.table() == {}
