"""Grade a folder of submissions: each text is judged once, and each result is kept as soon as it is
there, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import cluster, judges
from .judges import Setting, Task, unjudged
from .names import file_name
from .sandbox import Limits
from .submissions import Submission
from .worker import key

Progress = Callable[[int, int, Submission, str], None]


def grade(
    jobs: Sequence[Submission],
    results: Path,
    setting: Setting,
    workers: int = 1,
    scheduler: str = "",
    progress: Progress | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Judge every submission once, and keep each result in the folder `results` as soon as it is
    there. The results in the order of the jobs, and the limits that were in force for all of them.

    So many `workers` judge on this machine, or the cluster with this `scheduler`. What is kept
    there for the same text, seed and limits is not judged again, unless it could not be judged; nor
    is the same text of several students. Raises `cluster.NoCluster`.
    """
    results.mkdir(parents=True, exist_ok=True)
    found: dict[int, dict[str, Any]] = {}
    keys = [key(setting.seed, job.stage, job.text, setting.limits) for job in jobs]
    same: dict[str, list[int]] = {}

    def keep(number: int, result: dict[str, Any]) -> None:
        found[number] = result
        _keep(results, jobs[number], keys[number], result)
        if progress is not None:
            progress(len(found), len(jobs), jobs[number], result["outcome"])

    for number, job in enumerate(jobs):
        kept = _kept(results, job, keys[number])
        # what nobody could judge is tried again
        if kept is not None and (job.trouble or kept.get("judged") != "no"):
            found[number] = kept
        elif job.trouble:
            keep(number, unjudged(job.trouble))
        else:
            same.setdefault(keys[number], []).append(number)

    def done(task: Task, result: dict[str, Any]) -> None:
        for number in same[keys[task.number]]:
            keep(number, result)

    tasks = [Task(n[0], jobs[n[0]].stage, jobs[n[0]].text) for n in same.values()]
    if scheduler and tasks:
        cluster.there(tasks, setting, done, scheduler)
    elif tasks:
        judges.here(tasks, setting, done, workers)
    in_order = [found[number] for number in range(len(jobs))]
    return in_order, _in_force(in_order)


def _in_force(results: Sequence[dict[str, Any]]) -> list[str]:
    """The limits that held for every submission that was judged."""
    told = [result["limits"] for result in results if result["limits"]]
    return [limit for limit in (told[0] if told else []) if all(limit in t for t in told)]


def _file(results: Path, job: Submission) -> Path:
    tail = key(job.student, job.stage, b"", Limits())[:8]  # two names may look alike
    return results / f"{file_name(job.student)}-stage{job.stage}-{tail}.json"


def _kept(results: Path, job: Submission, wanted: str) -> dict[str, Any] | None:
    """The stored result of this very submission; None if there is none."""
    try:
        stored = json.loads(_file(results, job).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    good = isinstance(stored, dict) and stored.get("key") == wanted
    return stored["result"] if good and isinstance(stored.get("result"), dict) else None


def _keep(results: Path, job: Submission, wanted: str, result: dict[str, Any]) -> None:
    """Store a result so that it is whole or not there."""
    path = _file(results, job)
    part = path.with_suffix(".part")
    said = {"student": job.student, "stage": job.stage, "key": wanted, "result": result}
    part.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(part, path)
