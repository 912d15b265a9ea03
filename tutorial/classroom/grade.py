"""Grade a folder of submissions: workers that judge, results that are kept, so that an interrupted
run goes on where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import stage
from ..verdict import UNUSABLE
from . import protocol
from .sandbox import Limits
from .submissions import Submission
from .worker import key

Progress = Callable[[int, int, Submission, str], None]
_GRACE = 4  # times the seconds of a submission: then the judge itself has stopped


class _Worker:
    """A judge's process and the pipe to it."""

    def __init__(self, seed: str, limits: Limits) -> None:
        self.seconds = limits.seconds
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tutorial.classroom.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_UNSET, "PYTHONPATH": _path()},
            start_new_session=os.name != "nt",
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.writer, self.reader = self.process.stdin, self.process.stdout
        protocol.send(self.writer, {"seed": seed, "limits": asdict(limits)})
        self.in_force = [str(x) for x in protocol.receive(self.reader)[0]["in_force"]]

    def judge(self, job: Submission) -> dict[str, Any]:
        """The result of one submission. Raises Broken where the judge falls over."""
        timer = threading.Timer(self.seconds * _GRACE, self.process.kill)
        timer.daemon = True
        timer.start()
        try:
            name = f"{stage.get(job.stage).file_name}.py"
            protocol.send(self.writer, {"stage": job.stage, "name": name}, job.text)
            return protocol.receive(self.reader)[0]
        finally:
            timer.cancel()

    def stop(self) -> None:
        """End the process and what it holds."""
        for stream in (self.writer, self.reader):
            with contextlib.suppress(OSError):
                stream.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


_UNSET = {"NKI_PRECISE_FP": "", "NEURON_PLATFORM_TARGET_OVERRIDE": "", "OMP_NUM_THREADS": "1"}
_UNSET |= {"OPENBLAS_NUM_THREADS": "1"}


def _path() -> str:
    root = str(Path(stage.__file__).resolve().parent.parent)
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def grade(
    jobs: Sequence[Submission],
    results: Path,
    seed: str,
    workers: int = 1,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Judge every submission once, and keep each result in the folder `results` as soon as it is
    there. The results in the order of the jobs, and the limits that were in force.

    What is kept there for the same text, seed and limits is not judged again.
    """
    limits = limits or Limits()
    results.mkdir(parents=True, exist_ok=True)
    found: dict[int, dict[str, Any]] = {}
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number, job in enumerate(jobs):
        kept = _kept(results, job, key(seed, job.stage, job.text, limits))
        if kept is not None:
            found[number] = kept
        else:
            left.put(number)
    in_force: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        worker: _Worker | None = None
        while True:
            try:
                number = left.get_nowait()
            except queue.Empty:
                break
            job = jobs[number]
            result = _unjudged(job.trouble)
            if not job.trouble:
                try:
                    worker = worker or _Worker(seed, limits)
                    result = worker.judge(job)
                except (protocol.Broken, OSError, KeyError):
                    result = _unjudged("judging it took more than a judge has")
            with lock:
                if worker is not None:
                    in_force[:] = worker.in_force
                found[number] = result
                _keep(results, job, key(seed, job.stage, job.text, limits), result)
                if progress is not None:
                    progress(len(found), len(jobs), job, result["outcome"])
            if worker is not None and worker.process.poll() is not None:
                worker.stop()
                worker = None
        if worker is not None:
            worker.stop()

    threads = [threading.Thread(target=work) for _ in range(max(workers, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(jobs))], in_force


def _unjudged(why: str) -> dict[str, Any]:
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
        "ended": why,
    }


def _file(results: Path, job: Submission) -> Path:
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in job.student)[:80]
    tail = key(job.student, job.stage, b"", Limits())[:8]  # two names may look alike
    return results / f"{safe}-stage{job.stage}-{tail}.json"


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
