"""How long `python -m tutorial grade` takes for a class, and how much memory.

    python benchmarks/classroom.py [--students 200] [--stages 0-9] [--wrong 0.2] [-j 2] [--json]

Every student hands in every stage. So many of the submissions are wrong: the stage's own broken
kernel, or the solution with one node of its syntax tree changed (`tools/mutants.py`), a new one
for each. No two texts are the same, so that none is judged for another.

Wall time says what a teacher waits for on this machine. CPU time is that of judges and sandboxes
(Linux only); divided by the cores it says what a quiet machine would take. Memory is the largest
sum of the resident sets of all processes: what they share is counted for each, so the truth is
below it.

Targets, for 200 students at stages 0 to 9, one submission in five wrong, on two cores: at most 12
minutes, at most 2 GB. The exit status is 1 if one is missed; a smaller class is held to its share
of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from mutants import mutants  # noqa: E402

from tutorial import stage  # noqa: E402
from tutorial.classroom.commands import numbers  # noqa: E402
from tutorial.classroom.grade import grade  # noqa: E402
from tutorial.classroom.gradebook import as_csv, graded, rubric  # noqa: E402
from tutorial.classroom.judges import Setting  # noqa: E402
from tutorial.classroom.sandbox import Limits  # noqa: E402
from tutorial.classroom.submissions import Submission, found_in  # noqa: E402
from tutorial.running.worked import solution_text  # noqa: E402

MINUTES, STUDENTS, MEMORY = 12.0, 200, 2.0e9


def wrong_texts(lesson: stage.Stage, rng: random.Random) -> list[str]:
    """Wrong kernels of a stage, in a random order."""
    text = solution_text(lesson.number)
    made = [mutant.text for mutant in mutants(lesson.number, text)]
    rng.shuffle(made)
    if lesson.broken is not None:
        broken = text
        for old, new in lesson.broken.changes:
            broken = broken.replace(old, new)
        made = [x for mutant in made for x in (broken, mutant)]
    return made


def hand_in(folder: Path, lessons: list[stage.Stage], students: int, share: float) -> None:
    """Write the submissions of a class."""
    rng = random.Random(2026)
    for lesson in lessons:
        right, wrong = solution_text(lesson.number), wrong_texts(lesson, rng)
        chosen = set(rng.sample(range(students), round(students * share)))
        for number in range(students):
            text = wrong[number % len(wrong)] if number in chosen else right
            own = folder / f"student{number:03d}"
            own.mkdir(parents=True, exist_ok=True)
            said = f"{text}\n# student {number}\n"
            (own / f"{lesson.file_name}.py").write_text(said, encoding="utf-8")


class Meter:
    """The memory and the CPU time of this process and of what it has started."""

    def __init__(self) -> None:
        self.memory = 0
        self.judges: dict[int, float] = {}
        self.sandboxes: dict[int, float] = {}
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Meter:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.ending.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.ending.wait(0.25):
            parents: dict[int, int] = {}
            stats: dict[int, list[str]] = {}
            for entry in os.listdir("/proc") if os.path.isdir("/proc/1") else []:
                with contextlib.suppress(OSError, ValueError):
                    text = Path(f"/proc/{entry}/stat").read_text("utf-8", "replace")
                    fields = text.rpartition(")")[2].split()
                    parents[int(entry)], stats[int(entry)] = int(fields[1]), fields
            own = {os.getpid()}
            while more := {p for p, parent in parents.items() if parent in own} - own:
                own |= more
            self.memory = max(self.memory, self._resident(own, stats))
            for pid in own:
                self._count(pid, stats.get(pid))

    def _resident(self, own: set[int], stats: dict[int, list[str]]) -> int:
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(stats[pid][21]) for pid in own if pid in stats) * page

    def _count(self, pid: int, fields: list[str] | None) -> None:
        """A judge counts with its own time, a sandbox's first process with that of its children,
        which come and go."""
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if fields is None or words[-2:-1] == [b""] or b"bwrap" in words[0]:
                return
            ticks = os.sysconf("SC_CLK_TCK")
            times = [int(x) / ticks for x in fields[11:15]]
            if b"tutorial.classroom.worker" in words:
                self.judges[pid] = sum(times[:2])
            elif b"tutorial.classroom.server" in words:
                parent = Path(f"/proc/{fields[1]}/cmdline").read_bytes().split(b"\0")
                if b"tutorial.classroom.server" not in parent or b"bwrap" in parent[0]:
                    self.sandboxes[pid] = sum(times)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Hand in, grade, and count."""
    lessons = numbers(options.stages)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hand_in(folder / "work", lessons, options.students, options.wrong)
        jobs = found_in(folder / "work", lessons)
        took: Counter[int] = Counter()
        last = [time.perf_counter()]

        def shown(done: int, of: int, job: Submission, outcome: str) -> None:
            now = time.perf_counter()
            took[job.stage] += round((now - last[0]) * 1e3)
            last[0] = now
            if not done % 50:
                print(f"{done}/{of}", file=sys.stderr)

        begun = time.perf_counter()
        setting = Setting("a-word", Limits(), (name,))
        with Meter() as meter:
            results, limits = grade(jobs, folder / "results", setting, options.j, "", shown)
        minutes = (time.perf_counter() - begun) / 60
        grades = [graded(job, r, rubric()) for job, r in zip(jobs, results, strict=True)]
        rows = list(csv.DictReader(as_csv(grades).splitlines()))
    return {
        "submissions": len(rows),
        "outcomes": dict(sorted(Counter(row["outcome"] for row in rows).items())),
        "minutes": round(minutes, 2),
        "minutes of CPU, judges": round(sum(meter.judges.values()) / 60, 2),
        "minutes of CPU, sandboxes": round(sum(meter.sandboxes.values()) / 60, 2),
        "memory": meter.memory,
        "wall seconds by stage": {n: round(ms / 1e3, 1) for n, ms in sorted(took.items())},
        "limits": limits,
    }


def main() -> int:
    """Measure, print, and hold the result to the targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--students", type=int, default=STUDENTS)
    parser.add_argument("--stages", default="0-9")
    parser.add_argument("--wrong", type=float, default=0.2, help="the share of wrong submissions")
    parser.add_argument("-j", type=int, default=2, help="judges at a time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name}: {value}")
    most = MINUTES * options.students / STUDENTS
    return 0 if found["minutes"] <= most and found["memory"] <= MEMORY else 1


if __name__ == "__main__":
    raise SystemExit(main())
