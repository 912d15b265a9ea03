"""Judges: processes that grade one submission after the other, and how the work is shared out."""

from __future__ import annotations

import contextlib
import queue
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import stage
from ..running.process import surroundings
from ..verdict import UNUSABLE
from . import processes, protocol
from .files import remove
from .sandbox import Limits

_GRACE = 4  # times the seconds of a submission: then the judge itself has stopped
_UNSET = {"NKI_PRECISE_FP": "", "NEURON_PLATFORM_TARGET_OVERRIDE": "", "OMP_NUM_THREADS": "1"}
_UNSET |= {"OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Setting:
    """What holds for every submission of a class: the word of the hidden inputs, the limits, and
    the folders that no submission may see."""

    seed: str
    limits: Limits
    private: tuple[str, ...] = ()


def seed_of(out: Path, given: str | None) -> str:
    """The word for the hidden inputs: the one that is given, else the one of the last run there,
    else a new one, which is kept for the teacher."""
    path = out / "seed.txt"
    if given is None and path.is_file():
        return path.read_text(encoding="utf-8").strip()
    word = secrets.token_hex(8) if given is None else given
    if not word.strip():
        raise stage.StageError("--seed must be a word.")
    path.write_text(word + "\n", encoding="utf-8")
    return word


@dataclass(frozen=True)
class Task:
    """One text to judge, and its number among all."""

    number: int
    stage: int
    text: bytes


Done = Callable[[Task, dict[str, Any]], None]
"""Called with each result as soon as it is there, by one thread at a time."""


class Judge:
    """A judge's process and the pipe to it."""

    def __init__(self, setting: Setting) -> None:
        self.seconds = setting.limits.seconds
        self.folder = tempfile.mkdtemp(prefix="judge")
        """Of its files, which it may be ended too soon to remove."""
        own = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self.folder)
        self.process = processes.begin(
            [sys.executable, "-m", "tutorial.classroom.worker"], {**surroundings(), **_UNSET, **own}
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.writer, self.reader = self.process.stdin, self.process.stdout
        protocol.send(self.writer, asdict(setting))

    def judge(self, task: Task) -> dict[str, Any]:
        """The result of one submission. Raises Broken where the judge falls over."""
        timer = threading.Timer(self.seconds * _GRACE, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            name = f"{stage.get(task.stage).file_name}.py"
            protocol.send(self.writer, {"stage": task.stage, "name": name}, task.text)
            return protocol.receive(self.reader)[0]
        finally:
            timer.cancel()

    def stop(self) -> None:
        """End the process and what it holds."""
        processes.end(self.process)
        remove(self.folder)


@dataclass(eq=False)
class Bench:
    """One judge, begun when it is needed and again after it has fallen over."""

    setting: Setting
    sitting: Judge | None = None

    def judged(self, task: Task) -> dict[str, Any]:
        """The result of one submission, whatever happens to the judge."""
        try:
            if self.sitting is None:
                self.sitting = Judge(self.setting)
            return self.sitting.judge(task)
        except (protocol.Broken, OSError):
            self.stop()
            return unjudged("judging it took more than a judge has")

    def stop(self) -> None:
        """End the judge."""
        sitting, self.sitting = self.sitting, None
        if sitting is not None:
            sitting.stop()


def here(tasks: Sequence[Task], setting: Setting, done: Done, judges: int) -> None:
    """Judge on this machine, `judges` at a time."""
    left: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        left.put(task)
    lock, ending = threading.Lock(), threading.Event()
    benches = [Bench(setting) for _ in range(max(min(judges, len(tasks)), 1))]

    def work(bench: Bench) -> None:
        with contextlib.suppress(queue.Empty):
            while not ending.is_set():
                task = left.get_nowait()
                result = bench.judged(task)
                with lock:
                    if not ending.is_set():
                        done(task, result)
        bench.stop()

    threads = [threading.Thread(target=work, args=(bench,)) for bench in benches]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:  # interrupted: what is judged at this moment is judged again the next time
        ending.set()
        for bench in benches:
            bench.stop()


def unjudged(why: str) -> dict[str, Any]:
    """The result of a submission that nobody could judge."""
    sentence = f"The submission could not be judged: {why}." if why else ""
    return {
        "outcome": UNUSABLE,
        "cause": None,
        "sentence": sentence,
        "counters": {},
        "ladder": 0,
        "judged": "no",
        "open": None,
        "trace": "",
        "pictures": [],
        "ended": why,
        "limits": [],
    }
