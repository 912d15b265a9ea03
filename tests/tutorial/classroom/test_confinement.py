"""What Linux takes from a process that asks for it: files, sockets, other processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tutorial.classroom import landlock, seccomp
from tutorial.classroom.sandbox import beneath

TRY = """
import errno, os, socket, sys
from tutorial.classroom import landlock, seccomp
folder, secret = sys.argv[1:]
{given_up}

def refused(what):
    try:
        what()
    except OSError as error:
        return error.errno in (errno.EPERM, errno.EACCES)
    return False

print(refused(lambda: open(secret).read()), end=" ")
print(refused(lambda: open(os.path.join(folder, "own"), "w").close()), end=" ")
print(refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)), end=" ")
print(refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)), end=" ")
print(refused(lambda: socket.socketpair()), end=" ")
"""


def tried(tmp_path: Path, given_up: str) -> list[bool]:
    """What a process is refused: a secret, its own folder, TCP, UDP, a pair of sockets."""
    own, secret = tmp_path / "folder", tmp_path / "secret"
    own.mkdir()
    secret.write_text("seed", encoding="utf-8")
    command = [sys.executable, "-c", TRY.format(given_up=given_up), str(own), str(secret)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [word == "True" for word in done.stdout.split()]


def test_a_process_that_gives_up_nothing_is_refused_nothing(tmp_path):
    assert tried(tmp_path, "") == [False] * 5


@pytest.mark.skipif(not landlock.version(), reason="the kernel has no Landlock")
def test_landlock_leaves_the_folders_that_are_named(tmp_path):
    given_up = "assert landlock.confine([sys.prefix], [folder])"
    assert tried(tmp_path, given_up)[:2] == [True, False]


@pytest.mark.skipif(not seccomp.here(), reason="the kernel has no filters of system calls")
def test_seccomp_takes_every_socket_and_leaves_pairs(tmp_path):
    assert tried(tmp_path, "assert seccomp.confine()") == [False, False, True, True, False]


@pytest.mark.skipif(not seccomp.here(), reason="the kernel has no filters of system calls")
def test_seccomp_takes_the_memory_and_the_messages_that_outlive_a_process():
    code = """
import ctypes
from tutorial.classroom import seccomp
assert seccomp.confine()
c = ctypes.CDLL(None, use_errno=True)
made = c.shmget(0, 4096, 0o1600), c.semget(0, 1, 0o1600), c.msgget(0, 0o1600)
print(made, ctypes.get_errno())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "(-1, -1, -1) 1"


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_a_process_that_keeps_its_secrets_cannot_be_looked_into_by_its_own_user():
    get_dumpable = 3  # of prctl: whether others may read its memory
    script = (
        "from tutorial.classroom import landlock\n"
        f"print(landlock.control({get_dumpable}))\n"
        "landlock.keep_secret()\n"
        f"print(landlock.control({get_dumpable}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "0"]


def test_of_a_folder_with_something_hidden_the_rest_is_left(tmp_path):
    for name in ("a", "b/secret/deep", "b/open", "c"):
        (tmp_path / name).mkdir(parents=True)
    hidden = str(tmp_path / "b" / "secret")
    found = [Path(p).relative_to(tmp_path).as_posix() for p in beneath(str(tmp_path), [hidden])]
    assert found == ["a", "b/open", "c"]
    assert beneath(hidden, [hidden]) == []
    assert beneath(str(tmp_path / "c"), [hidden]) == [str(tmp_path / "c")]
