"""Grading on a Dask cluster: a local one of two workers, of which one is killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tutorial.kernels import ROOT
from tutorial import get
from tutorial.__main__ import main
from tutorial.classroom import cluster
from tutorial.classroom import grade as module
from tutorial.classroom.grade import grade
from tutorial.classroom.judges import Setting, Task
from tutorial.classroom.sandbox import Limits
from tutorial.classroom.submissions import Submission, found_in

STUDENTS = 6
LESSONS = [get(0), get(1)]


def hand_in(folder: Path) -> list[Submission]:
    """A class of which one half is right. Every text is another one."""
    for number in range(STUDENTS):
        own = folder / f"student {number}"
        own.mkdir(parents=True)
        for lesson in LESSONS:
            text = (ROOT / "solutions" / f"{lesson.file_name}.py").read_text(encoding="utf-8")
            if number % 2:
                text = text.replace("op0=nl.multiply", "op0=nl.add")
            said = f"{text}\n# {number}\n"
            (own / f"{lesson.file_name}.py").write_text(said, encoding="utf-8")
    return found_in(folder, LESSONS)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_loses_nothing_and_nothing_counts_twice(tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs Dask: the extra `classroom`")
    jobs = hand_in(tmp_path / "work")
    setting = Setting("a-word", Limits(seconds=60))
    told: list[tuple[str, int]] = []
    killed: list[int] = []

    def shown(done: int, of: int, job: Submission, outcome: str) -> None:
        told.append((job.student, job.stage))
        assert done == len(told) and of == len(jobs)
        if not killed:
            killed.append(client.run(os.getpid, workers=[first])[first])
            os.kill(killed[0], signal.SIGKILL)

    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(processes=True, **options) as local,
        distributed.Client(local) as client,
    ):
        first = next(iter(client.scheduler_info()["workers"]))
        address = local.scheduler_address
        found, limits = grade(jobs, tmp_path / "there", setting, 1, address, shown)
    here, _ = grade(jobs, tmp_path / "here", setting, 2)
    assert killed and Counter(told) == Counter((job.student, job.stage) for job in jobs)
    assert found == here  # the cluster judges as this machine does
    assert Counter(r["outcome"] for r in found) == {"correct": STUDENTS, "wrong": STUDENTS}
    assert "60 s" in limits
    assert len(list((tmp_path / "there").iterdir())) == len(jobs)


class Future:
    """What a cluster promises: a result, or the error that it raises."""

    def __init__(self, outcome: dict[str, Any] | Exception) -> None:
        self.outcome = outcome

    def result(self) -> dict[str, Any]:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Arriving(list[Future]):
    """Futures in the order of their coming; more may be added while they are taken."""

    add = list.append


class Killed(Exception):
    """Stands for Dask's KilledWorker."""


@pytest.mark.parametrize(
    ("answers", "outcome", "asked"),
    [
        ([RuntimeError("the graph"), {"outcome": "correct"}], "correct", 2),
        ([RuntimeError("the graph"), RuntimeError("again")], "unusable", 2),
        ([Killed("four workers")], "unusable", 1),
    ],
    ids=["stumbled once", "stumbled twice", "workers died over it"],
)
def test_what_failed_in_the_handing_over_is_asked_once_more(monkeypatch, answers, outcome, asked):
    given = iter(answers)
    submitted: list[int] = []

    class Client(contextlib.nullcontext):
        def __init__(self, *about: Any, **options: Any) -> None:
            super().__init__(self)

        def submit(self, work: Any, task: Task, *rest: Any, **options: Any) -> Future:
            submitted.append(task.number)
            return Future(next(given))

    dask = SimpleNamespace(Client=Client, as_completed=Arriving, KilledWorker=Killed)
    monkeypatch.setattr(cluster.importlib, "import_module", lambda name: dask)
    told: list[tuple[int, str]] = []
    cluster.there(
        [Task(7, 0, b"")],
        Setting("w", Limits()),
        lambda task, result: told.append((task.number, result["outcome"])),
        "tcp://x:1",
    )
    assert told == [(7, outcome)] and submitted == [7] * asked


def test_the_same_text_of_several_students_is_judged_once(tmp_path, monkeypatch):
    text = (ROOT / "solutions" / "stage0_first_kernel.py").read_bytes()
    jobs = [Submission(name, 0, f"{name}.py", text) for name in ("anna", "ben", "cleo")]
    judged = []

    def there(tasks, setting, done, address):
        for task in tasks:
            judged.append(task.number)
            done(task, {"outcome": "correct", "limits": ["1 s"]})

    monkeypatch.setattr(cluster, "there", there)
    found, limits = grade(jobs, tmp_path, Setting("w", Limits()), scheduler="tcp://anywhere:1")
    assert judged == [0] and [r["outcome"] for r in found] == ["correct"] * 3
    assert limits == ["1 s"]
    kept = [json.loads(path.read_text(encoding="utf-8"))["student"] for path in tmp_path.iterdir()]
    assert sorted(kept) == ["anna", "ben", "cleo"]


def test_what_nobody_could_judge_is_judged_again_by_the_next_run(tmp_path, monkeypatch):
    jobs = [Submission("anna", 0, "a.py", b"a"), Submission("ben", 0, "b.py", b"b")]
    outcomes = {0: ["correct"], 1: ["unusable", "wrong"]}

    def there(tasks, setting, done, address):
        for task in tasks:
            outcome = outcomes[task.number].pop(0)
            judged = "no" if outcome == "unusable" else "program"
            done(task, {"outcome": outcome, "judged": judged, "limits": []})

    monkeypatch.setattr(cluster, "there", there)
    told = []
    for _ in range(3):  # the third time nothing is judged
        found, _ = grade(jobs, tmp_path, Setting("w", Limits()), scheduler="tcp://anywhere:1")
        told.append([result["outcome"] for result in found])
    assert told == [["correct", "unusable"], ["correct", "wrong"], ["correct", "wrong"]]


def test_a_limit_is_in_force_only_where_it_held_for_all():
    results: list[dict[str, Any]] = [{"limits": ["60 s", "no network"]}, {"limits": ["60 s"]}]
    assert module._in_force([*results, {"limits": []}]) == ["60 s"]


def test_an_address_without_a_scheduler_is_a_sentence(tmp_path, capsys):
    pytest.importorskip("distributed", reason="needs Dask: the extra `classroom`")
    (tmp_path / "work" / "anna").mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / "stage0_first_kernel.py", tmp_path / "work" / "anna")
    arguments = ["grade", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--scheduler", "here:there"]) == 2
    assert "There is no Dask scheduler at here:there" in capsys.readouterr().err


def test_without_dask_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(cluster.importlib, "import_module", missing)
    with pytest.raises(cluster.NoCluster, match=r"\[classroom\]"):
        cluster.there([], Setting("w", Limits()), lambda task, result: None, "tcp://x:1")
