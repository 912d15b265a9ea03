"""Judge many kernels, each in a separate process with a time limit, a few at a time."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

LATE = "no verdict in time"
FELL_OVER = "the check fell over"


@dataclass(frozen=True)
class Job:
    """One kernel: a name for the report, its stage, and the file's text."""

    name: str
    stage: int
    text: str


@dataclass(frozen=True)
class Judged:
    """A job with what the check said: outcome, cause and sentence, and the CPU seconds that it
    took."""

    job: Job
    outcome: str
    cause: str
    sentence: str
    seconds: float


def judge(
    jobs: Iterable[Job], processes: int = 2, limit: float = 60.0, explain: bool = True
) -> Iterator[Judged]:
    """The verdicts, as they come; `limit` is in seconds of wall time for each kernel. Without
    `explain` a wrong kernel is not asked which mistake it has, which takes a tenth of the time."""
    context = multiprocessing.get_context()
    waiting = list(reversed(list(jobs)))
    running: dict[Connection, tuple[Any, Job, float]] = {}
    while waiting or running:
        while waiting and len(running) < processes:
            job = waiting.pop()
            here, there = context.Pipe(duplex=False)
            child = context.Process(target=_check, args=(there, job, explain), daemon=True)
            child.start()
            there.close()
            running[here] = (child, job, time.monotonic())
        ready = wait(list(running), timeout=0.5)
        for here, (child, job, begun) in list(running.items()):
            if here in ready:
                yield _received(here, job)
            elif time.monotonic() - begun > limit:
                yield Judged(job, LATE, "", f"stopped after {limit:g} s", limit)
            else:
                continue
            child.kill()
            child.join()
            here.close()
            del running[here]


def _received(pipe: Connection, job: Job) -> Judged:
    try:
        outcome, cause, sentence, seconds = pipe.recv()
    except EOFError:
        return Judged(job, FELL_OVER, "", "the process ended without a verdict", 0.0)
    return Judged(job, outcome, cause, sentence, seconds)


def _check(pipe: Connection, job: Job, explain: bool) -> None:
    """Check one kernel and send what came of it."""
    from tutorial import check, stage
    from tutorial.running import problems, runner

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.py"
        file.write_text(job.text, encoding="utf-8")
        begun = time.process_time()
        try:
            kernel = runner.load(file, stage.get(job.stage))
            verdict = check(job.stage, kernel, explain=explain)
            said = (verdict.outcome, verdict.cause or "", verdict.sentence)
        except problems.Unusable as error:
            said = ("unusable", "", str(error))
        except BaseException as error:  # whatever it is, the report names it
            said = (FELL_OVER, type(error).__name__, str(error))
        pipe.send((*said, time.process_time() - begun))
